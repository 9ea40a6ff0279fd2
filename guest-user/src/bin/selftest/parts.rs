//! The parts that an instance can play, by the number in the upper half of its argument; the lower half is
//! the part's own.

use abi::syscall::Keys;
use guest_user::system::{NOTHING, SYSTEM, stop};

use super::{
    LATE, TESTER, credentials, datagrams, memory, messages, old, processes, scheduling, signals, violators,
    wild,
};

pub(super) const SERVICE: u64 = 1;
pub(super) const SERVER: u64 = 2;
pub(super) const SLEEPER: u64 = 3;
pub(super) const EXITER: u64 = 4;
pub(super) const STRANGER: u64 = 5;
pub(super) const POSTER: u64 = 6;
pub(super) const TRAINED: u64 = 7;
pub(super) const READER: u64 = 8;
pub(super) const WRITER: u64 = 9;
pub(super) const FILLER: u64 = 10;
pub(super) const HOARDER: u64 = 11;
pub(super) const DEEP: u64 = 12;
pub(super) const BYSTANDER: u64 = 13;
pub(super) const CRASHER: u64 = 14;
pub(super) const RUNS_HEAP: u64 = 15;
pub(super) const WANTS_KEYS: u64 = 16;
pub(super) const WANTS_POWER: u64 = 17;
pub(super) const WANTS_OFFICE: u64 = 18;
pub(super) const SHOWS: u64 = 19;
pub(super) const SCANNER: u64 = 20;
pub(super) const FORGER: u64 = 21;
pub(super) const PROBER: u64 = 22;
pub(super) const HONEST: u64 = 23;
pub(super) const PHONES: u64 = 24;
pub(super) const SIGNALLED: u64 = 25;
pub(super) const COUNTS: u64 = 26;
pub(super) const WAITS: u64 = 27;
pub(super) const BUSY_HANDLER: u64 = 28;
pub(super) const OLD_1: u64 = 29;
pub(super) const OLD_2: u64 = 30;
pub(super) const SEEDED: u64 = 31;

/// Plays a part to its end; returns the status: 0 if all was right, else the number of what was not.
pub(super) fn play(part: u64, own: u64, seed: u64, me: u64) -> u64 {
    match part {
        SERVICE => processes::service(own, me),
        SERVER => messages::serve(),
        SLEEPER => sleep(own),
        EXITER => own,
        STRANGER => messages::stranger(),
        POSTER => datagrams::poster(),
        TRAINED => scheduling::trained(own),
        READER => wild::reader(own),
        WRITER => memory::writer(),
        FILLER => memory::filler(seed),
        HOARDER => memory::hoarder(own),
        DEEP => memory::deep(own),
        BYSTANDER => processes::bystander(seed),
        CRASHER => stop(),
        RUNS_HEAP => memory::runs_heap(me),
        WANTS_KEYS => u64::from(SYSTEM.ask_for_keys(Keys::WATCHDOG | Keys::PHONE | Keys::AGENT)),
        WANTS_POWER => credentials::wants_power(own),
        WANTS_OFFICE => credentials::wants_office(own),
        SHOWS => credentials::shows(seed),
        SCANNER => violators::scanner(),
        FORGER => violators::forger(),
        PROBER => violators::prober(own),
        HONEST => violators::honest(),
        PHONES => signals::phones(own, me),
        SIGNALLED => signals::signalled_once(own, me),
        COUNTS => signals::counts(),
        WAITS => signals::waits(),
        BUSY_HANDLER => signals::busy_handler(),
        OLD_1 => old::old_1(own),
        OLD_2 => old::old_2(own),
        SEEDED => seeded(seed),
        _ => u64::MAX,
    }
}

fn sleep(ticks: u64) -> u64 {
    SYSTEM.sleep(ticks);
    0
}

fn seeded(seed: u64) -> u64 {
    u64::from(SYSTEM.call(TESTER, [seed, 0], NOTHING, LATE).is_err())
}
