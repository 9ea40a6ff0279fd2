//! What nurseries do: keep a number of children alive. When one has ended, another is started.

use abi::syscall::{Load, Query};

use crate::user::{Choices, SYSTEM};

/// Uid and priority of the children.
const UID: u64 = 1000;
const PRIORITY: u64 = 4;

/// Keeps as many alive as the load parameter says, each started from `program`: at once when one has ended, though one in
/// [`Load::SpawnEvery`] ticks at most.
pub fn keep(program: u64, number: Load, seed: u64) -> ! {
    let (wanted, every) = (SYSTEM.load(number), SYSTEM.load(Load::SpawnEvery).max(1));
    let mut choices = Choices::new(seed);
    let (mut alive, mut next) = (0, 0);
    SYSTEM.arrive(&mut choices);
    loop {
        let now = SYSTEM.query(Query::Tick);
        if alive < wanted && now >= next {
            next = now + every;
            // A start that fails for want of memory is tried again the next time.
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
