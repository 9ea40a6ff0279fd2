//! Keys of `when`.

use abi::trace::Kind;

use super::limits::{Checked, MOST};
use super::place::place;
use super::values::{first, number, one_of, who, words};
use crate::scenario::fault::keys::WhenKeys;
use crate::scenario::fault::model::{Code, Mistake, Place, When};
use crate::terms::Beat;

const WHEN: &str = "tick, event, symbol, line, code, changed, beat";

pub(super) fn when(keys: &WhenKeys) -> Checked<When> {
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
