//! Durable transactions, alone and many at once: on the embedded engine, or on the PostgreSQL that
//! `LAKEBED_BENCH_POSTGRES` names by a connection string. `cargo bench -p lakebed-kv`
#![allow(missing_docs)] // the macros make public items
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lakebed_core::SystemEntropy;
use lakebed_kv::{Check, FjallConfig, FjallKv, Kv, PostgresConfig, PostgresKv, Transaction};
use tokio::runtime::Builder;

/// A staged write as the catalog makes it: a check of the gate and a row of some 300 bytes.
fn staged(n: u64) -> Transaction {
    Transaction::new().check("gate", Check::Exists).put(format!("row/{n:020}").into_bytes(), vec![7; 300])
}

fn transactions(c: &mut Criterion) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let root = tempfile::tempdir().unwrap();
    let kv: Arc<dyn Kv> = match std::env::var("LAKEBED_BENCH_POSTGRES") {
        Ok(connection_string) => {
            let config = PostgresConfig { connection_string, ..PostgresConfig::default() };
            Arc::new(runtime.block_on(PostgresKv::open(&config, Arc::new(SystemEntropy))).unwrap())
        }
        Err(_) => Arc::new(FjallKv::open(root.path(), FjallConfig::default()).unwrap()),
    };
    runtime.block_on(kv.transact(Transaction::new().put("gate", ""))).unwrap();
    let next = Arc::new(AtomicU64::new(0));
    let mut group = c.benchmark_group("durable transact");
    group.sample_size(20);
    for writers in [1u64, 32, 256] {
        group.throughput(Throughput::Elements(writers));
        group.bench_function(BenchmarkId::new("writers", writers), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let writes = (0..writers).map(|_| {
                        let (kv, n) = (kv.clone(), next.fetch_add(1, Ordering::Relaxed));
                        tokio::spawn(async move { kv.transact(staged(n)).await.unwrap() })
                    });
                    for write in writes.collect::<Vec<_>>() {
                        write.await.unwrap();
                    }
                });
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("get");
    group.bench_function("one row", |b| {
        b.iter(|| runtime.block_on(kv.get(b"row/00000000000000000001")).unwrap());
    });
    group.finish();
    runtime.block_on(kv.close()).unwrap();
}

criterion_group!(benches, transactions);
criterion_main!(benches);
