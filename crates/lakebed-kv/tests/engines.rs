//! The conformance suite on every engine of this crate, and what only the embedded one promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use lakebed_kv::{FjallConfig, FjallKv, KeyRange, Kv, MemKv, Outcome, Transaction, conformance};

fn open(path: &Path) -> FjallKv {
    FjallKv::open(path, FjallConfig::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    conformance::run_all(async || Arc::new(MemKv::new()) as Arc<dyn Kv>).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    let root = tempfile::tempdir().unwrap();
    let number = AtomicU64::new(0);
    conformance::run_all(async || {
        let directory = root.path().join(number.fetch_add(1, Ordering::SeqCst).to_string());
        Arc::new(open(&directory)) as Arc<dyn Kv>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_with_guarded_rows() {
    let root = tempfile::tempdir().unwrap();
    let config = FjallConfig { guarded: Some(conformance::GUARDED), ..FjallConfig::default() };
    let kv = FjallKv::open(root.path(), config).unwrap();
    conformance::only_what_is_abandoned_goes(&kv).await;
    assert!(kv.abandon(&KeyRange::prefix(b"w02")).await.unwrap());
}

#[tokio::test]
async fn everything_is_there_after_reopening_and_versions_go_on() {
    let root = tempfile::tempdir().unwrap();
    let kv = open(root.path());
    let put = |n: u32| Transaction::new().put(format!("k{n}").into_bytes(), n.to_string());
    for n in 0..100 {
        kv.transact(put(n)).await.unwrap();
    }
    let Outcome::Done(last) = kv.transact(Transaction::new().delete("k7")).await.unwrap() else { panic!() };
    kv.close().await.unwrap();
    drop(kv);
    let kv = open(root.path());
    assert_eq!(kv.get(b"k99").await.unwrap().unwrap().value, "99");
    assert_eq!(kv.get(b"k7").await.unwrap(), None);
    let Outcome::Done(next) = kv.transact(put(7)).await.unwrap() else { panic!() };
    assert!(next.0 > last.0, "{next:?} after {last:?}");
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let _kv = open(root.path());
    let error = FjallKv::open(root.path(), FjallConfig::default()).err().unwrap().to_string();
    assert!(error.contains("in use by another process"), "{error}");
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a crash leaves is what lies on disk: a copy of the directory taken while writers run holds every write
/// acknowledged before the copy began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_taken_under_load_holds_every_acknowledged_write() {
    let root = tempfile::tempdir().unwrap();
    let kv = Arc::new(open(&root.path().join("live")));
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..8).map(|_| AtomicU64::new(0)).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for me in 0..8usize {
        let (kv, acknowledged, stop) = (kv.clone(), acknowledged.clone(), stop.clone());
        writers.spawn(async move {
            let mut n = 0u64;
            while !stop.load(Ordering::SeqCst) {
                n += 1;
                let write = Transaction::new().put(Bytes::from(format!("{me}")), n.to_string());
                assert!(matches!(kv.transact(write).await.unwrap(), Outcome::Done(_)));
                acknowledged[me].store(n, Ordering::SeqCst);
            }
        });
    }
    for round in 0..3 {
        while acknowledged.iter().any(|n| n.load(Ordering::SeqCst) < 20 * (round + 1)) {
            tokio::task::yield_now().await;
        }
        let before: Vec<u64> = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
        let copy = root.path().join(format!("copy{round}"));
        copy_tree(&root.path().join("live"), &copy);
        let crashed = open(&copy);
        for (me, floor) in before.iter().enumerate() {
            let value = crashed.get(me.to_string().as_bytes()).await.unwrap().unwrap().value;
            let found: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
            assert!(found >= *floor, "writer {me}: {floor} acknowledged, {found} after the crash");
        }
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
}
