//! Replays: the same run again, or a message where it differs; and minimised runs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tests::{Outcome, architect, events, run, scenario};

fn replay(what: &Path, further: &[&str]) -> Outcome {
    run(architect().arg("replay").arg(what).args(further))
}

/// A short run of the demo in a folder.
fn a_run(folder: &Path) -> PathBuf {
    let out = folder.join("run");
    let mut command = architect();
    command.arg("run").arg(scenario("demo-leak.toml")).arg("--out").arg(&out);
    command.args(["--set", "vm.max-ticks=30", "--set", "expect.outcome=healthy", "--set", "expect.beats=[]"]);
    let outcome = run(&mut command);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    out
}

#[test]
fn a_replay_is_the_same_run_and_a_changed_event_is_named() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let out = a_run(folder.path());
    let same = replay(&out, &[]);
    let count = events(&out).len();
    assert!(same.status == Some(0) && same.stdout.contains(&format!("the same {count} events")), "{same:?}");

    let path = out.join("events.jsonl");
    let text = fs::read_to_string(&path).expect("the events");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[40] = lines[40].replace("\"tick\":", "\"tick\":7");
    fs::write(&path, lines.join("\n") + "\n").expect("space for events");
    let other = replay(&out, &[]);
    assert!(other.status == Some(1) && other.stderr.contains("differs from event 40 on"), "{other:?}");
    let before = replay(&out, &["--until", "39"]);
    assert!(before.status == Some(0) && before.stdout.ends_with("the same up to event 39\n"), "{before:?}");
    assert_eq!(replay(&out, &["--until", "no-such-kind"]).status, Some(2));
    assert_eq!(replay(&out, &["--until", "panic"]).status, Some(2));
}

#[test]
fn a_row_of_a_database_can_be_replayed() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let db = folder.path().join("c.db");
    let mut campaign = architect();
    campaign.arg("campaign").arg(scenario("demo-leak.toml")).args([
        "--runs",
        "2",
        "--set",
        "vm.max-ticks=16",
    ]);
    assert_eq!(run(campaign.arg("--db").arg(&db)).status, Some(0));
    let row = |number: &str| PathBuf::from(format!("{}#{number}", db.display()));
    let same = replay(&row("1"), &[]);
    assert!(same.status == Some(0) && same.stdout.contains("the same"), "{same:?}");
    let wrong = replay(&row("9"), &[]);
    assert!(wrong.status == Some(2) && wrong.stderr.contains("no run `9`"), "{wrong:?}");
    assert_eq!(replay(Path::new("/nonexistent"), &[]).status, Some(2));

    // A row that differs from this host's run, by a changed database.
    let connection = rusqlite::Connection::open(&db).expect("a database");
    connection.execute("UPDATE runs SET trace_hash = 'ab' WHERE run = 0", []).expect("a row");
    let other = replay(&row("0"), &[]);
    assert!(other.status == Some(1) && other.stderr.contains("was ab, and is "), "{other:?}");
}

#[test]
fn marks_narrow_down_where_a_row_and_its_replay_differ() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let db = folder.path().join("c.db");
    let sets = ["--set", "vm.max-ticks=40", "--set", "expect.outcome=healthy", "--set", "expect.beats=[]"];
    let mut campaign = architect();
    campaign.arg("campaign").arg(scenario("demo-leak.toml")).args(["--runs", "1"]).args(sets);
    assert_eq!(run(campaign.arg("--db").arg(&db)).status, Some(0));
    // The same up to a tick in the middle, as on a host that behaves differently from there on.
    let [then, now] = ["then", "now"].map(|name| folder.path().join(name));
    let fault = "[[fault]]\nwhen.tick = 20\nwhere.process = \"client\"\nwhat.kill = true\n";
    let text = fs::read_to_string(scenario("demo-leak.toml")).expect("a shipped scenario") + fault;
    let other = folder.path().join("other.toml");
    fs::write(&other, text).expect("space for a scenario");
    for (scenario, out) in [(scenario("demo-leak.toml"), &then), (other.clone(), &now)] {
        run(architect().arg("run").arg(scenario).args(sets).arg("--out").arg(out));
    }
    let (then, now) = (events(&then), events(&now));
    let first = then.iter().zip(&now).position(|(then, now)| then != now).expect("another run");
    let connection = rusqlite::Connection::open(&db).expect("a database");
    let mut of_faults = architect();
    let faulty = folder.path().join("f.db");
    of_faults.arg("campaign").arg(&other).args(["--runs", "1"]).args(sets).arg("--db").arg(&faulty);
    assert_eq!(run(&mut of_faults).status, Some(0));
    connection.execute("ATTACH ? AS f", [faulty.to_str()]).expect("another database");
    let take = "UPDATE runs SET (trace_hash, trace_marks) = (SELECT trace_hash, trace_marks FROM f.runs)";
    assert_eq!(connection.execute(take, []).expect("a row"), 1);

    let replayed = replay(Path::new(&format!("{}#0", db.display())), &[]);
    assert_eq!(replayed.status, Some(1), "{replayed:?}");
    let (_, range) =
        replayed.stderr.split_once("the first event that differs is among events ").expect("a range");
    let words: Vec<_> = range.split_whitespace().collect();
    let [from, to] = [words[0], words[2]].map(|word| word.parse::<usize>().expect("a number"));
    assert!((from..=to).contains(&first) && to - from < then.len() / 16, "{first} in {from} to {to}");
    assert!(range.contains(&format!("\"seq\":{from},")), "{range}");
}

/// Twenty faults, each of which stops the guest while time goes on: eighteen for one tick, which does no
/// harm, and two of them, at one moment, for twenty-five. The watchdog waits forty: it takes both to expire
/// it.
#[test]
fn minimise_leaves_exactly_the_two_faults_of_twenty_that_matter() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut text = String::from(
        "name = \"twenty\"\nseed = 3\n[vm]\nmax-ticks = 120\n[watchdog]\ntimeout-ticks = 40\nfirst = \"reset\"\n",
    );
    for nth in 0..20 {
        let (tick, pause) = if nth == 6 || nth == 13 { (75, 25) } else { (10 + 3 * nth, 1) };
        let _ = write!(text, "[[fault]]\nwhen = {{ tick = {tick} }}\nwhat = {{ pause = {pause} }}\n");
    }
    let path = folder.path().join("twenty.toml");
    fs::write(&path, text).expect("space for a scenario");
    let (out, small) = (folder.path().join("run"), folder.path().join("small.toml"));
    let first = run(architect().arg("run").arg(&path).arg("--out").arg(&out));
    assert!(first.stdout.contains("recovered"), "{first:?}");

    let minimised = run(architect().arg("minimise").arg(&out).arg("-o").arg(&small));
    assert_eq!(minimised.status, Some(0), "{minimised:?}");
    let left = fs::read_to_string(&small).expect("the smallest scenario");
    assert_eq!((left.matches("pause = 25").count(), left.matches("[[fault]]").count()), (2, 2), "{left}");
    assert!(left.contains("people = 0"), "no people are needed for it: {left}");
    // The minimised scenario expects the outcome that was to be kept.
    let again = run(architect().arg("run").arg(&small));
    assert!(again.status == Some(0) && again.stdout.contains("recovered"), "{again:?}");
}
