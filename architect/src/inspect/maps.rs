//! `inspect maps`: what is mapped in one address space, by address. Pages that follow each other in both memories, with
//! the same rights and of the same size, are one line.

use abi::{Frame, GuestPhys, GuestVirt};
use introspect::matrix::Guest;
use introspect::x86::walk::{Half, Mapping};
use introspect::x86::{Budget, PageSize, Rights};
use serde_json::json;

use super::answer::Answer;
use super::args::Who;
use super::names;
use super::source::Source;
use super::table::{Table, size};
use crate::error::Error;

/// Pages that follow each other.
struct Range {
    virt: GuestVirt,
    frame: Frame,
    pages: u64,
    page: PageSize,
    rights: Rights,
    /// Of the first page.
    entry: GuestPhys,
}

impl Range {
    fn bytes(&self) -> u64 {
        self.pages * self.page.bytes()
    }

    /// Takes the next page in, if it follows.
    fn extend(&mut self, mapping: &Mapping, same_use: bool) -> bool {
        let follows = self.rights == mapping.rights
            && self.page == mapping.size
            && self.virt.0.wrapping_add(self.bytes()) == mapping.virt.0
            && self.frame.0 + self.pages * self.page.frames() == mapping.frame.0
            && same_use;
        self.pages += u64::from(follows);
        follows
    }
}

pub(super) fn answer(source: &Source, who: Option<Who>) -> Result<Answer, Error> {
    let guest = source.guest_if_any();
    let guest = guest.as_ref();
    let space = source.space(who, guest)?;
    // What ring 3 can use is told apart by what the frames are used for; the kernel's direct map would fall into bits.
    let same_use = |a: Frame, mapping: &Mapping| {
        let key = |frame| guest.and_then(|guest| guest.fact(frame)).map(|fact| (fact.kind, fact.owner));
        !mapping.rights.user || key(a) == key(mapping.frame)
    };
    let mut ranges: Vec<Range> = Vec::new();
    let summary =
        source.paging().walk(&source.dump, space.root, Half::Both, Budget::default(), &mut |mapping| {
            if let Some(last) = ranges.last_mut()
                && last.extend(&mapping, same_use(last.frame, &mapping))
            {
                return;
            }
            let Mapping { virt, frame, size, rights, entry } = mapping;
            ranges.push(Range { virt, frame, pages: 1, page: size, rights, entry });
        });
    let mut table = Table::new(&["from", "to", ">size", "rights", ">pages of", ">frame", "entry", "used as"]);
    let mut list = Vec::new();
    for range in &ranges {
        let used = guest
            .filter(|_| range.rights.user)
            .map_or_else(String::new, |guest: &Guest| names::fact(guest, range.frame));
        table.row([
            range.virt.to_string(),
            // The end of the last page of all is 2^64.
            format!("{:#x}", u128::from(range.virt.0) + u128::from(range.bytes())),
            size(range.bytes()),
            range.rights.to_string(),
            size(range.page.bytes()),
            range.frame.to_string(),
            range.entry.to_string(),
            used,
        ]);
        let mut line = json!({
            "virtual": range.virt.to_string(),
            "bytes": range.bytes(),
            "page_bytes": range.page.bytes(),
            "frame": range.frame.to_string(),
            "rights": names::rights_json(range.rights),
            "entry": range.entry.to_string(),
        });
        if let Some(guest) = guest {
            line["use"] = names::fact_json(guest, range.frame);
        }
        list.push(line);
    }
    let mut text = format!(
        "{}, root {}: {} pages in {} ranges, {} tables\n\n{table}",
        names::space(guest, space),
        space.root,
        summary.leaves,
        ranges.len(),
        summary.tables
    );
    for bad in &summary.described {
        let what = names::why(bad.why);
        text.push_str(&format!(
            "{}: {what} (level {}, at {}: {:#x})\n",
            bad.virt, bad.level, bad.entry, bad.value
        ));
    }
    let more = (summary.holes + summary.reserved).saturating_sub(summary.described.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {more} more entries that map nothing\n"));
    }
    for cycle in &summary.described_cycles {
        text.push_str(&format!("tables within themselves: {cycle}\n"));
    }
    if let Some(cut) = summary.truncated {
        text.push_str(&format!("cut at {}: there is more than a walk may take\n", cut.at));
    }
    let json = json!({
        "space": names::space_json(guest, space),
        "pages": summary.leaves,
        "tables": summary.tables,
        "holes": summary.holes,
        "reserved": summary.reserved,
        "cycles": summary.cycles,
        "complete": summary.truncated.is_none(),
        "mappings": list,
    });
    Ok(Answer { text, json })
}
