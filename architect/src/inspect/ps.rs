//! `inspect ps`: the processes, by slot.

use abi::Pid;
use abi::process::State;
use serde_json::json;

use super::answer::Answer;
use super::names;
use super::source::Source;
use super::table::{Table, or_dash};
use crate::error::Error;

pub(super) fn answer(source: &Source) -> Result<Answer, Error> {
    let guest = source.guest()?;
    let info = &guest.info;
    let mut table = Table::new(&[
        ">pid",
        "name",
        "state",
        ">ring",
        ">uid",
        ">priority",
        ">frames",
        ">entries",
        ">seen",
        "waits for",
        "root",
    ]);
    let mut list = Vec::new();
    for process in &guest.processes {
        let d = &process.descriptor;
        let name: String = d.label().collect();
        let state = process.state().map(State::name);
        let peer = (d.peer != Pid::NONE).then(|| {
            let label = names::label(Some(&guest), d.peer).unwrap_or_default();
            format!("{} {label}", d.peer).trim_end().to_owned()
        });
        let root = abi::Frame(d.root.into()).base();
        table.row([
            d.pid.to_string(),
            name.clone(),
            state.map_or_else(|| format!("{}?", d.state), str::to_owned),
            d.ring.to_string(),
            d.uid.to_string(),
            d.priority.to_string(),
            d.frames.to_string(),
            d.entries.to_string(),
            d.seen.to_string(),
            or_dash(peer),
            root.to_string(),
        ]);
        list.push(json!({
            "pid": d.pid.to_string(),
            "name": name,
            "state": state,
            "parent": names::pid(d.parent),
            "ring": d.ring,
            "uid": d.uid,
            "keys": d.keys,
            "priority": d.priority,
            "effective_priority": d.effective,
            "root": root.to_string(),
            "descriptor": process.frame.base().to_string(),
            "frames": d.frames,
            "entries": d.entries,
            "seen_tick": d.seen,
            "since_tick": d.since,
            "waits_for": names::pid(d.peer),
            "messages": d.messages,
            "faults": d.faults,
            "rip": format!("{:#x}", d.context.rip),
        }));
    }
    let mut text = format!(
        "tick {}: {} alive, {} of {} frames free, {} in quarantine; {} had the processor last\n\n{table}",
        info.tick,
        info.alive,
        info.free_frames,
        info.frames,
        info.quarantined,
        names::pid(info.current).unwrap_or_else(|| "nobody".into()),
    );
    for problem in &guest.problems {
        text.push_str(&format!("damaged: {problem:?}\n"));
    }
    let problems: Vec<_> = guest.problems.iter().map(|problem| format!("{problem:?}")).collect();
    let json = json!({
        "tick": info.tick,
        "alive": info.alive,
        "frames": info.frames,
        "free_frames": info.free_frames,
        "quarantined_frames": info.quarantined,
        "current": names::pid(info.current),
        "processes": list,
        "problems": problems,
    });
    Ok(Answer { text, json })
}
