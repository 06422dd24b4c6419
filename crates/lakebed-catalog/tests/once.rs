//! Requests with an idempotency key happen once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use lakebed_catalog::{CommitRequest, ErrorKind, MergeRequest, Once, PickRequest, RevertRequest};
use support::{Lake, branch, expr};

fn once(key: u8, request: u8) -> Option<Once> {
    Some(Once { key: [key; 32], request: [request; 32] })
}

fn commit(key: u8, request: u8) -> CommitRequest {
    CommitRequest { message: "m".to_owned(), once: once(key, request), ..CommitRequest::default() }
}

#[tokio::test]
async fn a_commit_sent_twice_happens_once() {
    let lake = Lake::new().await;
    lake.put("main", "a", "1").await.unwrap();
    let send = async || lake.catalog.commit(&lake.repo, &branch("main"), commit(1, 1)).await;
    let first = send().await.unwrap();
    lake.put("main", "b", "1").await.unwrap();
    assert_eq!(
        send().await.unwrap(),
        first,
        "the second finds what the first made, whatever is staged by now"
    );
    assert_eq!(lake.uncommitted("main").await.unwrap().len(), 1);
    let other = lake.catalog.commit(&lake.repo, &branch("main"), commit(1, 2)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::KeyReused);
    let fresh = lake.catalog.commit(&lake.repo, &branch("main"), commit(2, 1)).await.unwrap();
    assert_eq!(fresh.parents, [first.id]);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_unused() {
    let lake = Lake::new().await;
    let send = async || lake.catalog.commit(&lake.repo, &branch("main"), commit(1, 1)).await;
    assert_eq!(send().await.unwrap_err().kind(), ErrorKind::NoChanges);
    lake.put("main", "a", "1").await.unwrap();
    send().await.unwrap();
}

#[tokio::test]
async fn merges_reverts_and_picks_sent_at_once_happen_once() {
    let lake = Lake::new().await;
    lake.create_branch("dev", "main").await.unwrap();
    lake.put("dev", "a", "1").await.unwrap();
    let change = lake.commit("dev", "a").await.unwrap();
    let request = MergeRequest { once: once(1, 1), ..MergeRequest::default() };
    let send = async || lake.catalog.merge(&lake.repo, &expr("dev"), &branch("main"), request.clone()).await;
    let (left, right) = tokio::join!(send(), send());
    let merged = left.unwrap();
    assert_eq!(merged, right.unwrap());
    assert_eq!(merged.summary.added, 1);

    let request = RevertRequest {
        commit: expr("main"),
        parent_number: 1,
        committer: String::new(),
        message: String::new(),
        metadata: None,
        allow_empty: false,
        force: false,
        once: once(2, 1),
    };
    let send = async || lake.catalog.revert(&lake.repo, &branch("main"), request.clone()).await;
    let (left, right) = tokio::join!(send(), send());
    let reverted = left.unwrap();
    assert_eq!((reverted.id, &reverted.parents[..]), (right.unwrap().id, &[merged.reference][..]));

    let request = PickRequest {
        commit: expr(&change.id.to_hex()),
        parent_number: None,
        committer: String::new(),
        message: String::new(),
        metadata: None,
        force: false,
        once: once(3, 1),
    };
    let send = async || lake.catalog.cherry_pick(&lake.repo, &branch("main"), request.clone()).await;
    let (left, right) = tokio::join!(send(), send());
    assert_eq!(left.unwrap().id, right.unwrap().id);
    assert_eq!(lake.log("main").await.len(), 5, "root, change, merge, revert, pick");
}

#[tokio::test]
async fn what_happened_is_answered_though_it_could_not_happen_now() {
    let lake = Lake::new().await;
    lake.create_branch("dev", "main").await.unwrap();
    lake.put("dev", "a", "1").await.unwrap();
    lake.commit("dev", "a").await.unwrap();
    let request = MergeRequest { once: once(1, 1), ..MergeRequest::default() };
    let merge = async || lake.catalog.merge(&lake.repo, &expr("dev"), &branch("main"), request.clone()).await;
    let merged = merge().await.unwrap();
    lake.catalog.delete_branch(&lake.repo, &branch("dev"), false).await.unwrap();
    assert_eq!(merge().await.unwrap(), merged);

    lake.put("main", "b", "1").await.unwrap();
    let send = async || lake.catalog.commit(&lake.repo, &branch("main"), commit(2, 1)).await;
    let first = send().await.unwrap();
    lake.catalog.set_branch_protection(&lake.repo, &["main".to_owned()], None).await.unwrap();
    assert_eq!(send().await.unwrap(), first);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let lake = Lake::new().await;
    lake.put("main", "a", "1").await.unwrap();
    let send = async || lake.catalog.commit(&lake.repo, &branch("main"), commit(1, 1)).await;
    let first = send().await.unwrap();
    lake.clock.advance_millis(24 * 3600 * 1000 - 1);
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(send().await.unwrap(), first);
    lake.clock.advance_millis(2);
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(send().await.unwrap_err().kind(), ErrorKind::NoChanges);
}
