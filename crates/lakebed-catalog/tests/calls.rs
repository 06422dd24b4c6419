//! How often an operation asks the key-value engine. Over a network each call is a round trip, and they come one after the
//! other: a read more in one of these is noticed here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use lakebed_catalog::{CatalogError, ListRequest};
use support::counted_kv::CountedKv;
use support::{Lake, expr, path};

/// Reads and transactions of one operation.
async fn calls<T>(
    kv: &CountedKv,
    operation: impl Future<Output = Result<T, CatalogError>>,
) -> (usize, usize) {
    kv.reset();
    operation.await.unwrap();
    (kv.reads(), kv.transactions())
}

#[tokio::test]
async fn operations_ask_the_engine_no_more_often_than_they_must() {
    let kv = Arc::new(CountedKv::default());
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
