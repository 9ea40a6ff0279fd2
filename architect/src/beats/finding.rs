//! Findings of audits as evidence.

use introspect::matrix::guest::Guest;
use introspect::matrix::policy::Finding;
use serde_json::{Value, json};

use crate::analysis::ledger::Ledger;
use crate::trace::events::pid;

/// A finding as evidence: the frame, what the guest's tables and the ledger say of it, every mapping with its entry's
/// address, and what the kernel keeps there, if that is what is wrong.
pub fn evidence(finding: &Finding, guest: &Guest, ledger: &Ledger) -> Value {
    let label = |pid| guest.process(pid).map(|process| process.descriptor.label().collect::<String>());
    let mappings: Vec<_> = finding
        .parties
        .iter()
        .map(|party| {
            json!({
                "pid": pid(party.pid),
                "name": label(party.pid),
                "virtual": party.virt.to_string(),
                "entry": party.entry.to_string(),
                "writable": party.rights.write,
                "executable": party.rights.execute,
                "standing": party.standing.name(),
                "loan": party.loan,
            })
        })
        .collect();
    let mut evidence = json!({
        "finding": finding.what.name(),
        "tick": finding.tick,
        "frame": finding.frame.to_string(),
        "physical": finding.frame.base().to_string(),
        "kind": finding.fact.kind().map(abi::frame::FrameKind::name),
        "owner": pid(finding.fact.owner()),
        "owner_name": label(finding.fact.owner()),
        "freed_in_epoch": finding.fact.0.filter(|entry| entry.epoch != 0).map(|entry| entry.epoch),
        "ledger_owner": ledger.owner(finding.frame).map(pid),
        "mappings": mappings,
    });
    if let Some(object) = finding.object {
        evidence["object"] = json!({
            "role": object.role.name(),
            "pid": pid(object.pid),
            "name": label(object.pid),
            "named_at": object.named_at.to_string(),
        });
    }
    evidence
}
