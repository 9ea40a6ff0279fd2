//! Processes: birth and death, services, faults, signals, phone calls, and the process that attends to the
//! timer. It owns the service table and what the kernel keeps of its timer interrupt, and ends processes:
//! whatever a process holds in the layers below is given up here. System calls, the host's commands and the
//! clock call it.
//!
//! | file | subject |
//! |---|---|
//! | `state` | the structure and its fields |
//! | `lives` | birth, death, waiting for children |
//! | `services` | processes that the monitor may have started again |
//! | `faults` | page faults, other exceptions, the end of memory |
//! | `signals`, `phones` | a process's handler; a piece of its code in kernel context |
//! | `timer`, `attendant` | the timer's interrupt, and what is due at it |

pub(crate) mod attendant;
mod faults;
pub mod lives;
mod phones;
mod services;
mod signals;
mod state;
mod timer;

pub(crate) use state::EXIT_STATUS;
pub use state::{KILLED, ORDERED, Processes, TAGGED};
