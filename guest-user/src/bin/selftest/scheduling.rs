//! The order in which processes run: priorities, bursts, and time.

use abi::Pid;
use abi::compat::V2_POST_WORD;
use abi::process::State;
use abi::syscall::Query;
use guest_user::system::SYSTEM;

use super::parts::{EXITER, SLEEPER, TRAINED};
use super::{LATE, PERSON, SERVER_PORT, Tests};

/// Runs bursts of so many entries, then waits for the order to go.
pub(super) fn trained(entries: u64) -> u64 {
    let port = SERVER_PORT + 1 + entries;
    if SYSTEM.bind(port).is_err() {
        return 1;
    }
    for _ in 0..8 {
        for _ in 1..entries {
            SYSTEM.rest();
        }
        SYSTEM.sleep(1);
    }
    for _ in 1..entries {
        SYSTEM.rest();
    }
    u64::from(SYSTEM.receive(port).is_err())
}

impl Tests {
    pub(super) fn scheduling(&mut self) {
        let [last, third, second, first] =
            [7, 6, 5, 4].map(|priority| self.start_as(EXITER, 0, PERSON, priority));
        let right = self.ends_in_order([first, second, third, last]);
        self.check("the urgent run first", right);

        let [late, early, middle] = [60, 20, 40].map(|ticks| self.start(SLEEPER, ticks));
        let right = self.ends_in_order([early, middle, late]);
        self.check("sleepers wake in their order", right);
        let before = SYSTEM.query(Query::Tick);
        SYSTEM.sleep(7);
        self.check("sleep lasts as long as asked", SYSTEM.query(Query::Tick) >= before + 7);

        let (long, short) = (self.start(TRAINED, 30), self.start(TRAINED, 1));
        let ready = self.until(long, State::Receiving) && self.until(short, State::Receiving);
        let posted = [long, short].map(|child| SYSTEM.old(V2_POST_WORD, [u64::from(child.0), 0]).is_ok());
        let right = self.ends_in_order([short, long]);
        self.check("short bursts run before long ones", ready && posted == [true; 2] && right);
    }

    /// Returns the order in which they end.
    fn ends_in_order<const N: usize>(&mut self, children: [Pid; N]) -> bool {
        let mut order = [Pid::NONE; N];
        for place in &mut order {
            if let Ok((pid, 0)) = SYSTEM.wait(LATE) {
                *place = pid;
            }
        }
        order == children
    }
}
