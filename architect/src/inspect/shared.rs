//! `inspect shared`: frames that ring 3 can use in more than one address space, rightly or not. Neighbours that the same
//! ones share are one line; documents have each frame with each of its mappings.

use abi::Frame;
use introspect::matrix::space::pid as process_of;
use introspect::x86::{Mapped, ReverseMap, Space};
use serde_json::json;

use super::answer::Answer;
use super::source::Source;
use super::table::Table;
use super::{names, roots};
use crate::error::Error;

/// Sharers that a line names.
const NAMED: usize = 4;

/// Frames that follow each other and that the same address spaces share.
struct Run {
    first: Frame,
    frames: u64,
    spaces: Vec<usize>,
}

pub(super) fn answer(source: &Source) -> Result<Answer, Error> {
    let guest = source.guest_if_any();
    let guest = guest.as_ref();
    let spaces: Vec<Space> = match guest {
        Some(guest) => guest.spaces().collect(),
        None => roots::spaces(source, None)?,
    };
    let map = ReverseMap::build(&source.dump, source.paging(), spaces, ReverseMap::BUDGET);
    let mut runs: Vec<Run> = Vec::new();
    let mut list = Vec::new();
    for group in map.shared() {
        let mut sharers: Vec<_> = group.iter().map(|mapped| mapped.space()).collect();
        sharers.dedup();
        let Some(frame) = group.first().map(|mapped| mapped.frame()).filter(|_| sharers.len() > 1) else {
            continue;
        };
        let mappings: Vec<_> = group.iter().map(|mapped| mapping(&map, *mapped)).collect();
        list.push(json!({
            "frame": frame.to_string(),
            "use": guest.map(|guest| names::fact_json(guest, frame)),
            "mappings": mappings,
        }));
        let use_of = |frame| guest.and_then(|guest| guest.fact(frame)).map(|fact| (fact.kind, fact.owner));
        match runs.last_mut() {
            Some(run)
                if run.first.0 + run.frames == frame.0
                    && run.spaces == sharers
                    && use_of(run.first) == use_of(frame) =>
            {
                run.frames += 1;
            }
            _ => runs.push(Run { first: frame, frames: 1, spaces: sharers }),
        }
    }
    let mut table = Table::new(&[">frame", ">frames", ">sharers", "used as", "shared by"]);
    for run in &runs {
        let name = |nth: &usize| {
            map.spaces().get(*nth).map_or_else(String::new, |space| names::space(guest, *space))
        };
        let mut who = run.spaces.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
        if run.spaces.len() > NAMED {
            who.push_str(&format!(" and {} more", run.spaces.len() - NAMED));
        }
        table.row([
            run.first.to_string(),
            run.frames.to_string(),
            run.spaces.len().to_string(),
            guest.map_or_else(|| "-".into(), |guest| names::fact(guest, run.first)),
            who,
        ]);
    }
    let mut text =
        format!("{} frames are shared, in {} address spaces\n\n{table}", list.len(), map.spaces().len());
    if !map.is_complete() {
        text.push_str("not complete: some page tables have no end, or more pages than memory could\n");
    }
    let spaces: Vec<_> = map.spaces().iter().map(|space| names::space_json(guest, *space)).collect();
    Ok(Answer { text, json: json!({"complete": map.is_complete(), "spaces": spaces, "shared": list}) })
}

/// A mapping; its space is a place in the list of spaces.
fn mapping(map: &ReverseMap, mapped: Mapped) -> serde_json::Value {
    json!({
        "space": mapped.space(),
        "pid": names::pid(process_of(map.id(mapped))),
        "virtual": mapped.virt().to_string(),
        "rights": names::rights_json(mapped.rights()),
        "entry": mapped.entry().to_string(),
    })
}
