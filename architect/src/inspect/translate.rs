//! `inspect translate`: where one virtual address leads, and by which entry.

use abi::GuestVirt;
use introspect::PhysicalMemory;
use serde_json::json;

use super::answer::Answer;
use super::args::Who;
use super::names;
use super::source::Source;
use super::table::size;
use crate::error::Error;

pub(super) fn answer(source: &Source, at: u64, who: Option<Who>) -> Result<Answer, Error> {
    let guest = source.guest_if_any();
    let guest = guest.as_ref();
    let space = source.space(who, guest)?;
    let at = GuestVirt(at);
    let found = source.translate(space, at)?;
    let mapping = found.mapping;
    let frame = found.phys.frame();
    // It was read a moment ago.
    let value = source.dump.read_u64(mapping.entry).unwrap_or(0);
    let mut text = format!(
        "{at} in {} is at {}\n  page    {} of {}, {}\n  frame   {frame}{}\n  entry   {value:#x} at {}\n",
        names::space(guest, space),
        found.phys,
        mapping.virt,
        size(mapping.size.bytes()),
        mapping.rights,
        guest.map_or_else(String::new, |guest| format!(", {}", names::fact(guest, frame))),
        mapping.entry,
    );
    text.push_str(&format!("  root    {}\n", space.root));
    let mut json = json!({
        "space": names::space_json(guest, space),
        "virtual": at.to_string(),
        "physical": found.phys.to_string(),
        "frame": frame.to_string(),
        "page": {"virtual": mapping.virt.to_string(), "bytes": mapping.size.bytes()},
        "rights": names::rights_json(mapping.rights),
        "entry": {"at": mapping.entry.to_string(), "value": format!("{value:#x}")},
    });
    if let Some(guest) = guest {
        json["use"] = names::fact_json(guest, frame);
    }
    Ok(Answer { text, json })
}
