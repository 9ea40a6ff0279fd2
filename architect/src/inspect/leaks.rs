//! `inspect leaks`: the mappings that the sharing policy finds wrong, with the evidence that verdicts have.

use introspect::matrix::Guest;
use introspect::matrix::policy::{Finding, Policy, Preset, What};
use introspect::x86::ReverseMap;
use serde_json::{Value, json};

use super::answer::Answer;
use super::names;
use super::source::Source;
use super::table::{Table, or_dash};
use crate::analysis::ledger::Ledger;
use crate::beats::evidence;
use crate::error::Error;

pub(super) fn answer(source: &Source, preset: Preset) -> Result<Answer, Error> {
    let guest = source.guest()?;
    let map = ReverseMap::build(&source.dump, source.paging(), guest.spaces(), ReverseMap::BUDGET);
    let (mut policy, mut findings) = (Policy::new(preset), Vec::new());
    policy.check_guest(&map, &guest, &mut findings);
    let tallies: Vec<_> = What::ALL
        .into_iter()
        .map(|what| (what, policy.tally(what)))
        .filter(|(_, count)| *count > 0)
        .collect();

    let violations: u64 =
        tallies.iter().filter(|(what, _)| what.is_violation()).map(|(_, count)| count).sum();
    let mut text = match violations {
        0 => format!("tick {}: nothing is mapped that should not be\n", guest.info.tick),
        1 => format!("tick {}: 1 thing is mapped that should not be\n", guest.info.tick),
        count => format!("tick {}: {count} things are mapped that should not be\n", guest.info.tick),
    };
    for (what, count) in &tallies {
        let remark = if what.is_violation() { "" } else { "  (not wrong in itself)" };
        text.push_str(&format!("  {:<19} {count:>6}{remark}\n", what.name()));
    }
    let wrong = || findings.iter().filter(|finding| finding.what.is_violation());
    let mut table =
        Table::new(&["what", ">frame", "used as", "mapped by", "at", "rights", "entry", "standing", ">loan"]);
    wrong().for_each(|finding| rows(&mut table, &guest, finding));
    if violations > 0 {
        text.push_str(&format!("\n{table}"));
    }
    if !map.is_complete() {
        text.push_str("not complete: some page tables have no end, or more pages than memory could\n");
    }
    let no_ledger = Ledger::default();
    let list: Vec<Value> = wrong()
        .map(|finding| {
            let mut one = json!({"what": finding.what.name()});
            if let (Some(one), Value::Object(evidence)) =
                (one.as_object_mut(), evidence(finding, &guest, &no_ledger))
            {
                one.extend(evidence);
                // A core has no trace, and so no ledger.
                one.remove("ledger_owner");
            }
            one
        })
        .collect();
    let tallies: serde_json::Map<_, _> =
        tallies.into_iter().map(|(what, count)| (what.name().into(), count.into())).collect();
    let json = json!({
        "tick": guest.info.tick,
        "policy": preset.name(),
        "complete": map.is_complete(),
        "violations": violations,
        "tallies": tallies,
        "findings": list,
    });
    Ok(Answer { text, json })
}

/// A line for each mapping, and one before them for what the kernel keeps in the frame, if that is what is wrong. What is
/// the same as in the line above is left out.
fn rows(table: &mut Table, guest: &Guest, finding: &Finding) {
    let mut first = true;
    let mut row = |cells: [String; 6]| {
        let head = [finding.what.name().into(), finding.frame.to_string(), names::fact(guest, finding.frame)];
        let head = if std::mem::take(&mut first) { head } else { <[String; 3]>::default() };
        let ([what, frame, used], [who, at, rights, entry, standing, loan]) = (head, cells);
        table.row([what, frame, used, who, at, rights, entry, standing, loan]);
    };
    let named = |pid| {
        let label = names::label(Some(guest), pid).unwrap_or_default();
        format!("{} {label}", names::pid(pid).unwrap_or_else(|| "kernel".into())).trim_end().to_owned()
    };
    let dash = || "-".to_owned();
    if let Some(object) = finding.object {
        let role = format!("as {}", object.role.name());
        row([named(object.pid), dash(), dash(), object.named_at.to_string(), role, dash()]);
    }
    for party in &finding.parties {
        row([
            named(party.pid),
            party.virt.to_string(),
            party.rights.to_string(),
            party.entry.to_string(),
            party.standing.name().into(),
            or_dash(party.loan),
        ]);
    }
}
