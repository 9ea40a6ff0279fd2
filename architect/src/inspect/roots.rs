//! `inspect roots`: the address spaces, by address of their roots. Three witnesses are heard: the guest's process table,
//! the processors' CR3, and memory itself, which is searched for pages that look like a root. Who is named by memory or
//! by a processor only, while the guest publishes a table, is hidden.

use std::collections::BTreeMap;

use abi::{GuestPhys, Pid};
use introspect::matrix::Guest;
use introspect::matrix::roots::{Standing, judge};
use introspect::matrix::space::space_id;
use introspect::x86::dump::Cpu;
use introspect::x86::roots::{self, Root};
use serde_json::json;

use super::answer::Answer;
use super::names;
use super::source::Source;
use super::table::{Table, or_dash};
use crate::error::Error;

/// What is known of a root, and from whom.
#[derive(Default)]
struct Found {
    pid: Option<Pid>,
    standing: Option<Standing>,
    scanned: Option<Root>,
    by: Vec<String>,
}

/// The address spaces of a dump, by rising root; the roots that are left of the dead are not among them.
pub(super) fn spaces(source: &Source, guest: Option<&Guest>) -> Result<Vec<introspect::Space>, Error> {
    let found = find(source, guest)?;
    let living = found.into_iter().filter(|(_, found)| found.standing != Some(Standing::Residue));
    Ok(living
        .map(|(at, found)| introspect::Space {
            id: space_id(found.pid.unwrap_or(Pid::NONE)),
            root: GuestPhys(at),
        })
        .collect())
}

pub(super) fn answer(source: &Source) -> Result<Answer, Error> {
    let guest = source.guest_if_any();
    let found = find(source, guest.as_ref())?;
    let mut table =
        Table::new(&["root", ">pid", "name", "standing", "found by", ">user entries", ">kernel entries"]);
    let mut list = Vec::new();
    for (at, found) in &found {
        let pid = found.pid.unwrap_or(Pid::NONE);
        let is_kernel = guest.as_ref().is_some_and(|guest| guest.info.kernel_root.0 == *at);
        let label = names::label(guest.as_ref(), pid).or_else(|| is_kernel.then(|| "kernel".into()));
        let standing = match found.standing {
            Some(Standing::Named(_)) => "named",
            Some(Standing::Residue) => "residue",
            Some(Standing::Hidden) => "hidden",
            None => "found",
        };
        let entries = |of: fn(&Root) -> u16| found.scanned.as_ref().map(of);
        table.row([
            GuestPhys(*at).to_string(),
            or_dash(names::pid(pid)),
            or_dash(label.as_deref()),
            standing.into(),
            found.by.join(", "),
            or_dash(entries(|root| root.user_entries)),
            or_dash(entries(|root| root.kernel_entries)),
        ]);
        list.push(json!({
            "root": GuestPhys(*at).to_string(),
            "pid": names::pid(pid),
            "name": label,
            "standing": standing,
            "found_by": found.by,
            "user_entries": entries(|root| root.user_entries),
            "kernel_entries": entries(|root| root.kernel_entries),
        }));
    }
    let hidden = found.values().filter(|found| found.standing == Some(Standing::Hidden)).count();
    let text = format!("{} roots, {hidden} hidden\n\n{table}", found.len());
    Ok(Answer { text, json: json!({"hidden": hidden, "roots": list}) })
}

fn find(source: &Source, guest: Option<&Guest>) -> Result<BTreeMap<u64, Found>, Error> {
    let mut all: BTreeMap<u64, Found> = BTreeMap::new();
    let mut hear = |at: GuestPhys, by: String| {
        let found = all.entry(at.frame().base().0).or_default();
        if !found.by.contains(&by) {
            found.by.push(by);
        }
    };
    for space in guest.into_iter().flat_map(Guest::spaces) {
        hear(space.root, "table".into());
    }
    if let Some(root) = source.told_root() {
        hear(root, "dump".into());
    }
    for (number, cpu) in source.dump.cpus().iter().enumerate() {
        if let Some(root) = Cpu::root(cpu) {
            hear(root, format!("cpu {number}"));
        }
    }
    let (mem, paging, frames) = (&source.dump, source.paging(), source.dump.frames());
    let known = source.kernel_root(guest);
    let scanned = match &known {
        Ok(known) => roots::sharing(mem, paging, frames.clone(), *known).roots,
        Err(_) => roots::groups(mem, paging, frames).into_iter().next().unwrap_or_default().roots,
    };
    for root in &scanned {
        hear(root.at, "memory".into());
    }
    if all.is_empty() {
        known?;
    }
    for root in scanned {
        all.entry(root.at.0).or_default().scanned = Some(root);
    }
    let Some(guest) = guest else { return Ok(all) };
    let roots: Vec<_> = all
        .iter()
        .map(|(at, found)| {
            found.scanned.unwrap_or(Root { at: GuestPhys(*at), user_entries: 0, kernel_entries: 0 })
        })
        .collect();
    for judged in judge(guest, &roots) {
        let found = all.entry(judged.root.at.0).or_default();
        found.standing = Some(judged.standing);
        found.pid = match judged.standing {
            Standing::Named(pid) => Some(pid),
            _ => None,
        };
    }
    Ok(all)
}
