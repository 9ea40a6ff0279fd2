//! The summary that `architect run` prints: what happened, the evidence, and the files that hold the rest.
//!
//! Every line fits 80 columns unless a single word is longer.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::beats::Reached;
use crate::scenario::Scenario;
use crate::terms::Beat;
use crate::verdict::Verdict;

/// The width of a terminal that shows every line whole.
const COLUMNS: usize = 80;
/// The column at which the text behind a label begins.
const TEXT: usize = 12;
/// The column at which the sentence of a finding begins.
const SENTENCE: usize = 22;

/// Renders the summary of one run. `files` names what was written and where; `None` if nothing was.
pub fn text(verdict: &Verdict<'_>, files: Option<&Files>) -> String {
    let mut out = wrap(&unwrapped(verdict));
    out.push_str(&wrap(&match files {
        Some(files) => files.sentence(),
        None => "  files     none written; --out DIR keeps events, verdict and post-mortem\n".to_owned(),
    }));
    out
}

/// The folder of a run and the names of the files in it.
pub struct Files {
    /// The folder, as the user named it.
    pub folder: String,
    /// The names of its files, sorted.
    pub names: Vec<String>,
}

impl Files {
    fn sentence(&self) -> String {
        let mut text = format!("  files     in {}: {}\n", self.folder, self.names.join(", "));
        if self.names.iter().any(|name| name == "post-mortem.txt") {
            text.push_str("            post-mortem.txt tells what led to the end, step by step\n");
        }
        text
    }
}

/// Breaks lines that are wider than [`COLUMNS`] at a space; what follows is indented like the line's text.
fn wrap(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.chars().take_while(|c| *c == ' ').count();
        // A finding's first line has its tick, right-aligned, before its name.
        let finding = line.trim_start().split_once(' ').is_some_and(|(first, _)| first.contains(':'));
        let hang = if indent >= SENTENCE || (finding && indent > 0) { SENTENCE } else { TEXT };
        let mut rest = line.to_owned();
        while rest.chars().count() > COLUMNS {
            // Everything before `hang` is the label: breaking there would not make the line shorter.
            let fits = rest.char_indices().nth(COLUMNS + 1).map_or(rest.len(), |(at, _)| at);
            let break_at = rest.char_indices().filter(|(at, c)| *c == ' ' && *at > hang);
            let before = break_at.clone().take_while(|(at, _)| *at < fits).last();
            let Some((at, _)) = before.or_else(|| break_at.clone().next()) else { break };
            out.push_str(&rest[..at]);
            out.push('\n');
            rest = format!("{:hang$}{}", "", &rest[at + 1..]);
        }
        out.push_str(&rest);
        out.push('\n');
    }
    out
}

/// The summary, its lines as long as they come.
fn unwrapped(verdict: &Verdict<'_>) -> String {
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
        let _ = writeln!(out, "\n  Detected (incarnation:tick, what, evidence):");
    }
    beats.sort_by_key(|(beat, reached)| (reached.evidence["incarnation"].as_u64(), reached.tick, **beat));
    for (beat, reached) in beats {
        let incarnation = reached.evidence["incarnation"].as_u64().unwrap_or(0);
        let time = format!("{incarnation}:{}", reached.tick);
        let _ = writeln!(out, "  {time:>8}  {:<9} {}", beat.name(), sentence(*beat, reached));
    }
    if let Some(cause) = &verdict.cause {
        let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(out, "\n  cause     {cause}");
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
            "            found within {} ticks (median {}); {} written to through the stale mapping, {} ticks later (median)",
            latency.max, latency.median, exposure.count, exposure.median
        );
    }
    if detection.beyond > 0 {
        let _ = writeln!(out, "            {} more found that the ledger cannot know of", detection.beyond);
    }
    for crash in &verdict.kernel_crashes {
        let word = |key: &str| crash[key].as_str().map(str::to_owned);
        let _ = writeln!(
            out,
            "  kernel    stopped at {}:{} ({}): {}",
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
        "  monitor   {} kills, {} restarts ordered; audits took {stolen:.1} % of the time",
        tally.kills, tally.restarts
    );
    let tags = &verdict.tags;
    let _ = writeln!(
        out,
        "  agents    {} violators tagged correctly, {} other processes tagged wrongly",
        tags.true_positives, tags.false_positives
    );
    let _ = writeln!(
        out,
        "  watchdog  kept alive {} times, {} NMI, {} forced resets; {} processes crashed",
        tally.pets, tally.nmis, tally.watchdog_resets, tally.crashes
    );
    let kernel = &tally.subsystems.0;
    let _ = writeln!(
        out,
        "  kernel    {} messages, {} datagrams ({} damaged), {} through the gateway, {} page faults resolved, {} system calls refused",
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
                    match mapping["standing"].as_str() {
                        Some("uncovered") => "no loan covers it".to_owned(),
                        _ => part("standing"),
                    }
                );
            }
            text
        }
        Beat::Nmi => format!(
            "watchdog not kept alive for {} ticks: critical; the NMI interrupted ring {} at\n{:22}{}",
            word("ticks_since_pet"),
            word("cpl"),
            "",
            if evidence["at"].is_string() { word("at") } else { word("rip") }
        ),
        Beat::Reset => format!(
            "incarnation {} is healthy: {} alive, watchdog kept alive {} times, nothing found",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_at_a_space_under_their_text() {
        let text = format!("  kernel    {}\n", "0123456789 ".repeat(12).trim_end());
        let wrapped = wrap(&text);
        assert!(wrapped.lines().all(|line| line.chars().count() <= COLUMNS), "{wrapped}");
        assert!(wrapped.lines().nth(1).is_some_and(|line| line.starts_with("            0")), "{wrapped}");
        assert_eq!(
            wrapped.split_whitespace().collect::<Vec<_>>(),
            text.split_whitespace().collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_sentence_of_a_finding_continues_in_its_own_column() {
        let wrapped = wrap(&format!("     1:650  nmi       {}\n", "0123456789 ".repeat(12).trim_end()));
        assert_eq!(wrapped.lines().nth(1).map(|line| line.len() - line.trim_start().len()), Some(SENTENCE));
    }

    #[test]
    fn a_word_wider_than_the_terminal_stays_whole() {
        let word = "x".repeat(100);
        assert_eq!(wrap(&format!("  trace     {word}\n")), format!("  trace     {word}\n"));
    }

    #[test]
    fn the_post_mortem_is_pointed_to_only_if_there_is_one() {
        let names = |names: &[&str]| Files {
            folder: "out".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert!(!names(&["verdict.json"]).sentence().contains("post-mortem"));
        assert!(names(&["post-mortem.txt", "verdict.json"]).sentence().contains("tells what led"));
    }
}
