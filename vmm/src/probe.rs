//! Probes the host: which KVM it has, and its quirks. Owns what is known only by booting a small guest; uses
//! `machine` and `wall`, and is called by users of the library.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::error::{Error, VmmError};
use crate::host::kvm::Kvm;
use crate::machine::tiny;
use crate::machine::{Event, Machine, Model};
use crate::wall::{Wall, WallConfig, WallEvent};

/// Quirk: KVM runs the guest's ring 0 in its instruction emulator, which is slow and knows fewer
/// instructions.
pub const RING_0_INTERPRETED: &str = "ring-0-interpreted";

/// How the processor enters a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Virtualisation {
    /// Hardware virtualisation of this machine.
    Hardware,
    /// Hardware virtualisation that an outer hypervisor passes on.
    Nested,
    /// None: KVM works without it.
    Software,
}

impl Virtualisation {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Nested => "nested",
            Self::Software => "software",
        }
    }
}

/// The name of KVM's module for this processor: `kvm-intel`, `kvm-amd`, `kvm-pvm`; `kvm` if there is none.
pub fn backend() -> String {
    let Ok(modules) = fs::read_dir("/sys/module") else { return "kvm".into() };
    let mut names: Vec<_> = modules
        .flatten()
        .filter_map(|module| module.file_name().into_string().ok())
        .filter(|name| name.starts_with("kvm_"))
        .collect();
    names.sort();
    names.first().map_or_else(|| "kvm".into(), |name| name.replace('_', "-"))
}

/// What `/proc/cpuinfo` says about virtualisation.
pub fn virtualisation() -> Virtualisation {
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = about.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |wanted: &str| flags.split_whitespace().any(|flag| flag == wanted);
    match (has("vmx") || has("svm"), has("hypervisor")) {
        (false, _) => Virtualisation::Software,
        (true, true) => Virtualisation::Nested,
        (true, false) => Virtualisation::Hardware,
    }
}

/// What a small guest has shown about the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether KVM interprets ring 0; `None` where it has no counters to tell.
    pub ring_0_interpreted: Option<bool>,
}

impl Probe {
    /// The host's quirks, by name.
    pub fn quirks(self) -> Vec<&'static str> {
        let interpreted =
            self.ring_0_interpreted.unwrap_or_else(|| virtualisation() == Virtualisation::Software);
        if interpreted { vec![RING_0_INTERPRETED] } else { vec![] }
    }
}

/// Turns of the probe's loop, two instructions each.
const TURNS: u16 = 2000;
/// The longest time that the probe may take; on the slowest known hosts it takes 10 ms.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The probe's code, 32-bit.
#[rustfmt::skip]
pub const PROBE: [u8; 22] = [
    0x66, 0xba, 0xf8, 0x03,                               // mov dx, 0x3f8      serial port
    0xb0, b'A',                                           // mov al, 'A'
    0xee,                                                 // out dx, al
    0xb9, TURNS as u8, (TURNS >> 8) as u8, 0x00, 0x00,    // mov ecx, TURNS
    0x49,                                                 // turn: dec ecx
    0x75, 0xfd,                                           // jnz turn
    0xb0, 0x2a,                                           // mov al, 42
    0xe6, 0xf4,                                           // out 0xf4, al       exit port
    0xf4,                                                 // halt: hlt
    0xeb, 0xfd,                                           // jmp halt
];

/// Boots a guest that writes one byte, counts for a while and ends with status 42.
///
/// # Errors
///
/// The host cannot run it, or it did something else.
pub fn probe(kvm: &Kvm) -> Result<Probe, Error> {
    let config = tiny::config("the probe", &PROBE, 2)?;
    let (wall, events) = Wall::spawn(WallConfig { timeout: Some(PROBE_LIMIT), ..Default::default() })?;
    let mut machine = Machine::new(kvm, &Model::of(kvm)?, &config, Vec::new())?;
    machine.attach(wall.kick());
    let before = emulated(&mut machine);
    loop {
        match machine.step()? {
            Event::Exit(42) if machine.bus().serial.output() == b"A" => break,
            Event::OutputWaits => {}
            Event::Kicked if events.try_recv() != Ok(WallEvent::Timeout) => {}
            event => return Err(VmmError::Probe(format!("{event:?}")).into()),
        }
    }
    let after = emulated(&mut machine);
    let ring_0_interpreted =
        before.zip(after).map(|(before, after)| after.wrapping_sub(before) >= u64::from(TURNS));
    Ok(Probe { ring_0_interpreted })
}

/// How many instructions KVM has emulated for this guest.
fn emulated<W: std::io::Write>(machine: &mut Machine<W>) -> Option<u64> {
    statistic(&machine.vcpu().statistics()?, "insn_emulation")
}

/// One counter out of KVM's statistics (Linux `Documentation/virt/kvm/api.rst`, `KVM_GET_STATS_FD`).
fn statistic(file: &fs::File, wanted: &str) -> Option<u64> {
    let word = |at: u64| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    // The header: flags, length of a name, number of descriptors, offsets of id, descriptors and data.
    let (name_bytes, count, descriptors, data) = (word(4)?, word(8)?, word(16)?, word(20)?);
    if name_bytes > 256 || count > 4096 {
        return None;
    }
    // A descriptor: flags, exponent and size, offset in the data, bucket size, name.
    let mut name = vec![0; name_bytes as usize];
    for n in 0..u64::from(count) {
        let at = u64::from(descriptors) + n * u64::from(16 + name_bytes);
        file.read_exact_at(&mut name, at + 16).ok()?;
        if name.split(|byte| *byte == 0).next() == Some(wanted.as_bytes()) {
            let mut value = [0; 8];
            file.read_exact_at(&mut value, u64::from(data) + u64::from(word(at + 8)?)).ok()?;
            return Some(u64::from_le_bytes(value));
        }
    }
    None
}

/// The probe as an ELF kernel.
pub fn probe_elf() -> Vec<u8> {
    tiny::elf(&PROBE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::loader::{Blob, Image};

    #[test]
    fn the_probe_is_a_kernel_that_the_loader_takes() {
        let image = Image::check(Blob { name: "probe".into(), bytes: probe_elf().into() }).unwrap();
        let at = (image.entry().0 - image.segments()[0].start) as usize;
        assert_eq!(image.bytes()[at..], PROBE);
    }
}
