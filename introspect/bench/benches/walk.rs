//! The same comparison under Criterion: `cargo bench --manifest-path introspect/bench/Cargo.toml --target-dir
//! target/walks`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use introspect_bench::dump::Dump;
use introspect_bench::walkers;

fn walk(c: &mut Criterion) {
    let dump = Dump::make();
    walkers::agree(&dump).expect("all find the same");
    let mut group = c.benchmark_group("reverse map of 8 spaces");
    group.sample_size(20);
    group.bench_function("bare, hash map", |b| b.iter(|| black_box(walkers::bare_hash_map(&dump))));
    group.bench_function("bare, sorted", |b| b.iter(|| black_box(walkers::bare_sorted(&dump))));
    group.bench_function("introspect", |b| b.iter(|| black_box(walkers::ours(&dump))));
    group.bench_function("memflow", |b| b.iter(|| black_box(walkers::memflow(&dump))));
    group.bench_function("vmi-rs", |b| b.iter(|| black_box(walkers::vmi(&dump))));
    group.finish();
}

criterion_group!(benches, walk);
criterion_main!(benches);
