//! The stats as one JSON document.

use serde_json::{Map, Value, json};

use super::summary::Stats;
use crate::campaign::stats::effects::{Effect, Seen};
use crate::campaign::stats::interval::{Interval, sample_size};
use crate::campaign::stats::tally::{Response, Tally};
use crate::terms::Beat;

impl Stats<'_> {
    /// The document.
    pub fn to_json(&self) -> Value {
        let table = self.table;
        let cells = self.cells.iter().enumerate().map(|(number, (levels, tally))| {
            let levels: Map<_, _> = table
                .factors
                .iter()
                .cloned()
                .zip(levels.iter().map(|level| Value::from(level.as_str())))
                .collect();
            let mut cell = self.tally(tally);
            cell.insert("cell".into(), number.into());
            cell.insert("levels".into(), levels.into());
            Value::from(cell)
        });
        let effects: Map<_, _> = self
            .effects
            .iter()
            .map(|(response, effects)| {
                let kind = match response {
                    Response::Outcome(_) | Response::Beat(_) => String::new(),
                    other => format!("{} ", other.kind()),
                };
                (kind + response.name(), effects.iter().map(effect).collect())
            })
            .collect();
        let mut document = json!({
            "version": 1,
            "scenario": table.scenario,
            "first_seed": table.first_seed.parse::<u64>().ok(),
            "planned": table.planned,
            "all": self.tally(&self.all),
            "factors": table.factors,
            "cells": cells.collect::<Vec<_>>(),
            "effects": effects,
        });
        if let Some(margin) = self.precision {
            document["precision"] = json!({
                "margin": margin,
                "runs_a_cell_for_any_rate": sample_size(None, margin, 0.5),
                "reached": self.cells.iter().all(|(_, tally)| self.is_precise(tally, margin)),
            });
        }
        document
    }

    /// Whether all that is told of a cell is known to within this margin.
    pub(super) fn is_precise(&self, tally: &Tally, margin: f64) -> bool {
        self.responses.iter().all(|response| {
            let seen = tally.seen(response);
            Interval::wilson(seen.count, seen.of).half() <= margin
        })
    }

    fn tally(&self, tally: &Tally) -> Map<String, Value> {
        let [mut outcomes, mut noticed, mut recovered, mut put_back, mut beats] =
            [(); 5].map(|()| Map::new());
        for response in &self.responses {
            let value = rate(tally.seen(response));
            match response {
                Response::Outcome(name) => outcomes.insert(name.clone(), value),
                Response::NoticedBy(name) => noticed.insert(name.clone(), value),
                Response::RecoveredBy(name) => recovered.insert(name.clone(), value),
                Response::PutBackBy(name) => put_back.insert(name.clone(), value),
                Response::Beat(beat) => beats.insert(beat.name().to_owned(), value),
            };
        }
        let reached =
            (0..=Beat::ALL.len()).map(|beats| tally.beats_reached.get(&beats).copied().unwrap_or(0));
        let [detected, actual, both] = tally.leaks;
        let part = |of: u64| (of > 0).then(|| both as f64 / of as f64);
        let value = json!({
            "runs": tally.runs,
            "outcomes": outcomes,
            "noticed_by": noticed,
            "recovered_by": recovered,
            "put_back_by": put_back,
            "beats": beats,
            "beats_reached": reached.collect::<Vec<_>>(),
            "leaks": {
                "detected": detected,
                "actual": actual,
                "true_positives": both,
                "precision": part(detected),
                "recall": part(actual),
            },
            "restarts": tally.orders[0],
            "kills": tally.orders[1],
            "unrepeatable": tally.unrepeatable,
            "pruned": tally.pruned,
        });
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

fn rate(seen: Seen) -> Value {
    let interval = Interval::wilson(seen.count, seen.of);
    json!({"count": seen.count, "rate": seen.rate(), "low": interval.low, "high": interval.high})
}

fn effect(effect: &Effect) -> Value {
    let changes = effect
        .changes
        .iter()
        .map(|change| json!({"factor": change.factor, "from": change.from, "to": change.to}));
    json!({
        "changes": changes.collect::<Vec<_>>(),
        "estimate": effect.estimate,
        "low": effect.interval.low,
        "high": effect.interval.high,
        "clear": effect.is_clear(),
    })
}
