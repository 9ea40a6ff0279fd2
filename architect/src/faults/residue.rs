//! What a run leaves in memory: a hash of all that is alive, and the changes by faults that nobody has undone.

use abi::Frame;
use abi::frame::FrameKind;
use abi::layout::PAGE_SIZE;
use abi::process::Descriptor;
use blake3::Hasher;
use introspect::matrix::guest::Guest;
use introspect::x86::memory::PhysicalMemory;
use zerocopy::{FromBytes, IntoBytes};

use super::target::{HARDWARE_BITS, Word};

/// Hash of live user data and kernel tables: frames that belong to somebody or to the network, page tables, descriptors, and
/// the tables that the info block names. What the processor sets in page tables by itself does not count, nor do the kernel's
/// image, its stacks, and frames that are free.
pub fn hash<M: PhysicalMemory>(guest: &Guest, memory: &M) -> [u8; 32] {
    let mut hasher = Hasher::new();
    hasher.update(guest.frames.as_bytes());
    hasher.update(guest.loans.as_bytes());
    hasher.update(guest.flows.as_bytes());
    hasher.update(guest.gates.as_bytes());
    hasher.update(guest.services.as_bytes());
    let mut page = [0; PAGE_SIZE as usize / 8];
    for (fact, number) in guest.frames.iter().zip(0..) {
        let kind = FrameKind::from_raw(fact.kind);
        let alive = matches!(
            kind,
            Some(
                FrameKind::User
                    | FrameKind::Shared
                    | FrameKind::Keys
                    | FrameKind::Buffer
                    | FrameKind::PageTable
                    | FrameKind::Descriptor
            )
        );
        if !alive || memory.read_table(Frame(number).base(), &mut page).is_err() {
            continue;
        }
        match kind {
            Some(FrameKind::Descriptor) => descriptor(&page, &mut hasher),
            Some(FrameKind::PageTable) => {
                page.iter_mut().for_each(|entry| *entry &= !HARDWARE_BITS);
                hasher.update(page.as_bytes());
            }
            _ => drop(hasher.update(page.as_bytes())),
        }
    }
    *hasher.finalize().as_bytes()
}

/// Who a process is, what it may, where it stands and what it does: not the accounts that are kept of it, which differ as
/// soon as time passes in another way.
fn descriptor(page: &[u64], hasher: &mut Hasher) {
    let Ok((d, _)) = Descriptor::read_from_prefix(page.as_bytes()) else { return };
    let numbers = [
        d.magic,
        d.pid.0,
        d.parent.0,
        d.root,
        d.uid,
        d.keys,
        d.program,
        d.peer.0,
        d.frames,
        d.service.into(),
    ];
    hasher.update(numbers.as_bytes());
    hasher.update(&[d.state, d.ring, d.priority, d.effective, d.remedy, d.doomed, d.tagged]);
    hasher.update(&d.name);
    hasher.update(d.context.as_bytes());
}

/// What faults have changed in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub word: Word,
    /// What was there before.
    pub before: u64,
    /// The bits that they changed.
    pub mask: u64,
    /// What was there after the last change.
    pub value: u64,
    /// What the frame was used for, and by whom: kind and owner.
    pub usage: (u8, u32),
}

impl Change {
    /// Whether the bits are others than before and still as faults left them, in a frame that is still used for the same.
    pub fn stands<M: PhysicalMemory>(&self, guest: &Guest, memory: &M) -> bool {
        let Some(fact) = guest.fact(self.word.at.frame()) else { return false };
        let used = !matches!(
            FrameKind::from_raw(fact.kind),
            None | Some(FrameKind::Unused | FrameKind::Free | FrameKind::Quarantined)
        );
        let mask = if self.word.table { self.mask & !HARDWARE_BITS } else { self.mask };
        let now = super::target::read(memory, self.word);
        used && (fact.kind, fact.owner.0) == self.usage
            && (self.before ^ self.value) & mask != 0
            && now.is_some_and(|now| (now ^ self.value) & mask == 0)
    }
}
