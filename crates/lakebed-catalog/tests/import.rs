//! Import: what a branch is afterwards, against a model; what is refused; cancellation, and crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, PutOptions};
use lakebed_catalog::{
    CatalogError, Commit, ErrorKind, ImportRequest, ImportSource, NewRepository, TaskKind, TaskResult,
    TaskState,
};
use lakebed_core::{BranchId, ObjectName};
use lakebed_kv::Kv;
use proptest::prelude::*;
use support::narrow::NarrowKv;
use support::{Gate, Lake, branch, expr, path};

async fn source(lake: &Lake, key: &str, content: &str) {
    let address = BlockAddress::new(format!("mem://source/{key}"));
    let content = Bytes::from(content.to_owned());
    lake.catalog.blocks().put_bytes(&address, content, PutOptions::default()).await.unwrap();
}

fn prefix(address: &str, under: &str) -> ImportSource {
    ImportSource::Prefix { address: format!("mem://source/{address}"), under: under.to_owned() }
}

fn object(address: &str, path: &str) -> ImportSource {
    ImportSource::Object { address: format!("mem://source/{address}"), path: path.to_owned() }
}

async fn submit(lake: &Lake, sources: Vec<ImportSource>) -> Result<ObjectName, CatalogError> {
    let request = ImportRequest { sources, ..ImportRequest::default() };
    lake.catalog.submit_import(&lake.repo, &branch("main"), request).await
}

async fn ended(lake: &Lake, id: &ObjectName) -> TaskState {
    for _ in 0..100_000 {
        match lake.catalog.task(&lake.repo, TaskKind::Import, &id.to_string()).await.unwrap().state {
            TaskState::Running => tokio::task::yield_now().await,
            state => return state,
        }
    }
    panic!("{id} does not end");
}

async fn import(lake: &Lake, sources: Vec<ImportSource>) -> Commit {
    let id = submit(lake, sources).await.unwrap();
    let TaskState::Done(TaskResult::Commit(commit)) = ended(lake, &id).await else {
        panic!("{:?}", ended(lake, &id).await);
    };
    lake.catalog.resolve(&lake.repo, &expr(&commit.to_hex())).await.unwrap()
}

async fn failure(lake: &Lake, sources: Vec<ImportSource>) -> (ErrorKind, String) {
    let id = submit(lake, sources).await.unwrap();
    match ended(lake, &id).await {
        TaskState::Failed { kind, message } => (kind, message),
        other => panic!("{other:?}"),
    }
}

/// The paths of a branch with the addresses behind them.
async fn addresses(lake: &Lake) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (at, _) in lake.list("main").await.unwrap() {
        let entry = lake.catalog.stat(&lake.repo, &expr("main"), &path(&at)).await.unwrap();
        all.insert(at, entry.view().unwrap().address.to_owned());
    }
    all
}

#[tokio::test]
async fn one_commit_with_what_the_source_lists() {
    let lake = Lake::new().await;
    for key in ["d/a", "d/b/c", "d2", "e"] {
        source(&lake, key, key).await;
    }
    for at in ["in/old", "in/a", "out"] {
        lake.put("main", at, "1").await.unwrap();
    }
    let before = lake.commit("main", "before").await.unwrap();
    let commit = import(&lake, vec![prefix("d/", "in/"), object("e", "single")]).await;
    assert_eq!((&commit.parents[..], commit.message.as_str()), (&[before.id][..], "Import objects"));
    assert_eq!(commit.metadata[".lakefs.merge.strategy"], "source-wins");
    let now = addresses(&lake).await;
    let paths: Vec<&str> = now.keys().map(String::as_str).collect();
    assert_eq!(paths, ["in/a", "in/b/c", "out", "single"], "what was under the destination is replaced");
    assert_eq!(now["in/a"], "mem://source/d/a");
    // A plain prefix; the same again makes a commit that changes nothing.
    let commit = import(&lake, vec![prefix("d", "p")]).await;
    assert!(addresses(&lake).await.contains_key("p2"));
    let again = import(&lake, vec![prefix("d", "p")]).await;
    assert_eq!((again.tree, &again.parents[..]), (commit.tree, &[commit.id][..]));
    let none = import(&lake, vec![]).await;
    assert_eq!(none.tree, again.tree);
}

#[tokio::test]
async fn what_cannot_be_imported_is_refused_or_fails() {
    let lake = Lake::new().await;
    source(&lake, "a", "1").await;
    let refused = async |source| submit(&lake, vec![source]).await.unwrap_err();
    let at = |address: &str| ImportSource::Prefix { address: address.to_owned(), under: String::new() };
    for own in ["mem://lake/", "mem://lake", "mem://lake/data/x", "mem://la", "mem://"] {
        let error = refused(at(own)).await;
        assert!(
            error.kind() == ErrorKind::Invalid && error.to_string().contains("namespace"),
            "{own}: {error}"
        );
    }
    let other = NewRepository {
        id: "other".parse().unwrap(),
        storage_namespace: "mem://deep/er".to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: false,
        read_only: false,
    };
    lake.catalog.create_repository(other).await.unwrap();
    for theirs in ["mem://deep/er/data/", "mem://deep/", "mem://deep/er"] {
        assert_eq!(refused(at(theirs)).await.kind(), ErrorKind::Invalid, "{theirs}");
    }
    assert_eq!(refused(object("a", "")).await.kind(), ErrorKind::Invalid);
    assert_eq!(refused(prefix("a", &"x".repeat(1025))).await.kind(), ErrorKind::Invalid);
    let request = || ImportRequest { sources: vec![prefix("a", "")], ..ImportRequest::default() };
    let none: BranchId = branch("none");
    let error = lake.catalog.submit_import(&lake.repo, &none, request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BranchNotFound);
    // A neighbour whose name only begins the same is nobody's.
    import(&lake, vec![at("mem://deep/erased")]).await;

    let (kind, text) = failure(&lake, vec![object("none", "x")]).await;
    assert!(kind == ErrorKind::NotFound && text.contains("mem://source/none"), "{text}");
    let (kind, text) =
        failure(&lake, vec![ImportSource::Prefix { address: "s3://b/".into(), under: String::new() }]).await;
    assert!(kind != ErrorKind::Internal, "{kind:?} {text}");
    let (kind, text) = failure(&lake, vec![prefix("a", "")]).await;
    assert!(kind == ErrorKind::Invalid && text.contains("cannot be imported"), "{text}");
    lake.put("main", "staged", "1").await.unwrap();
    assert_eq!(failure(&lake, vec![object("a", "x")]).await.0, ErrorKind::Dirty);
    assert_eq!(lake.uncommitted("main").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_staged_layers_hide_no_more_is_no_obstacle() {
    let lake = Lake::new().await;
    source(&lake, "a", "1").await;
    lake.delete("main", "never there").await.unwrap();
    import(&lake, vec![object("a", "never there")]).await;
    assert_eq!(addresses(&lake).await.len(), 1, "the staged deletion that changed nothing does not hide it");
}

#[tokio::test]
async fn a_changed_source_is_noticed_on_demand() {
    let lake = Lake::new().await;
    source(&lake, "a", "old").await;
    import(&lake, vec![object("a", "x")]).await;
    let verify = async || {
        let (repository, entry) = lake.catalog.locate(&lake.repo, &expr("main"), &path("x")).await.unwrap();
        lake.catalog.verify(&repository, &entry.view().unwrap()).await
    };
    verify().await.unwrap();
    source(&lake, "a", "longer").await;
    let error = verify().await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::PreconditionFailed && error.to_string().contains("changed"),
        "{error}"
    );
    lake.catalog.blocks().delete(&[BlockAddress::new("mem://source/a")]).await;
    assert_eq!(verify().await.unwrap_err().kind(), ErrorKind::ObjectGone);
}

async fn gated() -> (Lake, Arc<Gate>) {
    let gate = Gate::new(Arc::new(NarrowKv::default()));
    let lake = Lake::over(gate.clone(), 7).await;
    source(&lake, "a", "1").await;
    (lake, gate)
}

#[tokio::test]
async fn signs_of_life_show_how_far_it_is() {
    let (lake, gate) = gated().await;
    gate.close();
    let id = submit(&lake, vec![object("a", "x"), object("a", "y")]).await.unwrap();
    gate.reached().await;
    let progress = async || {
        let task = lake.catalog.task(&lake.repo, TaskKind::Import, &id.to_string()).await.unwrap();
        (task.state, task.progress)
    };
    assert_eq!(progress().await, (TaskState::Running, 0));
    lake.catalog.beat_once().await.unwrap();
    assert_eq!(progress().await, (TaskState::Running, 2));
    gate.open();
    ended(&lake, &id).await;
    assert_eq!(progress().await.1, 2);
}

#[tokio::test]
async fn of_cancelling_and_publishing_one_wins() {
    let (lake, gate) = gated().await;
    gate.close();
    let id = submit(&lake, vec![object("a", "x")]).await.unwrap();
    gate.reached().await;
    lake.catalog.cancel_import(&lake.repo, &id.to_string()).await.unwrap();
    let TaskState::Failed { kind, message } = ended(&lake, &id).await else { panic!("it is done") };
    assert_eq!((kind, message.as_str()), (ErrorKind::Cancelled, "import error: Canceled"));
    gate.open();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lake.log("main").await, ["Repository created"]);
    lake.catalog.cancel_import(&lake.repo, &id.to_string()).await.unwrap();
    let id = submit(&lake, vec![object("a", "x")]).await.unwrap();
    assert!(matches!(ended(&lake, &id).await, TaskState::Done(_)));
    let late = lake.catalog.cancel_import(&lake.repo, &id.to_string()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    let unknown = lake.catalog.cancel_import(&lake.repo, "none").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

/// Cancelled on another server: the one at work finds out when it publishes, or with its next sign of life.
#[tokio::test]
async fn a_cancellation_by_another_server_counts() {
    for beats in [false, true] {
        let (lake, gate) = gated().await;
        gate.close();
        let id = submit(&lake, vec![object("a", "x")]).await.unwrap();
        gate.reached().await;
        let kv: Arc<dyn Kv> = gate.clone();
        let other = Lake::again(kv, lake.catalog.blocks().clone(), lake.repo.clone(), 9);
        other.catalog.cancel_import(&lake.repo, &id.to_string()).await.unwrap();
        if beats {
            lake.catalog.beat_once().await.unwrap();
        }
        gate.open();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(lake.log("main").await, ["Repository created"]);
    }
}

#[tokio::test]
async fn what_was_collected_goes_however_the_import_ends() {
    let lake = Lake::new().await;
    source(&lake, "a", "1").await;
    let collected = async || {
        let layers = BlockAddress::new("mem://lake/_lakebed/layer/");
        lake.catalog.blocks().list(&layers, None, 100).await.unwrap().len()
    };
    import(&lake, vec![object("a", "x")]).await;
    failure(&lake, vec![prefix("a", "ok"), prefix("a", "")]).await;
    assert!(collected().await > 0);
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(collected().await, 0);
}

#[tokio::test]
async fn more_than_a_batch_comes_whole_and_shows_its_progress() {
    let lake = Lake::new().await;
    for n in 0..20_000 {
        source(&lake, &format!("many/{n:05}"), "x").await;
    }
    lake.put("main", "many/zzz", "1").await.unwrap();
    lake.put("main", "other", "1").await.unwrap();
    lake.commit("main", "before").await.unwrap();
    let id = submit(&lake, vec![prefix("many/", "many/")]).await.unwrap();
    ended(&lake, &id).await;
    let task = lake.catalog.task(&lake.repo, TaskKind::Import, &id.to_string()).await.unwrap();
    assert_eq!(task.progress, 20_000);
    assert_eq!(lake.list("main").await.unwrap().len(), 20_001);
}

/// A branch and a source of few names, so that destinations overlap.
fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set("[ab]{1,2}(/[ab]{1,2})?", 0..12).prop_map(|set| set.into_iter().collect())
}

fn sources() -> impl Strategy<Value = Vec<(bool, String, String)>> {
    proptest::collection::vec((any::<bool>(), "[ab]{0,2}/?", "([ab]{1,2}/?)?"), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_branch_is_what_the_model_says(branch in names(), source_names in names(), wanted in sources()) {
        let runtime = support::runtime();
        runtime.block_on(async {
            let lake = Lake::new().await;
            let mut model: BTreeMap<String, String> = BTreeMap::new();
            for at in &branch {
                lake.put("main", at, "1").await.unwrap();
                model.insert(at.clone(), "old".to_owned());
            }
            if !branch.is_empty() {
                lake.commit("main", "before").await.unwrap();
            }
            for key in &source_names {
                source(&lake, key, key).await;
            }
            let mut sources = Vec::new();
            let mut brought: BTreeMap<String, String> = BTreeMap::new();
            for (whole, from, to) in wanted {
                if whole {
                    let taken = source_names.iter().filter_map(|key| key.strip_prefix(from.as_str()));
                    if taken.clone().any(|rest| format!("{to}{rest}").is_empty()) {
                        continue;
                    }
                    brought.extend(taken.map(|rest| (format!("{to}{rest}"), format!("mem://source/{from}{rest}"))));
                    model.retain(|at, _| !at.starts_with(&to));
                    sources.push(prefix(&from, &to));
                } else if source_names.contains(&from) && !to.is_empty() {
                    brought.insert(to.clone(), format!("mem://source/{from}"));
                    sources.push(object(&from, &to));
                }
            }
            model.extend(brought);
            import(&lake, sources).await;
            let mut now = addresses(&lake).await;
            for address in now.values_mut().filter(|address| !address.starts_with("mem://")) {
                "old".clone_into(address);
            }
            assert_eq!(now, model);
        });
    }
}
