//! The loan table: which frames of one process are mapped into a window of another, and why that is in order.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::LOAN_PAGES;
use crate::{GuestVirt, Pid};

/// No loan.
pub const LOAN_NONE: u32 = 0;
/// The borrower works on the frames.
pub const LOAN_ACTIVE: u32 = 1;
/// The loan has ended; the window is still to be taken down.
pub const LOAN_DRAINING: u32 = 2;

/// One loan, 64 bytes. It covers a sharing of `frames` between `lender` and `borrower` only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Loan {
    /// [`LOAN_NONE`], [`LOAN_ACTIVE`] or [`LOAN_DRAINING`].
    pub state: u32,
    /// Serial number, from 1, never used twice.
    pub id: u32,
    /// The lender.
    pub lender: Pid,
    /// The borrower.
    pub borrower: Pid,
    /// First page of the window in the borrower's address space.
    pub window: GuestVirt,
    /// First page in the lender's address space.
    pub source: GuestVirt,
    /// Pages lent.
    pub pages: u32,
    /// The next loan of the borrower that awaits teardown: index in the loan table plus one, or 0.
    pub next: u32,
    /// Frame numbers, `pages` of them.
    pub frames: [u32; LOAN_PAGES],
    /// Zero.
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<Loan>() == 64);
