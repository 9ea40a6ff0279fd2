//! Prints the table: the medians of all walkers, measured in turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

use introspect_bench::dump::Dump;
use introspect_bench::walkers;

const ROUNDS: usize = 41;

type Contestant = (&'static str, fn(&Dump));

const CONTESTANTS: [Contestant; 5] = [
    ("bare walker, hash map", |dump| drop(black_box(walkers::bare_hash_map(dump)))),
    ("bare walker, sorted", |dump| drop(black_box(walkers::bare_sorted(dump)))),
    ("introspect", |dump| drop(black_box(walkers::ours(dump)))),
    ("memflow 0.2", |dump| drop(black_box(walkers::memflow(dump)))),
    ("vmi-rs 0.7", |dump| drop(black_box(walkers::vmi(dump)))),
];

fn main() -> Result<(), &'static str> {
    let dump = Dump::make();
    let pages = walkers::agree(&dump)?;
    println!("{pages} pages in {} address spaces; all agree. {ROUNDS} rounds, medians:", dump.roots.len());
    let mut times = [const { Vec::<Duration>::new() }; CONTESTANTS.len()];
    for _ in 0..ROUNDS {
        for ((_, run), times) in CONTESTANTS.iter().zip(&mut times) {
            let begin = Instant::now();
            run(&dump);
            times.push(begin.elapsed());
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_secs_f64() * 1e3
    });
    for ((name, _), median) in CONTESTANTS.iter().zip(medians) {
        println!("{name:<24} {median:>7.2} ms   {:>5.2}", median / medians[0]);
    }
    Ok(())
}
