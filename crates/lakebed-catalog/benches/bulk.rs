//! What staging many objects, committing them and sweeping their layer cost on the embedded engine, in CPU time of the
//! whole process. `cargo bench -p lakebed-catalog --bench bulk`, with `OBJECTS` and `ROUNDS` in the environment.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use lakebed_kv::{FjallConfig, FjallKv, Kv};
use support::Lake;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Milliseconds of CPU of all threads that live.
fn cpu() -> f64 {
    let nanos: u64 = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    nanos as f64 / 1e6
}

async fn timed(what: &str, work: impl Future<Output = ()>) {
    let (start, before) = (Instant::now(), cpu());
    work.await;
    println!("{what:>8}: {:8.1} ms CPU, {:8.1} ms", cpu() - before, start.elapsed().as_secs_f64() * 1e3);
}

async fn round(lake: &Lake, n: usize, objects: usize) {
    let on = format!("bulk-{n}");
    lake.create_branch(&on, "main").await.unwrap();
    timed("stage", async {
        let numbers: Vec<usize> = (0..objects).collect();
        for some in numbers.chunks(256) {
            let puts = some.iter().map(|&at| {
                let path = format!("tables/events/day={:03}/part-{at:08}-c000.snappy.parquet", at % 300);
                let on = &on;
                async move { lake.put(on, &path, "0123456789abcdef0123456789abcdef").await.unwrap() }
            });
            join_all(puts).await;
        }
    })
    .await;
    timed("commit", async { drop(lake.commit(&on, "bulk").await.unwrap()) }).await;
    timed("sweep", async { lake.catalog.sweep_once().await.unwrap() }).await;
}

fn main() {
    let (objects, rounds) = (number("OBJECTS", 20_000), number("ROUNDS", 5));
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let kv: Arc<dyn Kv> =
            Arc::new(FjallKv::open(&directory.path().join("kv"), FjallConfig::default()).unwrap());
        let lake = Lake::over(kv.clone(), 7).await;
        timed("all", async {
            for n in 0..rounds {
                Box::pin(round(&lake, n, objects)).await;
            }
            kv.close().await.unwrap();
        })
        .await;
    });
}
