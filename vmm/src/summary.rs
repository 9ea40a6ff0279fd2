//! The verdict for people: a few lines that say what happened and how one can know.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::beats::{Beat, Reached};
use crate::scenario::Scenario;
use crate::verdict::Verdict;

/// The text.
pub fn text(verdict: &Verdict<'_>) -> String {
    let mut out = String::new();
    let tally = &verdict.tally;
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{}, seed {}: {} ({} ticks, {} {}, {:.1} s)",
        verdict.scenario.name,
        verdict.scenario.seed,
        verdict.outcome.name(),
        tally.ticks,
        verdict.incarnations,
        if verdict.incarnations == 1 { "incarnation" } else { "incarnations" },
        verdict.wall.as_secs_f64(),
    );
    let mut beats: Vec<_> = verdict.beats.reached().iter().collect();
    if !beats.is_empty() {
        let _ = writeln!(out, "\n  life:tick beat");
    }
    beats.sort_by_key(|(beat, reached)| (reached.evidence["incarnation"].as_u64(), reached.tick, **beat));
    for (beat, reached) in beats {
        let incarnation = reached.evidence["incarnation"].as_u64().unwrap_or(0);
        let time = format!("{incarnation}:{}", reached.tick);
        let _ = writeln!(out, "  {time:>8}  {:<9} {}", beat.name(), sentence(*beat, reached));
    }
    let detection = &verdict.detection;
    let _ = writeln!(
        out,
        "\n  leaks     {} found, {} in the ledger, {} in both; {} audits",
        detection.detected, detection.actual, detection.true_positives, tally.audits
    );
    if detection.latency.count > 0 {
        let (latency, exposure) = (detection.latency, detection.exposure);
        let _ = writeln!(
            out,
            "            found within {} ticks (median {}); {} written through, {} ticks later (median)",
            latency.max, latency.median, exposure.count, exposure.median
        );
    }
    for crash in &verdict.kernel_crashes {
        let word = |key: &str| crash[key].as_str().map(str::to_owned);
        let _ = writeln!(
            out,
            "  kernel    could not go on at {}:{} ({}): {}",
            crash["incarnation"],
            crash["tick"],
            word("cause").unwrap_or_default(),
            word("at").or_else(|| word("rip")).unwrap_or_default()
        );
        for place in crash["stack"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let _ = writeln!(out, "            from {place}");
        }
    }
    for space in verdict.hidden.spaces() {
        let word = |key: &str| space[key].as_str().unwrap_or("?").to_owned();
        let _ = writeln!(
            out,
            "  hidden    at {}:{} the address space at {}, {} of {} {}: {} pages, in no process table",
            space["incarnation"],
            space["tick"],
            word("root"),
            word("kind"),
            word("owner"),
            word("name"),
            space["pages"]
        );
    }
    let _ = writeln!(out, "  monitor   {} kills, {} restarts ordered", tally.kills, tally.restarts);
    let tags = &verdict.tags;
    let _ = writeln!(
        out,
        "  agents    {} violators tagged rightly, {} others wrongly",
        tags.true_positives, tags.false_positives
    );
    let _ = writeln!(
        out,
        "  watchdog  petted {} times, {} NMI, {} resets by itself; {} processes crashed",
        tally.pets, tally.nmis, tally.watchdog_resets, tally.crashes
    );
    let kernel = &tally.subsystems.0;
    let _ = writeln!(
        out,
        "  kernel    {} messages, {} datagrams ({} damaged), {} at the gateway, {} faults mended, {} calls refused",
        kernel.messages, kernel.datagrams, tally.damaged, kernel.gated, kernel.faults, kernel.refusals
    );
    let _ = writeln!(out, "  trace     {} events, {}", verdict.events, hash(verdict));
    out
}

/// Several guests that ran at once: a line for each. Who has no verdict has a message of its own.
pub fn several(
    scenario: &Scenario,
    names: &[String],
    verdicts: &[Option<&Verdict<'_>>],
    wall: Duration,
) -> String {
    let mut out = format!(
        "{}, seed {}: {} guests at once ({:.1} s)\n\n",
        scenario.name,
        scenario.seed,
        names.len(),
        wall.as_secs_f64()
    );
    for (name, verdict) in names.iter().zip(verdicts) {
        let _ = match verdict {
            Some(verdict) => writeln!(
                out,
                "  {name}  {:<9}  {} ticks, {} events, {}",
                verdict.outcome.name(),
                verdict.tally.ticks,
                verdict.events,
                hash(verdict)
            ),
            None => writeln!(out, "  {name}  no verdict"),
        };
    }
    out
}

/// The beginning of the trace's hash, and what it stands for.
fn hash(verdict: &Verdict<'_>) -> String {
    match verdict.trace_hash.as_deref().and_then(|hash| hash.get(..16)) {
        Some(hash) if verdict.repeatable => hash.to_owned(),
        Some(hash) => format!("{hash} up to where real time took over"),
        None => "in real time".to_owned(),
    }
}

/// What a beat's evidence says, in a line or two.
fn sentence(beat: Beat, reached: &Reached) -> String {
    let evidence = &reached.evidence;
    let word = |key: &str| match &evidence[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match beat {
        Beat::Load => format!(
            "{} processes alive, {} of {} frames free, {} in quarantine",
            word("alive"),
            word("free_frames"),
            word("frames"),
            word("quarantined_frames")
        ),
        Beat::Leak | Beat::Crossing => {
            let mut text = format!(
                "frame {}, {} of {} {}",
                word("frame"),
                word("kind"),
                word("owner"),
                word("owner_name")
            );
            for mapping in evidence["mappings"].as_array().into_iter().flatten() {
                let part = |key: &str| mapping[key].as_str().unwrap_or("?").to_owned();
                let _ = write!(
                    text,
                    "\n{:22}{} {} maps it at {} by the entry at {} ({})",
                    "",
                    part("pid"),
                    part("name"),
                    part("virtual"),
                    part("entry"),
                    part("standing")
                );
            }
            text
        }
        Beat::Nmi => format!(
            "{} ticks without a pet: critical; the handler found the processor in ring {} at\n{:22}{}",
            word("ticks_since_pet"),
            word("cpl"),
            "",
            if evidence["at"].is_string() { word("at") } else { word("rip") }
        ),
        Beat::Reset => format!(
            "incarnation {} is healthy: {} alive, watchdog petted {} times, nothing found",
            word("incarnation"),
            word("alive"),
            word("pets")
        ),
        _ => evidence.to_string(),
    }
}
