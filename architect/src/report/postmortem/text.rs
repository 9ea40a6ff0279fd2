//! The post-mortem for people.

use std::fmt::Write as _;

use abi::Pid;
use abi::frame::FrameKind;

use super::advice;
use super::case::Case;
use super::chain::{self, By};
use super::history::{Death, How, Reuse};
use crate::analysis::detection::Write;
use crate::report::summary;
use crate::terms::{IncarnationEnd, ResetCause};

/// Columns of a line of text.
const WIDTH: usize = 110;
/// Most examples of one kind that are told.
const TOLD: usize = 8;

impl Case<'_> {
    /// The whole of it.
    pub fn text(&self) -> String {
        let mut out = Paper(String::new());
        let Self { scenario, incarnation, .. } = self;
        out.line(&format!(
            "Post mortem: {}, seed {}, incarnation {incarnation}",
            scenario.name, scenario.seed
        ));
        out.blank();
        out.text(&format!("{} {}", self.ending(), self.load()));
        self.tell_timeline(&mut out);
        out.head("First cause");
        match self.first_cause() {
            Some(reuse) => out.text(&self.cause(reuse)),
            None => out.text(
                "No frame was given to anybody while somebody else's window on it stood. What went wrong did not begin there, \
                 as far as events and audits can tell.",
            ),
        }
        self.tell_chain(&mut out);
        out.head("Analysis");
        out.text(&self.analysis());
        out.head("Recommendation");
        let advice = advice::of(self);
        for advice in advice.iter().filter(|advice| advice.is_due) {
            let on = if advice.was_on { " It was on." } else { "" };
            out.item(&format!("fixes.{}: {}. Because {}.{on}", advice.fix, advice.what, advice.because));
        }
        for advice in advice.iter().filter(|advice| !advice.is_due) {
            out.item(&format!("fixes.{}: nothing in this run asks for it; {}.", advice.fix, advice.because));
        }
        out.0
    }

    /// In a line or two, for the summary of a run.
    pub fn short(&self) -> String {
        let Some(reuse) = self.first_cause() else {
            return "no frame was given out under a window".into();
        };
        format!(
            "frame {} was given to {} at tick {}, {}, while {}'s window\non it stood, from a loan of {} (loan {})",
            reuse.frame,
            self.name(reuse.to),
            reuse.tick,
            if reuse.source == Reuse::EARLY { "early from quarantine" } else { "from the free list" },
            self.name(reuse.window.borrower),
            self.name(reuse.window.lender),
            reuse.window.loan,
        )
    }

    fn name(&self, pid: Pid) -> String {
        match self.history.name(pid) {
            _ if pid == Pid::NONE => "nobody".into(),
            Some(name) if !name.is_empty() => format!("{pid} ({name})"),
            _ => pid.to_string(),
        }
    }

    fn ending(&self) -> String {
        let how = match self.ended {
            IncarnationEnd::Lasted | IncarnationEnd::Judged { .. } => "lasted its time",
            IncarnationEnd::Reset(ResetCause::Guest) => "was reset by its own kernel",
            IncarnationEnd::Reset(ResetCause::Watchdog) => "was reset by the watchdog",
            IncarnationEnd::Reset(ResetCause::Processor) => "ended when the processor could not go on",
            IncarnationEnd::Hung => "made no progress any more",
        };
        format!("It ran for {} ticks and {how}.", self.tick)
    }

    fn load(&self) -> String {
        let counts = &self.history.counts;
        let mut text = format!("At most {} processes were alive", counts.most_alive);
        if let Some(free) = counts.fewest_free {
            let _ = write!(text, ", and as few as {free} frames were free");
        }
        if let Some(tick) = self.history.short_since {
            let _ = write!(text, "; memory was short from tick {tick} on");
        }
        text + "."
    }

    fn tell_timeline(&self, out: &mut Paper) {
        out.head("Timeline");
        let beats = self.timeline();
        for (beat, reached) in &beats {
            let sentence = summary::sentence(*beat, reached);
            let mut first = format!("  {:>6}  {:<18}  ", reached.tick, beat.name());
            let next = " ".repeat(first.len());
            for line in sentence.lines() {
                out.wrap(line, &first, &next);
                next.clone_into(&mut first);
            }
        }
        if beats.is_empty() {
            out.text("No beat of the story was reached in it.");
        }
    }

    /// The first cause, in order of time.
    fn cause(&self, reuse: &Reuse) -> String {
        let Reuse { tick, frame, to, used, window, freed, .. } = reuse;
        let mut text = format!(
            "At tick {} {} lent frame {frame} to {} (loan {}",
            window.lent,
            self.name(window.lender),
            self.name(window.borrower),
            window.loan
        );
        if let Some(port) = window.port {
            let _ = write!(text, ", with a message to port {port}");
        }
        text += "). ";
        match window.ended {
            Some(ended) => {
                let _ = write!(text, "The loan ended at tick {ended}; its window was not taken down. ");
            }
            None => text += "The loan had not ended. ",
        }
        if let Some(death) = freed.and_then(|freed| freed.death) {
            let _ = write!(text, "{} ", self.tell_death(&death));
        }
        if let Some(freed) = freed {
            let _ =
                write!(text, "The frame was taken back from {} at tick {}", self.name(freed.of), freed.tick);
            if freed.quarantined {
                let ended = if freed.epoch <= reuse.last_epoch { "had ended" } else { "had not ended" };
                let _ = write!(text, " into quarantine under epoch {}, which {ended} when", freed.epoch);
            } else {
                text += ", not into quarantine;";
            }
            let _ = write!(text, " at tick {tick}");
        } else {
            let _ = write!(text, "At tick {tick}");
        }
        let used = used.map_or("unknown", FrameKind::name);
        let _ = write!(text, " it was given to {}, as a frame of the kind {used}", self.name(*to));
        text += match reuse.source {
            Reuse::EARLY => ": no frame was free, so the pager took the oldest of the quarantine.",
            1 => ", from the free list.",
            _ => ", as if it were new.",
        };
        let _ = write!(
            text,
            " From then on {} could write into what was {}'s.",
            self.name(window.borrower),
            self.name(*to)
        );
        text
    }

    fn tell_death(&self, death: &Death) -> String {
        let (who, tick) = (self.name(death.pid), death.tick);
        let gave_up = if death.gave_up { " when it had given up waiting for an answer" } else { "" };
        match death.how {
            How::Exit(0) => format!("{who} ended at tick {tick}{gave_up}."),
            How::Exit(status) => format!("{who} ended at tick {tick} with status {status}{gave_up}."),
            How::Fault(vector) => {
                format!("{who} was ended at tick {tick} by a fault of its own (vector {vector}).")
            }
            How::Killed(_, true) => {
                format!("{who} was killed at tick {tick}: the monitor took it for wedged.")
            }
            How::Killed(Some(by), _) => format!("{who} was killed at tick {tick} by {}.", self.name(by)),
            How::Killed(None, _) => format!("{who} was killed at tick {tick}."),
            How::OutOfMemory => format!("{who} was ended at tick {tick}, for its memory."),
        }
    }

    fn tell_write(&self, write: &Write) -> String {
        format!(
            "Frame {} of {}: {} wrote into it through its window at {} (entry {}) between tick {} and {}.",
            write.sharing.frame,
            self.name(write.sharing.owner),
            self.name(write.sharing.other),
            write.virt,
            write.entry,
            write.found,
            write.seen,
        )
    }

    /// What came of it: writes, crashes, and beats that hang on such a frame.
    fn tell_chain(&self, out: &mut Paper) {
        out.head("What came of it");
        let counts = &self.history.counts;
        let writes = match self.writes.len() {
            0 => "No write was seen through a window that had been found.".into(),
            writes => format!("Through windows that had been found, {writes} were seen to be written to:"),
        };
        out.text(&format!(
            "{} in this way, and audits found {}. {writes}",
            count(counts.reused_under_a_window, "frame was given out", "frames were given out"),
            count(counts.findings, "wrong sharing", "wrong sharings"),
        ));
        self.writes.iter().take(TOLD).for_each(|write| out.item(&self.tell_write(write)));
        out.rest(self.writes.len());
        out.blank();
        let end = if counts.crashes == 0 { "." } else { ":" };
        out.text(&format!("{} crashed{end}", count(counts.crashes, "process", "processes")));
        let victims = self.victims();
        for victim in victims.iter().take(TOLD) {
            let frames: Vec<_> = victim.written.iter().map(|write| write.sharing.frame.to_string()).collect();
            let why = if !frames.is_empty() {
                format!("Others had been seen to write into its frames: {}.", frames.join(", "))
            } else if let Some(reuse) = victim.given.first() {
                format!("It had frame {} under a window; no write was seen.", reuse.frame)
            } else {
                "No link to such a frame was measured.".into()
            };
            out.item(&format!("{} {why}", self.tell_death(&victim.death)));
        }
        out.rest(victims.len());
        out.blank();
        if let (Some(pet), true) = (self.history.last_pet, !self.ended.is_planned()) {
            out.text(&format!("Nobody petted the watchdog after tick {pet}."));
        }
        let links = self.timeline().into_iter().filter_map(|(beat, reached)| {
            let (by, reuse) = chain::link(self.history, reached)?;
            Some((beat, by, reuse))
        });
        for (beat, by, reuse) in links {
            let by = match by {
                By::Frame => format!("frame {}", reuse.frame),
                By::Process => format!("{}, who had been given frame {}", self.name(reuse.to), reuse.frame),
            };
            out.item(&format!(
                "The beat `{}` hangs on it by {by}, at tick {}, under the window of {}.",
                beat.name(),
                reuse.tick,
                self.name(reuse.window.borrower)
            ));
        }
    }

    fn analysis(&self) -> String {
        let counts = &self.history.counts;
        let part = |of: u64, all: u64| if all == 0 { 0.0 } else { of as f64 * 100.0 / all as f64 };
        let mut text = format!(
            "Of {} frames that were given out {} ({:.1} %) came out of quarantine before their epoch had ended; on {} of \
             all a window of somebody else still stood. ",
            counts.given,
            counts.early,
            part(counts.early, counts.given),
            counts.reused_under_a_window
        );
        let _ = match self.history.last_epoch_tick {
            Some(tick) => {
                write!(text, "The last of {} ended at tick {tick}. ", count(counts.epochs, "epoch", "epochs"))
            }
            None => write!(text, "No epoch ended. "),
        };
        let _ = write!(
            text,
            "{} gave up waiting. {} came when the window was gone already and harmed nobody. The monitor ordered {} and {}. ",
            count(counts.timeouts, "call", "calls"),
            count(counts.late_writes, "write", "writes"),
            count(counts.kills_ordered, "kill", "kills"),
            count(counts.restarts_ordered, "restart", "restarts"),
        );
        text += if counts.reused_under_a_window == 0 {
            "Address spaces were kept apart."
        } else {
            "Each part did what it is meant to do: messages lent frames without copying, the scheduler put off taking windows \
             down, the pager gave out what it had. Together they gave one process's memory to another; the flaw is in the \
             design of virtual memory and messages, not in a process."
        };
        text
    }
}

/// So many of something.
fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Text in lines of bounded length.
struct Paper(String);

impl Paper {
    fn line(&mut self, line: &str) {
        self.0 += line.trim_end();
        self.0 += "\n";
    }

    fn blank(&mut self) {
        if !self.0.ends_with("\n\n") {
            self.0 += "\n";
        }
    }

    fn head(&mut self, head: &str) {
        self.blank();
        self.line(head);
        self.blank();
    }

    fn text(&mut self, text: &str) {
        self.wrap(text, "  ", "  ");
    }

    fn item(&mut self, text: &str) {
        self.wrap(text, "  - ", "    ");
    }

    fn rest(&mut self, all: usize) {
        if all > TOLD {
            self.item(&format!("{} more: see post-mortem.json.", all - TOLD));
        }
    }

    fn wrap(&mut self, text: &str, first: &str, next: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in text.split_whitespace() {
            if !is_empty && line.len() + 1 + word.len() > WIDTH {
                self.line(&line);
                next.clone_into(&mut line);
                is_empty = true;
            }
            if !is_empty {
                line += " ";
            }
            line += word;
            is_empty = false;
        }
        self.line(&line);
    }
}
