//! The verdict for people: a few lines that say what happened and how one can know.

use std::fmt::Write;

use serde_json::Value;

use crate::beats::{Beat, Reached};
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
        verdict.wall_ms / 1000.0,
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
    let _ = writeln!(
        out,
        "  watchdog  petted {} times, {} NMI, {} resets by itself; {} processes crashed",
        tally.pets, tally.nmis, tally.watchdog_resets, tally.crashes
    );
    let repeatable = if verdict.repeatable { "" } else { " up to where real time took over" };
    let _ = writeln!(out, "  trace     {} events, {}{repeatable}", verdict.events, &verdict.trace_hash[..16]);
    out
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
            "{} ticks without a pet; the handler found the processor at {}, ring {}: critical",
            word("ticks_since_pet"),
            word("rip"),
            word("cpl")
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
