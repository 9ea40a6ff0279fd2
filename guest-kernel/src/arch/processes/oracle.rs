//! The scheduler's process: acknowledges the timer's interrupt, and what is due is done by that call. (In the
//! story: the Oracle.)

use super::calls::acknowledge;

/// Runs the process.
pub(crate) extern "C" fn run(_me: u64) -> ! {
    loop {
        acknowledge().expect("no other process attends to the timer");
    }
}
