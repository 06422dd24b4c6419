//! Dumps, and bare repositories made from them: all at once or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use lakebed_catalog::{
    BranchCreation, Commit, CommitRequest, DumpedRefs, ErrorKind, NewRepository, PageRequest, RestoreRequest,
    RestoreSource, TaskKind, TaskResult, TaskState,
};
use lakebed_core::{CommitId, NodeId, ObjectName, RepositoryId};
use lakebed_kv::{KeyRange, Kv};
use support::narrow::NarrowKv;
use support::{Gate, Lake, branch, expr};

fn from(refs: DumpedRefs) -> RestoreRequest {
    let source = RestoreSource::Dump {
        commits: refs.commits.to_hex(),
        tags: refs.tags.to_hex(),
        branches: refs.branches.to_hex(),
    };
    RestoreRequest { source, force: false }
}

/// A bare repository in the namespace of the lake.
async fn bare(lake: &Lake, name: &str, default_branch: &str) -> RepositoryId {
    let new = NewRepository {
        id: name.parse().unwrap(),
        storage_namespace: "mem://lake".to_owned(),
        storage_id: String::new(),
        default_branch: Some(default_branch.to_owned()),
        bare: true,
        read_only: false,
    };
    lake.catalog.create_repository(new).await.unwrap().id
}

async fn ended(lake: &Lake, repository: &RepositoryId, kind: TaskKind, id: &ObjectName) -> TaskState {
    for _ in 0..10_000 {
        match lake.catalog.task(repository, kind, &id.to_string()).await.unwrap().state {
            TaskState::Running => tokio::task::yield_now().await,
            state => return state,
        }
    }
    panic!("{id} does not end");
}

fn failed(state: TaskState) -> (ErrorKind, String) {
    match state {
        TaskState::Failed { kind, message } => (kind, message),
        other => panic!("{other:?}"),
    }
}

/// Everything of a repository that a dump covers.
async fn everything(lake: &Lake, repository: &RepositoryId) -> Vec<String> {
    let page = PageRequest { amount: 1000, ..PageRequest::default() };
    let mut all = Vec::new();
    for branch in lake.catalog.list_branches(repository, &page, true).await.unwrap().items {
        all.push(format!("{branch:?}"));
        let log = lakebed_catalog::LogRequest { amount: 1000, ..Default::default() };
        let log = lake.catalog.log(repository, &expr(branch.id.as_str()), &log).await.unwrap();
        all.extend(log.items.iter().map(|commit| format!("{commit:?}")));
    }
    for tag in lake.catalog.list_tags(repository, &page).await.unwrap().items {
        all.push(format!("{tag:?}"));
    }
    all
}

async fn lake_with_history() -> Lake {
    let lake = Lake::new().await;
    history(&lake).await;
    lake
}

async fn history(lake: &Lake) {
    lake.put("main", "a", "1").await.unwrap();
    lake.commit("main", "c1").await.unwrap();
    lake.create_branch("dev", "main").await.unwrap();
    let new = BranchCreation { name: branch("hid"), source: expr("main~"), hidden: true, force: false };
    lake.catalog.create_branch(&lake.repo, new).await.unwrap();
    lake.put("dev", "b", "1").await.unwrap();
    lake.commit("dev", "d1").await.unwrap();
    lake.merge("dev", "main", lakebed_catalog::MergeStrategy::None).await.unwrap();
    lake.catalog.create_tag(&lake.repo, &"v1".parse().unwrap(), &expr("main~1"), false).await.unwrap();
    // Longer than what a tree's entry holds.
    let long = CommitRequest { message: "m".repeat(100_000), allow_empty: true, ..CommitRequest::default() };
    lake.catalog.commit(&lake.repo, &branch("dev"), long).await.unwrap();
    // More than a batch.
    for n in 0..70 {
        lake.create_branch(&format!("b{n}"), "main").await.unwrap();
    }
    lake.put("main", "staged", "1").await.unwrap();
}

#[tokio::test]
async fn what_was_dumped_is_restored_ids_and_hidden_flags_included() {
    let lake = lake_with_history().await;
    let refs = lake.catalog.dump(&lake.repo).await.unwrap();
    let id = lake.catalog.submit_dump(&lake.repo).await.unwrap();
    let again = ended(&lake, &lake.repo, TaskKind::Dump, &id).await;
    assert_eq!(again, TaskState::Done(TaskResult::Dump(refs)), "the same refs have the same ids");
    let copy = bare(&lake, "copy", "main").await;
    let before = lake.catalog.repository(&copy).await.unwrap();
    lake.catalog.restore(&copy, from(refs)).await.unwrap();
    assert_eq!(everything(&lake, &copy).await, everything(&lake, &lake.repo).await);
    let after = lake.catalog.repository(&copy).await.unwrap();
    assert_eq!((after.birth, after.bare, after.restoring), (before.birth, false, None));
    // What was staged is not among it, and the copy is a repository like any other.
    let copy = Lake { repo: copy, ..lake };
    assert!(copy.uncommitted("main").await.unwrap().is_empty());
    copy.put("main", "c", "1").await.unwrap();
    copy.commit("main", "on the copy").await.unwrap();
    assert_eq!(copy.list("main").await.unwrap().len(), 3);
}

#[tokio::test]
async fn only_a_bare_repository_is_restored_into() {
    let lake = lake_with_history().await;
    let refs = lake.catalog.dump(&lake.repo).await.unwrap();
    let error = lake.catalog.submit_restore(&lake.repo, from(refs)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("can only restore into a bare repository"), "{error}");
    let copy = bare(&lake, "copy", "main").await;
    lake.catalog.restore(&copy, from(refs)).await.unwrap();
    assert_eq!(lake.catalog.restore(&copy, from(refs)).await.unwrap_err().kind(), ErrorKind::Invalid);
    // One that was made bare and given commits one by one is not empty either.
    let other = bare(&lake, "other", "main").await;
    let commit = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap();
    lake.catalog.create_commit_record(&other, Commit { parents: vec![], ..commit }, false).await.unwrap();
    let error = lake.catalog.submit_restore(&other, from(refs)).await.unwrap_err();
    assert!(error.to_string().contains("it has commits"), "{error}");
}

#[tokio::test]
async fn a_dump_that_does_not_fit_leaves_the_repository_bare() {
    let lake = lake_with_history().await;
    let refs = lake.catalog.dump(&lake.repo).await.unwrap();
    let copy = bare(&lake, "copy", "main").await;
    let unknown = NodeId::digest(b"nothing");
    let none = RestoreSource::Dump { commits: "x".into(), tags: String::new(), branches: String::new() };
    let swapped = DumpedRefs { tags: refs.branches, branches: refs.tags, ..refs };
    let tree = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap().tree.unwrap();
    for (request, kind, part) in [
        (from(DumpedRefs { commits: unknown, ..refs }), ErrorKind::NotFound, "No data"),
        (RestoreRequest { source: none, force: false }, ErrorKind::NotFound, "No data"),
        (from(swapped), ErrorKind::Invalid, "are the ids mixed up"),
        (from(DumpedRefs { tags: lakebed_tree::empty_tree(), ..refs }), ErrorKind::NotFound, "No data"),
        (from(DumpedRefs { tags: tree, ..refs }), ErrorKind::NotFound, "No data"),
    ] {
        let id = lake.catalog.submit_restore(&copy, request).await.unwrap();
        let (was, text) = failed(ended(&lake, &copy, TaskKind::Restore, &id).await);
        assert!(was == kind && text.contains(part), "{was:?} {text}");
    }
    let other = bare(&lake, "other", "trunk").await;
    let error = lake.catalog.restore(&other, from(refs)).await.unwrap_err();
    assert!(error.to_string().contains("no branch 'trunk' to restore"), "{error}");
    for repository in [&copy, &other] {
        assert!(everything(&lake, repository).await.is_empty());
        let record = lake.catalog.repository(repository).await.unwrap();
        assert!(record.bare && record.restoring.is_none());
    }
    lake.catalog.restore(&copy, from(refs)).await.unwrap();
}

#[tokio::test]
async fn a_read_only_repository_is_restored_when_forced() {
    let lake = lake_with_history().await;
    let refs = lake.catalog.dump(&lake.repo).await.unwrap();
    let id: RepositoryId = "copy".parse().unwrap();
    let new = NewRepository {
        id: id.clone(),
        storage_namespace: "mem://lake".to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: true,
        read_only: true,
    };
    lake.catalog.create_repository(new).await.unwrap();
    assert_eq!(lake.catalog.restore(&id, from(refs)).await.unwrap_err().kind(), ErrorKind::ReadOnly);
    lake.catalog.restore(&id, RestoreRequest { force: true, ..from(refs) }).await.unwrap();
    assert!(lake.catalog.repository(&id).await.unwrap().read_only);
}

/// A lake whose batches wait at a gate: rows of commits.
async fn gated() -> (Lake, Arc<Gate>, DumpedRefs, RepositoryId) {
    let gate = Gate::before(Arc::new(NarrowKv::default()), b'c');
    let lake = Lake::over(gate.clone(), 7).await;
    history(&lake).await;
    let refs = lake.catalog.dump(&lake.repo).await.unwrap();
    let copy = bare(&lake, "copy", "main").await;
    (lake, gate, refs, copy)
}

#[tokio::test]
async fn nothing_is_seen_before_everything_is_there() {
    let (lake, gate, refs, copy) = gated().await;
    gate.close();
    let id = lake.catalog.submit_restore(&copy, from(refs)).await.unwrap();
    gate.reached().await;
    assert!(everything(&lake, &copy).await.is_empty());
    let error = lake.catalog.submit_restore(&copy, from(refs)).await.unwrap_err();
    assert!(error.to_string().contains("another restore into it is running"), "{error}");
    let commit = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap();
    let record = Commit { id: CommitId::digest(b"x"), ..commit };
    let error = lake.catalog.create_commit_record(&copy, record, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    // Settings made meanwhile stay.
    lake.catalog.set_branch_protection(&copy, &["main".to_owned()], None).await.unwrap();
    gate.open();
    assert_eq!(ended(&lake, &copy, TaskKind::Restore, &id).await, TaskState::Done(TaskResult::Restored));
    assert_eq!(everything(&lake, &copy).await, everything(&lake, &lake.repo).await);
    let copy = Lake { repo: copy, ..lake };
    assert_eq!(copy.put("main", "x", "1").await.unwrap_err().kind(), ErrorKind::Protected);
}

#[tokio::test]
async fn a_restore_that_expired_writes_nothing_more_and_another_may_follow() {
    let (lake, gate, refs, copy) = gated().await;
    gate.close();
    let lost = lake.catalog.submit_restore(&copy, from(refs)).await.unwrap();
    gate.reached().await;
    // The next life of the server gives it up, while the old one still waits with its batch.
    let kv: Arc<dyn Kv> = gate.clone();
    let next = Lake::again(kv, lake.catalog.blocks().clone(), lake.repo.clone(), 9);
    next.catalog.abandon_orphans().await.unwrap();
    assert_eq!(failed(ended(&next, &copy, TaskKind::Restore, &lost).await).0, ErrorKind::Expired);
    assert!(next.catalog.repository(&copy).await.unwrap().bare);
    next.catalog.sweep_once().await.unwrap();
    gate.open();
    next.catalog.restore(&copy, from(refs)).await.unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(everything(&next, &copy).await, everything(&next, &next.repo).await);
    // Not a row of the lost one is left: every commit there is belongs to one of the two.
    let rows = gate.scan(&KeyRange::prefix(b"c"), 10_000).await.unwrap();
    let whole = everything(&next, &copy).await.iter().filter(|line| line.starts_with("Commit")).count();
    assert!(whole > 0 && rows.len() == 2 * distinct(&next).await, "{} rows", rows.len());
}

/// How many commits the lake has.
async fn distinct(lake: &Lake) -> usize {
    let mut ids = std::collections::BTreeSet::new();
    for line in everything(lake, &lake.repo).await {
        if let Some(rest) = line.strip_prefix("Commit { id: CommitId(") {
            ids.insert(rest[..64].to_owned());
        }
    }
    ids.len()
}

#[tokio::test]
async fn deleting_the_repository_ends_its_restore() {
    let (lake, gate, refs, copy) = gated().await;
    gate.close();
    lake.catalog.submit_restore(&copy, from(refs)).await.unwrap();
    gate.reached().await;
    lake.catalog.delete_repository(&copy, false).await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    gate.open();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    lake.catalog.sweep_once().await.unwrap();
    let rows = gate.scan(&KeyRange::prefix(b"c"), 10_000).await.unwrap();
    assert_eq!(rows.len(), distinct(&lake).await, "only those of the lake");
    let again = bare(&lake, "copy", "main").await;
    lake.catalog.restore(&again, from(refs)).await.unwrap();
    assert_eq!(everything(&lake, &again).await, everything(&lake, &lake.repo).await);
}

#[tokio::test]
async fn a_restored_repository_leaves_nothing_when_it_is_deleted() {
    let kv = Arc::new(NarrowKv::default());
    let lake = Lake::over(kv.clone(), 7).await;
    history(&lake).await;
    let refs = lake.catalog.dump(&lake.repo).await.unwrap();
    let day_later = async || {
        lake.clock.advance_millis(25 * 3600 * 1000);
        lake.catalog.sweep_once().await.unwrap();
        lake.catalog.sweep_once().await.unwrap();
        let rows = kv.scan(&KeyRange::prefix(b""), 100_000).await.unwrap();
        rows.into_iter().map(|row| (row.key, row.value)).collect::<Vec<_>>()
    };
    let before = day_later().await;
    let copy = bare(&lake, "copy", "main").await;
    lake.catalog.restore(&copy, from(refs)).await.unwrap();
    lake.catalog.set_branch_protection(&copy, &["x".to_owned()], None).await.unwrap();
    lake.catalog.delete_repository(&copy, false).await.unwrap();
    assert!(day_later().await == before, "rows stayed behind, or went");
}
