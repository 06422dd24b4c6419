//! Whatever is asked of the catalog, no transaction is more than the narrowest engine takes. The engine of these lakes, of
//! most suites' and of every other history's refuses what is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use lakebed_catalog::{
    CommitRequest, ErrorKind, ListRequest, MergeStrategy, NewRepository, ResetTarget, RestoreRequest,
    RestoreSource,
};
use lakebed_core::RepositoryId;
use lakebed_kv::{DynamoKv, KeyRange, Kv, KvError, Transaction};
use support::narrow::NarrowKv;
use support::{Lake, branch, expr, path};

/// A day, after which what a publish left is forgotten.
const DAY_MILLIS: i64 = 25 * 3600 * 1000;

/// Paths with the longest rows there are: each brings another item along where sort keys are short.
fn long_paths(number: usize) -> Vec<String> {
    (0..number).map(|n| format!("{n:04}{}", "x".repeat(1020))).collect()
}

/// The highest number of layers that wait under the current one.
async fn seal_often(lake: &Lake, on: &str) {
    for n in 0..8 {
        let at = format!("sealed/{n}");
        lake.put(on, &at, "1").await.unwrap();
        // The merge seals before it finds the branch dirty.
        let refused = lake.merge("other", on, MergeStrategy::None).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Dirty);
    }
}

async fn lake_with_other() -> Lake {
    let lake = Lake::new().await;
    lake.create_branch("other", "main").await.unwrap();
    lake.put("other", "o", "1").await.unwrap();
    lake.commit("other", "o").await.unwrap();
    lake
}

#[test]
fn the_narrow_engine_refuses_what_is_too_much() {
    let many = |number: usize, length: usize| {
        (0..number).fold(Transaction::new(), |all, n| all.put(format!("{n:04}{}", "x".repeat(length)), ""))
    };
    assert!(DynamoKv::takes(&many(64, 0)).is_ok());
    for too_much in [many(65, 0), many(60, 1020)] {
        assert!(matches!(DynamoKv::takes(&too_much), Err(KvError::Invalid(_))));
    }
}

#[tokio::test]
async fn many_long_paths_are_written_deleted_and_swept() {
    let lake = Lake::new().await;
    let paths = long_paths(150);
    for at in &paths {
        lake.put("main", at, "1").await.unwrap();
    }
    lake.commit("main", "all").await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    let paths: Vec<_> = paths.iter().map(|at| path(at)).collect();
    for results in [
        lake.catalog.delete_objects(&lake.repo, &branch("main"), &paths, false).await.unwrap(),
        // Nothing is there any more.
        lake.catalog.delete_objects(&lake.repo, &branch("main"), &paths, false).await.unwrap(),
    ] {
        assert!(results.len() == 150 && results.iter().all(Result::is_ok), "{results:?}");
    }
    let page = lake.catalog.list_objects(&lake.repo, &expr("main"), &ListRequest::default()).await.unwrap();
    assert!(page.items.is_empty());
    lake.commit("main", "none").await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
}

#[tokio::test]
async fn branches_with_all_the_layers_they_may_have_are_committed_reset_and_deleted() {
    let lake = lake_with_other().await;
    for (name, end) in
        [("committed", 0), ("reset", 1), ("one", 2), ("prefix", 3), ("deleted", 4), ("hard", 5)]
    {
        lake.create_branch(name, "main").await.unwrap();
        seal_often(&lake, name).await;
        lake.put(name, "staged", "1").await.unwrap();
        let (repository, on) = (&lake.repo, &branch(name));
        let reset = async |target| lake.catalog.reset_branch(repository, on, target, false).await;
        match end {
            0 => drop(lake.commit(name, "all").await.unwrap()),
            1 => reset(ResetTarget::All).await.unwrap(),
            2 => reset(ResetTarget::Object(path("sealed/1"))).await.unwrap(),
            3 => reset(ResetTarget::Prefix("sealed/".to_owned())).await.unwrap(),
            4 => lake.catalog.delete_branch(repository, on, false).await.unwrap(),
            _ => lake.catalog.hard_reset(repository, on, &expr("other"), false).await.unwrap(),
        }
        lake.catalog.sweep_once().await.unwrap();
    }
    assert_eq!(lake.list("committed").await.unwrap().len(), 9);
    assert!(lake.list("reset").await.unwrap().is_empty());
    assert_eq!(lake.list("one").await.unwrap().len(), 8);
    assert_eq!(lake.list("prefix").await.unwrap().len(), 1);
}

#[tokio::test]
async fn many_outcomes_are_forgotten_and_many_branches_deleted_with_their_repository() {
    let kv = Arc::new(NarrowKv::default());
    let lake = Lake::over(kv.clone(), 7).await;
    for n in 0..100 {
        let empty = CommitRequest { message: n.to_string(), allow_empty: true, ..CommitRequest::default() };
        lake.catalog.commit(&lake.repo, &branch("main"), empty).await.unwrap();
        lake.create_branch(&format!("b{n}"), "main").await.unwrap();
        lake.put(&format!("b{n}"), "a", "1").await.unwrap();
    }
    lake.catalog.set_branch_protection(&lake.repo, &["b*".to_owned()], None).await.unwrap();
    lake.clock.advance_millis(DAY_MILLIS);
    lake.catalog.sweep_once().await.unwrap();
    assert!(kv.scan(&KeyRange::prefix(b"o"), 1000).await.unwrap().is_empty(), "outcomes");
    lake.catalog.delete_repository(&lake.repo, false).await.unwrap();
    // The second round has the layers that the first one found.
    lake.catalog.sweep_once().await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    let left = kv.scan(&KeyRange::prefix(b""), 1000).await.unwrap();
    assert!(left.len() < 10, "{left:?}");
}

#[tokio::test]
async fn many_commits_branches_and_tags_are_restored_from_the_bucket() {
    let lake = Lake::new().await;
    for n in 0..70 {
        lake.put("main", "a", &n.to_string()).await.unwrap();
        // Some are large: a batch has few of them.
        let message = if n % 10 == 0 { "m".repeat(400_000) } else { n.to_string() };
        lake.commit("main", &message).await.unwrap();
        lake.create_branch(&format!("b{n}"), "main").await.unwrap();
        lake.catalog
            .create_tag(&lake.repo, &format!("t{n}").parse().unwrap(), &expr("main"), false)
            .await
            .unwrap();
    }
    lake.catalog.export_once().await;
    let engine = Arc::new(NarrowKv::default());
    let there = Lake::again(engine, lake.catalog.blocks().clone(), lake.repo.clone(), 11);
    let new = NewRepository {
        id: "lake".parse::<RepositoryId>().unwrap(),
        storage_namespace: "mem://lake".to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: true,
        read_only: false,
    };
    let id = there.catalog.create_repository(new).await.unwrap().id;
    let source = RestoreSource::Bucket { repository: None };
    there.catalog.restore(&id, RestoreRequest { source, force: false }).await.unwrap();
    for name in (0..70).flat_map(|n| [format!("b{n}"), format!("t{n}")]) {
        let (was, is) = (
            lake.catalog.resolve(&id, &expr(&name)).await.unwrap(),
            there.catalog.resolve(&id, &expr(&name)).await.unwrap(),
        );
        assert_eq!(was, is, "{name}");
    }
    assert_eq!(there.log("main").await.len(), 71);
}
