//! Branches with many deletions: folding them changes nothing but the cost of listings, at whatever moment it comes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lakebed_catalog::{ErrorKind, ListRequest, MergeStrategy, ResetTarget};
use lakebed_kv::MemKv;
use support::interrupted::{Interrupted, Meanwhile};
use support::{Lake, branch, expr, path};

/// What an operation asks the engine for at most.
const CALLS: usize = 40;

/// A lake, and the same as another server sees it, which folds and sweeps in the middle of what the first does next.
async fn interrupted(at: usize, prepare: impl AsyncFn(&Lake)) -> Lake {
    let kv = Arc::new(MemKv::new());
    let first = Lake::over(kv.clone(), 3).await;
    first.create_branch("dev", "main").await.unwrap();
    prepare(&first).await;
    let other = Lake::again(kv.clone(), first.catalog.blocks().clone(), first.repo.clone(), 4);
    let meanwhile: Meanwhile = Box::pin(async move {
        other.catalog.tidy(&other.repo, &branch("main")).await.unwrap();
        other.catalog.sweep_once().await.unwrap();
    });
    let kv = Arc::new(Interrupted::new(kv, at, meanwhile));
    Lake::again(kv, first.catalog.blocks().clone(), first.repo.clone(), 5)
}

#[tokio::test]
async fn a_fold_in_the_middle_of_a_commit_loses_nothing() {
    for at in 1..CALLS {
        let lake = interrupted(at, async |lake| {
            // Two sealed layers: a merge seals before it finds the branch dirty.
            lake.put("main", "a", "1").await.unwrap();
            lake.merge("dev", "main", MergeStrategy::None).await.unwrap_err();
            lake.put("main", "b", "2").await.unwrap();
        })
        .await;
        lake.commit("main", "all").await.unwrap_or_else(|error| panic!("call {at}: {error}"));
        let committed = lake.list("main@").await.unwrap();
        assert_eq!(committed, [("a".into(), "1".into()), ("b".into(), "2".into())], "call {at}");
        assert_eq!(lake.uncommitted("main").await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_fold_in_the_middle_of_a_merge_does_not_make_the_branch_look_clean() {
    for at in 1..CALLS {
        let lake = interrupted(at, async |lake| {
            lake.put("dev", "theirs", "1").await.unwrap();
            lake.commit("dev", "theirs").await.unwrap();
            lake.put("main", "ours", "2").await.unwrap();
        })
        .await;
        let refused = lake.merge("dev", "main", MergeStrategy::None).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Dirty, "call {at}");
        assert_eq!(lake.content("main", "ours").await.as_deref(), Some("2"), "call {at}");
    }
}

#[tokio::test]
async fn a_fold_in_the_middle_of_a_listing_changes_nothing() {
    for at in 1..CALLS {
        let lake = interrupted(at, async |lake| {
            lake.put("main", "a", "1").await.unwrap();
            lake.put("main", "b", "2").await.unwrap();
            lake.commit("main", "both").await.unwrap();
            lake.delete("main", "a").await.unwrap();
            lake.put("main", "c", "3").await.unwrap();
        })
        .await;
        let listed = lake.list("main").await.unwrap();
        assert_eq!(listed, [("b".into(), "2".into()), ("c".into(), "3".into())], "call {at}");
    }
}

#[tokio::test]
async fn a_layer_that_is_folded_again_in_the_middle_is_read_again() {
    let all = [("a".into(), "1".into()), ("b".into(), "2".into()), ("c".into(), "3".into())];
    for (operation, at) in (0..4).flat_map(|operation| (1..CALLS).map(move |at| (operation, at))) {
        let lake = interrupted(at, async |lake| {
            lake.put("main", "a", "1").await.unwrap();
            lake.put("main", "b", "2").await.unwrap();
            lake.catalog.tidy(&lake.repo, &branch("main")).await.unwrap();
            lake.put("main", "c", "3").await.unwrap();
        })
        .await;
        match operation {
            0 => assert_eq!(lake.list("main").await.unwrap(), all, "call {at}"),
            1 => assert_eq!(lake.content("main", "a").await.as_deref(), Some("1"), "call {at}"),
            2 => assert_eq!(lake.uncommitted("main").await.unwrap().len(), 3, "call {at}"),
            _ => lake.catalog.tidy(&lake.repo, &branch("main")).await.unwrap(),
        }
        lake.commit("main", "all").await.unwrap_or_else(|error| panic!("{operation}, call {at}: {error}"));
        assert_eq!(lake.list("main@").await.unwrap(), all, "{operation}, call {at}");
    }
}

#[tokio::test]
async fn a_folded_branch_shows_what_it_showed_before() {
    let lake = Lake::new().await;
    for (at, content) in [("a", "1"), ("b", "1"), ("c", "1"), ("d/x", "1")] {
        lake.put("main", at, content).await.unwrap();
    }
    lake.commit("main", "base").await.unwrap();
    lake.create_branch("dev", "main").await.unwrap();
    lake.delete("main", "a").await.unwrap();
    lake.put("main", "b", "2").await.unwrap();
    lake.put("main", "e", "2").await.unwrap();
    let before = lake.list("main").await.unwrap();
    let tidy = async || lake.catalog.tidy(&lake.repo, &branch("main")).await.unwrap();
    tidy().await;
    assert_eq!(lake.list("main").await.unwrap(), before);
    // A second fold, with a layer on top of the first.
    lake.delete("main", "e").await.unwrap();
    lake.delete("main", "d/x").await.unwrap();
    let before = lake.list("main").await.unwrap();
    tidy().await;
    assert_eq!(lake.list("main").await.unwrap(), before);
    assert_eq!(lake.folded("main").await.unwrap(), ["b", "c"]);
    // A reset above it shows the head again, which the folded tree does not know.
    let reset = ResetTarget::Object(path("a"));
    lake.catalog.reset_branch(&lake.repo, &branch("main"), reset, false).await.unwrap();
    let shown: Vec<String> = lake.list("main").await.unwrap().into_iter().map(|(at, _)| at).collect();
    assert_eq!(shown, ["a", "b", "c"]);
    // Another head under the same layers.
    lake.put("dev", "f", "1").await.unwrap();
    lake.commit("dev", "f").await.unwrap();
    lake.catalog.hard_reset(&lake.repo, &branch("main"), &expr("dev"), false).await.unwrap();
    let shown: Vec<String> = lake.list("main").await.unwrap().into_iter().map(|(at, _)| at).collect();
    assert_eq!(shown, ["a", "b", "c", "f"]);
    lake.commit("main", "all").await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(lake.list("main").await.unwrap(), lake.list("main@").await.unwrap());
}

#[tokio::test]
async fn pages_that_step_over_many_deletions_have_the_branch_folded() {
    let lake = Lake::new().await;
    let paths: Vec<_> = (0..5000).map(|n| path(&format!("a/{n:05}"))).collect();
    for at in &paths {
        lake.put("main", at.as_str(), "x").await.unwrap();
    }
    lake.put("main", "z", "x").await.unwrap();
    lake.commit("main", "many").await.unwrap();
    for some in paths.chunks(1000) {
        for result in lake.catalog.delete_objects(&lake.repo, &branch("main"), some, false).await.unwrap() {
            result.unwrap();
        }
    }
    let first = || async {
        let request = ListRequest { amount: 10, ..ListRequest::default() };
        lake.catalog.list_objects(&lake.repo, &expr("main"), &request).await.unwrap()
    };
    let before = first().await;
    assert_eq!(before.items.len(), 1);
    lake.catalog.tidy_once().await;
    assert_eq!(first().await, before);
    assert_eq!(lake.uncommitted("main").await.unwrap().len(), 5000);
    lake.commit("main", "none of them").await.unwrap();
    assert_eq!(first().await, before);
}
