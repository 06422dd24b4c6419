//! Tasks under random schedules, unknown outcomes, crashes and servers that give each other up for dead, replayable
//! from a seed.
//!
//! A crash here is harsher than a real one: the tasks of the life that crashed go on as those of a server that was
//! thought dead and is not. What must hold (`protocol.md`): a task that says that it is done has done its work once, one
//! that says that it failed never does it, and what a restore brings is seen whole or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use lakebed_blocks::{BlockAddress, BlockStore, PutOptions};
use lakebed_catalog::{
    CommitRequest, DumpedRefs, ErrorKind, ImportRequest, ImportSource, LogRequest, MergeRequest,
    NewRepository, PageRequest, RestoreRequest, RestoreSource, TaskKind, TaskResult, TaskState,
};
use lakebed_core::{Entropy, ObjectName, RepositoryId, SeededEntropy};
use lakebed_kv::KeyRange;
use parking_lot::Mutex;
use support::{Lake, Scheduled, branch, expr, narrow};

async fn turns(entropy: &SeededEntropy, most: u64) {
    for _ in 0..entropy.next_u64() % most {
        tokio::task::yield_now().await;
    }
}

/// The engine of a seed, once a lake was made on it with outcomes that are known.
async fn engine(
    seed: u64,
    entropy: &SeededEntropy,
    more_branches: usize,
) -> (Arc<Scheduled>, Arc<dyn BlockStore>, RepositoryId) {
    let kv = Arc::new(Scheduled::new(narrow::of_seed(seed), seed ^ 1));
    let first = Lake::over(kv.clone(), seed).await;
    first.create_branch("dev", "main").await.unwrap();
    first.put("dev", "a", "1").await.unwrap();
    first.commit("dev", "a").await.unwrap();
    let source = BlockAddress::new("mem://source/a");
    let content = bytes::Bytes::from_static(b"x");
    first.catalog.blocks().put_bytes(&source, content, PutOptions::default()).await.unwrap();
    for n in 0..more_branches {
        first.create_branch(&format!("b{n}"), "dev").await.unwrap();
    }
    let (blocks, repo) = (first.catalog.blocks().clone(), first.repo.clone());
    drop(first);
    let Ok(kv) = Arc::try_unwrap(kv) else { panic!("the first catalog is gone") };
    let unknown_every = [0, 0, 20, 7][(entropy.next_u64() % 4) as usize];
    let pause_every = [0, 30][(entropy.next_u64() % 2) as usize];
    (Arc::new(Scheduled { unknown_every, pause_every, ..kv }), blocks, repo)
}

/// A submitted task, the message of the commit it would make, and how it was first seen to have ended.
struct Known {
    kind: TaskKind,
    id: ObjectName,
    message: String,
    end: Option<TaskState>,
}

type Submitted = Arc<Mutex<Vec<Known>>>;

/// Looks at every task: how it ended, it stays.
async fn look(lake: &Lake, submitted: &Submitted) {
    let known: Vec<_> = submitted.lock().iter().map(|known| (known.kind, known.id)).collect();
    for (at, (kind, id)) in known.into_iter().enumerate() {
        let state = lake.catalog.task(&lake.repo, kind, &id.to_string()).await.unwrap().state;
        let known = &mut submitted.lock()[at];
        match &known.end {
            Some(end) => assert_eq!(*end, state, "{}", known.message),
            None if state == TaskState::Running => {}
            None => known.end = Some(state),
        }
    }
}

async fn submitter(lake: Arc<Lake>, name: String, seed: u64, submitted: Submitted) {
    let entropy = SeededEntropy::new(seed);
    for n in 0..6 {
        let message = format!("{name} {n}");
        let (kind, id) = if entropy.next_u64().is_multiple_of(3) {
            let address = "mem://source/a".to_owned();
            let sources = vec![ImportSource::Object { address, path: format!("{name}/{n}") }];
            let request = ImportRequest { sources, message: message.clone(), ..ImportRequest::default() };
            (TaskKind::Import, lake.catalog.submit_import(&lake.repo, &branch("main"), request).await)
        } else if entropy.next_u64().is_multiple_of(2) {
            let request =
                MergeRequest { message: message.clone(), allow_empty: true, ..MergeRequest::default() };
            let id = lake.catalog.submit_merge(&lake.repo, &expr("dev"), &branch("main"), request).await;
            (TaskKind::Merge, id)
        } else {
            let request =
                CommitRequest { message: message.clone(), allow_empty: true, ..CommitRequest::default() };
            (TaskKind::Commit, lake.catalog.submit_commit(&lake.repo, &branch("main"), request).await)
        };
        match id {
            Ok(id) => {
                // Known from the first moment on.
                lake.catalog.task(&lake.repo, kind, &id.to_string()).await.unwrap();
                submitted.lock().push(Known { kind, id, message, end: None });
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Busy | ErrorKind::OutcomeUnknown), "{error}");
            }
        }
        turns(&entropy, 40).await;
        look(&lake, &submitted).await;
    }
}

/// Cancels imports at random, on another server than the one that runs them.
async fn canceller(lake: Arc<Lake>, seed: u64, submitted: Submitted) {
    let entropy = SeededEntropy::new(seed);
    for _ in 0..20 {
        turns(&entropy, 60).await;
        let imports: Vec<_> = {
            let all = submitted.lock();
            all.iter().filter(|known| known.kind == TaskKind::Import).map(|known| known.id).collect()
        };
        if imports.is_empty() {
            continue;
        }
        let id = imports[(entropy.next_u64() % imports.len() as u64) as usize];
        match lake.catalog.cancel_import(&lake.repo, &id.to_string()).await {
            // From here on it never publishes, and one that is done stays done: `look` would notice.
            Ok(()) => {
                let task = lake.catalog.task(&lake.repo, TaskKind::Import, &id.to_string()).await.unwrap();
                assert!(matches!(task.state, TaskState::Failed { .. }), "{:?}", task.state);
                look(&lake, &submitted).await;
            }
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Busy | ErrorKind::OutcomeUnknown),
                    "{error}"
                );
            }
        }
    }
}

/// Writes signs of life and sweeps, as the background work of a server does.
async fn caretaker(lake: Arc<Lake>, seed: u64) {
    let entropy = SeededEntropy::new(seed);
    for _ in 0..6 {
        lake.catalog.beat_once().await.unwrap();
        lake.catalog.sweep_once().await.unwrap();
        turns(&entropy, 60).await;
    }
}

/// A new life of the server, which takes the tasks of all others for orphans and sweeps up after them.
async fn give_up_others(lake: &Lake) {
    while let Err(error) = lake.catalog.abandon_orphans().await {
        assert!(matches!(error.kind(), ErrorKind::Busy | ErrorKind::OutcomeUnknown), "{error}");
    }
    lake.catalog.sweep_once().await.unwrap();
}

/// Another server, which at some moment does so though the first is alive.
async fn undertaker(lake: Arc<Lake>, seed: u64, submitted: Submitted) {
    let entropy = SeededEntropy::new(seed);
    turns(&entropy, 500).await;
    give_up_others(&lake).await;
    look(&lake, &submitted).await;
}

/// Lets every task of every life that is still at work go on to its end.
async fn settle() {
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
}

async fn commits_and_merges(seed: u64) {
    let entropy = SeededEntropy::new(seed);
    let (kv, blocks, repo) = engine(seed, &entropy, 0).await;
    let submitted = Submitted::default();
    let life = |n: u64| Arc::new(Lake::again(kv.clone(), blocks.clone(), repo.clone(), seed ^ n));
    for n in 0..=entropy.next_u64() % 2 {
        let lake = life(100 + n);
        let mut clients = tokio::task::JoinSet::new();
        for who in 0..2 {
            let name = format!("life {n} client {who}");
            clients.spawn(submitter(lake.clone(), name, entropy.next_u64(), submitted.clone()));
        }
        clients.spawn(caretaker(lake.clone(), entropy.next_u64()));
        clients.spawn(canceller(life(400 + n), entropy.next_u64(), submitted.clone()));
        if entropy.next_u64().is_multiple_of(2) {
            clients.spawn(undertaker(life(200 + n), entropy.next_u64(), submitted.clone()));
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        if entropy.next_u64().is_multiple_of(2) {
            settle().await;
        }
    }
    let last = life(300);
    give_up_others(&last).await;
    settle().await;
    look(&last, &submitted).await;
    let request = LogRequest { amount: 1000, ..LogRequest::default() };
    let log = last.catalog.log(&repo, &expr("main"), &request).await.unwrap().items;
    for Known { message, end, .. } in submitted.lock().iter() {
        let made: Vec<_> = log.iter().filter(|commit| commit.message == *message).collect();
        match end {
            Some(TaskState::Done(TaskResult::Commit(commit))) => {
                assert_eq!(made.iter().map(|made| made.id).collect::<Vec<_>>(), [*commit], "{message}");
            }
            Some(TaskState::Failed { kind, .. }) => {
                let expected =
                    [ErrorKind::Expired, ErrorKind::Busy, ErrorKind::OutcomeUnknown, ErrorKind::Cancelled];
                assert!(expected.contains(kind), "{kind:?}");
                assert!(made.is_empty(), "'{message}' failed and is in the log");
            }
            other => panic!("{message}: {other:?}"),
        }
    }
}

const COPY: &str = "copy";

/// So many that a restore writes several batches.
const BRANCHES: usize = 200;

async fn restorer(lake: Arc<Lake>, refs: DumpedRefs, seed: u64) {
    let entropy = SeededEntropy::new(seed);
    let id: RepositoryId = COPY.parse().unwrap();
    for _ in 0..3 {
        let source = RestoreSource::Dump {
            commits: refs.commits.to_hex(),
            tags: refs.tags.to_hex(),
            branches: refs.branches.to_hex(),
        };
        match lake.catalog.submit_restore(&id, RestoreRequest { source, force: false }).await {
            Ok(task) => drop(lake.catalog.task(&id, TaskKind::Restore, &task.to_string()).await.unwrap()),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Busy | ErrorKind::OutcomeUnknown),
                "{error}"
            ),
        }
        turns(&entropy, 80).await;
    }
}

/// The refs of a repository as one text.
async fn refs_of(lake: &Lake, repository: &RepositoryId) -> String {
    let page = PageRequest { amount: 1000, ..PageRequest::default() };
    let branches = lake.catalog.list_branches(repository, &page, true).await.unwrap().items;
    let tags = lake.catalog.list_tags(repository, &page).await.unwrap().items;
    format!("{branches:?} {tags:?}")
}

/// Whoever looks sees nothing or everything, and never nothing again after everything.
async fn onlooker(lake: Arc<Lake>, whole: String, empty: String, seed: u64) {
    let entropy = SeededEntropy::new(seed);
    let mut was_whole = false;
    for _ in 0..40 {
        // There are no tags, so that two lists are as good as one.
        let seen = refs_of(&lake, &COPY.parse().unwrap()).await;
        assert!(seen == whole || seen == empty, "{seen}");
        assert!(!was_whole || seen == whole, "it was there and is gone: {seen}");
        was_whole |= seen == whole;
        turns(&entropy, 20).await;
    }
}

async fn restores(seed: u64) {
    let entropy = SeededEntropy::new(seed);
    let (kv, blocks, repo) = engine(seed, &entropy, BRANCHES).await;
    let life = |n: u64| Arc::new(Lake::again(kv.clone(), blocks.clone(), repo.clone(), seed ^ n));
    let copy: RepositoryId = COPY.parse().unwrap();
    let first = life(50);
    let refs = first.catalog.dump(&repo).await.unwrap();
    let new = NewRepository {
        id: copy.clone(),
        storage_namespace: "mem://lake".to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: true,
        read_only: false,
    };
    while first.catalog.create_repository(new.clone()).await.is_err() {
        if first.catalog.repository(&copy).await.is_ok() {
            break;
        }
    }
    let (whole, empty) = (refs_of(&first, &repo).await, refs_of(&first, &copy).await);
    assert_ne!(whole, empty);
    for n in 0..=entropy.next_u64() % 2 {
        let lake = life(100 + n);
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..2 {
            clients.spawn(restorer(lake.clone(), refs, entropy.next_u64()));
        }
        clients.spawn(onlooker(life(150 + n), whole.clone(), empty.clone(), entropy.next_u64()));
        clients.spawn(caretaker(lake.clone(), entropy.next_u64()));
        if entropy.next_u64().is_multiple_of(2) {
            clients.spawn(undertaker(life(200 + n), entropy.next_u64(), Submitted::default()));
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    }
    // A new life gives up what still runs, and can restore if nobody has.
    let last = life(300);
    give_up_others(&last).await;
    settle().await;
    let seen = refs_of(&last, &copy).await;
    let record = last.catalog.repository(&copy).await.unwrap();
    assert_eq!((record.restoring, record.bare), (None, seen == empty), "{seen}");
    assert!(seen == whole || seen == empty, "{seen}");
    for _ in 0..20 {
        if last.catalog.repository(&copy).await.unwrap().bare {
            restorer(last.clone(), refs, entropy.next_u64()).await;
            settle().await;
            while last.catalog.abandon_orphans().await.is_err() {}
        }
    }
    assert_eq!(refs_of(&last, &copy).await, whole);
    // Nothing of the lost ones is left: the copy has the commits that the lake has.
    for _ in 0..5 {
        while last.catalog.sweep_once().await.is_err() {}
    }
    for (noun, rows, what) in [(b"c", 2, "root and one commit"), (b"r", 2 + BRANCHES, "branches")] {
        let found = kv.inner.scan(&KeyRange::prefix(noun), 10_000).await.unwrap();
        assert_eq!(found.len(), 2 * rows, "{what}, of two repositories");
    }
}

fn run<F: Future<Output = ()>>(seeds: std::ops::Range<u64>, history: impl Fn(u64) -> F) {
    for seed in seeds {
        let runtime = support::runtime();
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(history(seed))));
        assert!(outcome.is_ok(), "seed {seed} fails; replay it with run({seed}..{}, ..)", seed + 1);
    }
}

#[test]
fn a_task_is_done_once_or_has_failed_for_good() {
    run(0..100, commits_and_merges);
}

#[test]
fn a_restore_is_seen_whole_or_not_at_all() {
    run(0..60, restores);
}

/// The long form: `LAKEBED_HISTORIES=10000 cargo test -p lakebed-catalog --test tasks_simulation -- --ignored`.
#[test]
#[ignore = "the long form, part of `make test-all`"]
fn tasks_long() {
    let histories = std::env::var("LAKEBED_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    run(1_000_000..1_000_000 + histories, commits_and_merges);
    run(1_000_000..1_000_000 + histories, restores);
}
