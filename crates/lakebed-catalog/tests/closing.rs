//! Repositories deleted if they are empty: whatever happens meanwhile, nothing acknowledged goes with them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use futures::FutureExt;
use lakebed_blocks::BlockStore;
use lakebed_catalog::{CatalogError, ErrorKind, MergeStrategy, ResetTarget};
use lakebed_core::{Entropy, SeededEntropy};
use lakebed_kv::{Kv, MemKv};
use parking_lot::Mutex;
use support::interrupted::Interrupted;
use support::{Lake, Scheduled, branch, expr};

/// What can make an empty repository show an object, and where.
#[derive(Clone, Copy, Debug)]
enum Change {
    Put,
    PutElsewhere,
    HardReset,
    Merge,
    NewBranch,
    /// Drops a staged deletion.
    Reset,
}

const ALL: [Change; 6] =
    [Change::Put, Change::PutElsewhere, Change::HardReset, Change::Merge, Change::NewBranch, Change::Reset];

impl Change {
    fn shows(self) -> (&'static str, &'static str) {
        match self {
            Self::Put => ("main", "new"),
            Self::PutElsewhere => ("dev", "new"),
            Self::HardReset | Self::Merge => ("dev", "x"),
            Self::NewBranch => ("late", "x"),
            Self::Reset => ("main", "b"),
        }
    }

    async fn happen(self, lake: &Lake) -> Result<(), CatalogError> {
        match self {
            Self::Put => lake.put("main", "new", "new").await,
            Self::PutElsewhere => lake.put("dev", "new", "new").await,
            Self::HardReset => lake.catalog.hard_reset(&lake.repo, &branch("dev"), &expr("old"), false).await,
            Self::Merge => lake.merge("old", "dev", MergeStrategy::None).await.map(drop),
            Self::NewBranch => lake.create_branch("late", "old").await,
            Self::Reset => {
                lake.catalog.reset_branch(&lake.repo, &branch("main"), ResetTarget::All, false).await
            }
        }
    }

    async fn is_there(self, lake: &Lake) -> bool {
        let (on, at) = self.shows();
        lake.content(on, at).await.is_some()
    }
}

/// A repository whose branches show nothing: `main` has a deletion that is not committed, `dev` nothing at all. The tag
/// `old` has an object.
async fn empty(kv: Arc<dyn Kv>) -> Lake {
    let lake = Lake::over(kv, 3).await;
    lake.put("main", "b", "b").await.unwrap();
    lake.commit("main", "b").await.unwrap();
    lake.delete("main", "b").await.unwrap();
    lake.create_branch("dev", "main~1").await.unwrap();
    lake.create_branch("side", "main~1").await.unwrap();
    lake.put("side", "x", "x").await.unwrap();
    lake.commit("side", "x").await.unwrap();
    lake.catalog.create_tag(&lake.repo, &"old".parse().unwrap(), &expr("side"), false).await.unwrap();
    lake.catalog.delete_branch(&lake.repo, &branch("side"), false).await.unwrap();
    lake
}

async fn delete(lake: &Lake) -> Result<bool, CatalogError> {
    lake.catalog.delete_repository_if_empty(&lake.repo).await
}

async fn exists(lake: &Lake) -> bool {
    lake.catalog.repository(&lake.repo).await.is_ok()
}

/// Engines with an empty repository, for several catalogs.
struct Shared {
    kv: Arc<MemKv>,
    blocks: Arc<dyn BlockStore>,
    first: Lake,
}

impl Shared {
    async fn new() -> Self {
        let kv = Arc::new(MemKv::new());
        let first = empty(kv.clone()).await;
        Self { kv, blocks: first.catalog.blocks().clone(), first }
    }

    fn beside(&self, seed: u64) -> Lake {
        Lake::again(self.kv.clone(), self.blocks.clone(), self.first.repo.clone(), seed)
    }

    /// One in whose `at`-th call `meanwhile` happens.
    fn interrupted(&self, at: usize, meanwhile: support::interrupted::Meanwhile) -> Lake {
        let kv = Arc::new(Interrupted::new(self.kv.clone(), at, meanwhile));
        Lake::again(kv, self.blocks.clone(), self.first.repo.clone(), 5)
    }
}

/// What a change that was refused may say.
fn is_refusal(error: &CatalogError) -> bool {
    matches!(error.kind(), ErrorKind::Busy | ErrorKind::RepositoryNotFound)
}

#[tokio::test]
async fn empty_ones_go_and_others_stay() {
    let lake = empty(Arc::new(MemKv::new())).await;
    assert!(delete(&lake).await.unwrap());
    assert!(!exists(&lake).await);
    let error = lake.put("main", "late", "late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RepositoryNotFound);
    assert_eq!(delete(&lake).await.unwrap_err().kind(), ErrorKind::RepositoryNotFound);
    for change in ALL {
        let lake = empty(Arc::new(MemKv::new())).await;
        change.happen(&lake).await.unwrap();
        assert!(!delete(&lake).await.unwrap(), "{change:?}");
        assert!(change.is_there(&lake).await, "{change:?}");
        lake.put("main", "later", "later").await.unwrap();
    }
}

/// A change at each call of a deletion. Whichever comes first wins, and never both.
#[tokio::test]
async fn a_change_in_the_middle_of_a_deletion_is_kept_or_refused() {
    for change in ALL {
        let (mut kept, mut refused) = (0, 0);
        for at in 1.. {
            let shared = Shared::new().await;
            let beside = shared.beside(4);
            let result = Arc::new(Mutex::new(None));
            let told = result.clone();
            let meanwhile = Box::pin(async move {
                let happened = change.happen(&beside).await;
                *told.lock() = Some(happened);
            });
            let deleted = delete(&shared.interrupted(at, meanwhile)).await.unwrap();
            let result = result.lock().take();
            match result {
                // The deletion has no more calls.
                None => break,
                Some(Ok(())) => {
                    assert!(!deleted, "{change:?} at call {at} was acknowledged and went");
                    assert!(change.is_there(&shared.first).await, "{change:?} at call {at}");
                    // What was closed is open again.
                    shared.first.put("main", "later", "later").await.unwrap();
                    shared.first.put("dev", "later", "later").await.unwrap();
                    kept += 1;
                }
                Some(Err(error)) => {
                    assert!(is_refusal(&error), "{change:?} at call {at}: {error}");
                    assert!(deleted, "{change:?} at call {at} was refused for nothing: {error}");
                    refused += 1;
                }
            }
        }
        assert!(kept > 3 && refused > 1, "{change:?}: {kept} kept, {refused} refused");
    }
}

/// A deletion at each call of a change.
#[tokio::test]
async fn a_deletion_in_the_middle_of_a_change_sees_or_stops_it() {
    for change in ALL {
        let (mut kept, mut refused) = (0, 0);
        for at in 1.. {
            let shared = Shared::new().await;
            let beside = shared.beside(4);
            let result = Arc::new(Mutex::new(None));
            let told = result.clone();
            let meanwhile = Box::pin(async move {
                let deleted = delete(&beside).await.unwrap();
                *told.lock() = Some(deleted);
            });
            let changed = change.happen(&shared.interrupted(at, meanwhile)).await;
            let Some(deleted) = result.lock().take() else { break };
            match changed {
                Ok(()) => {
                    assert!(!deleted, "{change:?} interrupted at call {at} was acknowledged and went");
                    assert!(change.is_there(&shared.first).await, "{change:?} interrupted at call {at}");
                    kept += 1;
                }
                Err(error) => {
                    let gone = matches!(error.kind(), ErrorKind::BranchNotFound | ErrorKind::RefNotFound);
                    assert!(gone || is_refusal(&error), "{change:?} interrupted at call {at}: {error}");
                    assert!(deleted, "{change:?} interrupted at call {at}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 1, "{change:?}: {kept} kept, {refused} refused");
    }
}

/// A deletion that ends at each of its calls leaves nothing closed for long, and is taken up by the next.
#[tokio::test]
async fn a_deletion_that_crashed_is_undone_or_taken_up() {
    let (mut waited, mut ended) = (0, false);
    for at in 1..1000 {
        let shared = Shared::new().await;
        let crashing = shared.interrupted(at, Box::pin(futures::future::pending()));
        if delete(&crashing).now_or_never().is_some() {
            ended = true;
            break;
        }
        for change in ALL {
            let shared = Shared::new().await;
            let crashing = shared.interrupted(at, Box::pin(futures::future::pending()));
            assert!(delete(&crashing).now_or_never().is_none());
            if let Err(error) = change.happen(&shared.first).await {
                assert_eq!(error.kind(), ErrorKind::Busy, "{change:?} after call {at}: {error}");
                waited += 1;
                shared.first.clock.advance_millis(60_000);
                change.happen(&shared.first).await.unwrap();
            }
            assert!(change.is_there(&shared.first).await, "{change:?} after call {at}");
            assert!(!delete(&shared.first).await.unwrap());
        }
        assert!(delete(&shared.first).await.unwrap(), "after call {at}");
    }
    assert!(ended && waited > 3, "{waited} waited");
}

/// The one who closed it was only slow: it finds that its mark was taken back.
#[tokio::test]
async fn a_mark_taken_back_while_its_owner_lives_deletes_nothing() {
    let mut late = 0;
    for at in 1.. {
        let shared = Shared::new().await;
        let beside = shared.beside(4);
        let put = Arc::new(Mutex::new(None));
        let told = put.clone();
        let meanwhile = Box::pin(async move {
            beside.clock.advance_millis(60_000);
            *told.lock() = Some(beside.put("main", "new", "new").await);
        });
        let deleted = delete(&shared.interrupted(at, meanwhile)).await.unwrap();
        let Some(put) = put.lock().take() else { break };
        put.unwrap();
        assert!(!deleted, "call {at}");
        assert_eq!(shared.first.content("main", "new").await.as_deref(), Some("new"), "call {at}");
        late += 1;
    }
    assert!(late > 5, "{late}");
}

async fn history(seed: u64) -> bool {
    let entropy = SeededEntropy::new(seed);
    let scheduled = Arc::new(Scheduled::new(Arc::new(MemKv::new()), seed ^ 1));
    let first = empty(scheduled.clone()).await;
    let (blocks, repo) = (first.catalog.blocks().clone(), first.repo.clone());
    drop(first);
    let Ok(scheduled) = Arc::try_unwrap(scheduled) else { panic!("the first catalog is gone") };
    let unknown_every = [0, 0, 15, 6][(entropy.next_u64() % 4) as usize];
    let pause_every = [0, 0, 12][(entropy.next_u64() % 3) as usize];
    let kv: Arc<dyn Kv> = Arc::new(Scheduled { unknown_every, pause_every, ..scheduled });
    let lakes: Vec<Arc<Lake>> = (0..2)
        .map(|server| Arc::new(Lake::again(kv.clone(), blocks.clone(), repo.clone(), seed ^ (server + 2))))
        .collect();
    let acknowledged: Arc<Mutex<Vec<Change>>> = Arc::default();
    let deleted: Arc<Mutex<bool>> = Arc::default();
    let mut clients = tokio::task::JoinSet::new();
    for change in ALL {
        // A reset would drop what others staged on its branch.
        if matches!(change, Change::Reset) {
            continue;
        }
        let lake = lakes[(entropy.next_u64() % 2) as usize].clone();
        let (acknowledged, wait) = (acknowledged.clone(), entropy.next_u64() % 200);
        clients.spawn(async move {
            for _ in 0..wait {
                tokio::task::yield_now().await;
            }
            if change.happen(&lake).await.is_ok() {
                acknowledged.lock().push(change);
            }
        });
    }
    for lake in lakes {
        let (deleted, wait) = (deleted.clone(), entropy.next_u64() % 80);
        clients.spawn(async move {
            for _ in 0..wait {
                tokio::task::yield_now().await;
            }
            if matches!(delete(&lake).await, Ok(true)) {
                *deleted.lock() = true;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let lake = Lake::again(kv, blocks, repo, seed);
    let acknowledged = acknowledged.lock().clone();
    if exists(&lake).await {
        assert!(!*deleted.lock(), "seed {seed}: deleted, and there");
        for change in acknowledged {
            assert!(change.is_there(&lake).await, "seed {seed}: {change:?}");
        }
        return false;
    }
    assert!(acknowledged.is_empty(), "seed {seed}: {acknowledged:?} went");
    true
}

const SEEDS: u64 = 400;

#[test]
fn nothing_acknowledged_goes_under_any_schedule() {
    let mut gone = 0;
    for seed in 0..SEEDS {
        let runtime = support::runtime();
        gone += u64::from(runtime.block_on(history(seed)));
    }
    assert!(gone > SEEDS / 20 && gone < SEEDS - SEEDS / 20, "{gone} of {SEEDS} were deleted");
}
