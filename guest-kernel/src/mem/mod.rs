//! Memory: frames, address spaces, and windows onto frames on loan. It owns the frame table, the loan table
//! and the page tables of processes, and touches descriptors where they account for memory. Every layer above
//! calls it.
//!
//! | file | subject |
//! |---|---|
//! | `pager` | the free list, the quarantine, the epochs |
//! | `frames` | giving frames to processes, and taking them back |
//! | `space` | page tables |
//! | `loans` | loans, their windows, deferred teardown |
//! | `reserve` | pages that a process may have and has not touched yet |
//! | `copy` | data between user memory and the kernel |

pub(crate) mod copy;
mod frames;
pub(crate) mod loans;
pub mod pager;
pub(crate) mod reserve;
pub mod space;

use abi::Frame;
use abi::loan::Loan;

use crate::base::Core;
use crate::base::hardware::Hardware;
use crate::base::layer::layer;
use crate::base::process::Chain;
use pager::Pager;

/// Loans that can be open at once.
pub const LOAN_SLOTS: usize = 256;

/// Memory, on the process table.
pub struct Memory<H> {
    core: Core<H>,
    pager: Pager,
    loans: &'static mut [Loan; LOAN_SLOTS],
    first_free_loan: usize,
    loan_serial: u32,
    kernel_root: Frame,
    /// A reserved page could not be given during the present system call.
    starved: bool,
    /// Frames that are kept from use.
    withheld: Chain,
}

layer!(Memory over Core in core);

impl<H: Hardware> Memory<H> {
    /// Creates the layer.
    #[inline(always)]
    pub(crate) fn new(
        core: Core<H>,
        pager: Pager,
        loans: &'static mut [Loan; LOAN_SLOTS],
        kernel_root: Frame,
    ) -> Self {
        Self {
            core,
            pager,
            loans,
            first_free_loan: 0,
            loan_serial: 0,
            kernel_root,
            starved: false,
            withheld: Chain::default(),
        }
    }

    /// The pager, to be asked.
    pub(crate) fn pager(&self) -> &Pager {
        &self.pager
    }

    /// The root of the kernel's own address space.
    pub(crate) fn kernel_root(&self) -> Frame {
        self.kernel_root
    }

    /// Forgets whether a reserved page could not be given.
    #[inline(always)]
    pub(crate) fn clear_starved(&mut self) {
        self.starved = false;
    }

    /// Whether a reserved page could not be given since [`Self::clear_starved`].
    #[inline(always)]
    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }
}

#[cfg(test)]
impl<H> Memory<H> {
    /// The loan table.
    pub(crate) fn loans(&self) -> &[Loan; LOAN_SLOTS] {
        self.loans
    }
}
