//! The state of processes: what its files share.

use abi::service::{SERVICE_SLOTS, Service};

use super::timer::TimerInterrupt;
use crate::base::layer::layer;
use crate::ipc::Ipc;

/// The status of a process that was ended by others.
pub const KILLED: u64 = 256;
/// Of one that was tagged as a violator.
pub const TAGGED: u64 = 320;
/// Of one that the host had ended.
pub const ORDERED: u64 = 384;

/// What a process can say of its own end; greater numbers are the kernel's.
pub(crate) const EXIT_STATUS: u64 = 0xff;

/// Processes, on IPC.
pub struct Processes<H> {
    pub(super) ipc: Ipc<H>,
    pub(super) services: &'static mut [Service; SERVICE_SLOTS],
    pub(super) spawn_serial: u64,
    pub(super) timer: TimerInterrupt,
    /// The address that a function called by phone returns to.
    pub(super) phone_end: u64,
}

layer!(Processes over Ipc in ipc);

impl<H> Processes<H> {
    /// Creates the layer.
    #[inline(always)]
    pub(crate) fn new(ipc: Ipc<H>, services: &'static mut [Service; SERVICE_SLOTS]) -> Self {
        Self { ipc, services, spawn_serial: 0, timer: TimerInterrupt::default(), phone_end: 0 }
    }

    /// Sets the address that a function called by phone returns to.
    pub fn set_phone_end(&mut self, address: u64) {
        self.phone_end = address;
    }
}

#[cfg(test)]
impl<H> Processes<H> {
    /// The timer's interrupt.
    pub(crate) fn timer(&self) -> &TimerInterrupt {
        &self.timer
    }

    /// The timer's interrupt, to be changed.
    pub(crate) fn timer_mut(&mut self) -> &mut TimerInterrupt {
        &mut self.timer
    }
}
