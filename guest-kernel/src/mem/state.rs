//! The state of memory: what its files share.

use abi::Frame;
use abi::loan::Loan;

use super::pager::Pager;
use crate::base::Core;
use crate::base::hardware::Hardware;
use crate::base::layer::layer;
use crate::base::process::Chain;

/// Loans that can be open at once.
pub const LOAN_SLOTS: usize = 256;

/// Memory, on the process table.
pub struct Memory<H> {
    pub(super) core: Core<H>,
    pub(super) pager: Pager,
    pub(super) loans: &'static mut [Loan; LOAN_SLOTS],
    pub(super) first_free_loan: usize,
    pub(super) loan_serial: u32,
    pub(super) kernel_root: Frame,
    /// A reserved page could not be given during the present system call.
    pub(super) starved: bool,
    /// Frames that are kept from use.
    pub(super) withheld: Chain,
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
