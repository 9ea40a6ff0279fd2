//! Real time and the world outside, in a thread of their own: time-outs, the watchdog's seconds, signals,
//! typed keys.
//!
//! Owns the thread, its alarms and the signal handlers for SIGINT and SIGTERM. May use `host`'s kicks and the
//! errors; called by the owner of a machine, and `Machine` asks its [`Kick`]. The thread never touches a
//! machine. It sends [`WallEvent`]s over a channel and *kicks* the thread that runs the guest: a signal makes
//! `KVM_RUN` return, the vCPU loop sees the kick and its caller reads the channel. A signal that arrives a
//! moment before `KVM_RUN` begins is lost, so it is sent again each millisecond until the kick is answered.
//!
//! The thread that calls [`Wall::spawn`] is the one that is kicked. Dropping the [`Wall`] ends the thread and
//! closes everything that it had.

mod alarms;
mod event;
mod handle;
mod kick;
mod shared;
mod signals;
mod watcher;

pub use event::WallEvent;
pub use handle::{Patience, Wall, WallConfig};
pub use kick::Kick;
pub use signals::Signal;
