//! The conformance suite, recorded histories, and what only this engine promises, over stores without trouble.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

#[path = "../../lakebed-kv/tests/history/mod.rs"]
mod history;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use history::{Plan, judge};
use lakebed_blocks::{BlockAddress, BlockStore, LocalStore, MemStore};
use lakebed_core::{SeededEntropy, SystemEntropy};
use lakebed_kv::{KeyRange, Kv, Outcome, Transaction, conformance};
use lakebed_kv_object::{ObjectConfig, ObjectKv, SystemTicks};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn config(prefix: &str) -> ObjectConfig {
    let prefix = BlockAddress::new(prefix);
    ObjectConfig { checkpoint_bytes: 64 << 10, holder: "test".to_owned(), ..ObjectConfig::new(prefix) }
}

async fn open(store: &Arc<dyn BlockStore>, config: &ObjectConfig) -> ObjectKv {
    let entropy = Arc::new(SystemEntropy);
    ObjectKv::open(config, store.clone(), Arc::new(SystemTicks), entropy, &|_| {}).await.unwrap()
}

async fn objects(store: &Arc<dyn BlockStore>, prefix: &str) -> Vec<(String, u64)> {
    let all = store.list(&BlockAddress::new(prefix), None, 100_000).await.unwrap();
    all.into_iter().map(|info| (info.address.as_str()[prefix.len()..].to_owned(), info.size)).collect()
}

async fn conforms(store: Arc<dyn BlockStore>, scheme: &str) {
    let number = AtomicU64::new(0);
    conformance::run_all(async || {
        let prefix = format!("{scheme}://meta/{}", number.fetch_add(1, Ordering::SeqCst));
        Arc::new(open(&store, &config(&prefix)).await) as Arc<dyn Kv>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    conforms(Arc::new(MemStore::new()), "mem").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_local_files() {
    let root = tempfile::tempdir().unwrap();
    conforms(Arc::new(LocalStore::open(root.path()).unwrap()), "local").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_are_explained_by_one_order() {
    let store: Arc<dyn BlockStore> = Arc::new(MemStore::new());
    let small = ObjectConfig { checkpoint_bytes: 2000, ..config("mem://meta/h") };
    let engines: [Arc<dyn Kv>; 1] = [Arc::new(open(&store, &small).await)];
    let mut recorded = 0;
    for seed in 0..40 {
        recorded += judge(&engines, &format!("h{seed}"), Plan { clients: 5, operations: 16, seed }).await.0;
    }
    assert!(recorded > 1000, "{recorded}");
    assert!(
        objects(&store, "mem://meta/h/pieces/").await.len() == 1,
        "checkpoints were written and cleared away"
    );
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_versions_go_on() {
    let root = tempfile::tempdir().unwrap();
    let put = |n: u32| Transaction::new().put(format!("k{n:04}").into_bytes(), n.to_string().repeat(50));
    let mut last = 0;
    for life in 0..4 {
        let store: Arc<dyn BlockStore> = Arc::new(LocalStore::open(root.path()).unwrap());
        let kv = open(&store, &config("local://meta/x")).await;
        for n in life * 500..(life + 1) * 500 {
            let Outcome::Done(version) = kv.transact(put(n)).await.unwrap() else { panic!() };
            assert!(version.0 > last, "{version:?} after {last}");
            last = version.0;
        }
        let rows = kv.scan(&KeyRange::prefix(b"k"), 10_000).await.unwrap();
        assert_eq!(rows.len() as u32, (life + 1) * 500);
        assert!(rows.iter().enumerate().all(|(n, row)| row.value == n.to_string().repeat(50)));
        kv.close().await.unwrap();
        drop(kv);
        store.close().await.unwrap();
    }
}

/// However much is written: the log is as long as what no checkpoint covers, and pieces are those of the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_is_bounded_by_what_is_there() {
    let store: Arc<dyn BlockStore> = Arc::new(MemStore::new());
    let prefix = "mem://meta/s";
    for life in 0..3 {
        let kv = Arc::new(open(&store, &config(prefix)).await);
        for round in 0..30 {
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0..200 {
                let kv = kv.clone();
                let value = vec![(round + life) as u8; 700];
                tasks.spawn(async move {
                    kv.transact(Transaction::new().put(format!("k{n}").into_bytes(), value)).await.unwrap()
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.unwrap();
            }
        }
        kv.close().await.unwrap();
    }
    let all = objects(&store, prefix).await;
    let of = |kind: &str| all.iter().filter(|(name, _)| name.starts_with(kind)).count();
    // 160 kB of rows are one piece; a crash may leave the pieces of a checkpoint that was not named.
    assert!(of("/pieces/") <= 4, "{all:?}");
    assert!(of("/manifests/") <= 4, "{all:?}");
    assert!(of("/log/") <= 200, "{} segments of some {}", of("/log/"), 3 * 30);
    assert_eq!(of("/probes/"), 0);
    let kv = open(&store, &config(prefix)).await;
    for n in 0..200 {
        assert_eq!(kv.get(format!("k{n}").as_bytes()).await.unwrap().unwrap().value, vec![31u8; 700]);
    }
    // Deleted rows leave nothing.
    for n in 0..200 {
        kv.transact(Transaction::new().delete(format!("k{n}").into_bytes())).await.unwrap();
        kv.transact(Transaction::new().put("other", vec![0; 2000])).await.unwrap();
    }
    kv.close().await.unwrap();
    let kv = open(&store, &config(prefix)).await;
    assert_eq!(kv.scan(&KeyRange::prefix(b""), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_that_overwrites_is_refused() {
    let store = fleet::Careless(MemStore::new());
    let opened = ObjectKv::open(
        &config("mem://meta/x"),
        Arc::new(store),
        Arc::new(SystemTicks),
        Arc::new(SystemEntropy),
        &|_| {},
    )
    .await;
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("If-None-Match") && error.contains("database.type"), "{error}");
}

#[tokio::test]
async fn a_prefix_that_is_not_the_stores_is_named() {
    let store: Arc<dyn BlockStore> = Arc::new(MemStore::new());
    let config = config("s3://bucket/meta");
    let opened =
        ObjectKv::open(&config, store, Arc::new(SystemTicks), Arc::new(SystemEntropy), &|_| {}).await;
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("database.object.prefix") && error.contains("s3://bucket/meta"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Random puts and deletes of rows of all sizes, checkpoints in between, restarts: scans in pages and point reads say
    /// what a map says.
    #[test]
    fn it_is_a_map(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut random = SmallRng::seed_from_u64(seed);
            let store: Arc<dyn BlockStore> = Arc::new(MemStore::new());
            let small = ObjectConfig { checkpoint_bytes: 300 << 10, cache_bytes: 1 << 20, ..config("mem://meta/m") };
            let entropy = Arc::new(SeededEntropy::new(seed));
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for _life in 0..3 {
                let kv = ObjectKv::open(&small, store.clone(), Arc::new(SystemTicks), entropy.clone(), &|_| {}).await.unwrap();
                for _ in 0..40 {
                    let mut transaction = Transaction::new();
                    let mut keys = std::collections::BTreeSet::new();
                    // Neighbours, so that whole pieces come and go.
                    let base = random.random_range(0..2000u32);
                    let delete = random.random_bool(0.4);
                    for n in 0..random.random_range(1..120) {
                        let key = format!("{:05}", base + n * random.random_range(1..3)).into_bytes();
                        if !keys.insert(key.clone()) {
                            continue;
                        }
                        if delete {
                            model.remove(&key);
                            transaction = transaction.delete(key);
                        } else {
                            let size = if random.random_bool(0.02) { 20_000 } else { random.random_range(0..900) };
                            let value = vec![n as u8; size];
                            model.insert(key.clone(), value.clone());
                            transaction = transaction.put(key, value);
                        }
                    }
                    assert!(matches!(kv.transact(transaction).await.unwrap(), Outcome::Done(_)));
                    let key = format!("{:05}", random.random_range(0..2200)).into_bytes();
                    let row = kv.get(&key).await.unwrap().map(|row| row.value.to_vec());
                    assert_eq!(row, model.get(&key).cloned());
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let limit = random.random_range(1..700);
                let mut range = KeyRange::prefix(b"");
                let mut found = BTreeMap::new();
                loop {
                    let page = kv.scan(&range, limit).await.unwrap();
                    let full = page.len() == limit;
                    if let Some(last) = page.last() {
                        range.start = [&last.key[..], b"\0"].concat().into();
                    }
                    found.extend(page.into_iter().map(|row| (row.key.to_vec(), row.value.to_vec())));
                    if !full { break }
                }
                assert!(found == model, "{} rows of {}", found.len(), model.len());
                kv.close().await.unwrap();
            }
        });
    }
}
mod fleet;
