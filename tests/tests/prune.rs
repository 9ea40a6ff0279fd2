//! Pruned runs: each is made here all the same, and equals the row that was written without it, to the last
//! column.

use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use rusqlite::types::Value;
use tests::{Outcome, architect, run, scenario};

/// The faults of a campaign, and its guest.
struct Case {
    name: &'static str,
    /// A shipped scenario, and values for its keys.
    scenario: &'static str,
    sets: &'static [&'static str],
    /// The faults.
    faults: &'static str,
    runs: u64,
    /// How many runs are pruned: at least, at most.
    pruned: [u64; 2],
}

/// Nearly empty memory, with some faults after the end; nearly full memory, in which frames change owners
/// through the quarantine, and the design bug strikes on the way.
const CASES: [Case; 3] = [
    Case {
        name: "soft-errors",
        scenario: "fault-soft-errors.toml",
        sets: &["vm.max-ticks=120"],
        faults: "",
        runs: 12,
        pruned: [6, 11],
    },
    Case {
        name: "pressure",
        scenario: "demo-leak.toml",
        sets: &["vm.max-ticks=250", "vm.memory-mib=3"],
        faults: "[[fault]]\nwhen.tick.uniform = [200, 240]\nwhere.frame.one-of = [\"free\", \"unused\", \"quarantined\"]\nwhat.flip = 2\n",
        runs: 10,
        pruned: [1, 9],
    },
    Case {
        name: "several",
        scenario: "demo-leak.toml",
        sets: &["vm.max-ticks=20"],
        faults: "[[fault]]\nprobability = 0.5\nwhen.tick.uniform = [1, 20]\nwhere.physical.uniform = [0x200000, 0x5fffff]\nwhat.flip = 1\n\
                 [[fault]]\nwhen.tick.uniform = [1, 30]\nwhere.physical.uniform = [0x200000, 0x5fffff]\nwhat.flip = 4\n",
        runs: 16,
        pruned: [4, 15],
    },
];

impl Case {
    fn scenario(&self, folder: &Path) -> PathBuf {
        let text = std::fs::read_to_string(scenario(self.scenario)).expect("a shipped scenario");
        let path = folder.join(format!("{}.toml", self.name));
        std::fs::write(&path, text + self.faults).expect("space for a scenario");
        path
    }

    fn campaign(&self, folder: &Path, db: &Path, further: &[&str]) -> Outcome {
        let mut command: Command = architect();
        command.arg("campaign").arg(self.scenario(folder)).arg("--db").arg(db);
        command
            .args(["--runs", &self.runs.to_string()])
            .args(self.sets.iter().flat_map(|set| ["--set", set]));
        run(command.args(further))
    }
}

/// Every row: all columns but `pruned`; and that one.
fn rows(db: &Path) -> (Vec<Vec<String>>, Vec<bool>) {
    let connection = Connection::open(db).expect("a database");
    let mut query = connection.prepare("SELECT pruned, * FROM runs ORDER BY run").expect("the table of runs");
    let names: Vec<_> = query.column_names().into_iter().map(str::to_owned).collect();
    let rows = query.query_map([], |row| {
        let pruned: bool = row.get(0)?;
        let kept = names.iter().enumerate().filter(|(_, name)| *name != "pruned");
        let values = kept.map(|(at, name)| row.get(at).map(|value: Value| format!("{name} {value:?}")));
        Ok((values.collect::<Result<Vec<_>, _>>()?, pruned))
    });
    rows.expect("rows").map(|row| row.expect("a readable row")).unzip()
}

#[test]
fn a_pruned_run_equals_the_row_that_was_written_without_it() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for case in &CASES {
        let [made, told] =
            ["made.db", "told.db"].map(|name| folder.path().join(format!("{}-{name}", case.name)));
        for (db, further) in [(&made, &[][..]), (&told, &["--prune"])] {
            let outcome = case.campaign(folder.path(), db, further);
            assert_eq!(outcome.status, Some(0), "{}: {outcome:?}", case.name);
        }
        let ((made, none), (told, pruned)) = (rows(&made), rows(&told));
        for ((made, told), pruned) in made.iter().zip(&told).zip(&pruned) {
            assert_eq!(made, told, "{}, pruned: {pruned}", case.name);
        }
        assert_eq!((made.len() as u64, told.len() as u64), (case.runs, case.runs));
        let count = pruned.iter().filter(|pruned| **pruned).count() as u64;
        assert!((case.pruned[0]..=case.pruned[1]).contains(&count), "{}: {count} pruned", case.name);
        assert!(!none.contains(&true), "{}: pruned without --prune", case.name);
        println!("{}: {count} of {} runs told, all as made", case.name, case.runs);
    }
}

#[test]
fn a_pruned_campaign_is_the_same_in_shards_and_can_be_read_and_replayed() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let db = |name: &str| folder.path().join(name);
    let case = &CASES[2];
    let done = |name: &str, further: &[&str]| {
        let outcome = case.campaign(folder.path(), &db(name), &[&["--prune"], further].concat());
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        rows(&db(name))
    };
    let (whole, pruned) = done("whole.db", &["--jobs", "3"]);
    let mut parts: Vec<_> = ["0/2", "1/2"]
        .iter()
        .zip(["0.db", "1.db"])
        .flat_map(|(shard, name)| {
            let (rows, pruned) = done(name, &["--shard", shard, "--jobs", "1"]);
            rows.into_iter().zip(pruned)
        })
        .collect();
    let mut all: Vec<_> = whole.into_iter().zip(pruned.clone()).collect();
    parts.sort();
    all.sort();
    assert_eq!(parts, all);

    let stats = |databases: &[&str]| {
        let outcome = run(architect().arg("stats").arg("--json").args(databases.iter().map(|name| db(name))));
        serde_json::from_str::<serde_json::Value>(&outcome.stdout).expect("one document")
    };
    let count = pruned.iter().filter(|pruned| **pruned).count();
    assert_eq!(stats(&["whole.db"])["all"]["pruned"], count);
    assert_eq!(stats(&["whole.db"]), stats(&["0.db", "1.db"]));
    let first = pruned.iter().position(|pruned| *pruned).expect("one that was not made");
    let again = run(architect().arg("replay").arg(format!("{}#{first}", db("whole.db").display())));
    assert!(again.status == Some(0) && again.stdout.contains("as derived"), "{again:?}");

    // Pruned and made rows cannot be mixed in one database, and `--prune` needs one golden run for all rows.
    let mixed = case.campaign(folder.path(), &db("whole.db"), &["--resume"]);
    assert!(mixed.status == Some(2) && mixed.stderr.contains("pruned `yes` there, `no` here"), "{mixed:?}");
    let seeds = case.campaign(folder.path(), &db("seeds.db"), &["--prune", "--vary", "seed"]);
    assert!(seeds.status == Some(2) && seeds.stderr.contains("--prune"), "{seeds:?}");
}
