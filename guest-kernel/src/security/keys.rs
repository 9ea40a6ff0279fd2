//! The privilege subsystem: which uid may have which keys, and the log of grants. (In the story: the
//! Keymaster.)
//!
//! A kernel process grants keys by message: asked on [`PORT_KEYS`](abi::syscall::PORT_KEYS), it grants those
//! of the wanted keys that the sender's uid is entitled to. It is correct in itself. The log lies in a frame
//! from the pager like everything else, and costs nothing until the first request.

use abi::Frame;
use abi::frame::FrameKind;
use abi::syscall::{Error, FIRST_PERSON, GRANT_SLOTS, Grant, Keys};
use abi::trace::Kind;
use zerocopy::{FromBytes, IntoBytes};

use super::Security;
use crate::base::arguments::GrantArguments;
use crate::base::hardware::Hardware;
use crate::base::index::Slot;

/// The keys that a uid may have.
pub const fn entitled(uid: u32) -> u32 {
    match uid {
        0 => Keys::WATCHDOG | Keys::PHONE | Keys::AGENT,
        1..FIRST_PERSON => Keys::PHONE,
        _ => 0,
    }
}

impl<H: Hardware> Security<H> {
    /// Gives keys to a process, and logs what was wanted and what was given; for kernel processes.
    #[inline(never)]
    pub(crate) fn grant(&mut self, slot: Slot, arguments: GrantArguments) -> Result<(), Error> {
        let GrantArguments { to, wanted, granted } = arguments;
        let process = self.process(slot);
        let by = process.d.pid;
        if process.d.ring != 0 {
            return Err(Error::Denied);
        }
        let to = self.find_named(to).ok_or(Error::Dead)?;
        if self.info().grant_log.0 == 0 {
            let frame = self.give(slot, FrameKind::Keys).map_err(|_| Error::Exhausted)?;
            self.info_mut().grant_log = frame.base();
        }
        let (wanted, granted, tick) = (wanted as u32, granted as u32, self.now());
        let process = self.process(to);
        process.d.keys |= granted;
        let pid = process.d.pid;
        self.grant_serial = self.grant_serial.wrapping_add(1);
        let serial = self.grant_serial;
        let log = self.info().grant_log.frame();
        self.grant_log(log)[serial as usize % GRANT_SLOTS] =
            Grant { serial, pid, wanted, granted, tick, reserved: 0 };
        if wanted & !granted != 0 {
            self.counters().withheld += 1;
        }
        if granted != 0 {
            self.counters().granted += u64::from(granted.count_ones());
            self.emit(Kind::Grant, pid, granted, u64::from(by.0), 0);
        }
        Ok(())
    }

    fn grant_log(&mut self, frame: Frame) -> &mut [Grant; GRANT_SLOTS] {
        match <[Grant; GRANT_SLOTS]>::mut_from_bytes(self.hw().page(frame).as_mut_bytes()) {
            Ok(log) => log,
            // A frame has exactly the size of the log.
            Err(_) => unreachable!(),
        }
    }
}
