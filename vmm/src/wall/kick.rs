//! Kicks, as both threads see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::VmmError;
use crate::host::kvm::KickTarget;

/// Interrupts the thread that runs the guest. Clones are the same kick.
#[derive(Clone, Debug)]
pub struct Kick(Arc<Kicked>);

#[derive(Debug)]
struct Kicked {
    asked: AtomicBool,
    target: KickTarget,
}

impl Kick {
    pub(super) fn of_this_thread() -> Result<Self, VmmError> {
        let target = KickTarget::this_thread().map_err(VmmError::resource("the kick signal"))?;
        Ok(Self(Arc::new(Kicked { asked: AtomicBool::new(false), target })))
    }

    /// Returns whether there was a kick since the last call, and so answers it.
    #[inline]
    pub fn take(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed) && self.0.asked.swap(false, Ordering::AcqRel)
    }

    pub(super) fn ask(&self) {
        self.0.asked.store(true, Ordering::Release);
        self.0.target.signal();
    }

    /// The number of the thread that is kicked.
    pub(super) fn thread(&self) -> i32 {
        self.0.target.thread()
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }
}
