//! The event stream of a run: records in order, hashed, written as JSON Lines.
//!
//! Records that real time decided are written, but not hashed ([`crate::trace::hash`]).

use std::fs::File;
use std::io::{self, BufWriter, Write};

use abi::Pid;
use abi::trace::{Kind, Record, Show};
use serde_json::{Map, Value, json};

use crate::trace::hash::{Marks, TraceHash};
use crate::trace::places::Places;

/// Takes every record of a run.
pub struct Events<'a> {
    places: Places<'a>,
    hash: TraceHash,
    file: Option<BufWriter<File>>,
    failed: Option<io::Error>,
    count: u64,
    incarnation: u32,
    /// Real time has decided something: nothing more is hashed.
    unrepeatable: bool,
}

impl<'a> Events<'a> {
    /// A stream that also writes to `file`, with names for what `places` knows.
    pub fn new(file: Option<File>, places: Places<'a>) -> Self {
        Self {
            places,
            hash: TraceHash::default(),
            file: file.map(BufWriter::new),
            failed: None,
            count: 0,
            incarnation: 0,
            unrepeatable: false,
        }
    }

    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        if record.kind == Kind::Start as u16 {
            self.incarnation = record.a;
        }
        if !self.unrepeatable {
            self.hash.push(&record);
        }
        if let Some(file) = &mut self.file {
            let line = json(&record, self.count, self.incarnation, self.unrepeatable, &self.places);
            if let Err(error) = writeln!(file, "{line}") {
                self.failed = Some(error);
                self.file = None;
            }
        }
        self.count += 1;
    }

    /// Names for addresses in the kernel.
    pub fn places(&self) -> &Places<'a> {
        &self.places
    }

    /// From here on the stream depends on real time.
    pub fn leave_repeatable_time(&mut self) {
        self.unrepeatable = true;
    }

    /// Whether the hash stands for the whole stream.
    pub fn is_repeatable(&self) -> bool {
        !self.unrepeatable
    }

    /// Records so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Ends the stream: its hash and the marks along it, once everything is written.
    pub fn finish(mut self) -> io::Result<(String, Marks)> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        Ok(self.hash.finish())
    }
}

/// A record as an object: `tick`, `seq`, `kind`, `pid` first, then its own values by name. Behind an instruction's address
/// follows where in the kernel that is, if it is there.
fn json(record: &Record, seq: u64, incarnation: u32, unrepeatable: bool, places: &Places<'_>) -> Value {
    let mut object = Map::new();
    object.insert("tick".into(), record.tick.into());
    object.insert("seq".into(), seq.into());
    let kind = Kind::from_raw(record.kind);
    object.insert("kind".into(), kind.map_or_else(|| json!(record.kind), |kind| kind.name().into()));
    object.insert("pid".into(), pid(record.pid));
    object.insert("incarnation".into(), incarnation.into());
    let fields = kind.map_or([Show::Hex("a"), Show::Hex("b"), Show::Hex("c")], Kind::fields);
    for (field, value) in fields.into_iter().zip([u64::from(record.a), record.b, record.c]) {
        match field {
            Show::Nothing => {}
            Show::Number(name) => drop(object.insert(name.into(), value.into())),
            Show::Hex(name) => drop(object.insert(name.into(), format!("{value:#x}").into())),
            Show::Code(name) => {
                object.insert(name.into(), format!("{value:#x}").into());
                if let Some(place) = places.at(value) {
                    object.insert("at".into(), place.into());
                }
            }
            Show::Process(name) => drop(object.insert(name.into(), pid(Pid(value as u32)))),
        }
    }
    if unrepeatable {
        object.insert("real_time".into(), true.into());
    }
    Value::Object(object)
}

/// A process id as people write it; nobody is null.
pub fn pid(pid: Pid) -> Value {
    if pid == Pid::NONE { Value::Null } else { pid.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, tick: u32) -> Record {
        Record { tick, kind: kind as u16, pid: Pid::new(3, 1), a: 1, b: 0x20, c: 7, reserved: 0 }
    }

    #[test]
    fn a_line_has_the_names_of_its_kind() {
        let line = json(&record(Kind::Lend, 5), 9, 1, false, &Places::default()).to_string();
        assert_eq!(
            line,
            r#"{"tick":5,"seq":9,"kind":"lend","pid":"3.1","incarnation":1,"loan":1,"frame":"0x20","borrower":"7.0"}"#
        );
    }

    #[test]
    fn every_kind_is_told_with_its_name_and_the_names_of_its_values() {
        for kind in Kind::ALL {
            let line = json(&record(*kind, 5), 9, 1, false, &Places::default());
            assert_eq!(line["kind"], kind.name());
            for field in kind.fields() {
                let name = match field {
                    Show::Nothing => continue,
                    Show::Number(name) | Show::Hex(name) | Show::Code(name) | Show::Process(name) => name,
                };
                assert!(line.get(name).is_some(), "{name} of {line}");
                assert!(!["tick", "seq", "kind", "pid"].contains(&name), "{line}");
            }
        }
    }

    #[test]
    fn the_hash_depends_on_every_record_and_their_order() {
        let hash = |ticks: &[u32]| {
            let mut events = Events::new(None, Places::default());
            ticks.iter().for_each(|tick| events.push(record(Kind::Pet, *tick)));
            events.finish().unwrap()
        };
        assert_eq!(hash(&[1, 2]), hash(&[1, 2]));
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[1, 2]), hash(&[1]));
    }

    #[test]
    fn what_real_time_decided_is_counted_and_not_hashed() {
        let mut events = Events::new(None, Places::default());
        events.push(record(Kind::Pet, 1));
        events.leave_repeatable_time();
        events.push(record(Kind::Pet, 2));
        assert_eq!(events.count(), 2);
        let mut alone = Events::new(None, Places::default());
        alone.push(record(Kind::Pet, 1));
        assert_eq!(events.finish().unwrap(), alone.finish().unwrap());
    }
}
