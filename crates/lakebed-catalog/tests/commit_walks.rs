//! What far walks over linear history read. That they find what plain walks find is tested beside the walks
//! (`commit_log/tests.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use lakebed_blocks::MemStore;
use lakebed_catalog::{
    Commit, CommitRequest, LogRequest, MergeStrategy, NewRepository, RestoreRequest, RestoreSource,
};
use lakebed_core::{CommitId, NodeId};
use lakebed_kv::{KeyRange, Kv};
use support::counted_kv::CountedKv;
use support::{Lake, branch, expr};

struct Counted {
    kv: Arc<CountedKv>,
    lake: Lake,
}

impl Counted {
    async fn new() -> Self {
        let kv = Arc::new(CountedKv::default());
        Self { kv: kv.clone(), lake: Lake::over(kv, 7).await }
    }

    /// So many commits in a row, the last one first.
    async fn commits(&self, on: &str, count: usize) -> Vec<CommitId> {
        let mut all = Vec::new();
        for _ in 0..count {
            self.lake.clock.advance_millis(1000);
            let request = CommitRequest { allow_empty: true, ..CommitRequest::default() };
            let commit = self.lake.catalog.commit(&self.lake.repo, &branch(on), request).await.unwrap();
            all.push(commit.id);
        }
        all.reverse();
        all
    }

    /// The merge base as a server finds it that has just started, and the keys it reads for that.
    async fn base(&self, source: &str, destination: &str) -> (CommitId, usize) {
        let cold = self.cold();
        let found = cold.catalog.merge_base(&cold.repo, &expr(source), &expr(destination)).await.unwrap();
        (found.2.unwrap(), self.kv.keys())
    }

    fn cold(&self) -> Lake {
        self.kv.reset();
        Lake::again(self.kv.clone(), Arc::new(MemStore::new()), self.lake.repo.clone(), 1)
    }
}

#[tokio::test]
async fn a_far_merge_base_and_a_page_from_the_middle_cost_little() {
    let counted = Counted::new().await;
    counted.commits("main", 3).await;
    counted.lake.create_branch("dev", "main").await.unwrap();
    counted.lake.create_branch("tip", "main").await.unwrap();
    counted.commits("tip", 1).await;
    let commits = counted.commits("main", 5_000).await;
    let dev = counted.lake.catalog.resolve(&counted.lake.repo, &expr("dev")).await.unwrap().id;
    for source in ["dev", "tip"] {
        for (source, destination) in [(source, "main"), ("main", source)] {
            let (base, keys) = counted.base(source, destination).await;
            assert_eq!(base, dev);
            assert!(keys < 100, "{keys} keys for the merge base of {source} and {destination}");
        }
    }
    let pages = [
        LogRequest::default(),
        LogRequest { first_parent: true, ..LogRequest::default() },
        LogRequest { stop_at: Some(expr("dev")), ..LogRequest::default() },
    ];
    for (n, page) in [1_000, 2_500, 4_321].into_iter().zip(pages) {
        let request = LogRequest { after: commits[n].to_string(), amount: 5, ..page };
        let cold = counted.cold();
        let page = cold.catalog.log(&cold.repo, &expr("main"), &request).await.unwrap();
        let found: Vec<CommitId> = page.items.iter().map(|commit| commit.id).collect();
        assert_eq!(found, commits[n + 1..n + 6]);
        let keys = counted.kv.keys();
        assert!(keys < 100, "{keys} keys for a page behind {n} commits");
    }
    // It is on another branch.
    let tip = counted.lake.catalog.resolve(&counted.lake.repo, &expr("tip")).await.unwrap();
    let request = LogRequest { after: tip.id.to_string(), amount: 5, ..LogRequest::default() };
    let cold = counted.cold();
    let page = cold.catalog.log(&cold.repo, &expr("main"), &request).await.unwrap();
    assert_eq!((page.items.len(), page.has_more), (0, false));
    let keys = counted.kv.keys();
    assert!(keys < 100, "{keys} keys to find that a commit is on another branch");
}

#[tokio::test]
async fn a_far_ancestor_costs_little() {
    let counted = Counted::new().await;
    let lake = &counted.lake;
    let before = counted.commits("main", 700).await;
    lake.create_branch("dev", "main").await.unwrap();
    lake.put("dev", "a", "1").await.unwrap();
    lake.commit("dev", "dev").await.unwrap();
    counted.commits("main", 1).await;
    lake.merge("dev", "main", MergeStrategy::None).await.unwrap();
    let commits = counted.commits("main", 2_000).await;
    // The merge lies in between, behind it the commit before it.
    for (back, expected) in [
        (1, commits[1]),
        (511, commits[511]),
        (1_500, commits[1_500]),
        (2_002, before[0]),
        (2_600, before[598]),
    ] {
        let cold = counted.cold();
        let found = cold.catalog.resolve(&cold.repo, &expr(&format!("main~{back}"))).await.unwrap();
        assert_eq!(found.id, expected, "~{back}");
        let keys = counted.kv.keys();
        assert!(back < 512 || keys < 200, "{keys} keys for ~{back}");
    }
    for back in [2_702, 2_703, 5_000] {
        let found = lake.catalog.resolve(&lake.repo, &expr(&format!("main~{back}"))).await;
        assert!(found.is_ok() == (back == 2_702), "~{back}: {found:?}");
    }
}

#[tokio::test]
async fn above_a_record_of_a_client_and_after_a_restore_every_commit_is_looked_at() {
    let counted = Counted::new().await;
    let lake = &counted.lake;
    counted.commits("main", 3).await;
    lake.create_branch("dev", "main").await.unwrap();
    counted.commits("main", 700).await;
    let (base, keys) = counted.base("dev", "main").await;
    assert!(keys < 100, "{keys}");

    // What a restore writes is as if clients had made it.
    let refs = lake.catalog.dump(&lake.repo).await.unwrap();
    let new = NewRepository {
        id: "copy".parse().unwrap(),
        storage_namespace: "mem://lake".to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: true,
        read_only: false,
    };
    let copy = lake.catalog.create_repository(new).await.unwrap().id;
    let [commits, tags, branches] = [refs.commits, refs.tags, refs.branches].map(NodeId::to_hex);
    let source = RestoreSource::Dump { commits, tags, branches };
    lake.catalog.restore(&copy, RestoreRequest { source, force: false }).await.unwrap();
    let request = CommitRequest { allow_empty: true, ..CommitRequest::default() };
    lake.catalog.commit(&copy, &branch("main"), request).await.unwrap();
    let cold = counted.cold();
    let found = cold.catalog.merge_base(&copy, &expr("dev"), &expr("main")).await.unwrap();
    assert_eq!(found.2, Some(base));
    let keys = counted.kv.keys();
    assert!(keys > 700, "{keys}");

    // The client is right about the generation, but how should that be known?
    let head = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap();
    let id = CommitId::digest(b"record");
    let record = Commit { id, parents: vec![head.id], generation: head.generation + 1, ..head };
    lake.catalog.create_commit_record(&lake.repo, record, false).await.unwrap();
    let target = expr(&id.to_hex());
    lake.catalog.hard_reset(&lake.repo, &branch("main"), &target, false).await.unwrap();
    counted.commits("main", 5).await;
    let (found, keys) = counted.base("dev", "main").await;
    assert_eq!(found, base);
    assert!(keys > 700, "{keys}");
}

#[tokio::test]
async fn nothing_of_a_deleted_repository_stays() {
    let counted = Counted::new().await;
    counted.commits("main", 3).await;
    let lake = &counted.lake;
    let of_commits = async || {
        let prefixes: [&'static [u8]; 2] = [b"c", b"f"];
        let mut rows = 0;
        for prefix in prefixes {
            rows += counted.kv.inner.scan(&KeyRange::prefix(prefix), 100).await.unwrap().len();
        }
        rows
    };
    // Of the first commit there is no trace.
    assert_eq!(of_commits().await, 4 + 3 + 4);
    lake.catalog.delete_repository(&lake.repo, false).await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(of_commits().await, 0);
}
