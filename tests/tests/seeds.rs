//! Many seeds: audits find all leaks of `demo-leak.toml`, and at once, and none in `healthy.toml`, although
//! memory is shared there all the time. Runs end as soon as they have shown that.
//!
//! `ARCHITECT_SEEDS` seeds are tried (3), from `ARCHITECT_FIRST_SEED` on (1). `cargo xtask seeds` tries many.
//! The first seed that fails is named.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::Value;
use tests::{run_json, scenario};

/// By this tick most seeds have their first leaks; seeds without one get the longer time.
const DEMO_TICKS: [u64; 2] = [250, 700];
/// Long enough for every program of the healthy scenario to have run.
const HEALTHY_TICKS: u64 = 200;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Tries each seed, on all processors, until one fails. Returns the results in the order of seeds.
fn each_seed<T: Send>(try_seed: impl Fn(u64) -> Result<T, String> + Sync) -> Vec<T> {
    let first = number("ARCHITECT_FIRST_SEED", 1);
    let seeds = Mutex::new(first..first + number("ARCHITECT_SEEDS", 3));
    let results = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let Some(seed) = seeds.lock().unwrap().next() else { return };
            let result = try_seed(seed);
            if result.is_err() {
                seeds.lock().unwrap().by_ref().for_each(drop);
            }
            results.lock().unwrap().insert(seed, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().unwrap();
    results
        .into_iter()
        .map(|(seed, result)| result.unwrap_or_else(|error| panic!("seed {seed}: {error}")))
        .collect()
}

/// The verdict of a shortened run.
fn verdict(name: &str, seed: u64, ticks: u64, outcome: &str) -> Result<Value, String> {
    let (ticks, outcome) = (format!("vm.max-ticks={ticks}"), format!("expect.outcome={outcome}"));
    let seed = seed.to_string();
    let arguments = ["--seed", &seed, "--set", &ticks, "--set", &outcome, "--set", "expect.beats=[]"];
    let (run, verdict) = run_json(&scenario(name), &arguments);
    if run.status == Some(0) { Ok(verdict) } else { Err(format!("{} {verdict:#}", run.stderr)) }
}

fn count(verdict: &Value, key: &str) -> u64 {
    verdict["leaks"][key].as_u64().unwrap_or_else(|| panic!("no {key} in {verdict:#}"))
}

/// Sharings of a run, those written through after their detection, and the tick of the first.
fn demo(seed: u64) -> Result<(u64, u64, u64), String> {
    let short = verdict("demo-leak.toml", seed, DEMO_TICKS[0], "corrupted");
    let verdict = match short {
        Ok(verdict) if count(&verdict, "actual") > 0 => verdict,
        _ => verdict("demo-leak.toml", seed, DEMO_TICKS[1], "corrupted")?,
    };
    let leaks = &verdict["leaks"];
    let (found, actual) = (count(&verdict, "detected"), count(&verdict, "actual"));
    let wrong = |what: &str| Err(format!("{what}: {leaks:#}"));
    if actual == 0 {
        return wrong("no leak in time");
    }
    if (found, count(&verdict, "true_positives")) != (actual, actual) {
        return wrong("audits and ledger differ");
    }
    if (&leaks["precision"], &leaks["recall"]) != (&1.0.into(), &1.0.into()) {
        return wrong("precision and recall must be 1");
    }
    if leaks["detection_latency_ticks"]["max"] != 0 {
        return wrong("an audit that could have found it did not");
    }
    let first = ["leak", "crossing"].iter().filter_map(|beat| verdict["beats"][*beat]["tick"].as_u64()).min();
    match first {
        Some(tick) => Ok((actual, count(&verdict, "written"), tick)),
        None => wrong("no beat for it"),
    }
}

/// Loans of a run in which nothing is found.
fn healthy(seed: u64) -> Result<u64, String> {
    let verdict = verdict("healthy.toml", seed, HEALTHY_TICKS, "healthy")?;
    for key in ["detected", "actual", "between_audits"] {
        if count(&verdict, key) != 0 {
            return Err(format!("{key} is not 0: {:#}", verdict["leaks"]));
        }
    }
    // The run must contain what may not be flagged: loans, and pages that Agents share with the kernel.
    let kernel = &verdict["subsystems"];
    for key in ["loans", "taps", "granted"] {
        if kernel[key].as_u64().is_none_or(|count| count == 0) {
            return Err(format!("no {key}: {kernel:#}"));
        }
    }
    kernel["loans"].as_u64().ok_or_else(|| "no loans".into())
}

#[test]
fn every_leak_is_found_by_the_first_audit_that_can() {
    let all = each_seed(demo);
    let sum = |of: fn(&(u64, u64, u64)) -> u64| all.iter().map(of).sum::<u64>();
    let ticks = all.iter().map(|(_, _, tick)| *tick);
    println!(
        "{} seeds: {} wrong sharings, each found by the first audit that could; {} written through afterwards; \
         the first of a run at ticks {} to {}",
        all.len(),
        sum(|seed| seed.0),
        sum(|seed| seed.1),
        ticks.clone().min().unwrap_or(0),
        ticks.max().unwrap_or(0),
    );
}

#[test]
fn sharing_that_is_in_order_is_never_flagged() {
    let all = each_seed(healthy);
    println!("{} seeds: {} loans, nothing flagged", all.len(), all.iter().sum::<u64>());
}
