//! How often an operation asks the key-value engine. Over a network each call is a round trip, and they come one after the
//! other: a read more in one of these is noticed here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lakebed_catalog::{CatalogError, ListRequest};
use lakebed_kv::{Key, KeyRange, Kv, KvError, Limits, MemKv, Outcome, Row, Transaction, Versioned};
use support::{Lake, expr, path};

/// An engine that counts its calls.
struct CountedKv {
    inner: MemKv,
    reads: AtomicUsize,
    transactions: AtomicUsize,
}

#[async_trait::async_trait]
impl Kv for CountedKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.get_many(keys).await
    }
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.scan(range, limit).await
    }
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        self.transactions.fetch_add(1, Ordering::SeqCst);
        self.inner.transact(transaction).await
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn close(&self) -> Result<(), KvError> {
        self.inner.close().await
    }
}

/// Reads and transactions of one operation.
async fn calls<T>(
    kv: &CountedKv,
    operation: impl Future<Output = Result<T, CatalogError>>,
) -> (usize, usize) {
    kv.reads.store(0, Ordering::SeqCst);
    kv.transactions.store(0, Ordering::SeqCst);
    operation.await.unwrap();
    (kv.reads.load(Ordering::SeqCst), kv.transactions.load(Ordering::SeqCst))
}

#[tokio::test]
async fn operations_ask_the_engine_no_more_often_than_they_must() {
    let kv = Arc::new(CountedKv {
        inner: MemKv::new(),
        reads: AtomicUsize::new(0),
        transactions: AtomicUsize::new(0),
    });
    let lake = Lake::over(kv.clone(), 7).await;
    lake.put("main", "a", "1").await.unwrap();
    lake.commit("main", "first").await.unwrap();
    lake.put("main", "b", "2").await.unwrap();
    let (catalog, repo) = (&lake.catalog, &lake.repo);
    let (main, a) = (expr("main"), path("a"));
    catalog.stat(repo, &main, &a).await.unwrap();

    // Repository, branch and layers at once.
    assert_eq!(calls(&kv, catalog.stat(repo, &main, &a)).await, (1, 0), "stat of a committed object");
    assert_eq!(calls(&kv, catalog.stat(repo, &main, &path("b"))).await, (1, 0), "stat of a staged object");
    // Repository and branch; the staged rows; whether the layers stood.
    let page = ListRequest { amount: 100, ..ListRequest::default() };
    assert_eq!(calls(&kv, catalog.list_objects(repo, &main, &page)).await, (3, 0), "list page");
    // Repository, branch and rules; the write.
    assert_eq!(calls(&kv, lake.put("main", "c", "3")).await, (1, 1), "write");
    assert_eq!(calls(&kv, lake.delete("main", "c")).await, (1, 1), "delete");
    // Repository, source and name; the branch.
    assert_eq!(calls(&kv, lake.create_branch("dev", "main")).await, (1, 1), "create branch");
    // Repository, branch and rules; branch, rules and line; the staged rows; whether they stood. Cut and publish.
    assert_eq!(calls(&kv, lake.commit("main", "second")).await, (4, 2), "commit");
}
