//! Reads an x86-64 guest from outside. Knows nothing of KVM: all it needs is [`PhysicalMemory`].
//!
//! The way from bytes to a verdict has five steps, each a module:
//!
//! - [`memory`]: guest-physical memory, readable by address;
//! - [`paging`] and [`walk`]: what page-table entries mean, and the walk through a tree of them;
//! - [`space`]: the guest's own tables, and from them its address spaces;
//! - [`reverse`]: frame to mappings, over all address spaces;
//! - [`policy`]: which of these mappings should not be.
//!
//! Nothing read from a guest is trusted. Whatever its memory holds, a reading ends within a bound that is known
//! beforehand, and does not panic.
//!
//! # Example
//!
//! Two address spaces, made by hand, share a frame that belongs to the first. The second has no loan for it.
//!
//! ```
//! use abi::frame::{FrameEntry, FrameKind};
//! use abi::{Frame, GuestPhys, GuestVirt, Pid};
//! use introspect::{Paging, ReverseMap, Space, What, policy};
//!
//! // 16 frames. Frames 1 to 4 and 5 to 8 are the page tables of two processes, frame 9 is a page of the first.
//! let mut memory = vec![0u8; 16 * 4096];
//! let mut set = |table: u64, index: u64, value: u64| {
//!     let at = (table * 4096 + index * 8) as usize;
//!     memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
//! };
//! const ALLOW: u64 = 0b111; // present, writable, user
//! const NO_EXECUTE: u64 = 1 << 63;
//! for root in [1, 5] {
//!     set(root, 0, (root + 1) << 12 | ALLOW);
//!     set(root + 1, 0, (root + 2) << 12 | ALLOW);
//!     set(root + 2, 4, (root + 3) << 12 | ALLOW);
//! }
//! set(4, 3, 9 << 12 | ALLOW | NO_EXECUTE); // at 0x80_3000 of the first
//! set(8, 7, 9 << 12 | ALLOW | NO_EXECUTE); // at 0x80_7000 of the second
//!
//! // Who maps frame 9?
//! let (first, second) = (Pid::new(1, 0), Pid::new(2, 0));
//! let spaces = [Space { pid: first, root: Frame(1).base() }, Space { pid: second, root: Frame(5).base() }];
//! let map = ReverseMap::build(&memory, Paging::default(), spaces, ReverseMap::BUDGET);
//! let mappers: Vec<_> = map.of(Frame(9)).iter().map(|m| (map.pid(*m), m.virt())).collect();
//! assert_eq!(mappers, [(first, GuestVirt(0x80_3000)), (second, GuestVirt(0x80_7000))]);
//!
//! // Should they? The frame table says whose it is, and there is no loan.
//! let mut frames = vec![FrameEntry { kind: FrameKind::PageTable as u8, ..Default::default() }; 16];
//! frames[9] = FrameEntry { kind: FrameKind::User as u8, owner: first, ..Default::default() };
//! let findings = policy::check(&map, &frames, &[]);
//! assert_eq!(findings.len(), 1);
//! assert_eq!((findings[0].what, findings[0].frame), (What::Leak, Frame(9)));
//! let intruder = findings[0].uncovered().next().unwrap();
//! assert_eq!((intruder.pid, intruder.entry), (second, GuestPhys(8 * 4096 + 7 * 8)));
//! ```
#![forbid(unsafe_code)]

pub mod changed;
pub mod follow;
mod frames;
mod lists;
pub mod memory;
pub mod paging;
pub mod policy;
pub mod reverse;
pub mod space;
pub mod walk;

pub use changed::Changed;
pub use follow::{Followed, Touched};
pub use memory::{OutOfRange, PhysicalMemory};
pub use paging::{PageSize, Paging, Rights};
pub use policy::{Finding, Policy, What};
pub use reverse::{Mapped, Reach, ReverseMap};
pub use space::{Guest, Space};
pub use walk::{Budget, Cycle, Half, Mapping, NotMapped, Translation, WalkSummary};
