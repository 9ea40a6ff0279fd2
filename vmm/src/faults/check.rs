//! From keys to a fault: what makes sense together, and what does not and why.

use abi::Pid;
use abi::frame::FrameKind;
use abi::layout::USER_END;
use abi::trace::Kind;

use super::choice::{Choice, Name, Number, Scalar, Spot};
use super::fields::{Field, Register};
use super::keys::{FaultKeys, WhatKeys, WhenKeys, WhereKeys};
use super::language::{Bits, Code, Device, Fault, Mistake, Place, What, When, Who};
use crate::beats::Beat;

type Checked<T> = Result<T, Mistake>;

const WHEN: &str = "tick, event, symbol, line, code, changed, beat";
const WHERE: &str = "register, physical, frame, virtual, page-table, descriptor, message, device, process";
const WHAT: &str = "flip, stuck-at, swap, drop, delay, duplicate, kill, pause, nmi, lost, spurious, withhold";
/// Longest time and largest count that a fault can have.
const MOST: u64 = u32::MAX as u64;

impl Fault {
    /// The fault that these keys say. Where they leave a choice, each possibility is looked at, and the first is taken.
    pub fn of(keys: &FaultKeys) -> Checked<Self> {
        let fault = Self {
            when: when(&keys.when)?,
            place: place("where", &keys.place)?,
            what: what(&keys.what)?,
            draw: keys.draw.unwrap_or(0),
        };
        if let Some(why) = fault.nonsense() {
            return Err(Mistake::new("what", why.0, why.1));
        }
        if let (Some(width), Some(bit)) = (fault.place.width(), &keys.what.bit) {
            number("what.bit", bit, 0, u64::from(width) - 1)?;
        }
        Ok(fault)
    }

    /// Why this effect cannot be had in this place, and what can.
    fn nonsense(&self) -> Option<(&'static str, &'static str)> {
        let (place, what) = (&self.place, self.what);
        let word = place.width().is_some();
        let answer = match what {
            What::Flip(_) if word || *place == Place::Device(Device::Serial) => return None,
            What::Flip(_) => {
                ("there are no bits to invert here", "give a place in memory, a register, or the serial line")
            }
            What::StuckAt { .. } if word && !matches!(place, Place::Register { .. }) => return None,
            What::StuckAt { .. } if word => (
                "a register cannot be held: it is saved and loaded between two ticks",
                "use flip, or hold a word of memory",
            ),
            What::StuckAt { .. } => ("there is no bit to hold here", "give a place in memory"),
            What::Swap if matches!(place, Place::PageTable { .. } | Place::Descriptor { .. }) => return None,
            What::Swap => (
                "only entries of one kind can change places",
                "give an entry of a page table (page-table) or a field of a descriptor (descriptor)",
            ),
            What::Drop(_) | What::Duplicate(_) | What::Delay(_) if matches!(place, Place::Datagram) => {
                return None;
            }
            What::Drop(_) if matches!(place, Place::Device(Device::Serial | Device::Watchdog)) => {
                return None;
            }
            What::Duplicate(_) if *place == Place::Device(Device::Serial) => return None,
            What::Drop(_) | What::Duplicate(_) | What::Delay(_) if matches!(place, Place::Loan(_)) => (
                "a loan is not on its way: its pages are mapped while sender and receiver stand still",
                "flip bits of it (flip), or use message = \"datagram\"",
            ),
            What::Drop(_) | What::Delay(_) if *place == Place::Device(Device::Timer) => {
                ("interrupts are not queued", "use lost: the one after them brings all that is due")
            }
            What::Drop(_) => (
                "nothing passes here that could be lost",
                "give message = \"datagram\", or device = \"serial\" or \"watchdog\" (its pets)",
            ),
            What::Duplicate(_) => (
                "nothing passes here that could come twice",
                "give message = \"datagram\" or device = \"serial\"",
            ),
            What::Delay(_) => ("nothing passes here that could be late", "give message = \"datagram\""),
            What::Kill if matches!(place, Place::Process(_)) => return None,
            What::Kill => ("only a process can be ended", "give where = { process = \"...\" }"),
            What::Pause(_) if *place == Place::Machine => return None,
            What::Pause(_) => (
                "only the machine as a whole can stand still while time passes",
                "leave `where` out; a process alone cannot be paused",
            ),
            What::Nmi if *place == Place::Machine => return None,
            What::Nmi => ("the interrupt goes to the processor", "leave `where` out"),
            What::Lost(_) | What::Spurious(_) if *place == Place::Device(Device::Timer) => return None,
            What::Lost(_) | What::Spurious(_) => {
                ("the only device with an interrupt is the timer", "give where = { device = \"timer\" }")
            }
            What::Withhold { .. } if *place == Place::Device(Device::Memory) => return None,
            What::Withhold { .. } => ("only memory can be withheld", "give where = { device = \"memory\" }"),
        };
        Some(answer)
    }
}

impl Place {
    /// Bits of the word that is here; `None` if there is no word.
    pub fn width(&self) -> Option<u32> {
        match self {
            Self::Machine | Self::Device(_) | Self::Process(_) => None,
            Self::Descriptor { field, .. } => Some(u32::from(field.bytes()) * 8),
            _ => Some(64),
        }
    }
}

fn when(keys: &WhenKeys) -> Checked<When> {
    let given = keys.given();
    let nth = match &keys.nth {
        Some(nth) => number("when.nth", nth, 1, MOST)?,
        None => 1,
    };
    let counted = keys.event.is_some() || keys.code().is_some() || keys.changed.is_some();
    if keys.nth.is_some() && !counted {
        return Err(Mistake::new(
            "when.nth",
            "there is nothing to count here",
            "use it with event, code or changed",
        ));
    }
    if keys.process.is_some() && keys.event.is_none() {
        let remedy = "use it with event; faults into code act whoever executes it";
        return Err(Mistake::new("when.process", "this moment is nobody's", remedy));
    }
    let main: Vec<_> = given.iter().filter(|key| !["nth", "process"].contains(&key.as_str())).collect();
    if main.len() != 1 {
        return Err(one_of("when", &main, WHEN));
    }
    if let Some(tick) = &keys.tick {
        return Ok(When::Tick(number("when.tick", tick, 1, MOST)?));
    }
    if let Some(event) = &keys.event {
        let known = |name: &str| Kind::ALL.iter().copied().find(|kind| kind.name() == name);
        let names = || Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let kind = words("when.event", event, "event", known, names)?;
        let process = keys.process.as_ref().map(|process| who("when.process", process)).transpose()?;
        return Ok(When::Event { kind, nth, process });
    }
    if let Some(beat) = &keys.beat {
        let known = |name: &str| Beat::ALL.iter().copied().find(|beat| beat.name() == name);
        let names = || Beat::ALL.iter().map(|beat| beat.name()).collect::<Vec<_>>().join(", ");
        return Ok(When::Beat(words("when.beat", beat, "beat", known, names)?));
    }
    if let Some(keys) = &keys.changed {
        let place = place("when.changed", keys)?;
        let watched = place.width().is_some()
            && !matches!(place, Place::Register { .. } | Place::Datagram | Place::Loan(_) | Place::Frame(_));
        return match watched && !place.is_drawn() {
            true => Ok(When::Changed { place, nth }),
            false => Err(Mistake::new(
                "when.changed",
                "only a certain word of memory can be watched",
                "give physical, or virtual, page-table or descriptor with a process and an address",
            )),
        };
    }
    match keys.code() {
        Some(at) => Ok(When::Code { at: at?, nth }),
        None => Err(one_of("when", &main, WHEN)),
    }
}

impl WhenKeys {
    fn code(&self) -> Option<Checked<Code>> {
        if let Some(symbol) = &self.symbol {
            return Some(first(symbol).map(|symbol| Code::Symbol(symbol.clone())));
        }
        if let Some(line) = &self.line {
            let parse = |text: &str| {
                let (file, line) = text.rsplit_once(':')?;
                let line = line.parse().ok().filter(|line| *line > 0)?;
                (!file.is_empty()).then(|| Code::Line { file: file.to_owned(), line })
            };
            return Some(words("when.line", line, "line", parse, || {
                "a file and a line: \"pager.rs:120\"".into()
            }));
        }
        let code = self.code.as_ref()?;
        Some(number("when.code", code, abi::layout::KERNEL_BASE, u64::MAX).map(Code::Address))
    }
}

impl Place {
    /// Whether the place is another one each time that it is looked for.
    fn is_drawn(&self) -> bool {
        match self {
            Self::Virtual { process, address } | Self::PageTable { process, address, .. } => {
                address.is_none() || *process == Who::Any
            }
            Self::Descriptor { process, .. } => *process == Who::Any,
            _ => false,
        }
    }
}

fn place(at: &str, keys: &WhereKeys) -> Checked<Place> {
    if keys.is_empty() {
        return Ok(Place::Machine);
    }
    let key = |key: &str| format!("{at}.{key}");
    let given = keys.given();
    let main: Vec<_> = given.iter().filter(|key| !["level", "process"].contains(&key.as_str())).collect();
    if main.len() > 1 {
        return Err(one_of(at, &main, WHERE));
    }
    if keys.level.is_some() && keys.page_table.is_none() {
        return Err(Mistake::new(&key("level"), "there are no levels here", "use it with page-table"));
    }
    let process = keys.process.as_ref().map(|process| who(&key("process"), process)).transpose()?;
    let whose = || {
        let remedy = "add process: a program's name, a pid as in \"3.1\", a service's number, or \"any\"";
        process.clone().ok_or_else(|| Mistake::new(at, "whose is not said", remedy))
    };
    let nobody = |place: Place| match &process {
        None => Ok(place),
        Some(_) => Err(Mistake::new(&key("process"), "this place is nobody's", "leave process out")),
    };
    let spot = |name: &str, spot: &Choice<Spot>, align: u64| -> Checked<Option<u64>> {
        for end in spot.ends() {
            if let Spot::At(at) = *end
                && at >= USER_END
            {
                let what = format!("{at:#x} is no address of a process");
                return Err(Mistake::new(&key(name), what, format!("give one below {USER_END:#x}")));
            }
        }
        Ok(match first(spot)? {
            Spot::Any => None,
            Spot::At(at) => Some(at / align * align),
        })
    };
    if let Some(register) = &keys.register {
        let register = words(&key("register"), register, "register", Register::named, Register::names)?;
        return Ok(Place::Register { register, process });
    }
    if let Some(physical) = &keys.physical {
        let at = number(&key("physical"), physical, 0, (1 << 40) - 1)?;
        return nobody(Place::Physical(at / 8 * 8));
    }
    if let Some(frame) = &keys.frame {
        let known = |name: &str| FrameKind::ALL.into_iter().find(|kind| kind.name() == name);
        let names = || FrameKind::ALL.map(FrameKind::name).join(", ");
        return nobody(Place::Frame(words(&key("frame"), frame, "kind of frame", known, names)?));
    }
    if let Some(address) = &keys.r#virtual {
        return Ok(Place::Virtual { process: whose()?, address: spot("virtual", address, 8)? });
    }
    if let Some(address) = &keys.page_table {
        let level = keys.level.as_ref().map_or(Ok(1), |level| number(&key("level"), level, 1, 4))? as u8;
        return Ok(Place::PageTable { process: whose()?, address: spot("page-table", address, 1)?, level });
    }
    if let Some(field) = &keys.descriptor {
        let field = words(&key("descriptor"), field, "field", Field::named, Field::names)?;
        return Ok(Place::Descriptor { process: whose()?, field });
    }
    if let Some(message) = &keys.message {
        let known = |name: &str| match name {
            "loan" => Some(false),
            "datagram" => Some(true),
            _ => None,
        };
        return match words(&key("message"), message, "message", known, || "loan, datagram".into())? {
            true => nobody(Place::Datagram),
            false => Ok(Place::Loan(process)),
        };
    }
    if let Some(device) = &keys.device {
        let known = |name: &str| match name {
            "timer" => Some(Device::Timer),
            "watchdog" => Some(Device::Watchdog),
            "serial" => Some(Device::Serial),
            "memory" => Some(Device::Memory),
            _ => None,
        };
        let names = || "timer, watchdog, serial, memory".into();
        return nobody(Place::Device(words(&key("device"), device, "device", known, names)?));
    }
    Ok(Place::Process(whose()?))
}

fn what(keys: &WhatKeys) -> Checked<What> {
    let given = keys.given();
    let main: Vec<_> = given.iter().filter(|key| !["bit", "ticks"].contains(&key.as_str())).collect();
    if main.len() != 1 {
        return Err(one_of("what", &main, WHAT));
    }
    if keys.ticks.is_some() && keys.stuck_at.is_none() && keys.withhold.is_none() {
        return Err(Mistake::new(
            "what.ticks",
            "this effect does not last",
            "use it with stuck-at or withhold",
        ));
    }
    if keys.bit.is_some() && keys.stuck_at.is_none() && keys.flip.is_none() {
        return Err(Mistake::new("what.bit", "this effect is on no bit", "use it with flip or stuck-at"));
    }
    for (name, flag) in [("what.swap", keys.swap), ("what.kill", keys.kill), ("what.nmi", keys.nmi)] {
        if flag == Some(false) {
            return Err(Mistake::new(
                name,
                "an effect that there is not to be",
                "write true, or another effect",
            ));
        }
    }
    let bit =
        keys.bit.as_ref().map(|bit| number("what.bit", bit, 0, 63).map(|bit| bit as u32)).transpose()?;
    let ticks = keys.ticks.as_ref().map(|ticks| number("what.ticks", ticks, 1, MOST)).transpose()?;
    if let Some(flip) = &keys.flip {
        let bits = number("what.flip", flip, 1, 64)? as u32;
        return match bit {
            None => Ok(What::Flip(Bits::Drawn(bits))),
            Some(bit) if flip.ends() == [Number(1)] => Ok(What::Flip(Bits::This(bit))),
            Some(_) => {
                let what = "one bit is named, and several are to be inverted";
                Err(Mistake::new("what.bit", what, "write flip = 1, or leave bit out"))
            }
        };
    }
    if let Some(value) = &keys.stuck_at {
        return Ok(What::StuckAt { value: number("what.stuck-at", value, 0, 1)? == 1, bit, ticks });
    }
    if let Some(frames) = &keys.withhold {
        return Ok(What::Withhold { frames: number("what.withhold", frames, 1, 1 << 18)?, ticks });
    }
    let counts: [(&str, &Option<Choice<Number>>, fn(u64) -> What); 6] = [
        ("what.drop", &keys.drop, What::Drop),
        ("what.delay", &keys.delay, What::Delay),
        ("what.duplicate", &keys.duplicate, What::Duplicate),
        ("what.pause", &keys.pause, What::Pause),
        ("what.lost", &keys.lost, What::Lost),
        ("what.spurious", &keys.spurious, What::Spurious),
    ];
    for (name, count, make) in counts {
        if let Some(count) = count {
            return Ok(make(number(name, count, 1, 1_000_000)?));
        }
    }
    Ok(match (keys.swap, keys.kill) {
        (Some(_), _) => What::Swap,
        (_, Some(_)) => What::Kill,
        _ => What::Nmi,
    })
}

fn one_of(key: &str, given: &[&String], all: &str) -> Mistake {
    let what = match given {
        [] => "nothing is said here".to_owned(),
        [one] => format!("`{one}` alone says nothing"),
        [one, other, ..] => format!("`{one}` and `{other}` do not go together"),
    };
    Mistake::new(key, what, format!("give one of {all}"))
}

/// The first possibility.
fn first<T: Scalar>(choice: &Choice<T>) -> Checked<&T> {
    choice.ends().first().ok_or_else(|| Mistake::new("", "nothing to draw from", "give a value"))
}

fn number(key: &str, choice: &Choice<Number>, from: u64, to: u64) -> Checked<u64> {
    match choice.ends().iter().find(|number| !(from..=to).contains(&number.0)) {
        None => first(choice).map(|number| number.0),
        Some(wrong) => {
            let remedy = format!("give a number from {from} to {to}");
            Err(Mistake::new(key, format!("{} is out of range", wrong.0), remedy))
        }
    }
}

fn words<T>(
    key: &str,
    choice: &Choice<String>,
    kind: &str,
    known: impl Fn(&str) -> Option<T>,
    names: impl Fn() -> String,
) -> Checked<T> {
    for word in choice.ends() {
        if known(word).is_none() {
            return Err(Mistake::new(
                key,
                format!("there is no {kind} `{word}`"),
                format!("give one of: {}", names()),
            ));
        }
    }
    let word = first(choice)?;
    known(word).ok_or_else(|| Mistake::new(key, "unknown", names()))
}

fn who(key: &str, choice: &Choice<Name>) -> Checked<Who> {
    let known = |name: &Name| match name {
        Name::Service(place) if *place < abi::service::SERVICE_SLOTS as u64 => {
            Some(Who::Service(*place as u32))
        }
        Name::Service(_) => None,
        Name::Word(word) if word == "any" => Some(Who::Any),
        Name::Word(word) => match word.split_once('.') {
            Some((slot, generation)) => {
                let (slot, generation) = (slot.parse::<u16>().ok()?, generation.parse().ok()?);
                Some(Who::Pid(Pid::new(slot.into(), generation)))
            }
            None => {
                let good = (1..=16).contains(&word.len())
                    && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                good.then(|| Who::Label(word.clone()))
            }
        },
    };
    for name in choice.ends() {
        if known(name).is_none() {
            let shown = match name {
                Name::Word(word) => word.clone(),
                Name::Service(number) => number.to_string(),
            };
            return Err(Mistake::new(
                key,
                format!("`{shown}` names no process"),
                format!("give {}", Name::WANTED),
            ));
        }
    }
    known(first(choice)?).ok_or_else(|| Mistake::new(key, "names no process", "give a process"))
}
