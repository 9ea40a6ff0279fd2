use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::database::Database;
use crate::campaign::plan::Run;
use crate::campaign::row::Row;
use crate::campaign::testing;
use crate::error::Error;
use crate::terms::Beat;
use proptest::prelude::*;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.db");
    (folder, path)
}

fn row(number: u64) -> Row {
    testing::row(Run { number, cell: 0, seed: number + 1, draw: 0 })
}

fn open(path: &Path, resume: bool) -> Result<Database, Error> {
    Database::open(path, &testing::identity("1"), resume)
}

#[test]
fn rows_come_back_as_they_were_in_the_order_of_their_numbers() {
    let (_folder, path) = scratch();
    let mut database = open(&path, false).unwrap();
    let mut rows: Vec<_> = [3, 0, 7].map(row).into();
    rows[1].beats = [(Beat::Leak, 5), (Beat::KilledMidSyscall, 9)].into();
    rows[1].healthy_after_reset = Some(true);
    rows[2].trace_hash = None;
    rows.iter().for_each(|row| database.add(row).unwrap());
    drop(database);
    rows.sort_by_key(|row| row.run);
    assert_eq!(Database::read(&path).unwrap().rows().unwrap(), rows);
}

#[test]
fn a_database_that_is_there_needs_resume_and_has_all_its_rows_then() {
    let (_folder, path) = scratch();
    open(&path, false).unwrap().add(&row(4)).unwrap();
    let error = open(&path, false).err().unwrap();
    assert!(error.exit_status() == 2 && error.to_string().contains("--resume"), "{error}");
    assert_eq!(open(&path, true).unwrap().rows().unwrap(), [row(4)]);
}

#[test]
fn a_campaign_that_ended_before_it_began_can_go_on() {
    let (_folder, path) = scratch();
    std::fs::write(&path, "").unwrap();
    assert!(open(&path, true).unwrap().rows().unwrap().is_empty());
}

#[test]
fn another_campaign_is_refused_and_told_apart() {
    let (_folder, path) = scratch();
    open(&path, false).unwrap();
    let error = Database::open(&path, &testing::identity("2"), true).err().unwrap();
    assert!(error.to_string().contains("first seed `1` there, `2` here"), "{error}");
}

#[test]
fn cells_and_the_number_of_runs_are_kept() {
    let (_folder, path) = scratch();
    open(&path, false).unwrap().plan(50).unwrap();
    open(&path, true).unwrap().plan(9).unwrap();
    let database = Database::read(&path).unwrap();
    let levels = |level: &str| vec![level.to_owned()];
    assert_eq!(database.cells().unwrap(), (levels("fixes.pager"), vec![levels("false"), levels("true")]));
    assert_eq!(database.planned().unwrap(), 50);
}

#[test]
fn other_files_are_refused() {
    let (_folder, path) = scratch();
    std::fs::write(&path, "name = \"no database\"".repeat(100)).unwrap();
    assert!(open(&path, true).err().unwrap().to_string().contains("no database"));
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(open(&path, true).err().unwrap().to_string().contains("no campaign's"));
    assert!(Database::read(&path.with_extension("gone")).is_err());
}

#[test]
fn two_campaigns_that_write_the_same_run_are_told() {
    let (_folder, path) = scratch();
    let mut one = open(&path, false).unwrap();
    let mut two = open(&path, true).unwrap();
    one.add(&row(0)).unwrap();
    let error = two.add(&row(0)).unwrap_err();
    assert!(error.to_string().contains("another campaign"), "{error}");
    two.add(&row(1)).unwrap();
    assert_eq!(one.rows().unwrap().len(), 2);
}

#[test]
fn a_locked_database_is_told_and_loses_nothing() {
    let (_folder, path) = scratch();
    let mut database = open(&path, false).unwrap();
    database.add(&row(0)).unwrap();
    database.connection.busy_timeout(Duration::ZERO).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = database.add(&row(1)).unwrap_err();
    assert!(error.exit_status() == 2 && error.to_string().contains("locked"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    database.add(&row(1)).unwrap();
    assert_eq!(database.rows().unwrap(), [row(0), row(1)]);
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let (_folder, path) = scratch();
    let mut database = open(&path, false).unwrap();
    // SQLite's own limit gives what a full disk gives.
    let pages: u32 = database.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    database.connection.pragma_update(None, "max_page_count", pages + 1).unwrap();
    let mut stored = 0;
    let error = loop {
        match database.add(&row(stored)) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(stored > 0 && error.to_string().contains("no space"), "{error}");
    drop(database);
    let rows = open(&path, true).unwrap().rows().unwrap();
    assert_eq!(rows, (0..stored).map(row).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_row_survives(numbers: [u32; 9], seed in 0..i64::MAX as u64, flags: [bool; 3], beats in prop::collection::btree_map(0..16_usize, any::<u32>(), 0..16)) {
        let (_folder, path) = scratch();
        let [run, cell, ticks, events, detected, actual, yes, restarts, kills] = numbers;
        let row = Row {
            run: run.into(), cell: cell as usize, seed, ticks: ticks.into(), events: events.into(),
            leaks_detected: detected.into(), leaks_actual: actual.into(), leaks_true: yes.into(),
            restarts: restarts.into(), kills: kills.into(), repeatable: flags[0],
            healthy_after_reset: flags[1].then_some(flags[2]),
            acted: flags[0].then_some(ticks.into()), residue: flags[2].then_some(flags[0]),
            noticed_by: flags[1].then(|| "audit".into()), recovered_by: flags[0].then(|| "watchdog".into()),
            put_back_by: flags[1].then(|| "snapshot".into()), pruned: flags[2],
            trace_hash: flags[2].then(|| "ab".into()), trace_marks: flags[0].then(|| "8:0123abcd".into()),
            beats: beats.into_iter().map(|(beat, tick)| (Beat::ALL[beat], tick.into())).collect(),
            ..row(0)
        };
        let mut database = open(&path, false).unwrap();
        database.add(&row).unwrap();
        prop_assert_eq!(database.rows().unwrap(), [row]);
    }
}
