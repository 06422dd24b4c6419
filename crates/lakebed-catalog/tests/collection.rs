//! What a collector must keep: active commits, by rule and log, and staged addresses, page by page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lakebed_blocks::BlockAddress;
use lakebed_catalog::{CommitRequest, ErrorKind, ResetTarget, RetentionRules, TaskKind, TaskState};
use lakebed_core::CommitId;
use proptest::prelude::*;
use support::narrow::NarrowKv;
use support::{Gate, Lake, branch, expr};

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

fn days(default_days: i64) -> RetentionRules {
    RetentionRules { default_days, branches: HashMap::new() }
}

/// The commits that count as active, read from the file.
async fn active(lake: &Lake, rules: RetentionRules) -> BTreeSet<CommitId> {
    let prepared = lake.catalog.prepare_commits(&lake.repo, rules).await.unwrap();
    assert!(prepared.commits_location.contains(&format!("run_id={}/", prepared.run)), "{prepared:?}");
    let address = BlockAddress::new(prepared.commits_location);
    let file = lake.catalog.blocks().get_bytes(&address, 100 << 20).await.unwrap();
    let text = std::str::from_utf8(&file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("commit_id,metarange_id"));
    let mut ids = BTreeSet::new();
    for line in lines {
        let (id, tree) = line.split_once(',').unwrap();
        let commit = lake.catalog.resolve(&lake.repo, &expr(id)).await.unwrap();
        assert_eq!(tree, commit.meta_range_id());
        assert!(ids.insert(commit.id), "{id} twice");
    }
    ids
}

/// One commit a day on a branch, the first one now.
async fn daily(lake: &Lake, on: &str, count: usize) -> Vec<CommitId> {
    let mut all = Vec::new();
    for n in 0..count {
        lake.put(on, &format!("{on}/{n}"), "1").await.unwrap();
        all.push(lake.commit(on, &n.to_string()).await.unwrap().id);
        lake.clock.advance_millis(DAY_MILLIS - 1000);
    }
    all
}

#[tokio::test]
async fn a_branch_keeps_the_head_of_then_and_every_one_since() {
    let lake = Lake::new().await;
    let made = daily(&lake, "main", 10).await;
    // Five days ago the fifth was the head; a second later the sixth was made.
    assert_eq!(active(&lake, days(5)).await, made[4..].iter().copied().collect());
    lake.clock.advance_millis(1001);
    assert_eq!(active(&lake, days(5)).await, made[5..].iter().copied().collect());
    assert_eq!(active(&lake, days(0)).await, [made[9]].into(), "the head always");
    assert_eq!(active(&lake, days(-3)).await, [made[9]].into());
    let everything = active(&lake, days(100_000)).await;
    assert_eq!(everything.len(), 11, "with the root");
}

#[tokio::test]
async fn rules_are_the_branchs_own_and_tags_keep_theirs() {
    let lake = Lake::new().await;
    let made = daily(&lake, "main", 6).await;
    lake.create_branch("dev", "main~4").await.unwrap();
    lake.catalog.create_tag(&lake.repo, &"old".parse().unwrap(), &expr("main~5"), false).await.unwrap();
    let mut rules = days(1);
    let short: BTreeSet<CommitId> = [made[0], made[1], made[4], made[5]].into();
    assert_eq!(active(&lake, rules.clone()).await, short);
    rules.branches.insert("main".to_owned(), 2);
    assert_eq!(active(&lake, rules).await, made[..2].iter().chain(&made[3..]).copied().collect());
}

#[tokio::test]
async fn what_a_client_says_of_the_date_does_not_count() {
    let lake = Lake::new().await;
    let mut made = Vec::new();
    for date in [Some(0), Some(4_000_000_000), None] {
        let request = CommitRequest { date, allow_empty: true, ..CommitRequest::default() };
        made.push(lake.catalog.commit(&lake.repo, &branch("main"), request).await.unwrap().id);
    }
    lake.clock.advance_millis(DAY_MILLIS);
    assert!(active(&lake, days(2)).await.is_superset(&made.iter().copied().collect()));
    assert_eq!(active(&lake, days(0)).await, [made[2]].into());
}

#[tokio::test]
async fn a_head_that_was_moved_away_counts_as_long_as_the_rule_says() {
    let lake = Lake::new().await;
    let made = daily(&lake, "main", 3).await;
    lake.catalog.hard_reset(&lake.repo, &branch("main"), &expr("main~2"), false).await.unwrap();
    lake.clock.advance_millis(DAY_MILLIS / 2);
    assert_eq!(active(&lake, days(1)).await, [made[0], made[2]].into(), "the head of then, and of now");
    lake.clock.advance_millis(DAY_MILLIS);
    assert_eq!(active(&lake, days(1)).await, [made[0]].into());
}

#[tokio::test]
async fn before_the_log_of_a_branch_began_the_dates_decide() {
    let lake = Lake::new().await;
    let made = daily(&lake, "main", 6).await;
    // A branch that has no log at all: made now from the head.
    lake.create_branch("dev", "main").await.unwrap();
    let rules = RetentionRules { default_days: 3, branches: HashMap::from([("main".to_owned(), 0)]) };
    let expected: BTreeSet<CommitId> = made[2..].iter().copied().collect();
    assert_eq!(active(&lake, rules.clone()).await, expected, "three days and the head of then");
    lake.put("dev", "x", "1").await.unwrap();
    let own = lake.commit("dev", "own").await.unwrap().id;
    assert_eq!(active(&lake, rules).await, expected.into_iter().chain([own]).collect());
}

#[tokio::test]
async fn a_list_in_the_background_says_where_it_is() {
    let lake = Lake::new().await;
    daily(&lake, "main", 2).await;
    let id = lake.catalog.submit_prepare_commits(&lake.repo, days(1)).await.unwrap();
    let state = loop {
        let task = lake.catalog.task(&lake.repo, TaskKind::PrepareCommits, &id.to_string()).await.unwrap();
        match task.state {
            TaskState::Running => tokio::task::yield_now().await,
            state => break state,
        }
    };
    assert!(matches!(state, TaskState::Done(lakebed_catalog::TaskResult::Prepared(_))), "{state:?}");
    lake.catalog.sweep_once().await.unwrap();
    let layers = BlockAddress::new("mem://lake/_lakebed/layer/");
    assert!(
        lake.catalog.blocks().list(&layers, None, 10).await.unwrap().is_empty(),
        "nothing is left behind"
    );
}

/// Every address that is listed, page by page.
async fn staged(lake: &Lake, most_addresses: usize, most_branches: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut token: Option<String> = None;
    let mut run = None;
    loop {
        let page = lake
            .catalog
            .prepare_staged_by(&lake.repo, token.as_deref(), most_addresses, most_branches)
            .await
            .unwrap();
        assert_eq!(*run.get_or_insert(page.run.clone()), page.run);
        token = page.next;
        if token.is_none() {
            break;
        }
        all.push(page.location);
    }
    let directory = format!("mem://lake/_lakebed/retention/gc/uncommitted/run_id={}/", run.unwrap());
    assert!(all.iter().all(|location| location.is_empty() || *location == directory));
    let mut addresses = Vec::new();
    let blocks = lake.catalog.blocks();
    for file in blocks.list(&BlockAddress::new(directory), None, 10_000).await.unwrap() {
        let text = blocks.get_bytes(&file.address, 2 << 20).await.unwrap();
        let mut lines = std::str::from_utf8(&text).unwrap().lines().map(str::to_owned);
        assert_eq!(lines.next().as_deref(), Some("physical_address"));
        addresses.extend(lines);
    }
    addresses
}

async fn address_of(lake: &Lake, on: &str, at: &str) -> String {
    let entry = lake.catalog.stat(&lake.repo, &expr(on), &support::path(at)).await.unwrap();
    entry.view().unwrap().address.to_owned()
}

#[tokio::test]
async fn nothing_staged_is_nothing_written() {
    let lake = Lake::new().await;
    daily(&lake, "main", 1).await;
    let page = lake.catalog.prepare_staged(&lake.repo, None).await.unwrap();
    assert_eq!((page.location.as_str(), page.next), ("", None));
}

#[tokio::test]
async fn what_newer_layers_hide_counts_too() {
    let lake = Lake::new().await;
    let mut expected = BTreeSet::new();
    for content in ["1", "2"] {
        lake.put("main", "a", content).await.unwrap();
        expected.insert(address_of(&lake, "main", "a").await);
        // A reset of something else seals what is there.
        let other = ResetTarget::Prefix("other/".to_owned());
        lake.catalog.reset_branch(&lake.repo, &branch("main"), other, false).await.unwrap();
    }
    lake.delete("main", "a").await.unwrap();
    assert_eq!(staged(&lake, 100, 100).await.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn a_token_that_no_page_gave_is_refused() {
    let lake = Lake::new().await;
    for token in ["x", "", "AAAA", "CgQuLi8u"] {
        let error = lake.catalog.prepare_staged(&lake.repo, Some(token)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{token}");
    }
}

/// A commit between two pages: what was staged is in the pages, or in the commit.
#[tokio::test]
async fn a_commit_between_pages_loses_nothing() {
    let lake = Lake::new().await;
    for n in 0..20 {
        lake.put("main", &format!("{n:02}"), "1").await.unwrap();
    }
    let first = lake.catalog.prepare_staged_by(&lake.repo, None, 5, 100).await.unwrap();
    lake.commit("main", "between").await.unwrap();
    lake.put("main", "late", "1").await.unwrap();
    let second = lake.catalog.prepare_staged(&lake.repo, first.next.as_deref()).await.unwrap();
    assert_eq!((second.next, second.run), (None, first.run));
    let head = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap();
    assert!(active(&lake, days(1)).await.contains(&head.id));
}

#[tokio::test]
async fn a_read_only_repository_is_not_collected() {
    let gate = Gate::new(Arc::new(NarrowKv::default()));
    let lake = Lake::over(gate, 7).await;
    let new = lakebed_catalog::NewRepository {
        id: "frozen".parse().unwrap(),
        storage_namespace: "mem://lake".to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: false,
        read_only: true,
    };
    let id = lake.catalog.create_repository(new).await.unwrap().id;
    let error = lake.catalog.prepare_commits(&id, days(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert_eq!(lake.catalog.prepare_staged(&id, None).await.unwrap_err().kind(), ErrorKind::ReadOnly);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever the size of the pages, every staged address once.
    #[test]
    fn pages_are_the_whole(
        writes in proptest::collection::vec(("[a-c]", 0u8..12), 0..40),
        most_addresses in 1usize..7,
        most_branches in 1usize..4,
    ) {
        let runtime = support::runtime();
        runtime.block_on(async {
            let lake = Lake::new().await;
            for on in ["a", "b", "c", "empty"] {
                lake.create_branch(on, "main").await.unwrap();
            }
            let mut expected = BTreeSet::new();
            for (on, at) in &writes {
                let at = format!("{at:02}");
                // In one layer a path's newest write is all there is.
                if let Ok(entry) = lake.catalog.stat(&lake.repo, &expr(on), &support::path(&at)).await {
                    expected.remove(entry.view().unwrap().address);
                }
                lake.put(on, &at, "1").await.unwrap();
                expected.insert(address_of(&lake, on, &at).await);
            }
            let mut found = staged(&lake, most_addresses, most_branches).await;
            found.sort();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        });
    }
}
