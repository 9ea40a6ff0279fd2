//! What nurseries do: keep a number of children alive. When one has ended, another is started.

use abi::syscall::{Load, Query};

use crate::user::{Choices, SYSTEM};

/// Uid and priority of the children.
const UID: u64 = 1000;
const PRIORITY: u64 = 4;

/// Keeps as many alive as the load parameter says, each started from `program`, one in [`Load::SpawnEvery`] ticks at most.
pub fn keep(program: u64, number: Load, seed: u64) -> ! {
    let (wanted, every) = (SYSTEM.load(number), SYSTEM.load(Load::SpawnEvery));
    let mut choices = Choices::new(seed);
    let mut alive = 0;
    SYSTEM.arrive(&mut choices);
    loop {
        let next = SYSTEM.query(Query::Tick) + every.max(1);
        // A start that fails for want of memory is tried again the next time.
        if alive < wanted && SYSTEM.spawn(program, UID, PRIORITY, choices.any()).is_ok() {
            alive += 1;
        }
        while let Some(rest) = next.checked_sub(SYSTEM.query(Query::Tick)).filter(|rest| *rest > 0) {
            match SYSTEM.wait(rest) {
                Ok(_) => alive -= 1,
                Err(_) => break,
            }
        }
    }
}
