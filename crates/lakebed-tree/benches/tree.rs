//! Building, looking up, comparing and merging trees of growing size, in memory. `cargo bench -p lakebed-tree`
#![allow(missing_docs)] // the macros make public items
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lakebed_core::NodeId;
use lakebed_tree::{
    Diff, Edit, EditList, Identity, MemNodeStore, NodeStore, Resolution, ThreeWay, edit, empty_tree, lookup,
    merge,
};
use tokio::runtime::{Builder, Runtime};

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];

/// Paths as data lakes have them.
fn key(n: u32) -> Bytes {
    format!("warehouse/events/year=2026/month={:02}/part-{n:010}.snappy.parquet", n % 12 + 1).into()
}

/// A value of the size of an entry; most of it does not compress.
fn value(n: u32, version: u8) -> Bytes {
    let mut seed = (u64::from(n) << 8) | u64::from(version);
    let bytes = (0..74).map(|_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    });
    bytes.collect()
}

fn edits(numbers: impl Iterator<Item = u32>, version: u8) -> Vec<Edit> {
    let mut edits: Vec<Edit> =
        numbers.map(|n| Edit { key: key(n), value: Some(value(n, version)) }).collect();
    edits.sort_by(|a, b| a.key.cmp(&b.key));
    edits
}

fn apply(runtime: &Runtime, store: &MemNodeStore, root: NodeId, edits: Vec<Edit>) -> NodeId {
    runtime.block_on(edit(store, &root, &mut EditList::new(edits))).unwrap().root
}

struct ByBytes;

impl Identity for ByBytes {
    fn same(&self, a: &[u8], b: &[u8]) -> bool {
        a == b
    }
}

fn trees(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut build = c.benchmark_group("build");
    build.sample_size(10).throughput(Throughput::Elements(100_000));
    let all = edits(0..100_000, 0);
    build.bench_function("100000", |b| {
        b.iter(|| apply(&runtime, &MemNodeStore::new(), empty_tree(), all.clone()));
    });
    build.finish();

    for size in SIZES {
        let store = MemNodeStore::new();
        let base = apply(&runtime, &store, empty_tree(), edits(0..size, 0));
        let one = apply(&runtime, &store, base, edits(std::iter::once(size / 3), 1));
        let other = apply(&runtime, &store, base, edits(std::iter::once(size / 2), 2));
        let shared: Arc<dyn NodeStore> = store.clone();

        let mut n = 0;
        c.benchmark_group("lookup").bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                n = (n + 7919) % size;
                runtime.block_on(lookup(&*store, &base, black_box(&key(n)))).unwrap()
            });
        });
        c.benchmark_group("edit of one key").bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| apply(&runtime, &store, base, edits(std::iter::once(size / 4), 3)));
        });
        c.benchmark_group("diff of one key").bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let mut diff = Diff::new(shared.clone(), base, one);
                    let mut found = 0;
                    while diff.next().await.unwrap().is_some() {
                        found += 1;
                    }
                    assert_eq!(found, 1);
                });
            });
        });
        c.benchmark_group("merge of one key").bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let trees = ThreeWay { base, source: one, destination: other };
                let resolve = &mut |_: &[u8], _: ThreeWay<Option<&[u8]>>| Resolution::Conflict;
                let merged = runtime
                    .block_on(merge(shared.clone(), trees, &ByBytes, resolve, &mut |_: &[u8]| {}))
                    .unwrap();
                assert_eq!(merged.changed, 1);
            });
        });
    }
}

criterion_group!(benches, trees);
criterion_main!(benches);
