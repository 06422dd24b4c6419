//! Staging, commit, merge and reset against a naive sequential model: maps instead of layers and trees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::collections::{BTreeMap, BTreeSet};

use lakebed_catalog::{DiffKind, DiffMode, ErrorKind, MergeStrategy, ResetTarget};
use proptest::prelude::*;
use support::naive::{Commits, Contents, Merged};
use support::{Lake, branch, expr, path};

#[derive(Clone, Debug)]
struct ModelBranch {
    head: usize,
    staged: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug)]
struct Model {
    commits: Commits,
    branches: BTreeMap<&'static str, ModelBranch>,
}

const BRANCHES: [&str; 3] = ["main", "dev", "exp"];
const PATHS: [&str; 7] = ["a", "a/1", "a/2", "a-b", "b/x/1", "b/x/2", "c"];

#[derive(Clone, Debug)]
enum Op {
    Put(usize, usize, u8),
    Delete(usize, usize),
    Commit(usize),
    Merge(usize, usize, u8),
    ResetAll(usize),
    ResetPrefix(usize, usize),
    ResetObject(usize, usize),
    HardReset(usize, usize),
    Recreate(usize, usize),
    Sweep,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let b = 0..BRANCHES.len();
    let p = 0..PATHS.len();
    let op = prop_oneof![
        8 => (b.clone(), p.clone(), 0u8..4).prop_map(|(b, p, c)| Op::Put(b, p, c)),
        4 => (b.clone(), p.clone()).prop_map(|(b, p)| Op::Delete(b, p)),
        4 => b.clone().prop_map(Op::Commit),
        3 => (b.clone(), b.clone(), 0u8..3).prop_map(|(s, d, w)| Op::Merge(s, d, w)),
        1 => b.clone().prop_map(Op::ResetAll),
        2 => (b.clone(), p.clone()).prop_map(|(b, p)| Op::ResetPrefix(b, p)),
        2 => (b.clone(), p).prop_map(|(b, p)| Op::ResetObject(b, p)),
        1 => (b.clone(), b.clone()).prop_map(|(a, b)| Op::HardReset(a, b)),
        1 => (b.clone(), b).prop_map(|(a, b)| Op::Recreate(a, b)),
        1 => Just(Op::Sweep),
    ];
    proptest::collection::vec(op, 1..40)
}

impl Model {
    fn new() -> Self {
        let branch = ModelBranch { head: 0, staged: BTreeMap::new() };
        Self { commits: Commits::new(), branches: BRANCHES.iter().map(|b| (*b, branch.clone())).collect() }
    }

    fn working(&self, on: &str) -> Contents {
        let branch = &self.branches[on];
        let mut contents = self.commits.contents(branch.head).clone();
        for (path, change) in &branch.staged {
            match change {
                Some(content) => drop(contents.insert(path.clone(), content.clone())),
                None => drop(contents.remove(path)),
            }
        }
        contents
    }

    fn head(&self, on: &str) -> &Contents {
        self.commits.contents(self.branches[on].head)
    }
}

fn changes(old: &Contents, new: &Contents) -> Vec<(String, DiffKind)> {
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    paths
        .into_iter()
        .filter_map(|path| match (old.get(path), new.get(path)) {
            (None, Some(_)) => Some((path.clone(), DiffKind::Added)),
            (Some(_), None) => Some((path.clone(), DiffKind::Removed)),
            (Some(o), Some(n)) if o != n => Some((path.clone(), DiffKind::Changed)),
            _ => None,
        })
        .collect()
}

async fn apply(lake: &Lake, model: &mut Model, op: &Op) {
    match *op {
        Op::Put(b, p, c) => {
            let content = format!("c{c}");
            lake.put(BRANCHES[b], PATHS[p], &content).await.unwrap();
            let branch = model.branches.get_mut(BRANCHES[b]).unwrap();
            branch.staged.insert(PATHS[p].to_owned(), Some(content));
        }
        Op::Delete(b, p) => {
            lake.delete(BRANCHES[b], PATHS[p]).await.unwrap();
            model.branches.get_mut(BRANCHES[b]).unwrap().staged.insert(PATHS[p].to_owned(), None);
        }
        Op::Commit(b) => {
            let name = BRANCHES[b];
            let contents = model.working(name);
            let changed = contents != *model.head(name);
            let result = lake.commit(name, "m").await;
            if changed {
                result.unwrap();
                let head = model.commits.push(contents, vec![model.branches[name].head]);
                *model.branches.get_mut(name).unwrap() = ModelBranch { head, staged: BTreeMap::new() };
            } else {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::NoChanges);
            }
        }
        Op::Merge(s, d, w) => {
            let (source, dest) = (BRANCHES[s], BRANCHES[d]);
            let strategy =
                [MergeStrategy::None, MergeStrategy::SourceWins, MergeStrategy::DestinationWins][w as usize];
            let result = lake.merge(source, dest, strategy).await;
            if model.working(dest) != *model.head(dest) {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Dirty);
                return;
            }
            let (source_head, dest_head) = (model.branches[source].head, model.branches[dest].head);
            // Of several best ancestors any may be chosen; the one taken must explain the result.
            let outcomes = model.commits.merges(source_head, dest_head, strategy);
            let seen = match &result {
                Ok(_) => {
                    Merged::Contents(lake.list(&format!("{dest}@")).await.unwrap().into_iter().collect())
                }
                Err(error) if error.kind() == ErrorKind::NoChanges => Merged::NoChanges,
                Err(error) if error.kind() == ErrorKind::MergeConflict => Merged::Conflict,
                Err(error) => panic!("{error}"),
            };
            assert!(outcomes.contains(&seen), "{seen:?} is none of {outcomes:?}");
            if let Merged::Contents(contents) = seen {
                let head = model.commits.push(contents, vec![dest_head, source_head]);
                *model.branches.get_mut(dest).unwrap() = ModelBranch { head, staged: BTreeMap::new() };
            }
        }
        Op::ResetAll(b) => {
            let target = ResetTarget::All;
            lake.catalog.reset_branch(&lake.repo, &branch(BRANCHES[b]), target, false).await.unwrap();
            model.branches.get_mut(BRANCHES[b]).unwrap().staged.clear();
        }
        Op::ResetPrefix(b, p) => {
            let prefix = PATHS[p][..1].to_owned();
            let target = ResetTarget::Prefix(prefix.clone());
            lake.catalog.reset_branch(&lake.repo, &branch(BRANCHES[b]), target, false).await.unwrap();
            let branch = model.branches.get_mut(BRANCHES[b]).unwrap();
            branch.staged.retain(|path, _| !path.starts_with(&prefix));
        }
        Op::ResetObject(b, p) => {
            let target = ResetTarget::Object(path(PATHS[p]));
            lake.catalog.reset_branch(&lake.repo, &branch(BRANCHES[b]), target, false).await.unwrap();
            model.branches.get_mut(BRANCHES[b]).unwrap().staged.remove(PATHS[p]);
        }
        Op::HardReset(b, to) => {
            lake.catalog
                .hard_reset(&lake.repo, &branch(BRANCHES[b]), &expr(BRANCHES[to]), false)
                .await
                .unwrap();
            let head = model.branches[BRANCHES[to]].head;
            model.branches.get_mut(BRANCHES[b]).unwrap().head = head;
        }
        Op::Recreate(b, from) => {
            if b == 0 || b == from {
                return;
            }
            lake.catalog.delete_branch(&lake.repo, &branch(BRANCHES[b]), false).await.unwrap();
            lake.create_branch(BRANCHES[b], BRANCHES[from]).await.unwrap();
            let head = model.branches[BRANCHES[from]].head;
            model.branches.insert(BRANCHES[b], ModelBranch { head, staged: BTreeMap::new() });
        }
        Op::Sweep => lake.catalog.sweep_once().await.unwrap(),
    }
}

async fn compare(lake: &Lake, model: &Model) {
    for name in BRANCHES {
        let working = model.working(name);
        let listed = lake.list(name).await.unwrap();
        assert_eq!(listed, working.clone().into_iter().collect::<Vec<_>>(), "working state of {name}");
        let mut folded: Vec<String> = working
            .keys()
            .map(|path| match path.find('/') {
                Some(at) => path[..=at].to_owned(),
                None => path.clone(),
            })
            .collect();
        folded.dedup();
        assert_eq!(lake.folded(name).await.unwrap(), folded, "folded listing of {name}");
        let committed: Contents = lake.list(&format!("{name}@")).await.unwrap().into_iter().collect();
        assert_eq!(committed, *model.head(name), "head of {name}");
        assert_eq!(lake.uncommitted(name).await.unwrap(), changes(model.head(name), &working));
        for at in PATHS {
            assert_eq!(lake.content(name, at).await, working.get(at).cloned(), "{name} {at}");
        }
    }
    let two_dot = lake.diff("main", "dev", DiffMode::TwoDot).await.unwrap();
    assert_eq!(two_dot, changes(model.head("main"), model.head("dev")));
    let staged = lake.diff("main", "dev$", DiffMode::TwoDot).await.unwrap();
    assert_eq!(staged, changes(model.head("main"), &model.working("dev")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn catalog_agrees_with_the_naive_model(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lake = Lake::new().await;
            lake.create_branch("dev", "main").await.unwrap();
            lake.create_branch("exp", "main").await.unwrap();
            let mut model = Model::new();
            for op in &ops {
                apply(&lake, &mut model, op).await;
                compare(&lake, &model).await;
            }
        });
    }
}
