//! Tests the kernel from ring 3: started as root with its own index in the boot module as the argument, it
//! starts instances of itself that each play a part, observes their ends, and prints a line for each test.
//!
//! The tests also need the three Agents, and an instance with the part `SERVICE` (module `parts`) among the
//! services, which a monitor restarts when it has crashed. At the end it arms the watchdog.
#![no_std]
#![no_main]

mod console;
mod credentials;
mod datagrams;
mod memory;
mod messages;
mod old;
mod parts;
mod processes;
mod scheduling;
mod signals;
mod violators;
mod wild;

use abi::Pid;
use abi::compat::V2_STAT;
use abi::process::State;
use abi::syscall::{Call, Error, Keys};
use guest_user::system::{SYSTEM, system_call};

use console::{Line, print};

guest_user::program!(run);

/// Ports: the tester's, the tested server's, the service's, and an unbound one.
const TESTER: u64 = 7000;
const SERVER_PORT: u64 = 7100;
const SERVICE_PORT: u64 = 1500;
const NOBODY: u64 = 7999;
/// Uids: people's, and the system's.
const PERSON: u64 = 1000;
const SYSTEM_UID: u64 = 500;
/// Priority of the parts that are played. The tester is more urgent.
const PRIORITY: u64 = 5;
/// Ticks after which nothing will come any more.
const LATE: u64 = 250;
/// Statuses of processes that were ended by a fault, by others, by an Agent.
const PAGE_FAULT: u64 = 512 + 14;
const PROTECTION_FAULT: u64 = 512 + 13;
const NO_INSTRUCTION: u64 = 512 + 6;
const KILLED: u64 = 256;
const TAGGED: u64 = 320;

fn run(argument: u64, seed: u64, me: u64) -> ! {
    match argument >> 32 {
        0 => Tests::new(argument, seed, me).all(),
        part => SYSTEM.exit(parts::play(part, argument & 0xffff_ffff, seed, me)),
    }
}

/// The number of the first check that failed, from 1; 0 if none did.
fn first_wrong(checks: &[bool]) -> u64 {
    checks.iter().position(|right| !right).map_or(0, |nth| nth as u64 + 1)
}

fn pid_of(number: u64) -> Pid {
    Pid(number as u32)
}

/// The error that a raw call returned.
fn refusal(call: Call, arguments: [u64; 6]) -> Option<Error> {
    Error::from_raw(system_call(call as u64, arguments).0)
}

/// Children that ended before the tester asked for them.
const EARLY: usize = 16;

/// The one that tests.
struct Tests {
    program: u64,
    seed: u64,
    me: u64,
    heap: u64,
    done: u64,
    early: [(Pid, u64); EARLY],
}

impl Tests {
    fn new(program: u64, seed: u64, me: u64) -> Self {
        let (Ok(()), Ok(heap)) = (SYSTEM.bind(TESTER), SYSTEM.grow(4)) else { SYSTEM.exit(1) };
        Self { program, seed, me, heap, done: 0, early: [(Pid::NONE, 0); EARLY] }
    }

    fn all(mut self) -> ! {
        self.messages();
        self.datagrams();
        self.wild_pointers();
        self.scheduling();
        self.memory();
        self.processes();
        self.credentials();
        self.agents();
        self.phones();
        self.signals();
        self.old_programs();
        self.seeds();
        self.watchdog();
        print("all", self.done, "done");
        SYSTEM.exit(0)
    }

    /// Prints the result of a test.
    fn check(&mut self, name: &str, right: bool) {
        let mut line = Line::default();
        line.add(if right { "ok " } else { "FAILED " });
        line.add(name);
        line.print();
        self.done += 1;
    }

    fn start_as(&mut self, part: u64, own: u64, uid: u64, priority: u64) -> Pid {
        SYSTEM.spawn(self.program, uid, priority, part << 32 | own).unwrap_or(Pid::NONE)
    }

    fn start(&mut self, part: u64, own: u64) -> Pid {
        self.start_as(part, own, PERSON, PRIORITY)
    }

    /// The status of a child, when it has ended.
    fn status(&mut self, child: Pid) -> Option<u64> {
        if let Some(place) = self.early.iter().position(|(pid, _)| *pid == child && child != Pid::NONE) {
            return Some(core::mem::replace(&mut self.early[place], (Pid::NONE, 0)).1);
        }
        loop {
            let (pid, status) = SYSTEM.wait(LATE).ok()?;
            if pid == child {
                return Some(status);
            }
            if let Some(free) = self.early.iter_mut().find(|(pid, _)| *pid == Pid::NONE) {
                *free = (pid, status);
            }
        }
    }

    /// Runs a test that a part plays by itself.
    fn plays(&mut self, name: &str, part: u64, own: u64, uid: u64, wanted: u64) {
        let child = self.start_as(part, own, uid, PRIORITY);
        self.ends(name, child, wanted);
    }

    /// Runs a test that passes if a child ends with this status.
    fn ends(&mut self, name: &str, child: Pid, wanted: u64) {
        let status = self.status(child);
        self.check(name, status == Some(wanted));
        if status != Some(wanted) {
            print("status", status.unwrap_or(u64::MAX), "");
        }
    }

    /// Waits until a child is in a state.
    fn until(&mut self, child: Pid, state: State) -> bool {
        for _ in 0..LATE {
            match SYSTEM.old(V2_STAT, [u64::from(child.0), 0]) {
                Ok([now, ..]) if now == state as u64 => return true,
                Ok(_) => SYSTEM.sleep(1),
                Err(_) => return false,
            }
        }
        false
    }

    fn seeds(&mut self) {
        let mut seeds = [self.seed; 9];
        for place in seeds.iter_mut().skip(1) {
            let child = self.start(parts::SEEDED, 0);
            if let Ok(message) = SYSTEM.receive_within(TESTER, LATE) {
                *place = message.words[0];
                let _ = SYSTEM.reply(message.sender, [0; 2]);
            }
            let _ = self.status(child);
        }
        let different = (1..seeds.len()).all(|nth| !seeds[..nth].contains(&seeds[nth]));
        self.check("everybody has a seed of his own", different);
    }

    fn watchdog(&mut self) {
        let keys = SYSTEM.ask_for_keys(Keys::WATCHDOG);
        let pet = SYSTEM.pet(0);
        self.check("with a key the watchdog is petted", keys == Keys::WATCHDOG && pet == Ok(()));
    }
}
