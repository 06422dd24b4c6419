//! Tidying branches with many uncommitted deletions, so that the cost of a page does not depend on what was deleted in
//! front of it (`protocol.md`, Fold).
//!
//! Two things ask for it: a page that stepped over many deleted paths, and many deletions staged since the last time. The
//! answer is a seal and a fold, in the background. Both are harmless at any moment; what is counted here is a hint of one
//! server and may be lost.

use std::collections::{BTreeSet, HashMap};
use std::sync::Weak;

use lakebed_core::traces::WORK_SPAN;
use lakebed_core::{BranchId, Incarnation, RepositoryId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::branch_state::{BranchState, Content};
use crate::catalog::Inner;
use crate::{Catalog, CatalogError, ErrorKind, Repository};

/// A page that steps over fewer deleted paths asks for nothing.
const STEPPED_OVER: u64 = 4096;

/// Fewer deletions since the last fold ask for nothing.
const DELETED: u64 = 65_536;

/// A fold costs what is folded, so it is asked for again only when this part of it was added.
const PART: u64 = 16;

/// Branches whose deletions are counted; with more, counting starts anew.
const COUNTED: usize = 4096;

/// What is known of a branch, by its incarnation.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Deletions staged since the last fold.
    deleted: u64,
    /// Paths in the folded layer.
    folded: u64,
}

/// What is to be tidied.
#[derive(Default)]
pub(crate) struct Tidy {
    known: Mutex<HashMap<Incarnation, Known>>,
    asked: Mutex<BTreeSet<(RepositoryId, BranchId)>>,
    called: Notify,
}

impl Tidy {
    fn ask(&self, repository: &RepositoryId, branch: &str) {
        // The base of a ref expression that was a branch is a branch's name.
        let Ok(branch) = branch.parse::<BranchId>() else { return };
        if self.asked.lock().insert((repository.clone(), branch)) {
            self.called.notify_one();
        }
    }

    fn update<T>(&self, branch: &BranchState, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock();
        if known.len() >= COUNTED && !known.contains_key(&branch.incarnation) {
            known.clear();
        }
        change(known.entry(branch.incarnation).or_default())
    }

    /// A page of a branch stepped over so many deleted paths.
    pub(crate) fn stepped_over(
        &self,
        repository: &Repository,
        branch: &str,
        state: &BranchState,
        paths: u64,
    ) {
        if paths >= STEPPED_OVER && paths >= self.update(state, |known| known.folded) / PART {
            self.ask(&repository.id, branch);
        }
    }

    /// So many deletions were staged on a branch.
    pub(crate) fn deleted(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        state: &BranchState,
        paths: u64,
    ) {
        let enough = self.update(state, |known| {
            known.deleted += paths;
            known.deleted >= DELETED.max(known.folded / PART)
        });
        if enough {
            self.ask(repository, branch.as_str());
        }
    }
}

/// Tidies until the catalog is dropped or the task is aborted.
pub(crate) fn spawn(catalog: Weak<Inner>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Some(inner) = catalog.upgrade() else { return };
            inner.tidy_once().await;
            let tidy = inner.tidy.clone();
            drop(inner);
            tidy.called.notified().await;
        }
    })
}

impl Catalog {
    /// Tidies what asked for it, for tests and benchmarks that run without the background task.
    pub async fn tidy_once(&self) {
        self.inner.tidy_once().await;
    }

    /// Tidies one branch, whether it asked for it or not.
    pub async fn tidy(&self, repository: &RepositoryId, branch: &BranchId) -> Result<(), CatalogError> {
        self.inner.tidy_branch(repository, branch).await
    }
}

impl Inner {
    async fn tidy_once(&self) {
        loop {
            let next = self.tidy.asked.lock().pop_first();
            let Some((repository, branch)) = next else { return };
            let span = tracing::info_span!(
                target: WORK_SPAN,
                parent: None,
                "tidying a branch",
                lakebed.repository = repository.as_str(),
                lakebed.ref = branch.as_str(),
            );
            match self.tidy_branch(&repository, &branch).instrument(span).await {
                Ok(()) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::RepositoryNotFound | ErrorKind::BranchNotFound) => {}
                Err(error) => {
                    tracing::warn!(%error, %repository, %branch, "tidying a branch failed: its listings stay slow");
                }
            }
        }
    }

    async fn tidy_branch(&self, repository: &RepositoryId, branch: &BranchId) -> Result<(), CatalogError> {
        let (repository, _) = self.repository(repository).await?;
        let state = self.seal(&repository, branch).await?;
        let tidy = state.sealed.is_empty() || state.sealed.len() == 1 && state.over().is_some();
        if !tidy {
            self.fold(&repository, &state).await?;
        }
        let now = self.branch(&repository, branch).await?;
        let mut folded = 0;
        if let Some(Content::Tree(root)) = now.sealed.first().map(|layer| &layer.content) {
            let nodes = self.layer_nodes(&repository, &now.sealed[0].id);
            let counted = lakebed_tree::aggregate(&*nodes, root, b"", None).await;
            let Some(counted) = self.of_layers(&now, counted.map_err(Into::into)).await? else {
                return Ok(());
            };
            folded = counted.count;
        }
        self.tidy.update(&now, |known| *known = Known { deleted: 0, folded });
        Ok(())
    }
}
