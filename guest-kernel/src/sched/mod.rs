//! The scheduler: which process runs next. It owns the ready queues and the timers, and touches states,
//! priorities and accounts in descriptors. The layers above call it. (In the story: the Oracle.)
//!
//! Within a priority the shortest predicted burst runs first, and bursts of about the same length take turns.
//! A *burst* is what a process does from getting the CPU until it waits for something, in kernel entries. The
//! error of each prediction is measured. A process that runs past its prediction counts as what it has shown
//! to be.
//!
//! The CPU changes hands in two ways. The *switch* is the scheduler's: it first takes down the windows that
//! ended loans have left in the next process. The *hand-off* is the message path's: the CPU goes straight to
//! the peer, past the scheduler and so past the teardown, because a message should not pay for it. That is
//! the second place of the design bug: a busy server is almost always entered by hand-off.
//!
//! As built, a process's priority never changes: an urgent client waits for a server that never gets the CPU,
//! and long bursts wait behind short ones without end. There was a good reason: neither can happen while the
//! CPU is idle now and then, and both remedies cost on every path. The fix (`fix.priorities`) lends the
//! waiting client's priority to its server, and lifts processes that have waited too long for the CPU.
//!
//! | file | subject |
//! |---|---|
//! | `state` | the structure and its fields |
//! | `ready` | the ready queues, predictions |
//! | `switch` | switch and hand-off, changes of state |
//! | `priority` | the fix: inheritance and ageing |
//! | `timers` | one timer per process |

mod priority;
mod ready;
mod state;
mod switch;
mod timers;

pub use state::{HIGHEST, Scheduler, UNKNOWN_BURST};
