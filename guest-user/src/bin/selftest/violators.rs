//! Violators that the Agents must find, and an honest program that they must leave alone.

use abi::Pid;
use abi::syscall::{Call, Error};
use guest_user::system::{NOTHING, SYSTEM};

use super::parts::{FORGER, HONEST, PROBER, SCANNER};
use super::{NOBODY, PERSON, TAGGED, Tests, pid_of, refusal};

pub(super) fn scanner() -> u64 {
    for port in 3000..3200 {
        let _ = SYSTEM.call(port, [0; 2], NOTHING, 1);
        SYSTEM.sleep(1);
    }
    0
}

pub(super) fn forger() -> u64 {
    for _ in 0..200 {
        let _ = SYSTEM.reply(Pid::new(250, 9), [0; 2]);
        SYSTEM.sleep(1);
    }
    0
}

pub(super) fn prober(tester: u64) -> u64 {
    for _ in 0..200 {
        let _ = SYSTEM.kill(pid_of(tester));
        SYSTEM.sleep(1);
    }
    0
}

/// Asks one server that does not exist as often as a scanner asks many, and otherwise causes only timeouts
/// and errors of its own.
pub(super) fn honest() -> u64 {
    for _ in 0..40 {
        let asked = SYSTEM.call(NOBODY, [0; 2], NOTHING, 1).err() == Some(Error::NotFound);
        let odd = refusal(Call::Reply, [0, 0, 0, NOBODY, 0, 0]) == Some(Error::NotFound);
        if !asked || !odd || SYSTEM.signal(Pid::new(250, 9), 20) != Err(Error::Dead) {
            return 1;
        }
        SYSTEM.sleep(1);
    }
    0
}

impl Tests {
    pub(super) fn agents(&mut self) {
        let me = self.me;
        let honest = self.start(HONEST, 0);
        self.plays("a scanner is tagged", SCANNER, 0, PERSON, TAGGED);
        self.plays("a forger is tagged", FORGER, 0, PERSON, TAGGED);
        self.plays("a prober is tagged", PROBER, me, PERSON, TAGGED);
        self.ends("an honest one is not", honest, 0);
    }
}
