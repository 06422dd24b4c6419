//! The log of paths against a naive one that compares the contents of every commit with its parent's, and what it costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lakebed_blocks::MemStore;
use lakebed_catalog::{
    Commit, CommitRequest, ErrorKind, LogRequest, MergeRequest, MergeStrategy, PickRequest, ResetTarget,
    RevertRequest,
};
use lakebed_core::CommitId;
use proptest::prelude::*;
use support::counted_kv::CountedKv;
use support::{Lake, branch, expr};

const BRANCHES: [&str; 3] = ["main", "dev", "exp"];
const PATHS: [&str; 8] = ["a", "a/1", "a/2", "a-b", "b/", "b/x/1", "b/x/2", "c"];
const PREFIXES: [&str; 8] = ["", "a", "a/", "b", "b/", "b/x", "b/x/", "none/"];

#[derive(Clone, Debug)]
enum Op {
    Put(usize, usize, u8),
    Delete(usize, usize),
    Commit(usize),
    /// Source, destination, strategy, squash.
    Merge(usize, usize, u8, bool),
    /// The commit so many generations back.
    Revert(usize, u8),
    CherryPick(usize, usize),
    Reset(usize),
    HardReset(usize, u8),
    /// The tree of another branch's head as a commit on this one.
    CommitTree(usize, usize),
    /// A record made elsewhere, with another branch's tree; the branch is then put on it.
    Record(usize, usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let b = 0..BRANCHES.len();
    let p = 0..PATHS.len();
    let op = prop_oneof![
        8 => (b.clone(), p.clone(), 0u8..3).prop_map(|(b, p, c)| Op::Put(b, p, c)),
        3 => (b.clone(), p).prop_map(|(b, p)| Op::Delete(b, p)),
        8 => b.clone().prop_map(Op::Commit),
        4 => (b.clone(), b.clone(), 0u8..3, any::<bool>()).prop_map(|(s, d, w, q)| Op::Merge(s, d, w, q)),
        2 => (b.clone(), 0u8..4).prop_map(|(b, n)| Op::Revert(b, n)),
        2 => (b.clone(), b.clone()).prop_map(|(s, d)| Op::CherryPick(s, d)),
        1 => b.clone().prop_map(Op::Reset),
        1 => (b.clone(), 0u8..4).prop_map(|(b, n)| Op::HardReset(b, n)),
        1 => (b.clone(), b.clone()).prop_map(|(s, d)| Op::CommitTree(s, d)),
        1 => (b.clone(), b).prop_map(|(s, d)| Op::Record(s, d)),
    ];
    proptest::collection::vec(op, 1..60)
}

/// Whether an operation happened; what a random history may run into is no failure.
fn happened<T>(result: Result<T, lakebed_catalog::CatalogError>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => {
            let expected = [
                ErrorKind::NoChanges,
                ErrorKind::Dirty,
                ErrorKind::MergeConflict,
                ErrorKind::Conflict,
                ErrorKind::RefNotFound,
                ErrorKind::Invalid,
                ErrorKind::AlreadyExists,
            ];
            assert!(expected.contains(&error.kind()), "{error}");
            false
        }
    }
}

async fn apply(lake: &Lake, op: &Op) {
    lake.clock.advance_millis(700);
    match *op {
        Op::Put(b, p, c) => lake.put(BRANCHES[b], PATHS[p], &format!("c{c}")).await.unwrap(),
        Op::Delete(b, p) => lake.delete(BRANCHES[b], PATHS[p]).await.unwrap(),
        Op::Commit(b) => drop(happened(lake.commit(BRANCHES[b], "m").await)),
        Op::Merge(s, d, w, squash) => {
            let strategy =
                [MergeStrategy::None, MergeStrategy::SourceWins, MergeStrategy::DestinationWins][w as usize];
            let request = MergeRequest { strategy, squash, ..MergeRequest::default() };
            let (source, destination) = (expr(BRANCHES[s]), branch(BRANCHES[d]));
            happened(lake.catalog.merge(&lake.repo, &source, &destination, request).await);
        }
        Op::Revert(b, n) => {
            let request = RevertRequest {
                commit: expr(&format!("{}~{n}", BRANCHES[b])),
                parent_number: 0,
                committer: String::new(),
                message: String::new(),
                metadata: None,
                allow_empty: false,
                force: false,
                once: None,
            };
            happened(lake.catalog.revert(&lake.repo, &branch(BRANCHES[b]), request).await);
        }
        Op::CherryPick(s, d) => {
            let request = PickRequest {
                commit: expr(BRANCHES[s]),
                parent_number: None,
                committer: String::new(),
                message: String::new(),
                metadata: None,
                force: false,
                once: None,
            };
            happened(lake.catalog.cherry_pick(&lake.repo, &branch(BRANCHES[d]), request).await);
        }
        Op::Reset(b) => {
            let reset =
                lake.catalog.reset_branch(&lake.repo, &branch(BRANCHES[b]), ResetTarget::All, false).await;
            assert!(happened(reset));
        }
        Op::HardReset(b, n) => {
            let target = expr(&format!("{}~{n}", BRANCHES[b]));
            happened(lake.catalog.hard_reset(&lake.repo, &branch(BRANCHES[b]), &target, false).await);
        }
        Op::CommitTree(s, d) => {
            let tree = lake.catalog.resolve(&lake.repo, &expr(BRANCHES[s])).await.unwrap().meta_range_id();
            if !tree.is_empty() {
                let request = CommitRequest { source_metarange: Some(tree), ..CommitRequest::default() };
                let made = lake.catalog.commit(&lake.repo, &branch(BRANCHES[d]), request).await;
                assert!(made.is_ok() || made.is_err_and(|error| error.kind() != ErrorKind::Internal));
            }
        }
        Op::Record(s, d) => {
            let head = lake.catalog.resolve(&lake.repo, &expr(BRANCHES[d])).await.unwrap();
            let tree = lake.catalog.resolve(&lake.repo, &expr(BRANCHES[s])).await.unwrap().tree;
            let id = CommitId::digest(format!("{op:?} {} {tree:?}", head.id).as_bytes());
            let record = Commit { id, parents: vec![head.id], tree, message: "record".to_owned(), ..head };
            if happened(lake.catalog.create_commit_record(&lake.repo, record, false).await) {
                let target = expr(&id.to_hex());
                happened(lake.catalog.hard_reset(&lake.repo, &branch(BRANCHES[d]), &target, false).await);
            }
        }
    }
}

/// All of a log, read in pages of this many.
async fn log(lake: &Lake, at: &str, request: &LogRequest, amount: usize) -> Vec<CommitId> {
    let mut request = LogRequest { amount, ..request.clone() };
    let mut all = Vec::new();
    loop {
        let page = lake.catalog.log(&lake.repo, &expr(at), &request).await.unwrap();
        all.extend(page.items.iter().map(|commit| commit.id));
        if !page.has_more {
            return all;
        }
        request.after = page.next_offset;
    }
}

/// The paths that each commit of a branch changed against its only parent; none for merges.
async fn naive(lake: &Lake, at: &str, first_parent: bool) -> Vec<(CommitId, BTreeSet<String>)> {
    let request = LogRequest { amount: 1000, first_parent, ..LogRequest::default() };
    let mut all = Vec::new();
    for commit in lake.catalog.log(&lake.repo, &expr(at), &request).await.unwrap().items {
        let mut changed = BTreeSet::new();
        if let [parent] = &commit.parents[..] {
            let of = async |id: &CommitId| -> BTreeMap<String, String> {
                lake.list(&id.to_hex()).await.unwrap().into_iter().collect()
            };
            let (old, new) = (of(parent).await, of(&commit.id).await);
            let paths = old.keys().chain(new.keys());
            changed = paths.filter(|path| old.get(*path) != new.get(*path)).cloned().collect();
        }
        all.push((commit.id, changed));
    }
    all
}

async fn compare(lake: &Lake) {
    for at in BRANCHES {
        for first_parent in [false, true] {
            let commits = naive(lake, at, first_parent).await;
            let check = async |objects: &[&str], prefixes: &[&str]| {
                let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
                let request = LogRequest {
                    objects: owned(objects),
                    prefixes: owned(prefixes),
                    first_parent,
                    ..LogRequest::default()
                };
                let touched = |path: &String| {
                    objects.contains(&path.as_str()) || prefixes.iter().any(|prefix| path.starts_with(prefix))
                };
                let wanted: Vec<CommitId> = commits
                    .iter()
                    .filter(|(_, changed)| changed.iter().any(touched))
                    .map(|(id, _)| *id)
                    .collect();
                let what =
                    format!("log of {at}, {objects:?} {prefixes:?}, first parents only: {first_parent}");
                assert_eq!(log(lake, at, &request, 1000).await, wanted, "{what}");
                assert_eq!(log(lake, at, &request, 2).await, wanted, "{what}, in pages");
                let last = LogRequest { amount: 1, limit: true, ..request };
                let last = lake.catalog.log(&lake.repo, &expr(at), &last).await.unwrap().items;
                assert_eq!(last.first().map(|commit| commit.id), wanted.first().copied(), "{what}, the last");
            };
            for n in 0..PATHS.len() {
                check(&[PATHS[n]], &[]).await;
                check(&[], &[PREFIXES[n]]).await;
                check(&[PATHS[n], "none"], &[PREFIXES[(n * 5 + 1) % PREFIXES.len()], "no"]).await;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_log_of_paths_agrees_with_comparing_every_commit(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lake = Lake::new().await;
            lake.create_branch("dev", "main").await.unwrap();
            lake.create_branch("exp", "main").await.unwrap();
            for op in &ops {
                apply(&lake, op).await;
            }
            compare(&lake).await;
        });
    }
}

fn of_object(path: &str) -> LogRequest {
    LogRequest { objects: vec![path.to_owned()], amount: 1, limit: true, ..LogRequest::default() }
}

fn of_prefix(prefix: &str) -> LogRequest {
    LogRequest { prefixes: vec![prefix.to_owned()], amount: 1, limit: true, ..LogRequest::default() }
}

/// A lake that has been started again without its object store: whoever looks at a tree fails.
struct WithoutTrees {
    kv: Arc<CountedKv>,
    lake: Lake,
}

impl WithoutTrees {
    fn new(kv: &Arc<CountedKv>, lake: &Lake) -> Self {
        let again = Lake::again(kv.clone(), Arc::new(MemStore::new()), lake.repo.clone(), 1);
        kv.reset();
        Self { kv: kv.clone(), lake: again }
    }

    /// How many reads the engine was asked for, and the commits found; `None` if a tree was looked at.
    async fn log(&self, request: &LogRequest) -> Option<(usize, usize)> {
        let before = self.kv.reads();
        let page = self.lake.catalog.log(&self.lake.repo, &expr("main"), request).await.ok()?;
        Some((self.kv.reads() - before, page.items.len()))
    }
}

async fn counted_lake() -> (Arc<CountedKv>, Lake) {
    let kv = Arc::new(CountedKv::default());
    let lake = Lake::over(kv.clone(), 7).await;
    (kv, lake)
}

#[tokio::test]
async fn a_commit_that_did_not_touch_a_path_is_passed_without_its_tree() {
    let (kv, lake) = counted_lake().await;
    for n in 0..2_000 {
        lake.put("main", &format!("tables/day={:02}/part-{n}", n % 30), "x").await.unwrap();
        lake.commit("main", "m").await.unwrap();
    }
    let cold = WithoutTrees::new(&kv, &lake);
    let (reads, found) = cold.log(&of_object("tables/day=01/none")).await.unwrap();
    assert_eq!(found, 0);
    assert!(reads < 60, "{reads} reads of the engine for 2,000 commits");
    let (_, found) = cold.log(&of_prefix("tables/day=30/part")).await.unwrap();
    assert_eq!(found, 0);
    assert_eq!(cold.log(&of_object("tables/day=01/part-1")).await, None, "what a filter says is checked");
    let unfiltered = WithoutTrees::new(&kv, &lake);
    let all = LogRequest { amount: 1000, ..LogRequest::default() };
    let (reads, found) = unfiltered.log(&all).await.unwrap();
    assert_eq!(found, 1000);
    assert!(reads < 40, "{reads} reads of the engine for 1,000 commits");
}

#[tokio::test]
async fn a_late_page_costs_what_an_early_one_does() {
    let (kv, lake) = counted_lake().await;
    for n in 0..1_000 {
        lake.put("main", &format!("tables/day={:02}/part-{n}", n % 30), "x").await.unwrap();
        lake.commit("main", "m").await.unwrap();
    }
    let mut request = LogRequest { amount: 10, ..of_prefix("tables/") };
    request.limit = false;
    let (mut costs, mut found) = (Vec::new(), Vec::new());
    loop {
        let before = kv.reads();
        let page = lake.catalog.log(&lake.repo, &expr("main"), &request).await.unwrap();
        costs.push(kv.reads() - before);
        found.extend(page.items.into_iter().map(|commit| commit.id));
        if !page.has_more {
            break;
        }
        request.after = page.next_offset;
    }
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 1_000);
    let (early, late) = (costs[1..20].iter().max().unwrap(), costs[80..].iter().max().unwrap());
    assert!(
        late <= &(early + 2),
        "{early} reads of the engine for one of the first pages, {late} for one of the last"
    );
    // The same page once more is found all the same.
    let again = lake.catalog.log(&lake.repo, &expr("main"), &request).await.unwrap();
    assert_eq!(again.items.len(), 10);
}

#[tokio::test]
async fn what_was_merged_is_read_together_with_its_merge() {
    let (kv, lake) = counted_lake().await;
    for n in 0..300 {
        lake.create_branch("feature", "main").await.unwrap();
        lake.put("feature", &format!("features/{n}"), "x").await.unwrap();
        lake.commit("feature", "m").await.unwrap();
        lake.merge("feature", "main", MergeStrategy::None).await.unwrap();
        lake.catalog.delete_branch(&lake.repo, &branch("feature"), false).await.unwrap();
    }
    let cold = WithoutTrees::new(&kv, &lake);
    let (reads, found) = cold.log(&of_object("features/none")).await.unwrap();
    assert_eq!(found, 0);
    assert!(reads < 60, "{reads} reads of the engine for 600 commits");
}

#[tokio::test]
async fn a_path_touched_by_the_newest_commit_is_found_at_once() {
    let (kv, lake) = counted_lake().await;
    for n in 0..50 {
        lake.put("main", &format!("p/{n}"), "x").await.unwrap();
        lake.commit("main", "m").await.unwrap();
    }
    kv.reset();
    let page = lake.catalog.log(&lake.repo, &expr("main"), &of_object("p/49")).await.unwrap();
    assert_eq!(page.items.len(), 1);
    let reads = kv.reads();
    assert!(reads <= 3, "{reads} reads of the engine");
}

#[tokio::test]
async fn a_commit_of_many_changes_is_known_by_its_directories() {
    let (kv, lake) = counted_lake().await;
    lake.put("main", "first/1", "x").await.unwrap();
    lake.commit("main", "first").await.unwrap();
    for n in 0..3_000 {
        lake.put("main", &format!("bulk/{}/{n}", n % 10), "x").await.unwrap();
    }
    lake.commit("main", "bulk").await.unwrap();
    for (request, message) in [
        (of_object("first/1"), "first"),
        (of_prefix("fi"), "first"),
        (of_object("bulk/4/2004"), "bulk"),
        (of_prefix("bulk/5/"), "bulk"),
        (of_prefix("bu"), "bulk"),
    ] {
        let page = lake.catalog.log(&lake.repo, &expr("main"), &request).await.unwrap();
        let messages: Vec<_> = page.items.iter().map(|commit| commit.message.as_str()).collect();
        assert_eq!(messages, [message], "{request:?}");
    }
    let none = lake.catalog.log(&lake.repo, &expr("main"), &of_object("bulk/4/none")).await.unwrap();
    assert!(none.items.is_empty());
    let cold = WithoutTrees::new(&kv, &lake);
    assert_eq!(cold.log(&of_object("other/1")).await.map(|(_, found)| found), Some(0));
    assert_eq!(cold.log(&of_object("bulk/4/none")).await, None);
}
