//! Permissions: uids, keys, and the memory of others.

use abi::agents::{Class, Heuristic};
use abi::layout::USER_TEXT;
use abi::syscall::{Call, Error, Keys, SIGNAL_END};
use guest_user::system::{NOTHING, SYSTEM, read_word, write_word};

use super::parts::{SHOWS, WANTS_KEYS, WANTS_OFFICE, WANTS_POWER};
use super::signals::in_ring;
use super::{LATE, PERSON, SYSTEM_UID, TESTER, Tests, first_wrong, pid_of, refusal};

/// Tries on the tester what only root may do, without being root.
pub(super) fn wants_power(tester: u64) -> u64 {
    let Ok(heap) = SYSTEM.grow(1) else { return 100 };
    write_word(heap, 7);
    first_wrong(&[
        SYSTEM.spawn(0, 1000, 4, 0).err() == Some(Error::Denied),
        SYSTEM.kill(pid_of(tester)) == Err(Error::Denied),
        SYSTEM.examine(pid_of(tester), USER_TEXT, heap, 64) == Err(Error::Denied),
        SYSTEM.signal(pid_of(tester), SIGNAL_END) == Err(Error::Denied),
        SYSTEM.pet(0) == Err(Error::Denied),
        read_word(heap) == 7,
    ])
}

/// What only Agents and kernel processes may do.
pub(super) fn wants_office(tester: u64) -> u64 {
    let tester = pid_of(tester);
    first_wrong(&[
        SYSTEM.attach(Class::Ports, 1).err() == Some(Error::Denied),
        SYSTEM.tag(tester, Heuristic::PortScan, 99) == Err(Error::Denied),
        SYSTEM.grant(tester, 7, 7) == Err(Error::Denied),
        SYSTEM.acknowledge() == Err(Error::Denied),
        SYSTEM.phone(in_ring, 0) == Err(Error::Denied),
        refusal(Call::HangUp, [0; 6]) == Some(Error::Invalid),
        refusal(Call::Return, [0; 6]) == Some(Error::Invalid),
    ])
}

/// Keeps a value in its memory for others to read.
pub(super) fn shows(seed: u64) -> u64 {
    let Ok(heap) = SYSTEM.grow(1) else { return 100 };
    (0..8).for_each(|word| write_word(heap + word * 8, seed ^ word));
    if SYSTEM.call(TESTER, [seed, heap], NOTHING, LATE).is_err() {
        return 1;
    }
    0
}

impl Tests {
    pub(super) fn credentials(&mut self) {
        let me = self.me;
        let without = SYSTEM.pet(0);
        self.check("root, too, needs a key to pet", without == Err(Error::Denied));
        let all = u64::from(Keys::WATCHDOG | Keys::PHONE | Keys::AGENT);
        self.plays("root gets all keys", WANTS_KEYS, 0, 0, all);
        self.plays("the system gets the phone's", WANTS_KEYS, 0, SYSTEM_UID, u64::from(Keys::PHONE));
        self.plays("people get none", WANTS_KEYS, 0, PERSON, 0);
        self.plays("people have no power over others", WANTS_POWER, me, PERSON, 0);
        self.plays("nor has the system", WANTS_POWER, me, SYSTEM_UID, 0);
        self.plays("people hold no office", WANTS_OFFICE, me, PERSON, 0);
        self.plays("root holds none without a key", WANTS_OFFICE, me, 0, 0);

        let child = self.start(SHOWS, 0);
        let seen = match SYSTEM.receive_within(TESTER, LATE) {
            Ok(message) => {
                let [seed, at] = message.words;
                let read = SYSTEM.examine(message.sender, at, self.heap, 64);
                let right = (0..8).all(|word| read_word(self.heap + word * 8) == seed ^ word);
                let _ = SYSTEM.reply(message.sender, [0; 2]);
                read.is_ok() && right && message.sender == child && u64::from(message.uid) == PERSON
            }
            Err(_) => false,
        };
        self.check("root reads what others have", seen);
        self.ends("they do not notice", child, 0);
    }
}
