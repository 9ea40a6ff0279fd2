//! Snapshots: a guest that goes back, or goes on elsewhere, is what it was, in every page and every register.

use std::sync::Arc;

use abi::info::Doorbell;
use devices::watchdog::{Stages, Timeout};
use iced_x86::code_asm::*;
use vmm::kvm::Kvm;
use vmm::loader::{Blob, Image};
use vmm::machine::{Event, Machine, MachineConfig, Model};
use vmm::snapshot::{Pool, Snapshot};
use vmm::tiny;

const MEMORY_MIB: u32 = 3;
const WATCHDOG: (Timeout, Stages) =
    (Timeout::Ticks(100), Stages::one(devices::watchdog::WatchdogAction::Reset));

/// A guest that rings, then writes all over its memory, its registers and its devices, and rings again, for ever. Each
/// round is another one, by a count that it keeps in a register.
fn scribbler() -> Vec<u8> {
    let mut a = CodeAssembler::new(32).unwrap();
    let (mut again, mut page) = (a.create_label(), a.create_label());
    let ring = |a: &mut CodeAssembler| {
        a.mov(eax, Doorbell::Tick as i32).unwrap();
        a.out(abi::layout::PORT_DOORBELL as i32, eax).unwrap();
    };
    a.xor(esi, esi).unwrap();
    a.set_label(&mut again).unwrap();
    ring(&mut a);
    a.inc(esi).unwrap();
    // A word in each page behind this one.
    a.mov(edi, 0x10_1000).unwrap();
    a.set_label(&mut page).unwrap();
    a.lea(eax, ptr(edi + esi * 4)).unwrap();
    a.mov(ptr(edi), eax).unwrap();
    a.add(edi, 0x1000).unwrap();
    a.cmp(edi, (MEMORY_MIB << 20) as i32).unwrap();
    a.jb(page).unwrap();
    // Processor: memory that looks like entries of page tables, XMM, a debug register, LSTAR, CR2, the local APIC.
    a.mov(dword_ptr(0x10_1004), 0x21).unwrap();
    a.mov(eax, cr4).unwrap();
    a.or(eax, 0x200).unwrap();
    a.mov(cr4, eax).unwrap();
    a.movups(xmm1, xmmword_ptr(0x10_1000)).unwrap();
    a.mov(dr0, esi).unwrap();
    a.mov(cr2, esi).unwrap();
    a.mov(eax, esi).unwrap();
    a.xor(edx, edx).unwrap();
    a.mov(ecx, 0xc000_0082_u32 as i32).unwrap();
    a.wrmsr().unwrap();
    a.and(eax, 0xf0).unwrap();
    a.mov(dword_ptr(0xfee0_0080_u32), eax).unwrap();
    // Devices: the serial port's scratch register, the watchdog, a port where nothing is, a page where nothing is.
    a.mov(edx, 0x3ff).unwrap();
    a.mov(eax, esi).unwrap();
    a.out(dx, al).unwrap();
    a.mov(edx, 0x443).unwrap();
    a.out(dx, al).unwrap();
    a.out(0x80, al).unwrap();
    a.mov(dword_ptr(0xd000_0000_u32), eax).unwrap();
    a.jmp(again).unwrap();
    a.assemble(0x10_0000 + tiny::CODE_AT).unwrap()
}

struct Host {
    kvm: Kvm,
    model: Model,
}

impl Host {
    fn new() -> Self {
        let kvm = Kvm::open().expect("a host that can run guests");
        let model = Model::of(&kvm).unwrap();
        Self { kvm, model }
    }

    fn boot(&self) -> Machine<Vec<u8>> {
        let image = Image::check(Blob { name: "scribbler".into(), bytes: tiny::elf(&scribbler()).into() });
        let config = MachineConfig {
            memory_mib: MEMORY_MIB,
            image: image.unwrap(),
            cmdline: String::new(),
            module: None,
            timeout: WATCHDOG.0,
            stages: WATCHDOG.1,
        };
        Machine::to_be_kept(&self.kvm, &self.model, &config, Vec::new()).unwrap()
    }
}

/// Runs to the next doorbell.
fn ring(machine: &mut Machine<Vec<u8>>) {
    loop {
        match machine.step().unwrap() {
            Event::Doorbell { .. } => return,
            Event::Stray { .. } | Event::WatchdogChanged | Event::OutputWaits => {}
            event => panic!("{event:?}"),
        }
    }
}

fn assert_same(machine: &mut Machine<Vec<u8>>, snapshot: &Snapshot) {
    let state = machine.cpu_state().unwrap();
    for (now, then) in state.parts().into_iter().zip(snapshot.cpu().parts()) {
        assert_eq!(now, then);
    }
    assert_eq!(machine.board_state(), *snapshot.board());
    assert_eq!(vmm::snapshot::hash(machine.memory()), vmm::snapshot::hash(snapshot.memory()));
}

fn back_and_back(rounds: u32) {
    let host = Host::new();
    let mut machine = host.boot();
    (0..3).for_each(|_| ring(&mut machine));
    let snapshot = Arc::new(machine.snapshot().unwrap());
    let mut fork = Machine::fork(&host.kvm, &host.model, &snapshot, WATCHDOG, Vec::new()).unwrap();
    assert_same(&mut fork, &snapshot);
    let next = |fork: &mut Machine<Vec<u8>>| {
        ring(fork);
        (vmm::snapshot::hash(fork.memory()), fork.cpu_state().unwrap())
    };
    let (memory, cpu) = next(&mut fork);
    assert_ne!(memory, vmm::snapshot::hash(snapshot.memory()), "it has scribbled");
    for round in 0..rounds {
        fork.go_back(&host.kvm, &host.model, &snapshot).unwrap();
        assert_same(&mut fork, &snapshot);
        let (memory_again, cpu_again) = next(&mut fork);
        assert_eq!(memory, memory_again, "round {round}");
        for (now, then) in cpu_again.parts().into_iter().zip(cpu.parts()) {
            assert_eq!(now, then, "round {round}");
        }
    }
}

#[test]
fn a_guest_that_scribbles_everywhere_comes_back_whole() {
    back_and_back(50);
}
