//! Snapshots: a restored or forked guest equals its snapshot in every page and every register.

use std::sync::Arc;

use abi::info::Doorbell;
use devices::watchdog::{Stages, Timeout};
use iced_x86::code_asm::*;
use vmm::machine::pool::Pool;
use vmm::machine::snapshot::{Snapshot, hash};
use vmm::machine::tiny;
use vmm::machine::{Event, Machine, MachineConfig};

use common::Host;

mod common;

const MEMORY_MIB: u32 = 3;
const WATCHDOG: (Timeout, Stages) =
    (Timeout::Ticks(100), Stages::one(devices::watchdog::WatchdogAction::Reset));

/// A guest that rings, then writes all over its memory, its registers and its devices, and rings again, for
/// ever. Each round is another one, by a count that it keeps in a register.
fn scribbler() -> Vec<u8> {
    let mut a = CodeAssembler::new(32).unwrap();
    let (mut again, mut page) = (a.create_label(), a.create_label());
    let ring = |a: &mut CodeAssembler| {
        a.mov(eax, Doorbell::Tick as i32).unwrap();
        a.out(i32::from(abi::layout::PORT_DOORBELL), eax).unwrap();
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
    // Processor: memory that looks like entries of page tables, XMM, a debug register, LSTAR, CR2, the local
    // APIC.
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
    // Devices: the serial port's scratch register, the watchdog, a port where nothing is, a page where
    // nothing is.
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

impl Host {
    fn boot(&self) -> Machine<Vec<u8>> {
        let config = tiny::config("scribbler", &scribbler(), MEMORY_MIB).unwrap();
        let config = MachineConfig { timeout: WATCHDOG.0, stages: WATCHDOG.1, ..config };
        Machine::new_for_snapshots(&self.kvm, &self.model, &config, Vec::new()).unwrap()
    }
}

/// Runs the guest to its next doorbell.
fn ring(machine: &mut Machine<Vec<u8>>) {
    loop {
        match machine.step().unwrap() {
            Event::Doorbell { .. } => return,
            Event::Stray { .. } | Event::WatchdogChanged | Event::OutputWaits => {}
            event => panic!("{event:?}"),
        }
    }
}

fn assert_same(machine: &mut Machine<Vec<u8>>, snapshot: &Snapshot, memory: blake3::Hash) {
    let state = machine.cpu_state().unwrap();
    for (now, then) in state.parts().into_iter().zip(snapshot.cpu().parts()) {
        assert_eq!(now, then);
    }
    assert_eq!(machine.board_state(), *snapshot.board());
    assert_eq!(hash(machine.memory()), memory);
}

/// A kernel in 64-bit mode that stops at accesses of every kind, one after the other, for ever: two
/// doorbells, and those where nothing is, by port and by address. Between them it writes over memory and
/// registers.
fn stopper() -> Vec<u8> {
    let mut a = CodeAssembler::new(64).unwrap();
    let (mut again, mut page, mut text) = (a.create_label(), a.create_label(), a.create_label());
    let doorbell = i32::from(abi::layout::PORT_DOORBELL);
    // XMM is in use from the beginning: as long as it is not, processors need not say the same of it twice.
    a.mov(rax, cr4).unwrap();
    a.or(eax, 0x200).unwrap();
    a.mov(cr4, rax).unwrap();
    a.lea(rsi, ptr(text)).unwrap();
    a.movups(xmm1, xmmword_ptr(rsi)).unwrap();
    a.mov(eax, Doorbell::Tick as i32).unwrap();
    a.mov(rbx, tiny::KERNEL + NOTHING).unwrap();
    a.set_label(&mut again).unwrap();
    a.out(doorbell, eax).unwrap();
    a.out(doorbell, eax).unwrap();
    a.inc(ebp).unwrap();
    a.mov(rdi, tiny::KERNEL + 0x10_1000).unwrap();
    a.set_label(&mut page).unwrap();
    a.mov(dword_ptr(rdi), ebp).unwrap();
    a.add(rdi, 0x1000).unwrap();
    a.cmp(edi, (tiny::KERNEL as u32 + (MEMORY_MIB << 20)) as i32).unwrap();
    a.jb(page).unwrap();
    a.movups(xmm1, xmmword_ptr(rdi - 0x1000)).unwrap();
    a.mov(dr0, rbp).unwrap();
    a.mov(ecx, 0xc000_0082_u32).unwrap();
    a.mov(eax, ebp).unwrap();
    a.xor(edx, edx).unwrap();
    a.wrmsr().unwrap();
    a.mov(edx, 0x80).unwrap();
    a.out(dx, al).unwrap();
    a.mov(edx, 0x81).unwrap();
    a.in_(al, dx).unwrap();
    a.mov(dword_ptr(rbx), ebp).unwrap();
    a.mov(ecx, dword_ptr(rbx + 0x1000)).unwrap();
    a.mov(edx, 0x82).unwrap();
    a.mov(ecx, 3).unwrap();
    a.lea(rsi, ptr(text)).unwrap();
    a.rep().outsb().unwrap();
    a.mov(eax, Doorbell::Tick as i32).unwrap();
    a.jmp(again).unwrap();
    a.set_label(&mut text).unwrap();
    a.db(b"abc").unwrap();
    a.assemble(tiny::KERNEL + tiny::BASE + tiny::CODE_AT).unwrap()
}

/// An address without memory.
const NOTHING: u64 = 0x2000_0000;

/// The resident KiB of this process, and the number of its descriptors.
fn possessions() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib = line.trim().trim_end_matches(" kB").parse().unwrap();
    (kib, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

/// How many resets the longest tests make: a hundred, or as many as `ARCHITECT_RESETS` says. Then they are
/// best alone: `ARCHITECT_RESETS=10000 cargo test -p vmm --release --target-dir target --test snapshot back
/// -- --test-threads 1 --nocapture`.
fn resets() -> u32 {
    std::env::var("ARCHITECT_RESETS").map_or(100, |text| text.parse().expect("a number"))
}

/// Restores and continues it again and again; compares everything each time, and from the thousandth time on
/// the resources of the process.
#[test]
fn a_guest_that_writes_everywhere_comes_back_unchanged() {
    let rounds = resets();
    let host = Host::new();
    let mut machine = host.boot();
    (0..3).for_each(|_| ring(&mut machine));
    let snapshot = Arc::new(machine.snapshot().unwrap());
    let kept = hash(snapshot.memory());
    let mut fork = Machine::fork(&host.kvm, &host.model, &snapshot, WATCHDOG, Vec::new()).unwrap();
    assert_same(&mut fork, &snapshot, kept);
    ring(&mut fork);
    let (memory, cpu) = (hash(fork.memory()), fork.cpu_state().unwrap());
    assert_ne!(memory, kept, "it has scribbled");
    let mut before = None;
    for round in 0..rounds {
        fork.restore(&host.kvm, &host.model, &snapshot).unwrap();
        assert_same(&mut fork, &snapshot, kept);
        ring(&mut fork);
        let again = fork.cpu_state().unwrap();
        assert_eq!((hash(fork.memory()), again.parts()), (memory, cpu.parts()), "round {round}");
        if round == 1000 {
            before = Some(possessions());
        }
    }
    if let Some(before) = before {
        let after = possessions();
        println!(
            "{rounds} resets: as the snapshot each time; {} KiB at the 1000th, {} at the end",
            before.0, after.0
        );
        assert_eq!(before.1, after.1, "descriptors");
        assert!(after.0 <= before.0 + 512, "{before:?} has become {after:?} KiB");
    }
    assert_eq!(hash(snapshot.memory()), kept, "it never changes");
}

/// In two rounds of three only the next events of the guest are compared.
#[test]
fn nothing_of_an_access_is_left_when_a_guest_is_brought_back() {
    const STOPS: usize = 7;
    let host = Host::new();
    let config = tiny::config("stopper", &stopper(), MEMORY_MIB).unwrap();
    let mut machine = Machine::new_for_snapshots(&host.kvm, &host.model, &config, Vec::new()).unwrap();
    tiny::enter_kernel(&mut machine).unwrap();
    ring(&mut machine);
    let snapshot = Arc::new(machine.snapshot().unwrap());
    let kept = hash(snapshot.memory());
    let mut fork = Machine::fork(&host.kvm, &host.model, &snapshot, WATCHDOG, Vec::new()).unwrap();
    let events = |machine: &mut Machine<Vec<u8>>, number| -> Vec<_> {
        (0..number).map(|_| machine.step().unwrap()).collect()
    };
    let all = events(&mut fork, STOPS + 1);
    let doorbell = |event: &Event| matches!(event, Event::Doorbell { .. });
    assert!(doorbell(&all[0]) && all[1..STOPS - 1].iter().all(|event| !doorbell(event)), "{all:?}");
    assert!(all[STOPS - 1..].iter().all(doorbell), "all around: {all:?}");
    // The first stop is the very instruction that the snapshot goes on with.
    for number in (1..=STOPS).cycle().take(resets() as usize / 3) {
        fork.restore(&host.kvm, &host.model, &snapshot).unwrap();
        assert_eq!(events(&mut fork, number), all[..number]);
        fork.restore(&host.kvm, &host.model, &snapshot).unwrap();
        assert_same(&mut fork, &snapshot, kept);
        assert_eq!(events(&mut fork, STOPS), all[..STOPS], "after {:?}", all[number - 1]);
        // A pending NMI, which the guest would not survive, must be gone, too.
        fork.nmi().unwrap();
        fork.restore(&host.kvm, &host.model, &snapshot).unwrap();
        assert_eq!(events(&mut fork, number), all[..number]);
    }
    println!("{} resets from accesses of every kind: nothing was left of any", resets() / 3 * 3);
}

#[test]
fn a_machine_at_power_on_can_be_snapshotted_too() {
    let host = Host::new();
    let mut machine = host.boot();
    (0..2).for_each(|_| ring(&mut machine));
    let first = Arc::new(machine.snapshot().unwrap());
    // It goes on by itself, and so does one that began where it was; a second snapshot of either is the same.
    let mut fork = Machine::fork(&host.kvm, &host.model, &first, WATCHDOG, Vec::new()).unwrap();
    (0..2).for_each(|_| ring(&mut fork));
    (0..2).for_each(|_| ring(&mut machine));
    let [one, other] = [&mut machine, &mut fork].map(|machine| machine.snapshot().unwrap());
    assert_eq!(hash(one.memory()), hash(other.memory()));
    assert_eq!(one.cpu().parts(), other.cpu().parts());
    assert_eq!(one.board(), other.board());
    // Back to one that it did not come from, and to the first again.
    let other = Arc::new(other);
    for snapshot in [&other, &first, &other, &first] {
        machine.restore(&host.kvm, &host.model, snapshot).unwrap();
        assert_same(&mut machine, snapshot, hash(snapshot.memory()));
        ring(&mut machine);
    }
}

#[test]
fn a_pooled_vm_runs_another_guest() {
    let host = Host::new();
    let mut machine = host.boot();
    ring(&mut machine);
    let snapshot = Arc::new(machine.snapshot().unwrap());
    let pool = Pool::new();
    pool.keep(machine);
    assert!(pool.is_empty(), "a machine at power-on has no snapshot to be restored to");
    let mut said = None;
    for nth in 0..20 {
        let mut guest = pool.fork((&host.kvm, &host.model), &snapshot, WATCHDOG, Vec::new()).unwrap();
        assert!(pool.is_empty());
        (0..nth % 3 + 1).for_each(|_| ring(&mut guest));
        let now = (nth % 3 == 0).then(|| hash(guest.memory()));
        assert!(now.is_none() || said.is_none() || now == said, "guest {nth}");
        said = said.or(now);
        pool.keep(guest);
        assert_eq!(pool.len(), 1);
    }
}

#[test]
fn a_fork_first_returns_the_history_of_its_snapshot() {
    let host = Host::new();
    let mut machine = host.boot();
    let mut told = Vec::new();
    while told.iter().filter(|event| matches!(event, Event::Doorbell { .. })).count() < 2 {
        told.push(machine.step().unwrap());
    }
    let snapshot = Arc::new(machine.snapshot().unwrap().with_history(told.clone(), b"said".into()));
    let mut fork = Machine::fork(&host.kvm, &host.model, &snapshot, WATCHDOG, Vec::new()).unwrap();
    assert_eq!(fork.bus().serial.output(), b"said");
    assert!(told.len() > 2);
    for event in &told {
        assert_eq!(fork.step().unwrap(), *event);
    }
    assert_eq!(fork.step().unwrap(), machine.step().unwrap());
}
