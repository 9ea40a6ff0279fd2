//! Birth and death: statuses, old pids, crashes that harm no other process, a service that is restarted.

use abi::Pid;
use abi::layout::{PAGE_SIZE, USER_TEXT};
use abi::process::State;
use abi::syscall::{Error, Query, SIGNAL_END};
use guest_user::system::{NOTHING, SYSTEM, read_word, stop, write_word};

use super::memory::text_sum;
use super::messages::ADD;
use super::parts::{BYSTANDER, CRASHER, EXITER, SLEEPER};
use super::{KILLED, LATE, NO_INSTRUCTION, PERSON, SERVER_PORT, SERVICE_PORT, Tests};

/// The first word that makes the service crash.
const CRASH: u64 = 5;

pub(super) fn service(port: u64, me: u64) -> u64 {
    if SYSTEM.bind(port).is_err() {
        return 1;
    }
    loop {
        let Ok(message) = SYSTEM.receive(port) else { return 2 };
        if message.words[0] == CRASH {
            stop();
        }
        let _ = SYSTEM.reply(message.sender, [me, message.words[1]]);
    }
}

/// Works with all its memory while others crash, until it receives a datagram.
pub(super) fn bystander(seed: u64) -> u64 {
    let Ok(heap) = SYSTEM.grow(4) else { return 100 };
    if SYSTEM.bind(SERVER_PORT).is_err() {
        return 101;
    }
    let words = || (heap..heap + 4 * PAGE_SIZE).step_by(64);
    let text = text_sum();
    words().for_each(|at| write_word(at, seed ^ at));
    loop {
        if words().any(|at| read_word(at) != seed ^ at) {
            return 1;
        }
        if text_sum() != text {
            return 2;
        }
        match SYSTEM.receive_within(SERVER_PORT, 1) {
            Ok(message) => return u64::from(SYSTEM.reply(message.sender, [0; 2]).is_err()),
            Err(Error::TimedOut) => {}
            Err(_) => return 3,
        }
    }
}

impl Tests {
    pub(super) fn processes(&mut self) {
        self.plays("a parent learns the status", EXITER, 77, PERSON, 77);
        let alone = (SYSTEM.wait(0).err(), SYSTEM.wait(2).err());
        self.check("no child, no wait", alone == (Some(Error::NotFound), Some(Error::TimedOut)));
        let odd = [
            SYSTEM.spawn(1 << 20, PERSON, 4, 0).err() == Some(Error::NotFound),
            SYSTEM.spawn(self.program, PERSON, 8, 0).err() == Some(Error::Invalid),
            SYSTEM.spawn(self.program, 1 << 32, 4, 0).err() == Some(Error::Invalid),
        ];
        self.check("an odd start is refused", odd == [true; 3]);

        let old = self.start(SLEEPER, 100_000);
        let asleep = self.until(old, State::Sleeping);
        let killed = SYSTEM.kill(old) == Ok(()) && SYSTEM.kill(old) == Err(Error::Dead);
        self.check("a kill is for once", asleep && killed);
        self.ends("the killed one has its status", old, KILLED);
        let mut heir = Pid::NONE;
        for _ in 0..64 {
            heir = self.start(SLEEPER, 20);
            if heir.slot() == old.slot() {
                break;
            }
            let _ = SYSTEM.kill(heir);
            let _ = self.status(heir);
        }
        let gone = SYSTEM.kill(old) == Err(Error::Dead)
            && SYSTEM.signal(old, SIGNAL_END) == Err(Error::Dead)
            && SYSTEM.examine(old, USER_TEXT, self.heap, 8) == Err(Error::Dead);
        self.check("an old pid is nobody's", heir.slot() == old.slot() && heir != old && gone);
        self.ends("who has its place lives on", heir, 0);

        let crashes = SYSTEM.query(Query::Crashes);
        let other = self.start(BYSTANDER, 0);
        self.until(other, State::Receiving);
        self.plays("a crash is told by its vector", CRASHER, 0, PERSON, NO_INSTRUCTION);
        self.check("and counted", SYSTEM.query(Query::Crashes) == crashes + 1);
        let asked = SYSTEM.call(SERVER_PORT, [0; 2], NOTHING, LATE).is_ok();
        self.check("others go on", asked);
        self.ends("others are not harmed", other, 0);

        let first = self.ask_service();
        let told = SYSTEM.call(SERVICE_PORT, [CRASH, 0], NOTHING, LATE) == Err(Error::Dead);
        let second = self.ask_service();
        let again = first.is_some() && second.is_some() && first != second;
        self.check("a crashed service is started again", told && again);
    }

    /// The pid of the service, when it answers.
    fn ask_service(&mut self) -> Option<u64> {
        for _ in 0..LATE {
            match SYSTEM.call(SERVICE_PORT, [ADD, 5], NOTHING, LATE) {
                Ok([pid, 5]) => return Some(pid),
                Err(Error::NotFound) => SYSTEM.sleep(1),
                _ => return None,
            }
        }
        None
    }
}
