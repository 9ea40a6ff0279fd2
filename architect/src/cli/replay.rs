//! `architect replay`: a recorded run once more, compared with the record: event by event where the events were kept;
//! otherwise by their hash, and the marks along it tell about where the runs part.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::campaign::recorded::RecordedRun;
use crate::campaign::subject::Subject;
use crate::error::{Error, Report, VmmError};
use crate::experiment::Compare;
use crate::files::output::print;

/// Repeat a recorded run and compare it with the record
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// A run's folder (--out DIR), or a run of a campaign's database by its number
    #[arg(value_name = "DIR|DB#RUN")]
    pub run: PathBuf,
    /// Stop at this event: its number (seq), or a kind and which of them, as in leak-found:2
    #[arg(long, value_name = "EVENT")]
    pub until: Option<Until>,
    /// Write the new run's files into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Events shown up to the one at which a replay ends.
const SHOWN: usize = 5;

/// Replays a run; returns the exit status.
///
/// # Errors
///
/// There is no such run or event, the machine failed, a signal, or the replay differs.
pub fn replay(args: &ReplayArgs) -> Result<u8, Error> {
    let recorded = RecordedRun::find(&args.run)?;
    let mut scenario = recorded.scenario.clone();
    // Where an event is to be seen recorded, the run need not last longer than that; nothing before it depends on the end.
    let until = match (&args.until, &recorded.events) {
        (Some(until), Some(events)) => Some(until.find(events)?),
        _ => None,
    };
    if let Some(event) = &until
        && event["incarnation"] == 1
        && let Some(tick) = event["tick"].as_u64()
    {
        scenario.vm.max_ticks = scenario.vm.max_ticks.min(tick + 2);
    }
    let scratch = tempfile::tempdir().map_err(VmmError::resource("a scratch folder"))?;
    let out = args.out.as_deref().unwrap_or(scratch.path());
    let subject = Subject::new(scenario.clone(), &recorded.place)?;
    let (hash, marks, count) = subject.experiment(&scenario, Compare::Nothing, Some(out), |verdict| {
        (verdict.trace_hash, verdict.trace_marks, verdict.events)
    })?;
    let now = out.join("events.jsonl");
    let until = match (&args.until, until) {
        (Some(_), Some(event)) => Some(event),
        // The record has no events: search those of the replay.
        (Some(until), None) => Some(until.find(&now)?),
        (None, _) => None,
    };
    let last = until.as_ref().and_then(|event| event["seq"].as_u64());
    if let Some(events) = &recorded.events {
        match first_difference(events, &now, last)? {
            None => {}
            Some(difference) => return Err(diverged(&recorded, &difference.to_string())),
        }
    } else if last.is_none() && hash != recorded.trace_hash {
        let word = |hash: &Option<String>| hash.clone().unwrap_or_default();
        let mut what =
            format!("the hash of its events was {}, and is {} now", word(&recorded.trace_hash), word(&hash));
        if let Some(then) = &recorded.marks {
            what += &parted(then.first_difference(&marks), count, &now)?;
        }
        return Err(diverged(&recorded, &what));
    }
    let text = match last {
        None => {
            let again_or_first = if recorded.pruned { "as derived without making it" } else { "again" };
            let hash = hash.unwrap_or_default();
            format!("{}: the same {count} events {again_or_first}, hash {hash}\n", recorded.place)
        }
        Some(last) => format!("{}{}: the same up to event {last}\n", leading_to(&now, last)?, recorded.place),
    };
    print(&text)?;
    Ok(0)
}

/// Where a run parts from one of which only marks were kept, as far as these tell, and the first events there as they are now.
fn parted(range: Range<u64>, count: u64, now: &Path) -> Result<String, Error> {
    let Range { start, end } = range;
    let place = match end {
        u64::MAX => format!("from event {start} on"),
        _ => format!("among events {start} to {}", end - 1),
    };
    let mut text = format!("; the first event that differs is {place} (a row keeps no more)");
    let told =
        events(now)?.skip(start as usize).take((end.min(count).saturating_sub(start) as usize).min(SHOWN));
    for event in told {
        text += &format!("\n  now:    {}", event?);
    }
    Ok(text)
}

fn diverged(recorded: &RecordedRun, what: &str) -> Error {
    Error::Expectation(Report::new(
        format!("the replay is another run: {what}"),
        recorded.place.clone(),
        "replay it twice: if these differ, it is a defect of the VMM or of this host's KVM; if not, it was made by another version",
    ))
}

/// An event, by its number or its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// Its number, from 0: `seq`.
    Seq(u64),
    /// The how manieth event of a kind, from 1.
    Kind(String, u64),
}

impl std::str::FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        let (kind, nth) = match text.split_once(':') {
            Some((kind, nth)) => (kind, nth.parse().ok().filter(|nth| *nth > 0)),
            None => (text, Some(1)),
        };
        let known = abi::trace::Kind::ALL.iter().any(|of| of.name() == kind);
        match nth {
            Some(nth) if known => Ok(Self::Kind(kind.to_owned(), nth)),
            _ => Err("give the number of an event (seq), or a kind and which of them, as in leak-found:2"
                .to_owned()),
        }
    }
}

impl Until {
    /// The event in a stream.
    fn find(&self, path: &Path) -> Result<Value, Error> {
        let mut seen = 0;
        for event in events(path)? {
            let event = event?;
            let is = match self {
                Self::Seq(seq) => event["seq"] == *seq,
                Self::Kind(kind, nth) => {
                    seen += u64::from(event["kind"] == kind.as_str());
                    seen == *nth
                }
            };
            if is {
                return Ok(event);
            }
        }
        Err(Error::Input(Report::new(
            "the run has no such event",
            format!("--until, {}", path.display()),
            "look into its events.jsonl: each has a kind and a number, seq",
        )))
    }
}

/// The events of a file, one a line.
fn events(path: &Path) -> Result<impl Iterator<Item = Result<Value, Error>>, Error> {
    let path = path.to_owned();
    let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    let lines = BufReader::new(file).lines();
    Ok(lines.map(move |line| {
        let event = line.and_then(|line| serde_json::from_str(&line).map_err(io::Error::from));
        event.map_err(|error| unreadable(&path, &error))
    }))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Input(Report::new(
        format!("the events cannot be read: {error}"),
        path.display().to_string(),
        "give the folder of a run that ended, as it was written",
    ))
}

/// Where two streams part.
#[derive(Debug, PartialEq)]
struct Difference {
    seq: u64,
    then: Option<Value>,
    now: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word =
            |event: &Option<Value>| event.as_ref().map_or("no more events".to_owned(), Value::to_string);
        write!(
            f,
            "it differs from event {} on\n  then:   {}\n  now:    {}",
            self.seq,
            word(&self.then),
            word(&self.now)
        )
    }
}

/// The first event that is not the same, up to and with event `last`.
fn first_difference(then: &Path, now: &Path, last: Option<u64>) -> Result<Option<Difference>, Error> {
    let (mut then, mut now) = (events(then)?, events(now)?);
    for seq in 0..=last.unwrap_or(u64::MAX - 1) {
        let (then, now) = (then.next().transpose()?, now.next().transpose()?);
        if then.is_none() && now.is_none() {
            break;
        }
        if then != now {
            return Ok(Some(Difference { seq, then, now }));
        }
    }
    Ok(None)
}

/// An event and those before it, as lines.
fn leading_to(path: &Path, last: u64) -> Result<String, Error> {
    let mut lines = String::new();
    for event in events(path)?.take(last as usize + 1).skip((last as usize + 1).saturating_sub(SHOWN)) {
        lines += &format!("{}\n", event?);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stream(folder: &Path, name: &str, ticks: &[u64]) -> std::path::PathBuf {
        let path = folder.join(name);
        let event = |(seq, tick)| {
            json!({"tick": tick, "seq": seq, "kind": "pet", "incarnation": 1}).to_string() + "\n"
        };
        std::fs::write(&path, ticks.iter().enumerate().map(event).collect::<String>()).unwrap();
        path
    }

    #[test]
    fn streams_part_at_the_first_event_that_differs_or_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let then = stream(folder.path(), "then", &[1, 2, 3, 4]);
        let compare = |ticks: &[u64], last| {
            let now = stream(folder.path(), "now", ticks);
            first_difference(&then, &now, last).unwrap().map(|difference| difference.seq)
        };
        assert_eq!(compare(&[1, 2, 3, 4], None), None);
        assert_eq!(compare(&[1, 2, 9, 4], None), Some(2));
        assert_eq!(compare(&[1, 2, 9, 4], Some(1)), None);
        assert_eq!(compare(&[1, 2, 3], None), Some(3));
        assert_eq!(compare(&[1, 2, 3, 4, 5], None), Some(4));
    }

    #[test]
    fn an_event_is_named_by_its_number_or_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = stream(folder.path(), "then", &[1, 2, 3]);
        let seq = |until: &str| until.parse::<Until>().unwrap().find(&path).map(|event| event["seq"].clone());
        assert_eq!(seq("2").unwrap(), 2);
        assert_eq!(seq("pet").unwrap(), 0);
        assert_eq!(seq("pet:3").unwrap(), 2);
        assert!(seq("pet:4").is_err() && seq("7").is_err());
        for wrong in ["", "dance", "pet:0", "pet:x", "-1"] {
            assert!(wrong.parse::<Until>().is_err(), "{wrong}");
        }
    }
}
