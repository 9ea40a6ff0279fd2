//! Address spaces of the Matrix are identified by the pid of their process.

use abi::Pid;

use crate::x86::space::SpaceId;

/// Returns the id of a process's address space; [`Pid::NONE`] stands for the kernel's own.
pub const fn space_id(pid: Pid) -> SpaceId {
    SpaceId(pid.0 as u64)
}

/// Returns the process of an id that [`space_id`] made.
pub const fn pid(id: SpaceId) -> Pid {
    Pid(id.0 as u32)
}
