//! Three write-only ports by which the guest talks to the VMM: exit, doorbell, fill.
//!
//! | port | width | register | a write |
//! |---|---|---|---|
//! | 0xf4 | 1, 2, 4 | exit | ends the guest with this status; above 127 it becomes 127 and is flagged |
//! | 0xf8 | 4 | doorbell | reason in bits 0 to 7, page address in bits 12 to 31 |
//! | 0xfc | 4 | fill | zeroes the frame at this page-aligned guest-physical address |
//!
//! A write with another width, an unknown reason or an address that is not page-aligned is counted and
//! otherwise ignored. Reads return all ones, as for ports without a device.
//!
//! The contract is [`abi::layout`] and [`abi::info::Doorbell`]. The number and meaning of the exit port are
//! those of QEMU's `isa-debug-exit`, except that the status is passed on unchanged.

use abi::GuestPhys;
use abi::info::Doorbell;
use abi::layout::PAGE_SIZE;

use serde::{Deserialize, Serialize};

use crate::Action;

/// Largest exit status of a guest; shells use the higher ones.
pub const EXIT_MAX: u8 = 127;

/// Counts of accesses to the three ports since the last [`Doorbells::take_counts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Doorbells rung for a known reason.
    pub rung: u64,
    /// Doorbells with an unknown reason or a wrong width.
    pub unknown: u64,
    /// Requests to zero a frame.
    pub fills: u64,
    /// Fills with a misaligned address or a wrong width.
    pub bad_fills: u64,
    /// Exit statuses above [`EXIT_MAX`].
    pub clamped_exits: u64,
}

/// The three ports. Their only state is the counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Doorbells {
    counts: Counts,
}

impl Doorbells {
    /// Handles a write of `data`, little-endian, to the exit port.
    pub fn exit(&mut self, data: &[u8]) -> Action {
        let value = value(data);
        let clamped = value > u32::from(EXIT_MAX);
        self.counts.clamped_exits += u64::from(clamped);
        Action::Exit { code: if clamped { EXIT_MAX } else { value as u8 }, clamped }
    }

    /// Handles a write of `data`, little-endian, to the doorbell port.
    #[inline]
    pub fn ring(&mut self, data: &[u8]) -> Action {
        match double_word(data).and_then(Doorbell::parse) {
            Some((reason, page)) => {
                self.counts.rung += 1;
                Action::Doorbell { reason, page }
            }
            None => {
                self.counts.unknown += 1;
                Action::UnknownDoorbell(value(data))
            }
        }
    }

    /// Handles a write of `data`, little-endian, to the fill port.
    #[inline]
    pub fn fill(&mut self, data: &[u8]) -> Action {
        match double_word(data).map(|address| GuestPhys(u64::from(address))) {
            Some(address) if address.0.is_multiple_of(PAGE_SIZE) => {
                self.counts.fills += 1;
                Action::Fill(address.frame())
            }
            _ => {
                self.counts.bad_fills += 1;
                Action::None
            }
        }
    }

    /// Returns the counts.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the counts and resets them to zero.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Sets the counts.
    pub(crate) fn count_from(&mut self, counts: Counts) {
        self.counts = counts;
    }
}

/// Returns the value of an access of four bytes.
fn double_word(data: &[u8]) -> Option<u32> {
    data.try_into().ok().map(u32::from_le_bytes)
}

/// Returns the value of an access of up to four bytes; further bytes are ignored.
fn value(data: &[u8]) -> u32 {
    data.iter().take(4).rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::Frame;

    #[test]
    fn an_exit_status_is_taken_at_any_width() {
        let mut ports = Doorbells::default();
        for data in [&[42][..], &[42, 0], &[42, 0, 0, 0]] {
            assert_eq!(ports.exit(data), Action::Exit { code: 42, clamped: false });
        }
        assert_eq!(ports.exit(&[127]), Action::Exit { code: 127, clamped: false });
        assert_eq!(ports.counts(), Counts::default());
    }

    #[test]
    fn an_exit_status_that_is_too_great_never_looks_like_success() {
        let mut ports = Doorbells::default();
        for data in [&[128][..], &[255], &[0, 1], &[0, 0, 0, 1]] {
            assert_eq!(ports.exit(data), Action::Exit { code: 127, clamped: true });
        }
        assert_eq!(ports.counts().clamped_exits, 4);
    }

    #[test]
    fn a_doorbell_gives_its_reason_and_its_page() {
        let mut ports = Doorbells::default();
        let value = Doorbell::Hello.value(GuestPhys(0x12_3000));
        assert_eq!(
            ports.ring(&value.to_le_bytes()),
            Action::Doorbell { reason: Doorbell::Hello, page: GuestPhys(0x12_3000) }
        );
        assert_eq!(ports.counts(), Counts { rung: 1, ..Counts::default() });
    }

    #[test]
    fn an_unknown_doorbell_is_counted() {
        let mut ports = Doorbells::default();
        assert_eq!(ports.ring(&0xff_u32.to_le_bytes()), Action::UnknownDoorbell(0xff));
        assert_eq!(ports.ring(&[Doorbell::Tick as u8]), Action::UnknownDoorbell(2));
        assert_eq!(ports.ring(&[Doorbell::Tick as u8, 1]), Action::UnknownDoorbell(0x102));
        assert_eq!(ports.counts(), Counts { unknown: 3, ..Counts::default() });
    }

    #[test]
    fn only_an_aligned_double_word_fills() {
        let mut ports = Doorbells::default();
        assert_eq!(ports.fill(&0x1000_u32.to_le_bytes()), Action::Fill(Frame(1)));
        assert_eq!(ports.fill(&0xffff_f000_u32.to_le_bytes()), Action::Fill(Frame(0xf_ffff)));
        assert_eq!(ports.fill(&0x1001_u32.to_le_bytes()), Action::None);
        assert_eq!(ports.fill(&[0, 0x10]), Action::None);
        assert_eq!(ports.take_counts(), Counts { fills: 2, bad_fills: 2, ..Counts::default() });
        assert_eq!(ports.counts(), Counts::default());
    }
}
