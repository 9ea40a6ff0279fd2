use super::summary::Stats;
use super::tally::*;
use crate::campaign::plan::Run;
use crate::campaign::row::Row;
use crate::campaign::store::Table;
use crate::campaign::testing;
use crate::terms::Beat;

/// Two factors with two levels each, `runs` in each cell; a leak where the pager is as it was.
fn sweep(runs: u64) -> Table {
    let levels = |levels: [&str; 2]| levels.map(str::to_owned).to_vec();
    let row = |number: u64| {
        let run = Run { number, cell: (number % 4) as usize, seed: 1 + number / 4, draw: 0 };
        let leaks = run.cell < 2;
        Row {
            outcome: if leaks { "corrupted" } else { "healthy" }.into(),
            beats: if leaks { [(Beat::Leak, 7)].into() } else { [].into() },
            leaks_actual: 2 * u64::from(leaks),
            ..testing::row(run)
        }
    };
    Table {
        scenario: "x".into(),
        first_seed: "1".into(),
        planned: 4 * runs,
        factors: levels(["fixes.pager", "fixes.priorities"]),
        cells: [["false", "false"], ["false", "true"], ["true", "false"], ["true", "true"]]
            .map(levels)
            .into(),
        rows: (0..4 * runs).map(row).collect(),
    }
}

#[test]
fn a_sweep_is_told_by_cell_and_by_factor() {
    let table = sweep(50);
    let stats = Stats::of(&table, Some(0.05), &[]).unwrap();
    let text = stats.text();
    assert!(
        text.contains("  false        true                  50      50  100.0 %   92.9 % to 100.0 %"),
        "{text}"
    );
    assert!(text.contains("fixes.pager false -> true      -100.0 %   -100.0 % to -95.3 %"), "{text}");
    assert!(text.contains("1 of 1 interactions may be none"), "{text}");
    let json = stats.to_json();
    assert_eq!(json["cells"][3]["levels"]["fixes.pager"], "true");
    assert_eq!(json["cells"][0]["beats"]["leak"]["rate"], 1.0);
    assert_eq!(json["all"]["leaks"]["actual"], 200);
    assert_eq!(json["all"]["beats_reached"][1], 100);
    assert_eq!(json["effects"]["leak"][0]["estimate"], -1.0);
    assert_eq!(json["precision"]["reached"], true);
    let csv = stats.csv();
    assert_eq!(
        csv.lines().next(),
        Some("cell,fixes.pager,fixes.priorities,kind,name,runs,count,rate,low,high")
    );
    assert_eq!(csv.lines().count(), 1 + 4 * 3);
}

#[test]
fn one_response_can_be_asked_for_and_an_unknown_one_is_refused() {
    let table = sweep(1);
    assert_eq!(Stats::of(&table, None, &["leak".into()]).unwrap().responses, [Response::Beat(Beat::Leak)]);
    let error = Stats::of(&table, None, &["nmi".into()]).err().unwrap();
    assert!(error.to_string().contains("corrupted, healthy, leak"), "{error}");
}

#[test]
fn no_rows_and_no_factors_are_told_as_well() {
    let table = Table { rows: Vec::new(), factors: Vec::new(), cells: vec![Vec::new()], ..sweep(1) };
    let stats = Stats::of(&table, Some(0.1), &[]).unwrap();
    assert!(stats.text().contains("0 of 4 runs"));
    assert_eq!(stats.to_json()["all"]["leaks"]["precision"], serde_json::Value::Null);
}
