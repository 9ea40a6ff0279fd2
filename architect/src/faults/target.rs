//! From a place in the language to a word in guest memory, as the guest is at this moment. Whatever there is to choose
//! from is put in a stable order first: slots of the process table, places in other tables, rising addresses.

use abi::frame::FrameKind;
use abi::layout::{LOAN_PAGES, PAGE_SIZE};
use abi::loan::{LOAN_ACTIVE, Loan};
use abi::process::{Descriptor, State};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::guest::{Guest, Process};
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::paging::{PageSize, Paging, bits};
use introspect::x86::walk::{Budget, Half};

use crate::scenario::fault::draw::Stream;
use crate::scenario::fault::model::{Place, Who};

/// Bits of a page-table entry that the processor sets by itself, accessed and dirty: when, is not to be known (Intel SDM
/// vol. 3, 4.8), so no event and no comparison may depend on them.
pub const HARDWARE_BITS: u64 = 0x60;

/// A word of guest memory that a fault changes or looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where it is.
    pub at: GuestPhys,
    /// Its length: 1, 4 or 8.
    pub bytes: u8,
    /// Whose it is; [`Pid::NONE`] if nobody's.
    pub pid: Pid,
    /// Whether it is in a page table: who writes it must have translations forgotten.
    pub table: bool,
}

/// Why a fault found nothing to act on; the numbers of [`abi::trace::Kind::FaultMissed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No such process.
    Process = 1,
    /// Nothing is mapped there, or no entry is present.
    Mapping = 2,
    /// Nothing is on its way.
    Message = 3,
    /// No frame of this kind, or no memory at this address.
    Frame = 4,
    /// There is no other one to change places with.
    Other = 5,
    /// The kernel does not do that to a process of its own.
    Kernel = 6,
}

impl Missing {
    const ALL: [Self; 6] =
        [Self::Process, Self::Mapping, Self::Message, Self::Frame, Self::Other, Self::Kernel];

    /// What was missing, for people, by its number in the event.
    pub fn explain(number: u64) -> &'static str {
        match Self::ALL.into_iter().find(|missing| *missing as u64 == number) {
            Some(Self::Process) => "no such process",
            Some(Self::Mapping) => "nothing mapped there",
            Some(Self::Message) => "no message on its way",
            Some(Self::Frame) => "no such frame",
            Some(Self::Other) => "no second entry to swap with",
            Some(Self::Kernel) => "a process of the kernel's own",
            None => "unknown",
        }
    }
}

/// The guest as it is.
pub struct Scene<'a, M> {
    /// Its tables.
    pub guest: &'a Guest,
    /// Its memory.
    pub memory: &'a M,
}

impl<M: PhysicalMemory> Scene<'_, M> {
    /// The word at a place.
    pub fn word(&self, place: &Place, stream: &mut Stream) -> Result<Word, Missing> {
        let word = |at: GuestPhys, bytes: u8, pid: Pid| {
            let table = self.kind(at.frame()) == Some(FrameKind::PageTable);
            Word { at, bytes, pid, table }
        };
        let found = match place {
            Place::Physical(at) => word(GuestPhys(*at), 8, self.owner(GuestPhys(*at).frame())),
            Place::Frame(kind) => {
                let frames: Vec<Frame> = self.frames(*kind).collect();
                let at = self.any_word(stream.one_of(&frames).ok_or(Missing::Frame)?.base(), stream);
                word(at, 8, self.owner(at.frame()))
            }
            Place::Virtual { process, address } => {
                let d = self.process(process, stream)?.descriptor;
                let at = match address {
                    Some(at) => self.translate(&d, GuestVirt(*at)).ok_or(Missing::Mapping)?,
                    None => {
                        let pages = self.private_pages(&d);
                        self.any_word(stream.one_of(&pages).ok_or(Missing::Mapping)?.base(), stream)
                    }
                };
                word(at, 8, d.pid)
            }
            Place::PageTable { process, address, level } => {
                let d = self.process(process, stream)?.descriptor;
                let at = match address {
                    Some(at) => self.entry(root(&d), *at, *level).ok_or(Missing::Mapping)?,
                    None => *stream.one_of(&self.entries(root(&d), *level)).ok_or(Missing::Mapping)?,
                };
                Word { at, bytes: 8, pid: d.pid, table: true }
            }
            Place::Descriptor { process, field } => {
                let process = self.process(process, stream)?;
                let at = process.frame.base().add(field.offset());
                word(at, field.bytes(), process.descriptor.pid)
            }
            Place::Register { register, process: Some(process) } => {
                let process = self.process(process, stream)?;
                word(process.frame.base().add(register.offset()), 8, process.descriptor.pid)
            }
            Place::Loan(whose) => {
                let loans = self.loans(whose.as_ref());
                let loan = stream.one_of(&loans).ok_or(Missing::Message)?;
                let frames: Vec<u32> = loan.frames[..LOAN_PAGES.min(loan.pages as usize)].to_vec();
                let frame = stream.one_of(&frames).ok_or(Missing::Message)?;
                word(self.any_word(Frame(u64::from(*frame)).base(), stream), 8, loan.lender)
            }
            Place::Datagram => {
                let frames: Vec<Frame> = match self.guest.info.buffers_used {
                    0 => Vec::new(),
                    _ => self.frames(FrameKind::Buffer).collect(),
                };
                let at = self.any_word(stream.one_of(&frames).ok_or(Missing::Message)?.base(), stream);
                word(at, 8, Pid::NONE)
            }
            Place::Register { process: None, .. } | Place::Machine | Place::Device(_) | Place::Process(_) => {
                return Err(Missing::Frame);
            }
        };
        if self.read(found).is_some() { Ok(found) } else { Err(Missing::Frame) }
    }

    /// Another entry of the same kind, for two to change places: of the same page table, or the same field of another
    /// process's descriptor.
    pub fn other(&self, place: &Place, word: Word, stream: &mut Stream) -> Result<Word, Missing> {
        let others: Vec<Word> = match place {
            Place::PageTable { .. } => {
                let table = word.at.frame().base();
                let entries = (0..PAGE_SIZE / 8).map(|nth| table.add(nth * 8));
                let present =
                    |at: &GuestPhys| self.memory.read_u64(*at).is_ok_and(|entry| entry & bits::PRESENT != 0);
                entries.filter(|at| *at != word.at).filter(present).map(|at| Word { at, ..word }).collect()
            }
            Place::Descriptor { field, .. } => {
                let others = self.alive().filter(|process| process.descriptor.pid != word.pid);
                let at = |process: &Process| process.frame.base().add(field.offset());
                others.map(|process| Word { at: at(process), pid: process.descriptor.pid, ..word }).collect()
            }
            _ => Vec::new(),
        };
        stream.one_of(&others).copied().ok_or(Missing::Other)
    }

    /// What is in a word; `None` where there is no memory.
    pub fn read(&self, word: Word) -> Option<u64> {
        read(self.memory, word)
    }

    /// A process.
    pub fn process(&self, who: &Who, stream: &mut Stream) -> Result<Process, Missing> {
        let fit: Vec<&Process> = self.alive().filter(|process| self.is(who, &process.descriptor)).collect();
        stream.one_of(&fit).map(|process| **process).ok_or(Missing::Process)
    }

    /// Whether a process is the one that is meant.
    pub fn is(&self, who: &Who, descriptor: &Descriptor) -> bool {
        is(who, descriptor)
            || match who {
                Who::Service(place) => self
                    .guest
                    .services
                    .get(*place as usize)
                    .is_some_and(|service| service.pid == descriptor.pid),
                _ => false,
            }
    }

    fn alive(&self) -> impl Iterator<Item = &Process> {
        self.guest.processes.iter().filter(|process| process.state() != Some(State::Zombie))
    }

    fn kind(&self, frame: Frame) -> Option<FrameKind> {
        self.guest.fact(frame).and_then(|fact| FrameKind::from_raw(fact.kind))
    }

    fn owner(&self, frame: Frame) -> Pid {
        self.guest.fact(frame).map_or(Pid::NONE, |fact| fact.owner)
    }

    fn frames(&self, kind: FrameKind) -> impl Iterator<Item = Frame> {
        let all = self.guest.frames.iter().zip(0..);
        all.filter(move |(fact, _)| fact.kind == kind as u8).map(|(_, number)| Frame(number))
    }

    fn any_word(&self, page: GuestPhys, stream: &mut Stream) -> GuestPhys {
        page.add(stream.below(PAGE_SIZE / 8) * 8)
    }

    /// Active loans, in the order of their table.
    fn loans(&self, whose: Option<&Who>) -> Vec<Loan> {
        let is = |pid| {
            self.guest.process(pid).is_some_and(|process| match whose {
                Some(who) => self.is(who, &process.descriptor),
                None => true,
            })
        };
        let active = self.guest.loans.iter().filter(|loan| loan.state == LOAN_ACTIVE && loan.pages > 0);
        active.filter(|loan| whose.is_none() || is(loan.lender) || is(loan.borrower)).copied().collect()
    }

    fn translate(&self, descriptor: &Descriptor, at: GuestVirt) -> Option<GuestPhys> {
        Paging::default().translate(self.memory, root(descriptor), at).ok().map(|found| found.phys)
    }

    /// Frames that a process can write, in rising order of address.
    fn private_pages(&self, descriptor: &Descriptor) -> Vec<Frame> {
        let mut pages = Vec::new();
        let _ = Paging::default().walk(
            self.memory,
            root(descriptor),
            Half::User,
            Budget::default(),
            &mut |leaf| {
                if leaf.size == PageSize::Small && leaf.rights.write {
                    pages.push(leaf.frame);
                }
            },
        );
        pages
    }

    /// The entry for an address at a level, if the tables go down as far.
    fn entry(&self, root: GuestPhys, at: u64, level: u8) -> Option<GuestPhys> {
        let mut table = root;
        for above in (level + 1..=4).rev() {
            table = self.below(nth(table, at >> shift(above) & 511))?;
        }
        Some(nth(table, at >> shift(level) & 511))
    }

    /// The present entries of a level in the processes' half, in rising order of address.
    fn entries(&self, root: GuestPhys, level: u8) -> Vec<GuestPhys> {
        let mut entries: Vec<_> = (0..256).map(|number| nth(root, number)).collect();
        for _ in level..4 {
            let tables = entries.iter().filter_map(|entry| self.below(*entry)).take(1 << 12);
            entries = tables.flat_map(|table| (0..512).map(move |number| nth(table, number))).collect();
        }
        entries.retain(|at| self.memory.read_u64(*at).is_ok_and(|entry| entry & bits::PRESENT != 0));
        entries
    }

    /// The table that an entry leads to.
    fn below(&self, entry: GuestPhys) -> Option<GuestPhys> {
        let value = self.memory.read_u64(entry).ok()?;
        (value & bits::PRESENT != 0 && value & bits::LARGE == 0).then_some(GuestPhys(value & bits::ADDRESS))
    }
}

/// What is in a word; `None` where there is no memory.
pub fn read<M: PhysicalMemory>(memory: &M, word: Word) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read(word.at, bytes.get_mut(..word.bytes.into())?).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// Whether a process is the one that is meant, as far as its descriptor says it.
pub fn is(who: &Who, descriptor: &Descriptor) -> bool {
    match who {
        Who::Any => descriptor.ring == 3,
        Who::Pid(pid) => descriptor.pid == *pid,
        Who::Label(label) => descriptor.label().eq(label.chars()),
        Who::Service(place) => u32::from(descriptor.service).checked_sub(1) == Some(*place),
    }
}

fn root(descriptor: &Descriptor) -> GuestPhys {
    Frame(u64::from(descriptor.root)).base()
}

fn nth(table: GuestPhys, number: u64) -> GuestPhys {
    table.add(number * 8)
}

const fn shift(level: u8) -> u32 {
    12 + 9 * (level as u32 - 1)
}
