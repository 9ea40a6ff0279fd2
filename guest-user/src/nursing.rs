//! Nurseries keep a number of children alive: when one ends, they start another.

use abi::syscall::{Load, Query};

use crate::system::{Choices, SYSTEM};

/// Uid and priority of the children.
const UID: u64 = 1000;
const PRIORITY: u64 = 4;

/// Keeps as many instances of `program` alive as the load parameter says. Starts at most one every
/// [`Load::SpawnEvery`] ticks.
pub fn keep(program: u64, number: Load, seed: u64) -> ! {
    let (wanted, every) = (SYSTEM.load(number), SYSTEM.load(Load::SpawnEvery).max(1));
    let mut choices = Choices::new(seed);
    let (mut alive, mut next) = (0, 0);
    SYSTEM.arrive(&mut choices);
    loop {
        let now = SYSTEM.query(Query::Tick);
        if alive < wanted && now >= next {
            next = now + every;
            // A start that fails for lack of memory is retried the next time.
            if SYSTEM.spawn(program, UID, PRIORITY, choices.any()).is_ok() {
                alive += 1;
            }
        }
        let rest = if alive < wanted { next - now } else { every };
        if SYSTEM.wait(rest).is_ok() {
            alive -= 1;
        }
    }
}
