//! The observer: what the Architect sees from outside. At each doorbell it takes the records out of the guest's trace,
//! and at each tick it reads the guest's tables and page tables and holds them against the policy. It also carries the
//! monitor's commands to the guest.
//!
//! The guest may have damaged anything it shows; the observer then says that it is blind, and never follows.

use std::collections::BTreeSet;

use abi::GuestPhys;
use abi::info::{COMMAND_SLOTS, Command, FROM_HOST, FromHost, HOST_FILLS, HOST_LISTENS, Info};
use abi::trace::Record;
use introspect::Changed;
use introspect::matrix::guest::{Guest, News, ReadError};
use introspect::matrix::policy::{Finding, Policy, What};
use introspect::x86::Space;
use introspect::x86::follow::Followed;
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::paging::Paging;
use introspect::x86::reverse::ReverseMap;
use zerocopy::IntoBytes;

use crate::analysis::hidden::{Found, Hidden};
use crate::analysis::ledger::Sharing;
use crate::scenario::AuditKeys;
use vmm::host::memory::GuestMemory;

/// Most records that a ring can hold, so that a damaged size costs no more than this.
const MOST_SLOTS: u64 = 1 << 16;

/// A view of one incarnation of a guest.
pub struct Observer {
    info_at: GuestPhys,
    /// Records taken so far. Kept here: the guest's own copy may be damaged.
    tail: u64,
    /// Commands given so far, and the last of them in their places.
    given: u64,
    commands: [Command; COMMAND_SLOTS],
    guest: Guest,
    hidden: Hidden,
    news: News,
    /// The address spaces: as many that the guest's tables have, and then the hidden ones.
    spaces: Vec<Space>,
    listed: usize,
    map: Followed,
    /// There was no audit yet, or the last one came to nothing.
    missed: bool,
    policy: Policy,
    findings: Vec<Finding>,
    known: BTreeSet<(What, Sharing)>,
}

impl Observer {
    /// The guest has said where its info block is: checks it, and tells the guest that somebody listens. Audits are to
    /// look for these things.
    pub fn attach(memory: &GuestMemory, info_at: GuestPhys, keys: AuditKeys) -> Result<Self, ReadError> {
        let guest = Guest::read(memory, info_at)?;
        let hidden = Hidden::new(keys, memory.regions(), guest.info.kernel_root);
        let observer = Self {
            info_at,
            tail: 0,
            given: 0,
            commands: [Command::default(); COMMAND_SLOTS],
            guest,
            hidden,
            news: News::default(),
            spaces: Vec::new(),
            listed: 0,
            missed: true,
            map: Followed::new(Paging::default(), ReverseMap::BUDGET),
            policy: Policy::new(keys.policy),
            findings: Vec::new(),
            known: BTreeSet::new(),
        };
        observer.tell(memory);
        Ok(observer)
    }

    /// Writes the host's part of the info page.
    fn tell(&self, memory: &GuestMemory) {
        let words = FromHost {
            features: HOST_LISTENS | HOST_FILLS,
            reserved: 0,
            trace_tail: self.tail,
            commands_given: self.given,
            commands: self.commands,
        };
        // The page was read, so it is there.
        let _ = memory.write(self.info_at.add(FROM_HOST), words.as_bytes());
    }

    /// Takes all new records out of the ring, in order.
    pub fn drain(&mut self, memory: &GuestMemory, mut take: impl FnMut(&Record)) {
        let Ok(info) = memory.read_value::<Info>(self.info_at) else { return };
        let slots = u64::from(info.trace_slots).clamp(1, MOST_SLOTS);
        // A damaged head makes at most one ring's worth of nonsense.
        let from = self.tail.max(info.trace_head.saturating_sub(slots));
        for number in from..info.trace_head {
            let at = info.trace_ring.add(number % slots * size_of::<Record>() as u64);
            if let Ok(record) = memory.read_value::<Record>(at) {
                self.hidden.apply(&record);
                take(&record);
            }
        }
        self.tail = info.trace_head;
        self.tell(memory);
    }

    /// How many commands can be given now, as far as the guest had taken them at the last audit.
    pub fn room(&self) -> usize {
        // A guest that has taken more than there were is damaged, and gets its commands all the same.
        let waiting = self.given.saturating_sub(self.guest.info.commands_taken);
        COMMAND_SLOTS.saturating_sub(usize::try_from(waiting).unwrap_or(COMMAND_SLOTS))
    }

    /// Gives the guest commands, as many as there is room for.
    pub fn command(&mut self, memory: &GuestMemory, commands: impl IntoIterator<Item = Command>) {
        for command in commands.into_iter().take(self.room()) {
            self.commands[self.given as usize % COMMAND_SLOTS] = command;
            self.given += 1;
        }
        self.tell(memory);
    }

    /// Reads tables and page tables, as far as they are in frames that were written since the last audit, and judges
    /// what came of it. An error means that the guest's own tables cannot be read any more.
    pub fn audit<M: PhysicalMemory + ?Sized>(
        &mut self,
        memory: &M,
        changed: &Changed,
    ) -> Result<(), ReadError> {
        // What changed before an audit that came to nothing is forgotten.
        let everything = Changed::everything();
        let changed = if std::mem::replace(&mut self.missed, true) { &everything } else { changed };
        self.guest.update(memory, self.info_at, changed, &mut self.news)?;
        self.hidden.look(memory, &self.guest);
        if self.news.everything || self.news.processes || !self.news.facts.is_empty() {
            self.spaces.clear();
            self.spaces.extend(self.guest.spaces());
            self.listed = self.spaces.len();
        }
        self.spaces.truncate(self.listed);
        self.spaces.extend(self.hidden.spaces());
        self.map.update(memory, &self.spaces, changed);
        self.policy.recheck_guest(&self.map, &self.guest, &self.news, &mut self.findings);
        self.missed = false;
        Ok(())
    }

    /// The next audit begins with nothing known.
    pub fn forget(&mut self) {
        self.map.forget();
        self.missed = true;
    }

    /// Who maps what, as of the last audit.
    pub fn map(&self) -> &ReverseMap {
        self.map.map()
    }

    /// What the last audit found, where it breaks a rule.
    pub fn violations(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.what.is_violation())
    }

    /// Whether an audit at this tick looks through all of memory for hidden address spaces, and wants to know
    /// [`Self::processor_has`].
    pub fn scans_at(&self, now: u64) -> bool {
        self.hidden.is_due(now)
    }

    /// The root of page tables that the processor has, for the next audit.
    pub fn processor_has(&mut self, root: GuestPhys) {
        self.hidden.running(root);
    }

    /// Hidden address spaces that were found for the first time since this was last asked.
    pub fn newly_hidden(&mut self) -> Vec<Found> {
        self.hidden.take_new()
    }

    /// Whether this is the first audit that finds this sharing.
    pub fn is_new(&mut self, what: What, sharing: Sharing) -> bool {
        self.known.insert((what, sharing))
    }

    /// Whether the last audit could follow every page table to its end.
    pub fn is_complete(&self) -> bool {
        self.map.map().is_complete() && self.guest.problems.is_empty()
    }

    /// The guest's tables as last read.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Where the guest's process table is.
    pub fn process_table(&self) -> GuestPhys {
        self.guest.info.process_table
    }

    /// Where the guest's info block is.
    pub fn info_at(&self) -> GuestPhys {
        self.info_at
    }

    /// The info block as it is now; as last read, if it is not there any more.
    pub fn info(&self, memory: &GuestMemory) -> Info {
        memory.read_value(self.info_at).unwrap_or(self.guest.info)
    }

    /// Virtual time as the guest has it now.
    pub fn now(&self, memory: &GuestMemory) -> u64 {
        let at = self.info_at.add(core::mem::offset_of!(Info, tick) as u64);
        memory.read_u64(at).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::info::{COMMAND_KILL, INFO_MAGIC, VERSION};

    const INFO_AT: GuestPhys = GuestPhys(0x5000);

    fn info(commands_taken: u64) -> Info {
        Info { magic: INFO_MAGIC, version: VERSION, commands_taken, ..Info::default() }
    }

    fn from_host(memory: &GuestMemory) -> FromHost {
        memory.read_value(INFO_AT.add(FROM_HOST)).unwrap()
    }

    fn kill(subject: u32) -> Command {
        Command { what: COMMAND_KILL, subject }
    }

    #[test]
    fn commands_wait_in_a_ring_that_never_holds_more_than_fit() {
        let memory = GuestMemory::new(2).unwrap();
        memory.write(INFO_AT, info(0).as_bytes()).unwrap();
        let mut observer = Observer::attach(&memory, INFO_AT, AuditKeys::default()).unwrap();
        assert_eq!((observer.room(), from_host(&memory).commands_given), (16, 0));
        observer.command(&memory, (1..=10).map(kill));
        assert_eq!(observer.room(), 6);
        observer.command(&memory, (11..=30).map(kill));
        assert_eq!(observer.room(), 0);
        let told = from_host(&memory);
        assert_eq!((told.commands_given, told.commands[0], told.commands[15]), (16, kill(1), kill(16)));

        // The guest takes some; others follow in their places, and the rest stays.
        memory.write(INFO_AT, info(3).as_bytes()).unwrap();
        observer.audit(&memory, &Changed::everything()).unwrap();
        assert_eq!(observer.room(), 3);
        observer.command(&memory, (40..=50).map(kill));
        let told = from_host(&memory);
        assert_eq!((told.commands_given, told.commands[2], told.commands[3]), (19, kill(42), kill(4)));
    }

    #[test]
    fn commands_survive_a_drain() {
        let memory = GuestMemory::new(2).unwrap();
        memory.write(INFO_AT, info(0).as_bytes()).unwrap();
        let mut observer = Observer::attach(&memory, INFO_AT, AuditKeys::default()).unwrap();
        observer.command(&memory, [kill(7)]);
        observer.drain(&memory, |_| {});
        let told = from_host(&memory);
        assert_eq!((told.commands_given, told.commands[0]), (1, kill(7)));
    }

    #[test]
    fn a_guest_that_lies_about_what_it_took_harms_only_itself() {
        let memory = GuestMemory::new(2).unwrap();
        memory.write(INFO_AT, info(u64::MAX).as_bytes()).unwrap();
        let mut observer = Observer::attach(&memory, INFO_AT, AuditKeys::default()).unwrap();
        for round in 0..5 {
            assert_eq!(observer.room(), 16);
            observer.command(&memory, (0..20).map(kill));
            assert_eq!(from_host(&memory).commands_given, 16 * (round + 1));
        }
    }
}
