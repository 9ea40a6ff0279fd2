//! The injector: waits for the moments of a life's faults, and says what is to be done when they come.
//!
//! ```text
//! Waiting --its moment has come, at a tick's doorbell--> Due --> Done
//!                                                         |---> Lasting --its time is over--> Done
//! ```
//!
//! It sees every record in order, and is asked at every tick, after the audit and the monitor. What it answers depends on
//! nothing but these, the guest's memory and the faults themselves.

use std::collections::BTreeMap;

use abi::Pid;
use abi::info::{
    COMMAND_DELAY_DATAGRAM, COMMAND_DOUBLE_DATAGRAMS, COMMAND_DROP_DATAGRAMS, COMMAND_GIVE_BACK,
    COMMAND_KILL, COMMAND_LOSE_INTERRUPTS, COMMAND_RAISE_INTERRUPT, COMMAND_WITHHOLD, Command,
};
use abi::process::Descriptor;
use abi::trace::{Kind, Record};
use introspect::x86::memory::PhysicalMemory;

use super::deed::{Act, Deed, Noise, Note};
use super::residue::Change;
use super::target::{self, HARDWARE_BITS, Missing, Scene, Word};
use crate::scenario::fault::draw::Stream;
use crate::scenario::fault::model::{Bits, Device, Fault, Place, What, When};
use crate::terms::Beat;

/// The faults of one life.
#[derive(Debug, Default)]
pub struct Injector {
    armed: Vec<Armed>,
    /// What they have changed in memory.
    changes: Vec<Change>,
    /// Descriptors of processes as they were when they were first heard of, where a moment depends on who did something.
    known: BTreeMap<Pid, Descriptor>,
}

#[derive(Debug)]
struct Armed {
    number: u32,
    fault: Fault,
    stream: Stream,
    /// Times that its moment has come.
    seen: u64,
    /// What was in the watched word.
    last: Option<u64>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Due,
    /// These bits of the word are held at this value.
    Holding {
        word: Word,
        mask: u64,
        value: u64,
        until: Option<u64>,
    },
    /// So many interrupts are still to come.
    Raising(u64),
    /// So many frames are to be given back at this tick.
    Withholding {
        frames: u32,
        until: u64,
    },
    Done,
}

impl Injector {
    /// For a guest that starts now; the faults of a resolved scenario in their order.
    pub fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        let armed = faults.into_iter().zip(0..).map(|(fault, number)| {
            let stream = Stream::live(fault.draw);
            Armed { number, fault, stream, seen: 0, last: None, phase: Phase::Waiting }
        });
        Self { armed: armed.collect(), ..Self::default() }
    }

    /// Sees a record. `descriptor` finds who did it in the guest's memory.
    pub fn record(&mut self, record: &Record, descriptor: impl Fn(Pid) -> Option<Descriptor>) {
        for armed in &mut self.armed {
            let When::Event { kind, nth, process } = &armed.fault.when else { continue };
            if armed.phase != Phase::Waiting
                || (record.kind != *kind as u16 && record.kind != Kind::Spawn as u16)
            {
                continue;
            }
            if let Some(who) = process {
                // Who is gone by the time that his events are seen is known from before.
                if !self.known.contains_key(&record.pid)
                    && let Some(found) = descriptor(record.pid)
                {
                    self.known.insert(record.pid, found);
                }
                if !self.known.get(&record.pid).is_some_and(|known| target::is(who, known)) {
                    continue;
                }
            }
            if record.kind == *kind as u16 {
                armed.count(*nth);
            }
        }
    }

    /// A beat was reached.
    pub fn beat(&mut self, beat: Beat) {
        for armed in &mut self.armed {
            if armed.phase == Phase::Waiting && armed.fault.when == When::Beat(beat) {
                armed.phase = Phase::Due;
            }
        }
    }

    /// Whether there is anything to look at at this tick: if not, [`Self::act`] has nothing to say.
    pub fn wants(&mut self, tick: u64) -> bool {
        let mut wanted = false;
        for armed in &mut self.armed {
            if let (Phase::Waiting, When::Tick(at)) = (armed.phase, &armed.fault.when)
                && tick >= *at
            {
                armed.phase = Phase::Due;
            }
            let watches = matches!(armed.fault.when, When::Changed { .. });
            wanted |= match armed.phase {
                Phase::Waiting => watches,
                Phase::Withholding { until, .. } => tick >= until,
                Phase::Done => false,
                _ => true,
            };
        }
        wanted
    }

    /// Those that have something to do at this tick, in their order. Each is asked by [`Self::act`], and what it says is
    /// done before the next one is asked.
    pub fn busy(&self) -> Vec<u32> {
        let busy = self.armed.iter().filter(|armed| match armed.phase {
            Phase::Waiting => matches!(armed.fault.when, When::Changed { .. }),
            phase => phase != Phase::Done,
        });
        busy.map(|armed| armed.number).collect()
    }

    /// What a fault does at this tick, the guest being as it is. It gives at most `room` commands; if it needs more, it
    /// waits for the next tick.
    pub fn act<M: PhysicalMemory>(
        &mut self,
        number: u32,
        tick: u64,
        scene: &Scene<'_, M>,
        room: usize,
    ) -> Vec<Deed> {
        let Some(armed) = self.armed.get_mut(number as usize) else { return Vec::new() };
        armed.watch(scene);
        let before = (armed.phase, armed.stream.clone());
        let mut deeds = Vec::new();
        armed.act(tick, scene, &mut deeds);
        let commands = deeds.iter().filter(|deed| matches!(deed.act, Act::Command(_))).count();
        if commands > room {
            (armed.phase, armed.stream) = before;
            return Vec::new();
        }
        for deed in &deeds {
            self.remember(deed, scene);
        }
        deeds
    }

    /// The guest has come to an instruction that these faults wait for: those whose moment this is.
    pub fn reached(&mut self, faults: &[u32]) -> Vec<u32> {
        let mut due = Vec::new();
        for armed in &mut self.armed {
            if let (Phase::Waiting, When::Code { nth, .. }) = (armed.phase, &armed.fault.when)
                && faults.contains(&armed.number)
            {
                let nth = *nth;
                armed.count(nth);
                if armed.phase == Phase::Due {
                    due.push(armed.number);
                }
            }
        }
        due
    }

    /// Whether one of these faults still waits.
    pub fn waits(&self, faults: &[u32]) -> bool {
        let waiting = self.armed.iter().filter(|armed| armed.phase == Phase::Waiting);
        waiting.into_iter().any(|armed| faults.contains(&armed.number))
    }

    /// Keeps what a deed changes. Bits of a word that is changed again, as one that is held, are counted together.
    fn remember<M: PhysicalMemory>(&mut self, deed: &Deed, scene: &Scene<'_, M>) {
        let Act::Write(word, value) = deed.act else { return };
        let (Some(before), Some(fact)) = (scene.read(word), scene.guest.fact(word.at.frame())) else {
            return;
        };
        let (mask, usage) = (before ^ value, (fact.kind, fact.owner.0));
        match self.changes.iter_mut().find(|change| change.word.at == word.at) {
            Some(change) => (change.mask, change.value, change.usage) = (change.mask | mask, value, usage),
            None => self.changes.push(Change { word, before, mask, value, usage }),
        }
    }

    /// How many words are still as faults have left them, and not as they were.
    pub fn standing<M: PhysicalMemory>(&self, scene: &Scene<'_, M>) -> u32 {
        self.changes.iter().filter(|change| change.stands(scene.guest, scene.memory)).count() as u32
    }
}

impl Armed {
    /// Its moment has come once more.
    fn count(&mut self, nth: u64) {
        self.seen += 1;
        if self.seen == nth {
            self.phase = Phase::Due;
        }
    }

    /// Compares what is watched with what it was.
    fn watch<M: PhysicalMemory>(&mut self, scene: &Scene<'_, M>) {
        let When::Changed { place, nth } = &self.fault.when else { return };
        if self.phase != Phase::Waiting {
            return;
        }
        let nth = *nth;
        // Who is not there, or what is not mapped, has no value: that it comes or goes is no change.
        let now = scene.word(place, &mut self.stream).ok().and_then(|word| {
            let ignored = if word.table { HARDWARE_BITS } else { 0 };
            scene.read(word).map(|value| value & !ignored)
        });
        let changed = matches!((self.last, now), (Some(last), Some(now)) if last != now);
        self.last = now.or(self.last);
        if changed {
            self.count(nth);
        }
    }

    fn act<M: PhysicalMemory>(&mut self, tick: u64, scene: &Scene<'_, M>, deeds: &mut Vec<Deed>) {
        let number = self.number;
        let mut deed = |act, note| deeds.push(Deed { number, act, note });
        match self.phase {
            Phase::Waiting | Phase::Done => {}
            Phase::Due => {
                self.phase = Phase::Done;
                if let Err(missing) = self.begin(tick, scene, &mut deed) {
                    deed(Act::Nothing, Note::Missed(missing));
                }
            }
            Phase::Holding { word, until, .. } if until.is_some_and(|until| tick >= until) => {
                self.phase = Phase::Done;
                deed(Act::Nothing, Note::Ended { at: word.at.0 });
            }
            Phase::Holding { word, mask, value, .. } => {
                if let Some(now) = scene.read(word)
                    && now & mask != value
                {
                    deed(Act::Write(word, now & !mask | value), Note::Silent);
                }
            }
            Phase::Raising(left) => {
                self.phase = if left > 1 { Phase::Raising(left - 1) } else { Phase::Done };
                deed(Act::Command(Command { what: COMMAND_RAISE_INTERRUPT, subject: 1 }), Note::Silent);
            }
            Phase::Withholding { frames, until } => {
                if tick >= until {
                    self.phase = Phase::Done;
                    let command = Command { what: COMMAND_GIVE_BACK, subject: frames };
                    deed(Act::Command(command), Note::Ended { at: 0 });
                }
            }
        }
    }

    /// Its moment is now.
    fn begin<M: PhysicalMemory>(
        &mut self,
        tick: u64,
        scene: &Scene<'_, M>,
        deed: &mut impl FnMut(Act, Note),
    ) -> Result<(), Missing> {
        let stream = &mut self.stream;
        let place = &self.fault.place;
        let machine = |change| Note::Injected { pid: Pid::NONE, at: 0, change };
        let told = |word: Word, change: u64| {
            // An entry that is exchanged or held differs also in bits that nobody can foresee.
            let change = if word.table { change & !HARDWARE_BITS } else { change };
            Note::Injected { pid: word.pid, at: word.at.0, change }
        };
        let command = |what, subject: u64| Act::Command(Command { what, subject: subject as u32 });
        match (self.fault.what, place) {
            (What::Flip(bits), Place::Register { register, process: None }) => {
                let mask = bits.mask(64, stream);
                deed(Act::Invert(*register, mask), machine(mask));
            }
            (What::Flip(bits), Place::Device(_)) => {
                let mask = bits.mask(8, stream);
                deed(Act::Serial(Noise::Flip(mask as u8)), machine(mask));
            }
            (What::Flip(bits), _) => {
                let word = scene.word(place, stream)?;
                let mask = bits.mask(u32::from(word.bytes) * 8, stream);
                let value = scene.read(word).ok_or(Missing::Frame)?;
                deed(Act::Write(word, value ^ mask), told(word, mask));
            }
            (What::StuckAt { value, bit, ticks }, _) => {
                let word = scene.word(place, stream)?;
                let mask = bit.map_or(Bits::Drawn(1), Bits::This).mask(u32::from(word.bytes) * 8, stream);
                let now = scene.read(word).ok_or(Missing::Frame)?;
                let held = if value { mask } else { 0 };
                let until = ticks.map(|ticks| tick.saturating_add(ticks));
                self.phase = Phase::Holding { word, mask, value: held, until };
                let after = now & !mask | held;
                deed(Act::Write(word, after), told(word, now ^ after));
            }
            (What::Swap, _) => {
                let word = scene.word(place, stream)?;
                let other = scene.other(place, word, stream)?;
                let (one, two) =
                    (scene.read(word).ok_or(Missing::Frame)?, scene.read(other).ok_or(Missing::Frame)?);
                deed(Act::Write(word, two), told(word, one ^ two));
                deed(Act::Write(other, one), told(other, one ^ two));
            }
            (What::Kill, Place::Process(who)) => {
                let d = scene.process(who, stream)?.descriptor;
                if d.ring == 0 {
                    return Err(Missing::Kernel);
                }
                let note = Note::Injected { pid: d.pid, at: 0, change: 0 };
                deed(command(COMMAND_KILL, d.pid.0.into()), note);
            }
            (What::Kill, _) => return Err(Missing::Process),
            (What::Nmi, _) => deed(Act::Nmi, machine(0)),
            (What::Pause(ticks), _) => deed(Act::Pause(ticks), machine(ticks)),
            (What::Lost(count), _) => deed(command(COMMAND_LOSE_INTERRUPTS, count), machine(count)),
            (What::Spurious(count), _) => {
                if count > 1 {
                    self.phase = Phase::Raising(count - 1);
                }
                deed(command(COMMAND_RAISE_INTERRUPT, 1), machine(count));
            }
            (What::Withhold { frames, ticks }, _) => {
                if let Some(ticks) = ticks {
                    let until = tick.saturating_add(ticks);
                    self.phase = Phase::Withholding { frames: frames as u32, until };
                }
                deed(command(COMMAND_WITHHOLD, frames), machine(frames));
            }
            (What::Drop(count), Place::Device(Device::Watchdog)) => {
                deed(Act::LosePets(count), machine(count));
            }
            (What::Drop(count), Place::Datagram) => {
                deed(command(COMMAND_DROP_DATAGRAMS, count), machine(count));
            }
            (What::Duplicate(count), Place::Datagram) => {
                deed(command(COMMAND_DOUBLE_DATAGRAMS, count), machine(count));
            }
            (What::Delay(ticks), _) => deed(command(COMMAND_DELAY_DATAGRAM, ticks), machine(ticks)),
            (What::Drop(count), _) => deed(Act::Serial(Noise::Drop(count)), machine(count)),
            (What::Duplicate(count), _) => deed(Act::Serial(Noise::Duplicate(count)), machine(count)),
        }
        Ok(())
    }
}

impl Bits {
    fn mask(self, width: u32, stream: &mut Stream) -> u64 {
        match self {
            Self::Drawn(count) => stream.bits(count, width),
            Self::This(bit) => 1_u64.checked_shl(bit).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests;
