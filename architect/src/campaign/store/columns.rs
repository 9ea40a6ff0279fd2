//! Rows as SQL has them: the columns of the table `runs`.

use std::collections::BTreeMap;

use rusqlite::types::Value;

use crate::campaign::row::Row;
use crate::terms::Beat;

/// The columns of a row before those of the beats.
const COLUMNS: [&str; 24] = [
    "run",
    "cell",
    "seed",
    "draw",
    "outcome",
    "ended",
    "ticks",
    "events",
    "trace_hash",
    "trace_marks",
    "repeatable",
    "leaks_detected",
    "leaks_actual",
    "leaks_true",
    "restarts",
    "kills",
    "incarnations",
    "healthy_after_reset",
    "acted",
    "noticed_by",
    "recovered_by",
    "put_back_by",
    "residue",
    "pruned",
];

/// The column of a beat: its name, as SQL has names.
fn column(beat: Beat) -> String {
    beat.name().replace('-', "_")
}

/// All columns, in order.
pub(crate) fn columns() -> Vec<String> {
    let beats = Beat::ALL.iter().map(|beat| format!("beat_{}", column(*beat)));
    COLUMNS.into_iter().map(str::to_owned).chain(beats).collect()
}

/// The statements that make the tables.
pub(crate) fn schema() -> String {
    let beats: Vec<_> = Beat::ALL.iter().map(|beat| format!("beat_{} INTEGER", column(*beat))).collect();
    format!(
        "CREATE TABLE campaign (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
         CREATE TABLE cells (
             cell INTEGER, nth INTEGER, factor TEXT NOT NULL, level TEXT NOT NULL, PRIMARY KEY (cell, nth)
         ) WITHOUT ROWID;
         CREATE TABLE runs (
             run INTEGER PRIMARY KEY, cell INTEGER NOT NULL, seed INTEGER NOT NULL, draw INTEGER NOT NULL,
             outcome TEXT NOT NULL, ended TEXT NOT NULL,
             ticks INTEGER NOT NULL, events INTEGER NOT NULL, trace_hash TEXT, trace_marks TEXT,
             repeatable INTEGER NOT NULL,
             leaks_detected INTEGER NOT NULL, leaks_actual INTEGER NOT NULL, leaks_true INTEGER NOT NULL,
             restarts INTEGER NOT NULL, kills INTEGER NOT NULL,
             incarnations INTEGER NOT NULL, healthy_after_reset INTEGER,
             acted INTEGER, noticed_by TEXT, recovered_by TEXT, put_back_by TEXT,
             residue INTEGER, pruned INTEGER NOT NULL,
             {}
         );",
        beats.join(", ")
    )
}

/// The values of a row, in the order of [`columns`]. Counts fit: a run has far less than 2^63 of anything.
pub(crate) fn values(row: &Row) -> Vec<Value> {
    let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let truth = |truth: bool| Value::Integer(truth.into());
    let mut values = vec![
        number(row.run),
        number(row.cell as u64),
        number(row.seed),
        number(row.draw),
        Value::Text(row.outcome.clone()),
        Value::Text(row.ended.clone()),
        number(row.ticks),
        number(row.events),
        row.trace_hash.clone().into(),
        row.trace_marks.clone().into(),
        truth(row.repeatable),
        number(row.leaks_detected),
        number(row.leaks_actual),
        number(row.leaks_true),
        number(row.restarts),
        number(row.kills),
        number(row.incarnations.into()),
        row.healthy_after_reset.map_or(Value::Null, truth),
        row.acted.map_or(Value::Null, number),
        row.noticed_by.clone().into(),
        row.recovered_by.clone().into(),
        row.put_back_by.clone().into(),
        row.residue.map_or(Value::Null, truth),
        truth(row.pruned),
    ];
    values.extend(Beat::ALL.iter().map(|beat| row.beats.get(beat).map_or(Value::Null, |tick| number(*tick))));
    values
}

/// A row from the columns, in the order of [`columns`].
pub(crate) fn from_sql(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let mut beats = BTreeMap::new();
    for (at, beat) in (COLUMNS.len()..).zip(Beat::ALL) {
        if let Some(tick) = row.get(at)? {
            beats.insert(*beat, tick);
        }
    }
    Ok(Row {
        run: row.get(0)?,
        cell: row.get(1)?,
        seed: row.get(2)?,
        draw: row.get(3)?,
        outcome: row.get(4)?,
        ended: row.get(5)?,
        ticks: row.get(6)?,
        events: row.get(7)?,
        trace_hash: row.get(8)?,
        trace_marks: row.get(9)?,
        repeatable: row.get(10)?,
        leaks_detected: row.get(11)?,
        leaks_actual: row.get(12)?,
        leaks_true: row.get(13)?,
        restarts: row.get(14)?,
        kills: row.get(15)?,
        incarnations: row.get(16)?,
        healthy_after_reset: row.get(17)?,
        acted: row.get(18)?,
        noticed_by: row.get(19)?,
        recovered_by: row.get(20)?,
        put_back_by: row.get(21)?,
        residue: row.get(22)?,
        pruned: row.get(23)?,
        beats,
    })
}
