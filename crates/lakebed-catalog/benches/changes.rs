//! Commit, diff and merge of few changes in repositories of growing size, on engines in memory: times, and how many tree
//! nodes each reads and writes when none is cached. `cargo bench -p lakebed-catalog`
#![allow(missing_docs)] // the macros make public items
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/counted.rs"]
mod counted;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use counted::{CountedLake, object};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lakebed_catalog::{DiffMode, DiffRequest, MergeStrategy};
use support::{Lake, branch, expr};
use tokio::runtime::{Builder, Runtime};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const CHANGES: [usize; 2] = [1, 100];

/// Stages changes scattered over the repository, other ones in every round.
async fn stage(lake: &Lake, on: &str, (objects, changes): (usize, usize), round: usize) {
    for n in 0..changes {
        let number = (n * (objects / changes + 1) + round * 7919) % objects;
        lake.put(on, &object(number), &format!("round {round}")).await.unwrap();
    }
}

async fn diff(lake: &Lake, changes: usize) {
    let request = DiffRequest { amount: 1000, ..DiffRequest::default() };
    let (left, right) = (expr("main~1"), expr("main"));
    let page = lake.catalog.diff_refs(&lake.repo, &left, &right, DiffMode::TwoDot, &request);
    assert_eq!(page.await.unwrap().items.len(), changes);
}

/// A branch with changes, and another change on main: so the merge has three different trees.
async fn diverge(lake: &Lake, size: (usize, usize), round: usize) {
    lake.create_branch("dev", "main").await.unwrap();
    stage(lake, "dev", size, round).await;
    lake.commit("dev", "m").await.unwrap();
    lake.put("main", "here", &format!("round {round}")).await.unwrap();
    lake.commit("main", "m").await.unwrap();
}

async fn end(lake: &Lake) {
    lake.catalog.delete_branch(&lake.repo, &branch("dev"), false).await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
}

/// What each reads and writes, done by a server that has just started.
async fn count(lake: &CountedLake, size: (usize, usize)) {
    let (objects, changes) = size;
    stage(&lake.cold(), "main", size, 1_000_001).await;
    let cold = lake.cold();
    let (done, commit) = lake.nodes_of(cold.commit("main", "m")).await;
    done.unwrap();
    let cold = lake.cold();
    let ((), compared) = lake.nodes_of(diff(&cold, changes)).await;
    diverge(&lake.cold(), size, 1_000_002).await;
    let cold = lake.cold();
    let (done, merge) = lake.nodes_of(cold.merge("dev", "main", MergeStrategy::None)).await;
    done.unwrap();
    end(&cold).await;
    println!("{changes} changes in {objects} objects: commit {commit:?}, diff {compared:?}, merge {merge:?}");
}

fn timed(runtime: &Runtime, rounds: u64, mut round: impl AsyncFnMut() -> Duration) -> Duration {
    runtime.block_on(async {
        let mut sum = Duration::ZERO;
        for _ in 0..rounds {
            sum += round().await;
        }
        sum
    })
}

fn changes(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().build().unwrap();
    for objects in SIZES {
        let counted = runtime.block_on(CountedLake::new(objects));
        let lake = counted.cold();
        let mut n = 0;
        for changes in CHANGES {
            let size = (objects, changes);
            runtime.block_on(count(&counted, size));
            let id = || BenchmarkId::new(format!("{changes} changes"), objects);
            c.benchmark_group("commit").bench_function(id(), |b| {
                b.iter_custom(|rounds| {
                    timed(&runtime, rounds, async || {
                        n += 1;
                        stage(&lake, "main", size, n).await;
                        let start = Instant::now();
                        lake.commit("main", "m").await.unwrap();
                        let took = start.elapsed();
                        lake.catalog.sweep_once().await.unwrap();
                        took
                    })
                });
            });
            c.benchmark_group("diff").bench_function(id(), |b| {
                b.iter(|| runtime.block_on(diff(&lake, changes)));
            });
            c.benchmark_group("merge").bench_function(id(), |b| {
                b.iter_custom(|rounds| {
                    timed(&runtime, rounds, async || {
                        n += 1;
                        diverge(&lake, size, n).await;
                        let start = Instant::now();
                        lake.merge("dev", "main", MergeStrategy::None).await.unwrap();
                        let took = start.elapsed();
                        end(&lake).await;
                        took
                    })
                });
            });
        }
    }
}

criterion_group!(benches, changes);
criterion_main!(benches);
