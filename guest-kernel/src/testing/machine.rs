//! A machine of plain memory. Its translation cache is the worst that a processor may have: whatever is
//! mapped in the running address space is cached at once, and stays until it is flushed.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use abi::info::{COMMAND_SLOTS, Command, Doorbell, HOST_LISTENS};
use abi::layout::PAGE_SIZE;
use abi::{Frame, GuestVirt};

use crate::base::TRACE_SLOTS;
use crate::base::hardware::{Hardware, Page};
use crate::mem::space::{NO_EXECUTE, PRESENT, USER, WRITE, frame_of};

/// Page-fault error code: the page is there.
pub(super) const PROTECTION: u64 = 1;
/// It was a write.
pub(super) const WRITING: u64 = 2;
/// From ring 3.
pub(super) const FROM_USER: u64 = 4;
/// It was an instruction fetch.
pub(super) const FETCH: u64 = 16;

/// What a program does with its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Read,
    Write,
    Fetch,
}

/// The user half of an address space, as its page tables have it.
#[derive(Default)]
pub(super) struct Space {
    /// The frames of its page tables, the root first.
    pub(super) tables: Vec<Frame>,
    /// Each page that is mapped, and its entry, with the rights that all levels allow.
    pub(super) pages: Vec<(GuestVirt, u64)>,
}

pub(super) struct FakeMachine {
    memory: Vec<Page>,
    cached: BTreeMap<u64, u64>,
    pub(super) root: Frame,
    pub(super) resumed: Frame,
    pub(super) fault_address: u64,
    /// Whether there is a host that listens.
    pub(super) listens: bool,
    /// Records that the host has taken; it takes the whole ring when told that it is full.
    pub(super) tail: u64,
    pub(super) doorbells: Vec<u32>,
    pub(super) console: Vec<u8>,
    pub(super) pets: Vec<u8>,
    /// Commands ever given; those that the host has written, by number.
    pub(super) commands_given: u64,
    pub(super) commands: [Command; COMMAND_SLOTS],
}

impl FakeMachine {
    pub(super) fn new(frames: usize) -> Self {
        Self {
            memory: vec![Page([0; 512]); frames],
            cached: BTreeMap::new(),
            root: Frame(0),
            resumed: Frame(0),
            fault_address: 0,
            listens: false,
            tail: 0,
            doorbells: Vec::new(),
            console: Vec::new(),
            pets: Vec::new(),
            commands_given: 0,
            commands: [Command::default(); COMMAND_SLOTS],
        }
    }

    /// A frame's content; reading it changes nothing.
    pub(super) fn frame(&self, frame: Frame) -> &Page {
        &self.memory[frame.0 as usize]
    }

    /// The user half of the address space at `root`.
    pub(super) fn space(&self, root: Frame) -> Space {
        let mut space = Space::default();
        self.collect(&mut space, root, 4, 0, WRITE | USER);
        space
    }

    fn collect(&self, space: &mut Space, table: Frame, level: u64, from: u64, rights: u64) {
        space.tables.push(table);
        let entries = if level == 4 { 256 } else { 512 };
        // Most of a table is empty: eight entries are compared at a time.
        for (at, eight) in self.frame(table).0[..entries].chunks_exact(8).enumerate() {
            if eight == [0; 8] {
                continue;
            }
            for (index, entry) in eight.iter().enumerate().filter(|(_, entry)| *entry & PRESENT != 0) {
                let page = from + ((at as u64 * 8 + index as u64) << (12 + 9 * (level - 1)));
                let allowed = (entry & !(WRITE | USER)) | (entry & rights);
                if level == 1 {
                    space.pages.push((GuestVirt(page), allowed | (rights & NO_EXECUTE)));
                } else {
                    let rights = (allowed & (WRITE | USER)) | ((entry | rights) & NO_EXECUTE);
                    self.collect(space, frame_of(*entry), level - 1, page, rights);
                }
            }
        }
    }

    /// The running program's access to its memory: the frame behind the address, or the page fault's error
    /// code.
    pub(super) fn access(&self, at: u64, access: Access) -> Result<Frame, u64> {
        let kind = match access {
            Access::Read => FROM_USER,
            Access::Write => FROM_USER | WRITING,
            Access::Fetch => FROM_USER | FETCH,
        };
        let entry = *self.cached.get(&GuestVirt(at).page().0).ok_or(kind)?;
        let allowed = match access {
            Access::Read => true,
            Access::Write => entry & WRITE != 0,
            Access::Fetch => entry & NO_EXECUTE == 0,
        };
        if allowed && entry & USER != 0 { Ok(frame_of(entry)) } else { Err(kind | PROTECTION) }
    }

    /// The processor looks ahead: whatever is mapped now and not yet cached is.
    pub(super) fn look_ahead(&mut self) {
        for (page, entry) in self.space(self.root).pages {
            self.cached.entry(page.0).or_insert(entry);
        }
    }

    /// A page whose cached translation is not what the page tables say.
    pub(super) fn stale_translation(&self, space: &Space) -> Option<GuestVirt> {
        let stale =
            |(page, cached): (&u64, &u64)| match space.pages.binary_search_by_key(page, |(at, _)| at.0) {
                Ok(index) => space.pages[index].1 != *cached,
                Err(_) => true,
            };
        self.cached.iter().find(|each| stale(*each)).map(|(page, _)| GuestVirt(*page))
    }

    pub(super) fn write_word(&mut self, frame: Frame, at: u64, value: u64) {
        self.memory[frame.0 as usize].0[(at % PAGE_SIZE / 8) as usize] = value;
    }
}

impl Hardware for FakeMachine {
    fn page(&mut self, frame: Frame) -> &mut Page {
        assert!(frame.0 != 0, "frame 0 belongs to the firmware");
        &mut self.memory[frame.0 as usize]
    }

    fn zero(&mut self, frame: Frame) {
        self.page(frame).0.fill(0);
    }

    fn zero_table(&mut self, frame: Frame) {
        self.zero(frame);
    }

    fn flush_page(&mut self, page: GuestVirt) {
        self.cached.remove(&page.0);
    }

    fn load_root(&mut self, root: Frame) {
        self.root = root;
        self.cached.clear();
    }

    fn resume_from(&mut self, descriptor: Frame) {
        self.resumed = descriptor;
    }

    fn fault_address(&self) -> u64 {
        self.fault_address
    }

    fn ring(&mut self, value: u32) {
        self.doorbells.push(value);
        if let Some((Doorbell::TraceFull, _)) = Doorbell::parse(value) {
            self.tail += TRACE_SLOTS as u64;
        }
    }

    fn host(&self) -> (u32, u64) {
        (if self.listens { HOST_LISTENS } else { 0 }, self.tail)
    }

    fn commands_given(&self) -> u64 {
        self.commands_given
    }

    fn command(&self, nth: u64) -> Command {
        self.commands[nth as usize % COMMAND_SLOTS]
    }

    fn pet_watchdog(&mut self, code: u8) {
        self.pets.push(code);
    }

    fn print(&mut self, text: &[u8]) {
        self.console.extend_from_slice(text);
    }
}
