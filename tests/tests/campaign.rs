//! Campaigns: the same rows whatever the number of jobs, in shards, killed and resumed; and what is refused.
//!
//! `ARCHITECT_RUNS` and `ARCHITECT_KILLS` enlarge it: `ARCHITECT_RUNS=500 ARCHITECT_KILLS=20 cargo test -p
//! tests --release --test campaign killed -- --nocapture`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tests::{Outcome, architect, run, scenario, wait};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// A folder for databases.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a scratch folder"))
    }

    fn db(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Short runs of the demo, some of which leak.
fn campaign(db: &Path, runs: u64, further: &[&str]) -> Command {
    let mut command = architect();
    command.arg("campaign").arg(scenario("demo-leak.toml")).arg("--db").arg(db);
    command.args(["--set", "vm.max-ticks=16", "--runs", &runs.to_string()]).args(further);
    command
}

/// Every row, every column, as text.
fn rows(db: &Path) -> Vec<String> {
    let connection = Connection::open(db).expect("a database");
    let mut query = connection.prepare("SELECT * FROM runs ORDER BY run").expect("the table of runs");
    let columns = query.column_count();
    let rows = query.query_map([], |row| {
        let values = (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column));
        Ok(format!("{:?}", values.collect::<Result<Vec<_>, _>>()?))
    });
    rows.expect("rows").collect::<Result<_, _>>().expect("readable rows")
}

/// The number of rows so far; 0 before the table exists.
fn count(db: &Path) -> u64 {
    let connection = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE);
    connection.and_then(|c| c.query_row("SELECT count(*) FROM runs", [], |row| row.get(0))).unwrap_or(0)
}

fn done(outcome: &Outcome) {
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}

fn stats(databases: &[PathBuf]) -> Value {
    let outcome = run(architect().arg("stats").arg("--json").args(databases));
    done(&outcome);
    serde_json::from_str(&outcome.stdout).expect("one document")
}

#[test]
fn rows_are_the_same_whatever_the_number_of_jobs_and_in_shards() {
    let folder = Folder::new();
    let (one, three) = (folder.db("1.db"), folder.db("3.db"));
    done(&run(&mut campaign(&one, 8, &["--jobs", "1"])));
    done(&run(&mut campaign(&three, 8, &["--jobs", "3"])));
    let whole = rows(&one);
    assert_eq!(whole.len(), 8);
    assert_eq!(whole, rows(&three));

    let shards: Vec<_> = (0..4).map(|part| folder.db(&format!("shard-{part}.db"))).collect();
    for (part, shard) in shards.iter().enumerate() {
        done(&run(&mut campaign(shard, 8, &["--jobs", "1", "--shard", &format!("{part}/4")])));
    }
    let mut parts: Vec<_> = shards.iter().flat_map(|shard| rows(shard)).collect();
    parts.sort();
    assert_eq!(parts, whole, "run numbers have one digit, so text sorts as they do");
    assert_eq!(stats(&shards), stats(&[one]));
}

#[test]
fn a_campaign_that_is_killed_again_and_again_ends_with_the_rows_of_an_undisturbed_one() {
    let (runs, kills) = (number("ARCHITECT_RUNS", 16), number("ARCHITECT_KILLS", 4));
    let folder = Folder::new();
    let (calm, killed) = (folder.db("calm.db"), folder.db("killed.db"));
    done(&run(&mut campaign(&calm, runs, &["--jobs", "2"])));

    let mut random = runs;
    let mut moments = Vec::new();
    for kill in 1..=kills {
        let mut command = campaign(&killed, runs, &["--jobs", "2", "--resume"]);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts");
        // Kills at any moment, between two rows or within one: waits for so many rows, then for some time.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let least = (runs - 2) * kill / (kills + 1);
        while count(&killed) < least && child.try_wait().expect("our child").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random >> 47));
        child.kill().expect("our child");
        wait(&mut child);
        moments.push(count(&killed));
    }
    done(&run(&mut campaign(&killed, runs, &["--jobs", "2", "--resume"])));
    let rows_of = [rows(&calm), rows(&killed)];
    assert_eq!(rows_of[0], rows_of[1]);
    println!("{} rows, killed when {moments:?} were there: as undisturbed", rows_of[0].len());
}

#[test]
fn a_signal_ends_a_campaign_cleanly_and_a_line_says_how_to_resume() {
    let folder = Folder::new();
    let db = folder.db("c.db");
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = campaign(&db, 10_000, &["--jobs", "2", "--resume"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let before = count(&db);
        while count(&db) < before + 2 {
            std::thread::sleep(Duration::from_millis(2));
        }
        kill_process(Pid::from_child(&child), signal).expect("our child");
        let output = child.wait_with_output().expect("our child");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(128 + signal.as_raw()), "{stderr}");
        let stored = count(&db);
        assert!(stored >= before + 2);
        assert!(
            stderr.contains(&format!("{stored} of 10000 runs")) && stderr.contains("--resume"),
            "{stderr}"
        );
    }
    let files = std::fs::read_dir(folder.0.path()).expect("the folder").count();
    assert_eq!(files, 1, "nothing but the database is left");
}

/// Asserts status 2 and a message with this text.
fn refused(command: &mut Command, what: &str) {
    let outcome = run(command);
    assert!(outcome.status == Some(2) && outcome.stderr.contains(what), "{what}: {outcome:?}");
    assert!(outcome.stderr.contains("remedy:"), "{outcome:?}");
}

#[test]
fn a_database_of_another_campaign_is_refused_and_unchanged() {
    let folder = Folder::new();
    let db = folder.db("c.db");
    done(&run(&mut campaign(&db, 2, &[])));
    let before = rows(&db);
    refused(&mut campaign(&db, 2, &[]), "--resume");
    for (further, what) in [
        (["--seed", "99"], "first seed `6` there, `99` here"),
        (["--shard", "1/2"], "shard `0/1` there, `1/2` here"),
        (["--set", "vm.memory-mib=6"], "memory-mib = 5"),
    ] {
        refused(campaign(&db, 2, &["--resume"]).args(further), what);
    }
    refused(&mut campaign(&scenario("healthy.toml"), 2, &["--resume"]), "no database");
    refused(&mut campaign(Path::new("/nonexistent/c.db"), 2, &[]), "/nonexistent/c.db");
    refused(architect().args(["stats"]).args([&db, &db]), "run 0 is in two databases");
    assert_eq!(rows(&db), before);

    // The first runs of a longer campaign are those of a shorter one.
    done(&run(&mut campaign(&db, 3, &["--resume"])));
    assert_eq!(rows(&db)[..2], before);
}

#[test]
fn a_full_disk_keeps_the_rows_that_fit_and_space_lets_it_resume() {
    let folder = Folder::new();
    let db = folder.db("c.db");
    // A limit on file sizes acts on one file as a full disk does: it leaves room for the tables and a few
    // rows. It also applies to a snapshot's memory, which is a file; so each guest boots by itself.
    let cold = ["--set", "vm.start=cold"];
    let limited = |further: &[&str]| {
        let mut command = campaign(&db, 24, further);
        command.args(cold);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "ulimit -f 80; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        shell.stdin(Stdio::null());
        run(&mut shell)
    };
    let outcome = limited(&["--jobs", "2"]);
    assert!(outcome.status == Some(2) && outcome.stderr.contains("cannot be read or written"), "{outcome:?}");
    let kept = rows(&db);
    assert!(!kept.is_empty() && kept.len() < 24, "{}", kept.len());
    done(&run(campaign(&db, 24, &["--resume"]).args(cold)));
    let all = rows(&db);
    assert!(all.len() == 24 && kept.iter().all(|row| all.contains(row)));
}

#[test]
fn hunting_names_the_seeds_and_says_when_there_are_none() {
    let hunt = |beats: &str, ticks: &str| {
        let mut command = architect();
        command.arg("hunt").arg(scenario("demo-leak.toml")).args(["--beats", beats, "--runs", "3", "--json"]);
        let outcome = run(command.args(["--set", ticks]));
        let document: Value = serde_json::from_str(&outcome.stdout).expect("one document");
        (outcome.status, document)
    };
    let (status, found) = hunt("load", "vm.max-ticks=260");
    assert_eq!(status, Some(0), "{found:#}");
    let best = &found["seeds"][0];
    let verdict = tests::run_json(
        &scenario("demo-leak.toml"),
        &[
            "--seed",
            &best["seed"].to_string(),
            "--set",
            "vm.max-ticks=260",
            "--set",
            "expect.outcome=corrupted",
        ],
    );
    assert_eq!(best["trace_hash"], verdict.1["trace_hash"], "a seed that was found can be run by itself");
    let (status, found) = hunt("duel,nmi", "vm.max-ticks=16");
    assert_eq!((status, &found["complete"]), (Some(1), &0.into()));
    let mut unknown = architect();
    unknown.arg("hunt").arg(scenario("demo-leak.toml")).args(["--beats", "dance", "--runs", "1"]);
    assert_eq!(run(&mut unknown).status, Some(2));
}
