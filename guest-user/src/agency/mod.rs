//! The daemon half of intrusion detection: judges what the kernel half taps. (In the story: Smith, Brown and
//! Jones.)
//!
//! A process that collects too many points is a violator and is tagged. Points are scored per class of taps:
//!
//! | class | a point | what an honest program does |
//! |---|---|---|
//! | ports | the first attempt on a port that does not exist or may not be bound | asks its few servers, dead or alive |
//! | messages | a refused reply for which no message was received | replies at most once to each message |
//! | memory | an attempt on the life or the memory of a process without the right to it | makes none |
//!
//! The state page holds the scores, so that they survive a restart of the daemon; each score drops by a point
//! every [`FORGIVING`] ticks. Lost taps count in favour of the process: they are taken for messages received.

#[cfg(target_os = "none")]
mod agent;
mod judge;

#[cfg(target_os = "none")]
pub use agent::Agent;
pub use judge::{
    FORGIVING, Judge, LIMIT_FORGED, LIMIT_PORTS, LIMIT_PROBES, Scores, Verdict, forget, forgive,
};
