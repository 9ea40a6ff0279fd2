//! `inspect leaks`: the mappings that the sharing policy finds wrong, with the evidence that verdicts have.

use introspect::policy::{Finding, Policy, What};
use introspect::{Guest, ReverseMap};
use serde_json::{Value, json};

use super::source::Source;
use super::table::{Table, or_dash};
use super::{Answer, names};
use crate::beats::evidence;
use crate::error::Error;
use crate::ledger::Ledger;

pub(super) fn answer(source: &Source) -> Result<Answer, Error> {
    let guest = source.guest()?;
    let map = ReverseMap::build(&source.dump, source.paging(), guest.spaces(), ReverseMap::BUDGET);
    let (mut policy, mut findings) = (Policy::default(), Vec::new());
    policy.check(&map, &guest.frames, &guest.loans, &mut findings);
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
    let list: Vec<Value> = wrong()
        .map(|finding| {
            let mut one = json!({"what": finding.what.name()});
            if let (Some(one), Value::Object(evidence)) =
                (one.as_object_mut(), evidence(finding, &guest, &Ledger::default()))
            {
                one.extend(evidence);
            }
            one
        })
        .collect();
    let tallies: serde_json::Map<_, _> =
        tallies.into_iter().map(|(what, count)| (what.name().into(), count.into())).collect();
    let json = json!({
        "tick": guest.info.tick,
        "complete": map.is_complete(),
        "violations": violations,
        "tallies": tallies,
        "findings": list,
    });
    Ok(Answer { text, json })
}

/// A line for each mapping; what is the same as in the line above is left out.
fn rows(table: &mut Table, guest: &Guest, finding: &Finding) {
    for (nth, party) in finding.parties.iter().enumerate() {
        let once = |text: String| if nth == 0 { text } else { String::new() };
        let label = names::label(Some(guest), party.pid).unwrap_or_default();
        table.row([
            once(finding.what.name().into()),
            once(finding.frame.to_string()),
            once(names::fact(guest, finding.frame)),
            format!("{} {label}", party.pid).trim_end().to_owned(),
            party.virt.to_string(),
            party.rights.to_string(),
            party.entry.to_string(),
            format!("{:?}", party.standing).to_lowercase(),
            or_dash(party.loan),
        ]);
    }
}
