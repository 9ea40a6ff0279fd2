//! The kernel's own objects and their frames: the page tables of each address space, and the objects that the
//! guest's own tables name. The frame table must give each of these frames that use. If it gives the frame to
//! a process, or marks it unused, the owner's next write lands in the kernel.
//!
//! The mappings of ring 3 do not show this: a user frame that serves as a page table may be mapped by its
//! owner alone, as it should be.
//!
//! Message buffers are not among them: no table of the guest names them.

use abi::frame::FrameKind;
use abi::info::Info;
use abi::layout::{DIRECT_MAP, MAX_MEMORY};
use abi::process::{Context, Descriptor, State};
use abi::{Frame, GuestPhys, Pid};
use core::mem::offset_of;

use crate::matrix::guest::{Guest, Process};
use crate::matrix::space::pid;
use crate::x86::reverse::ReverseMap;

/// The use of a frame by the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A page table of any level, in the tree of an address space.
    PageTable,
    /// A process descriptor, named by the process table.
    Descriptor,
    /// The stack on which a process waits in ring 0.
    KernelStack,
    /// The log of keys that were granted.
    Keys,
}

impl Role {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::PageTable, Self::Descriptor, Self::KernelStack, Self::Keys];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PageTable => "page-table",
            Self::Descriptor => "descriptor",
            Self::KernelStack => "kernel-stack",
            Self::Keys => "keys",
        }
    }

    /// Returns whether a frame of this kind may hold the object. Frames that the kernel has had since boot
    /// have the kind of the kernel.
    pub const fn is_right(self, kind: Option<FrameKind>) -> bool {
        matches!(
            (self, kind),
            (Self::PageTable, Some(FrameKind::PageTable | FrameKind::Kernel))
                | (Self::Descriptor, Some(FrameKind::Descriptor))
                | (Self::KernelStack, Some(FrameKind::KernelStack | FrameKind::Kernel))
                | (Self::Keys, Some(FrameKind::Keys))
        )
    }
}

/// An object that the kernel keeps in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Object {
    /// The frame.
    pub frame: Frame,
    /// Its use.
    pub role: Role,
    /// The process that it serves; [`Pid::NONE`] for the kernel itself.
    pub pid: Pid,
    /// The address of the reference to it: the page-table entry, or the field of the guest's tables; for a
    /// root the table itself.
    pub named_at: GuestPhys,
}

/// Returns the page tables of all address spaces in `map`.
pub fn tables(map: &ReverseMap) -> impl Iterator<Item = Object> + '_ {
    map.table_pages().map(|(table, space)| Object {
        frame: table.frame,
        role: Role::PageTable,
        pid: pid(space),
        named_at: table.entry,
    })
}

/// Returns the objects that the guest's own tables name: the log of keys, descriptors, and stacks of
/// processes that wait in ring 0.
pub fn named(guest: &Guest) -> impl Iterator<Item = Object> + '_ {
    let keys = guest.info.grant_log;
    let keys = (keys.0 != 0).then_some(Object {
        frame: keys.frame(),
        role: Role::Keys,
        pid: Pid::NONE,
        named_at: guest.info_at.add(offset_of!(Info, grant_log) as u64),
    });
    let descriptors = guest.processes.iter().map(|process| {
        let pid = process.descriptor.pid;
        let named_at = guest.info.process_table.add(pid.slot() as u64 * size_of::<u32>() as u64);
        Object { frame: process.frame, role: Role::Descriptor, pid, named_at }
    });
    keys.into_iter().chain(descriptors).chain(guest.processes.iter().filter_map(stack))
}

/// Returns the stack of a process that was in ring 0 when its registers were saved.
fn stack(process: &Process) -> Option<Object> {
    let Process { frame, descriptor: Descriptor { pid, root, context, .. } } = process;
    let waits = !matches!(process.state()?, State::Running | State::Zombie);
    // The byte below the stack pointer is written next. Stacks lie in the direct map.
    let at = context.rsp.wrapping_sub(1).wrapping_sub(DIRECT_MAP);
    (waits && *root != 0 && context.cs & 3 == 0 && at < MAX_MEMORY).then(|| Object {
        frame: GuestPhys(at).frame(),
        role: Role::KernelStack,
        pid: *pid,
        named_at: frame.base().add((offset_of!(Descriptor, context) + offset_of!(Context, rsp)) as u64),
    })
}
