//! `inspect frames`: the guest's frame table. Frames that follow each other with the same use and owner are one line. Of
//! one frame also who maps it.

use abi::Frame;
use abi::frame::{FrameEntry, FrameKind};
use introspect::ReverseMap;
use introspect::matrix::space::pid as process_of;
use serde_json::json;

use super::answer::Answer;
use super::names;
use super::source::Source;
use super::table::{Table, or_dash, size};
use crate::error::Error;

pub(super) fn all(source: &Source) -> Result<Answer, Error> {
    let guest = source.guest()?;
    let mut table = Table::new(&[">from", ">to", ">frames", "kind", "owner"]);
    let (mut runs, mut counts) = (Vec::new(), vec![0_u64; FrameKind::ALL.len() + 1]);
    let mut first = 0_u64;
    let key = |entry: &FrameEntry| (entry.kind, entry.owner);
    for run in guest.frames.chunk_by(|a, b| key(a) == key(b)) {
        let Some(entry) = run.first() else { continue };
        let kind = FrameKind::from_raw(entry.kind);
        let (owner, label) = (names::pid(entry.owner), names::label(Some(&guest), entry.owner));
        let count = run.len() as u64;
        counts[kind.map_or(FrameKind::ALL.len(), |kind| kind as usize)] += count;
        let last = Frame(first + count - 1);
        table.row([
            Frame(first).to_string(),
            last.to_string(),
            count.to_string(),
            kind.map_or_else(|| format!("{}?", entry.kind), |kind| kind.name().into()),
            or_dash(
                owner
                    .as_ref()
                    .map(|pid| format!("{pid} {}", label.as_deref().unwrap_or("")).trim_end().to_owned()),
            ),
        ]);
        runs.push(json!({
            "first": Frame(first).to_string(),
            "frames": count,
            "kind": kind.map(FrameKind::name),
            "owner": owner,
            "owner_name": label,
        }));
        first += count;
    }
    let names = FrameKind::ALL.iter().map(|kind| kind.name()).chain(["unknown"]);
    let counts: Vec<_> = names.zip(counts).filter(|(_, count)| *count > 0).collect();
    let mut text = format!("{} frames of 4 KiB, {}:\n", first, size(first * 4096));
    for (name, count) in &counts {
        text.push_str(&format!("  {name:<13} {count:>8}\n"));
    }
    let counts: serde_json::Map<_, _> =
        counts.iter().map(|(name, count)| ((*name).into(), (*count).into())).collect();
    Ok(Answer {
        text: format!("{text}\n{table}"),
        json: json!({"frames": first, "kinds": counts, "runs": runs}),
    })
}

pub(super) fn one(source: &Source, frame: u64) -> Result<Answer, Error> {
    let guest = source.guest()?;
    let frame = Frame(frame);
    if guest.fact(frame).is_none() {
        return Err(source.wrong(
            format!("there is no frame {frame}: the frame table ends at {:#x}", guest.frames.len()),
            "give a frame's number, which is its address divided by 4096",
        ));
    }
    let map = ReverseMap::build(&source.dump, source.paging(), guest.spaces(), ReverseMap::BUDGET);
    let mut table = Table::new(&[">pid", "name", "virtual", "rights", "entry"]);
    let mut list = Vec::new();
    for mapped in map.of(frame) {
        let pid = process_of(map.id(*mapped));
        let label = names::label(Some(&guest), pid);
        table.row([
            or_dash(names::pid(pid)),
            or_dash(label.as_deref()),
            mapped.virt().to_string(),
            mapped.rights().to_string(),
            mapped.entry().to_string(),
        ]);
        list.push(json!({
            "pid": names::pid(pid),
            "name": label,
            "virtual": mapped.virt().to_string(),
            "rights": names::rights_json(mapped.rights()),
            "entry": mapped.entry().to_string(),
        }));
    }
    let mut text = format!("frame {frame} at {}: {}\n", frame.base(), names::fact(&guest, frame));
    match list.len() {
        0 => text.push_str("ring 3 can use it nowhere\n"),
        _ => text.push_str(&format!("\n{table}")),
    }
    let json = json!({
        "frame": frame.to_string(),
        "physical": frame.base().to_string(),
        "use": names::fact_json(&guest, frame),
        "mappings": list,
    });
    Ok(Answer { text, json })
}
