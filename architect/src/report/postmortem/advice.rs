//! What to change, after the manner of an operator's report: each of the four fixes is recommended for what was measured,
//! and named as unneeded where nothing was.

use serde_json::{Value, json};

use super::history::How;
use super::{Case, chain};

/// A word about one fix.
pub(super) struct Advice {
    /// The scenario's key under `fixes`.
    pub(super) fix: &'static str,
    /// What it changes.
    pub(super) what: &'static str,
    /// It was on already.
    pub(super) was_on: bool,
    /// What was measured speaks for it.
    pub(super) is_due: bool,
    /// What was measured.
    pub(super) because: String,
}

impl Advice {
    pub(super) fn to_json(&self) -> Value {
        json!({"fix": self.fix, "what": self.what, "was_on": self.was_on, "due": self.is_due, "because": self.because})
    }
}

/// All four, in the order of the scenario's keys.
pub(super) fn of(case: &Case<'_>) -> Vec<Advice> {
    let (history, fixes) = (case.history, &case.scenario.fixes);
    let counts = &history.counts;
    let victims = chain::victims(history, case.writes);
    let hit = victims.iter().filter(|victim| !victim.given.is_empty()).count();
    let ordered = history.reuses.iter().filter(|reuse| {
        let death = reuse.freed.and_then(|freed| freed.death);
        death.is_some_and(|death| matches!(death.how, How::Killed(_, true)))
    });
    let (ordered, [taps, right, wrong]) = (ordered.count(), case.agents);
    let orders = counts.kills_ordered + counts.restarts_ordered;
    vec![
        Advice {
            fix: "pager",
            what: "let the pager honour its quarantine, and take windows down when memory is short",
            was_on: fixes.pager,
            is_due: counts.reused_under_a_window > 0,
            because: format!(
                "{} of {} frames given out came out of quarantine before their epoch had ended; on {} a window still stood; \
                 {} of these were seen to be written to through it; {hit} of the {} processes that crashed had such a frame",
                counts.early,
                counts.given,
                counts.reused_under_a_window,
                case.writes.len(),
                counts.crashes,
            ),
        },
        Advice {
            fix: "ids",
            what: "let the Agents look at samples instead of everything",
            was_on: fixes.ids,
            is_due: wrong > 0 || taps > 0 && history.short_since.is_some(),
            because: format!(
                "the Agents looked at {taps} messages and calls, and tagged {right} processes for something that they had \
                 done and {wrong} for nothing"
            ),
        },
        Advice {
            fix: "monitor",
            what: "let the monitor order no restarts and make no full audits above a load, and back off",
            was_on: fixes.monitor,
            is_due: counts.orders_while_short > 0,
            because: format!(
                "it audited {} times and gave {orders} orders, {} of them after memory had become short; {ordered} of the \
                 frames that were given out under a window were of processes that it had ordered killed",
                counts.audits, counts.orders_while_short,
            ),
        },
        Advice {
            fix: "priorities",
            what: "let a priority be inherited by whom it waits for, and grow with age",
            was_on: fixes.priorities,
            is_due: counts.inversions > 0,
            because: format!(
                "at audits, {} times a process waited for a less urgent one that did not get the processor, for up to {} \
                 ticks; {} calls gave up waiting",
                counts.inversions, counts.longest_inversion, counts.timeouts,
            ),
        },
    ]
}
