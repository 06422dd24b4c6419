//! Pull requests (`versioning-api` §14).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use lakebed_catalog::{
    ErrorKind, MergeStrategy, NewPullRequest, PageRequest, PullFilter, PullRequest, PullRequestChange,
    PullStatus,
};
use support::{Lake, branch, expr};

async fn open(lake: &Lake, source: &str, destination: &str) -> PullRequest {
    let new = NewPullRequest {
        title: "t".to_owned(),
        description: String::new(),
        author: "ann".to_owned(),
        source: branch(source),
        destination: branch(destination),
    };
    lake.catalog.create_pull_request(&lake.repo, new).await.unwrap()
}

async fn ids(lake: &Lake, filter: PullFilter) -> Vec<String> {
    let mut page = PageRequest { amount: 2, ..PageRequest::default() };
    let mut all = Vec::new();
    loop {
        let list = lake.catalog.list_pull_requests(&lake.repo, filter, &page).await.unwrap();
        all.extend(list.items.into_iter().map(|pull| pull.id.to_string()));
        if !list.has_more {
            return all;
        }
        page.after = list.next_offset;
    }
}

async fn turn(lake: &Lake, pull: &PullRequest, status: PullStatus) {
    let change = PullRequestChange { status: Some(status), ..PullRequestChange::default() };
    lake.catalog.update_pull_request(&lake.repo, &pull.id, &change).await.unwrap();
}

/// A lake whose `dev` is one commit ahead of `main`.
async fn ahead() -> Lake {
    let lake = Lake::new().await;
    lake.create_branch("dev", "main").await.unwrap();
    lake.put("dev", "a", "1").await.unwrap();
    lake.commit("dev", "a").await.unwrap();
    lake
}

#[tokio::test]
async fn merging_turns_the_pull_request_and_names_the_commit() {
    let lake = ahead().await;
    let pull = open(&lake, "dev", "main").await;
    let merged = lake.catalog.merge_pull_request(&lake.repo, &pull.id, "bob", None).await.unwrap();
    let after = lake.catalog.pull_request(&lake.repo, &pull.id).await.unwrap();
    assert_eq!((after.status, after.merged), (PullStatus::Merged, Some(merged.reference)));
    assert!(after.closed.is_some());
    let head = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap();
    assert_eq!((head.id, head.committer.as_str()), (merged.reference, "bob"));
    assert_eq!(head.message, "Merge 'dev' into 'main'");
    let again = lake.catalog.merge_pull_request(&lake.repo, &pull.id, "bob", None).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_merge_that_fails_leaves_the_pull_request_open() {
    let lake = ahead().await;
    lake.put("main", "a", "other").await.unwrap();
    let pull = open(&lake, "dev", "main").await;
    let merge = || lake.catalog.merge_pull_request(&lake.repo, &pull.id, "bob", None);
    assert_eq!(merge().await.unwrap_err().kind(), ErrorKind::Dirty);
    lake.commit("main", "a").await.unwrap();
    assert_eq!(merge().await.unwrap_err().kind(), ErrorKind::MergeConflict);
    lake.merge("dev", "main", MergeStrategy::SourceWins).await.unwrap();
    assert_eq!(merge().await.unwrap_err().kind(), ErrorKind::NoChanges);
    lake.catalog.delete_branch(&lake.repo, &branch("dev"), false).await.unwrap();
    assert_eq!(merge().await.unwrap_err().kind(), ErrorKind::BranchNotFound);
    let after = lake.catalog.pull_request(&lake.repo, &pull.id).await.unwrap();
    assert_eq!((after.status, after.closed, after.merged), (PullStatus::Open, None, None));
}

#[tokio::test]
async fn of_two_merges_at_once_one_merges_and_one_is_refused() {
    let lake = ahead().await;
    let pull = open(&lake, "dev", "main").await;
    let merge = || lake.catalog.merge_pull_request(&lake.repo, &pull.id, "bob", None);
    let (left, right) = tokio::join!(merge(), merge());
    assert_eq!(usize::from(left.is_ok()) + usize::from(right.is_ok()), 1, "{left:?} {right:?}");
    let log = lake.log("main").await;
    assert_eq!(log.iter().filter(|message| message.starts_with("Merge")).count(), 1);
}

#[tokio::test]
async fn lists_follow_the_status_page_by_page() {
    let lake = ahead().await;
    let mut pulls = Vec::new();
    for _ in 0..7 {
        lake.clock.advance_millis(1000);
        pulls.push(open(&lake, "dev", "main").await);
    }
    turn(&lake, &pulls[1], PullStatus::Closed).await;
    turn(&lake, &pulls[3], PullStatus::Merged).await;
    turn(&lake, &pulls[5], PullStatus::Closed).await;
    turn(&lake, &pulls[5], PullStatus::Open).await;
    let named = |of: &[usize]| of.iter().map(|i| pulls[*i].id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&lake, PullFilter::All).await, named(&[6, 5, 4, 3, 2, 1, 0]));
    assert_eq!(ids(&lake, PullFilter::Closed).await, named(&[3, 1]));
    assert_eq!(ids(&lake, PullFilter::Open).await, named(&[6, 5, 4, 2, 0]));
    let reopened = lake.catalog.pull_request(&lake.repo, &pulls[5].id).await.unwrap();
    assert!(reopened.closed.is_some(), "the date of closing stays when it is opened again");
}

#[tokio::test]
async fn the_later_second_comes_first_and_within_a_second_the_earlier_pull_request() {
    let lake = ahead().await;
    let mut pulls = Vec::new();
    for _ in 0..8 {
        pulls.push(open(&lake, "dev", "main").await);
    }
    lake.clock.advance_millis(1000);
    for _ in 0..8 {
        pulls.push(open(&lake, "dev", "main").await);
    }
    // The clock may be set back: what is opened then belongs to the latest second.
    lake.clock.advance_millis(-5000);
    pulls.push(open(&lake, "dev", "main").await);
    let (earlier, later) = pulls.split_at(8);
    let wanted: Vec<_> = later.iter().chain(earlier).map(|pull| pull.id.to_string()).collect();
    assert_eq!(ids(&lake, PullFilter::All).await, wanted);
}

#[tokio::test]
async fn a_pull_request_needs_two_existing_branches_that_differ() {
    let lake = ahead().await;
    for (source, destination, kind) in [
        ("dev", "absent", ErrorKind::BranchNotFound),
        ("absent", "main", ErrorKind::BranchNotFound),
        ("main", "main", ErrorKind::Invalid),
    ] {
        let new = NewPullRequest {
            title: String::new(),
            description: String::new(),
            author: "ann".to_owned(),
            source: branch(source),
            destination: branch(destination),
        };
        let refused = lake.catalog.create_pull_request(&lake.repo, new).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{source} {destination}");
    }
}

#[tokio::test]
async fn pull_requests_go_with_their_repository() {
    let lake = ahead().await;
    let pull = open(&lake, "dev", "main").await;
    lake.catalog.delete_repository(&lake.repo, false).await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    let new = lakebed_catalog::NewRepository {
        id: lake.repo.clone(),
        storage_namespace: "mem://other".to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: false,
        read_only: false,
    };
    lake.catalog.create_repository(new).await.unwrap();
    assert_eq!(ids(&lake, PullFilter::All).await, Vec::<String>::new());
    let gone = lake.catalog.pull_request(&lake.repo, &pull.id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}
