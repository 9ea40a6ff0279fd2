//! Where in the guest's kernel the processor was, as people write it: function, offset, file and line, from the image's own
//! symbols. For reports only: nothing is decided by a name, and no name goes into the trace's hash.

use std::cell::OnceCell;

use abi::{GuestPhys, GuestVirt};
use introspect::memory::PhysicalMemory;
use introspect::paging::Paging;
use introspect::symbols::Symbols;
use serde_json::{Value, json};

use crate::machine::Registers;

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
        while stack.len() < Self::DEEPEST && frame % 8 == 0 && frame >= self.lowest {
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
