//! Loans: a large message maps the sender's frames, writable, into a window of the receiver. The receiver
//! answers in place, and nothing is copied.
//!
//! ```text
//! NONE --open--> ACTIVE --reply, timeout or death of the lender--> DRAINING --the borrower's switch--> NONE
//! ```
//!
//! The first place of the design bug: when a loan ends, its window is *not* taken down. Unmapping means
//! flushing translations, which does not belong on the message path. The scheduler's switch does it before
//! the borrower runs again, and idle time does the rest.

use abi::layout::{LOAN_PAGES, PAGE_SIZE, USER_HEAP, USER_STATE, USER_WINDOWS, WINDOW_SLOTS};
use abi::loan::{LOAN_ACTIVE, LOAN_DRAINING, LOAN_NONE, Loan};
use abi::syscall::Error;
use abi::trace::Kind;
use abi::{Frame, GuestVirt};

use super::{LOAN_SLOTS, Memory};
use crate::base::hardware::Hardware;
use crate::base::index::{LoanIndex, Slot};
use crate::mem::space::{DATA, PRESENT, USER, WRITE, frame_of};

/// The frames of a loan.
pub(crate) type Lent = [u32; LOAN_PAGES];

impl<H: Hardware> Memory<H> {
    /// The frames behind a buffer that its owner wants to lend: whole pages, all writable. Those that are
    /// reserved and not there yet are given now: a loan is of frames.
    #[inline(always)]
    pub(crate) fn lendable(&mut self, slot: Slot, at: u64, bytes: u64) -> Result<Lent, Error> {
        if !at.is_multiple_of(PAGE_SIZE) {
            return Err(Error::Invalid);
        }
        if bytes == 0 { Ok([0; LOAN_PAGES]) } else { self.frames_behind(slot, at, bytes) }
    }

    fn frames_behind(&mut self, slot: Slot, at: u64, bytes: u64) -> Result<Lent, Error> {
        if bytes > LOAN_PAGES as u64 * PAGE_SIZE {
            return Err(Error::Invalid);
        }
        let mut frames = [0; LOAN_PAGES];
        for (page, frame) in frames.iter_mut().take(bytes.div_ceil(PAGE_SIZE) as usize).enumerate() {
            let at = at.checked_add(page as u64 * PAGE_SIZE).ok_or(Error::BadAddress)?;
            let mut entry = self.entry(slot, GuestVirt(at));
            if entry & PRESENT == 0 && self.page_in(slot, GuestVirt(at)) {
                entry = self.entry(slot, GuestVirt(at));
            }
            // Memory that it only shares, with a lender or with the kernel, cannot be lent.
            let borrowed = (USER_WINDOWS..USER_HEAP).contains(&at) || at == USER_STATE;
            if entry & (PRESENT | WRITE | USER) != PRESENT | WRITE | USER || borrowed {
                return Err(Error::BadAddress);
            }
            *frame = frame_of(entry).0 as u32;
        }
        Ok(frames)
    }

    /// Opens a loan of `frames`, those behind the buffer at `at`, and maps its window.
    #[inline(never)]
    pub(crate) fn open_loan(
        &mut self,
        lender: Slot,
        borrower: Slot,
        at: u64,
        bytes: u64,
        frames: Lent,
    ) -> Result<LoanIndex, Error> {
        let pages = bytes.div_ceil(PAGE_SIZE) as usize;
        if self.process(borrower).windows == u64::MAX {
            self.teardown(borrower);
        }
        if self.free_loan().is_none() {
            self.teardown_all();
        }
        let place = (!self.process(borrower).windows).trailing_zeros() as usize;
        let index = self.free_loan().filter(|_| place < WINDOW_SLOTS).ok_or(Error::Exhausted)?;
        let window = GuestVirt(USER_WINDOWS + (place * LOAN_PAGES) as u64 * PAGE_SIZE);
        for (page, frame) in frames.iter().take(pages).enumerate() {
            let page = window.add(page as u64 * PAGE_SIZE);
            self.map(borrower, page, Frame(u64::from(*frame)), DATA).map_err(|_| Error::Exhausted)?;
        }
        self.process(borrower).windows |= 1 << place;
        self.loan_serial += 1;
        let id = self.loan_serial;
        let (lender_pid, borrower_pid) = (self.process(lender).d.pid, self.process(borrower).d.pid);
        self.loans[index] = Loan {
            state: LOAN_ACTIVE,
            id,
            lender: lender_pid,
            borrower: borrower_pid,
            window,
            source: GuestVirt(at),
            pages: pages as u32,
            next: 0,
            frames,
            reserved: [0; 2],
        };
        self.counters().loans += 1;
        for frame in frames.iter().take(pages) {
            self.emit(Kind::Lend, lender_pid, id, u64::from(*frame), u64::from(borrower_pid.0));
        }
        Ok(LoanIndex::new(index))
    }

    /// An open loan.
    #[inline(always)]
    pub(crate) fn loan(&self, loan: LoanIndex) -> &Loan {
        &self.loans[loan.index()]
    }

    fn free_loan(&mut self) -> Option<usize> {
        let from = self.first_free_loan;
        let is_free = |index: &usize| self.loans[*index].state == LOAN_NONE;
        let found = (from..LOAN_SLOTS).find(is_free).or_else(|| (0..from).find(is_free))?;
        self.first_free_loan = found;
        Some(found)
    }

    /// Ends a loan. Its window stands until the borrower's next switch.
    #[inline(always)]
    pub(crate) fn end_loan(&mut self, loan: LoanIndex) {
        if loan.is_none() {
            return;
        }
        let index = loan.index();
        let Loan { id, lender, borrower, .. } = self.loans[index];
        let process = self.process(Slot::of(borrower));
        let first = core::mem::replace(&mut process.pending, loan);
        let ended = &mut self.loans[index];
        ended.state = LOAN_DRAINING;
        ended.next = first.link();
        if first.is_none() {
            self.info_mut().pending_spaces += 1;
        }
        self.emit(Kind::LoanEnd, lender, id, u64::from(borrower.0), 0);
    }

    /// Takes down the windows of all ended loans of the process in `slot`; the last one of all ends the
    /// epoch.
    pub(crate) fn teardown(&mut self, slot: Slot) {
        let mut loan = self.process(slot).pending;
        if loan.is_none() {
            return;
        }
        self.process(slot).pending = LoanIndex::NONE;
        while !loan.is_none() {
            let index = loan.index();
            let Loan { id, borrower, window, pages, next, .. } = self.loans[index];
            for page in 0..u64::from(pages) {
                self.unmap(slot, window.add(page * PAGE_SIZE));
            }
            self.process(slot).windows &= !(1 << window_place(window));
            self.loans[index].state = LOAN_NONE;
            self.emit(Kind::Teardown, borrower, id, window.0, 0);
            loan = LoanIndex::from_link(next);
        }
        self.settle();
    }

    /// Takes down every window that is pending anywhere.
    #[inline(never)]
    pub(crate) fn teardown_all(&mut self) {
        for slot in self.slots_used() {
            if self.info().pending_spaces == 0 {
                return;
            }
            if self.is_taken(slot) {
                self.teardown(slot);
            }
        }
    }

    /// Ends the loans of a borrower that dies: its windows go with its address space.
    pub(crate) fn drop_borrowed(&mut self, slot: Slot) {
        let process = self.process(slot);
        let (pid, windows, pending) = (process.d.pid, process.windows, process.pending);
        if windows == 0 {
            return;
        }
        process.pending = LoanIndex::NONE;
        for index in 0..LOAN_SLOTS {
            let Loan { state, id, borrower, window, .. } = self.loans[index];
            if state != LOAN_NONE && borrower == pid {
                self.loans[index].state = LOAN_NONE;
                if state == LOAN_ACTIVE {
                    let lender = self.loans[index].lender;
                    self.emit(Kind::LoanEnd, lender, id, u64::from(pid.0), 0);
                }
                self.emit(Kind::Teardown, pid, id, window.0, 0);
            }
        }
        if !pending.is_none() {
            self.settle();
        }
    }

    /// Counts one address space less with windows to be taken down; the last one ends the epoch. The fifth
    /// place of the design bug: one process that never comes through the switch keeps the epoch open for all,
    /// since an epoch for each address space would cost a list for each.
    fn settle(&mut self) {
        self.info_mut().pending_spaces -= 1;
        if self.info().pending_spaces == 0 {
            let ended = self.pager.epoch();
            let released = self.pager.end_epoch();
            self.publish_frames();
            self.emit(Kind::Epoch, abi::Pid::NONE, ended, u64::from(released), 0);
        }
    }
}

fn window_place(window: GuestVirt) -> u64 {
    (window.0 - USER_WINDOWS) / (LOAN_PAGES as u64 * PAGE_SIZE)
}
