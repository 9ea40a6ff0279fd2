//! The verdict for people: a few lines that say what happened and how one can know.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::beats::Reached;
use crate::scenario::Scenario;
use crate::terms::Beat;
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
        verdict.outcome().name(),
        tally.ticks,
        verdict.incarnations,
        if verdict.incarnations == 1 { "incarnation" } else { "incarnations" },
        verdict.wall.as_secs_f64(),
    );
    if let (Some((effect, golden)), Some(digest)) = (&verdict.effect, &verdict.digest) {
        let _ = writeln!(out, "\n  faults    {}", effect.sentence(golden, digest));
    }
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
    if let Some(cause) = &verdict.cause {
        let _ = writeln!(out, "\n  cause     {}", cause.replace('\n', "\n            "));
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
    if detection.beyond > 0 {
        let _ =
            writeln!(out, "            {} found besides, of which the ledger cannot know", detection.beyond);
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
    let stolen = tally.stolen.as_secs_f64() / verdict.wall.as_secs_f64().max(f64::EPSILON) * 100.0;
    let _ = writeln!(
        out,
        "  monitor   {} kills, {} restarts ordered; looking took {stolen:.1} % of the time",
        tally.kills, tally.restarts
    );
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
                verdict.outcome().name(),
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
pub(crate) fn sentence(beat: Beat, reached: &Reached) -> String {
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
        Beat::IpcDamage if evidence["cycle"].is_array() => {
            let circle = each(&evidence["cycle"], |link| who(&link["process"]));
            format!("{} wait for each other since tick {}", circle.join(", "), word("first_seen"))
        }
        Beat::IpcDamage => format!(
            "what {} collected at port {} is not what {} sent",
            who(&evidence["receiver"]),
            word("port"),
            who(&evidence["sender"])
        ),
        Beat::Berserk => {
            let orders = each(&evidence["orders"], |order| {
                format!("tick {} ({} frames free)", order["tick"], order["free_frames"])
            });
            format!("service {} ordered again at {}", word("service"), orders.join(", "))
        }
        Beat::KilledMidSyscall => format!(
            "{} killed by {} while {}, started again as {} with its page at {}",
            who(&evidence["agent"]),
            who(&evidence["killed_by"]),
            word("state"),
            who(&evidence["restarted_as"]),
            word("physical")
        ),
        Beat::KernelContext => {
            format!("{} in ring 0 at {}, frame {}", who(&evidence["process"]), word("rip"), word("frame"))
        }
        Beat::FalseTags => {
            let tagged =
                each(&evidence["tags"], |tag| format!("{} by {}", who(&tag["process"]), who(&tag["by"])));
            format!("{}, for nothing", tagged.join(", "))
        }
        Beat::Assimilation => {
            let copies = each(&evidence["copies"], |copy| {
                format!("{} at {}", who(&copy["process"]), copy["virtual"].as_str().unwrap_or("?"))
            });
            format!("the text of {}: {}", who(&evidence["agent"]), copies.join(", "))
        }
        Beat::TheOne => format!(
            "{} is root with priority {}, was made with uid {}; its descriptor is at {}",
            who(&evidence["process"]),
            word("priority"),
            word("uid_at_birth"),
            word("physical")
        ),
        Beat::Entangled => {
            let frames = each(&evidence["frames"], |frame| frame["frame"].as_str().unwrap_or("?").to_owned());
            let pair = each(&evidence["processes"], who);
            format!("{} both run frame {}", pair.join(" and "), frames.join(", "))
        }
        Beat::Duel => each(&evidence["duellists"], |one| who(&one["process"])).join(" against "),
        Beat::SchedulerAttacked => format!(
            "{} at {}: no interrupt acknowledged since tick {}, {} missed",
            who(&evidence["attacker"]),
            who(&evidence["victim"]),
            word("last_acknowledged_tick"),
            word("missed")
        ),
        Beat::TwoLeft => {
            let two = each(&evidence["processes"], |one| who(&one["process"]));
            format!("only {} in {} ticks", two.join(" and "), word("window_ticks"))
        }
    }
}

/// A process of the evidence, for people.
fn who(process: &Value) -> String {
    let part = |key: &str| process[key].as_str().unwrap_or("?");
    format!("{} {}", part("pid"), part("name"))
}

/// Each of a list in the evidence.
fn each(list: &Value, tell: impl Fn(&Value) -> String) -> Vec<String> {
    list.as_array().into_iter().flatten().map(tell).collect()
}
