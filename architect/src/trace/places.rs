//! Where in the guest's kernel the processor was, as people write it: function, offset, file and line, from the image's own
//! symbols. For reports only: nothing is decided by a name, and no name goes into the trace's hash.

use std::cell::OnceCell;

use abi::{GuestPhys, GuestVirt};
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::paging::Paging;
use introspect::x86::symbols::Symbols;
use serde_json::{Value, json};

use vmm::machine::Registers;

/// Names for addresses in one image. They are read from it when they are first asked for.
#[derive(Debug, Default)]
pub struct Places<'a> {
    image: &'a [u8],
    lowest: u64,
    symbols: OnceCell<Option<Symbols<'a>>>,
}

impl<'a> Places<'a> {
    /// Most return addresses that are followed.
    const DEEPEST: usize = 16;

    /// The names of an ELF image, for addresses from `lowest` on: below are other people's, who may have code anywhere.
    pub fn of(image: &'a [u8], lowest: u64) -> Self {
        Self { image, lowest, symbols: OnceCell::new() }
    }

    /// `name+0x12 (src/file.rs:34)`; `None` where the image has no name for it.
    pub fn at(&self, address: u64) -> Option<String> {
        if address < self.lowest {
            return None;
        }
        let symbols = self.symbols.get_or_init(|| Symbols::parse(self.image).ok());
        Some(symbols.as_ref()?.place(GuestVirt(address))?.to_string())
    }

    /// The place as evidence has it: null without a name.
    pub fn value(&self, address: u64) -> Value {
        self.at(address).into()
    }

    /// Where a guest's processor stands, and the way there: the return addresses that its frame pointers lead to, as far as
    /// these rise and are mapped.
    pub fn report<M: PhysicalMemory>(&self, memory: &M, registers: &Registers) -> Value {
        let (rip, mut frame) = (registers.general.rip, registers.general.rbp);
        let root = GuestPhys(registers.system.cr3);
        let word = |at: u64| {
            let found = Paging::default().translate(memory, root, GuestVirt(at)).ok()?;
            memory.read_u64(found.phys).ok()
        };
        let mut stack = Vec::new();
        while stack.len() < Self::DEEPEST && frame.is_multiple_of(8) {
            let (Some(next), Some(back)) = (word(frame), word(frame.wrapping_add(8))) else { break };
            // A call is in front of where it returns to.
            let Some(place) = self.at(back.wrapping_sub(1)) else { break };
            stack.push(place);
            if next <= frame {
                break;
            }
            frame = next;
        }
        json!({"rip": format!("{rip:#x}"), "at": self.at(rip), "stack": stack})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use abi::layout::{DIRECT_MAP, KERNEL_BASE};
    use kvm_bindings::{kvm_regs, kvm_sregs};

    use vmm::host::memory::GuestMemory;

    static MATRIX: &[u8] = include_bytes!(env!("MATRIX_IMAGE"));

    fn address(part: &str) -> u64 {
        let symbols = Symbols::parse(MATRIX).expect("the image has symbols");
        let found = symbols.iter().find(|symbol| symbol.code && symbol.readable().contains(part));
        found.unwrap_or_else(|| panic!("no {part} in the image")).address.0
    }

    #[test]
    fn the_image_names_its_functions_and_lines_and_no_folder_of_the_build() {
        let places = Places::of(MATRIX, KERNEL_BASE);
        let tick = places.at(address("::tick") + 1).expect("it has a name");
        assert!(tick.contains("tick+0x1 (guest-kernel/src/kernel/clock.rs:"), "{tick}");
        let symbols = Symbols::parse(MATRIX).unwrap();
        for symbol in symbols.iter().filter(|symbol| symbol.code) {
            let Some(line) = symbols.line(symbol.address) else { continue };
            let named_anew = ["/rustc/", "/cargo/"].iter().any(|start| line.file.starts_with(start));
            assert!(named_anew || Path::new(&line.file).is_relative(), "{line:?}");
        }
    }

    #[test]
    fn addresses_below_the_kernel_and_images_without_names_have_no_place() {
        assert_eq!(Places::of(MATRIX, KERNEL_BASE).at(0x10_7026), None);
        assert!(Places::of(MATRIX, 0).at(0x10_7026).is_some(), "the boot code");
        assert_eq!(Places::of(b"no image", 0).at(0x10_7026), None);
        assert_eq!(Places::default().at(u64::MAX), None);
    }

    #[test]
    fn a_report_follows_the_frame_pointers_while_they_make_sense() {
        let memory = GuestMemory::new(2).unwrap();
        let put = |at: u64, value: u64| memory.write(GuestPhys(at), &value.to_le_bytes()).unwrap();
        // One large page of direct map.
        put(0x1000 + 256 * 8, 0x2003);
        put(0x2000, 0x3003);
        put(0x3000, 0x83);
        let calls = [address("::tick") + 9, address("::enter") + 9];
        let frames = [0x8000, 0x8100, 0x8200].map(|at| DIRECT_MAP + at);
        for (at, (next, back)) in
            [0x8000, 0x8100].into_iter().zip([(frames[1], calls[0]), (frames[2], calls[1])])
        {
            put(at, next);
            put(at + 8, back);
        }
        let at = |rbp| Registers {
            general: kvm_regs { rip: address("::tick"), rbp, ..Default::default() },
            system: kvm_sregs { cr3: 0x1000, ..Default::default() },
        };
        let places = Places::of(MATRIX, KERNEL_BASE);
        let report = places.report(&memory, &at(frames[0]));
        let stack: Vec<_> = report["stack"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(stack.len(), 2, "{report:#}");
        assert!(stack[0].contains("tick+0x8") && stack[1].contains("enter+0x8"), "{report:#}");
        assert!(report["at"].as_str().is_some_and(|at| at.contains("tick+0x0")));
        // A chain that turns back on itself, and no chain at all.
        put(0x8100, frames[0]);
        assert_eq!(places.report(&memory, &at(frames[0]))["stack"].as_array().unwrap().len(), 2);
        for rbp in [0, 7, DIRECT_MAP + 1, DIRECT_MAP + (2 << 20), u64::MAX, u64::MAX - 7] {
            assert_eq!(places.report(&memory, &at(rbp))["stack"], json!([]), "{rbp:#x}");
        }
    }
}
