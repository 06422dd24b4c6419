//! The working state of a ref: the head's tree, and for a branch its staged layers on top.

use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::{LayerId, NodeId};
use lakebed_kv::{Version, Versioned};
use lakebed_tree::Cursor;

use crate::branch_state::{BranchState, Content, Sealed};
use crate::catalog::Inner;
use crate::layers::{Decision, LayerStack, row_decision};
use crate::nodes::Nodes;
use crate::{CatalogError, ErrorKind, Repository, keys};

/// How often a read is begun anew because a layer it used was committed and dropped meanwhile.
pub(crate) const READ_ATTEMPTS: usize = 100;

impl Inner {
    /// The tree nodes of a repository.
    pub(crate) fn nodes(&self, repository: &Repository) -> Arc<Nodes> {
        let base = repository.storage_namespace.below("_lakebed/tree");
        Nodes::new(self.blocks.clone(), self.nodes.clone(), base)
    }

    /// The nodes of a layer's tree.
    pub(crate) fn layer_nodes(&self, repository: &Repository, layer: &LayerId) -> Arc<Nodes> {
        let base = repository.storage_namespace.below(&format!("_lakebed/layer/{layer}"));
        Nodes::new(self.blocks.clone(), self.nodes.clone(), base)
    }

    /// The nodes of a tree that a layer made of the head's.
    pub(crate) fn nodes_over(&self, repository: &Repository, layer: &LayerId) -> Arc<Nodes> {
        let base = repository.storage_namespace.below(&format!("_lakebed/layer/{layer}"));
        let beneath = repository.storage_namespace.below("_lakebed/tree");
        Nodes::over(self.blocks.clone(), self.nodes.clone(), base, beneath)
    }

    /// The layers of a branch, `current` included if asked for.
    pub(crate) fn stack(
        &self,
        repository: &Repository,
        current: Option<LayerId>,
        sealed: &[Sealed],
    ) -> LayerStack {
        LayerStack::new(&self.kv, current, sealed, |layer, root| {
            Cursor::new(self.layer_nodes(repository, &layer.id), root)
        })
    }

    /// The tree of a commit.
    pub(crate) async fn tree_of(
        &self,
        repository: &Repository,
        commit: &lakebed_core::CommitId,
    ) -> Result<NodeId, CatalogError> {
        let commit = self.commit(repository, commit).await?;
        Ok(commit.tree.unwrap_or_else(lakebed_tree::empty_tree))
    }

    /// What the layers of a branch say of one path, with the version of the row in the current layer. `found` is what is at
    /// [`BranchState::keys_of`] the path, read at one instant. `None`: a layer was dropped meanwhile, the branch must be
    /// read again.
    async fn staged(
        &self,
        repository: &Repository,
        state: &BranchState,
        path: &[u8],
        found: &[Option<Versioned>],
    ) -> Result<Option<Staged>, CatalogError> {
        let rows = state.sealed.len() + 1;
        let current = found[0].clone();
        let row_version = current.as_ref().map(|row| row.version);
        // A row counts as little as a missing one if its layer went: an engine may drop the newest of its values first.
        if found[rows..].iter().any(Option::is_none) {
            return Ok(None);
        }
        if let Some(row) = current {
            return Ok(Some(Staged { decision: Some(row_decision(&row.value)?), row_version }));
        }
        let mut decision = None;
        for (layer, row) in state.sealed.iter().zip(&found[1..rows]).rev() {
            match &layer.content {
                Content::Rows => match row {
                    Some(row) => decision = Some(row_decision(&row.value)?),
                    None => continue,
                },
                Content::Tree(root) => {
                    let nodes = self.layer_nodes(repository, &layer.id);
                    let found = match lakebed_tree::lookup(&*nodes, root, path).await {
                        Ok(found) => found,
                        // Its nodes may have been swept since the rows were read.
                        Err(error) => match self.of_layers(state, Err(error.into())).await? {
                            Some(found) => found,
                            None => return Ok(None),
                        },
                    };
                    match found {
                        Some(value) => decision = Some(row_decision(&value)?),
                        None => continue,
                    }
                }
                Content::Mask(mask) if mask.covers(path) => {}
                Content::Mask(_) => continue,
            }
            break;
        }
        Ok(Some(Staged { decision, row_version }))
    }

    /// The entry at a path in the working state of a branch, with the version of its row in the current layer and whether
    /// it is the head's. One round trip, unless a layer's tree or the head has to be asked. `None` as for
    /// [`Inner::staged`].
    pub(crate) async fn working_entry(
        &self,
        repository: &Repository,
        state: &BranchState,
        path: &[u8],
    ) -> Result<Option<WorkingEntry>, CatalogError> {
        let found = self.kv.get_many(&state.keys_of(path)).await?;
        self.working_entry_in(repository, state, path, &found).await
    }

    /// [`Inner::working_entry`], of what is at [`BranchState::keys_of`] the path.
    pub(crate) async fn working_entry_in(
        &self,
        repository: &Repository,
        state: &BranchState,
        path: &[u8],
        found: &[Option<Versioned>],
    ) -> Result<Option<WorkingEntry>, CatalogError> {
        let Some(staged) = self.staged(repository, state, path, found).await? else {
            return Ok(None);
        };
        let of_head = staged.decision.is_none();
        let entry = match staged.decision {
            Some(Decision::Entry(entry)) => Some(entry),
            Some(Decision::Tombstone) => None,
            None => {
                let tree = self.tree_of(repository, &state.head).await?;
                lakebed_tree::lookup(&*self.nodes(repository), &tree, path).await?
            }
        };
        Ok(Some((entry, staged.row_version, of_head)))
    }

    /// Whether every layer of a run still exists, so that what was read of it was whole: a fold on this or another
    /// server may have replaced it, and the sweeper taken its rows.
    pub(crate) async fn run_stands(&self, run: &[Sealed]) -> Result<bool, CatalogError> {
        let layers = run.iter().filter(|layer| !matches!(layer.content, Content::Mask(_)));
        let keys: Vec<Bytes> = layers.map(|layer| keys::layer(&layer.id)).collect();
        Ok(self.kv.get_many(&keys).await?.iter().all(Option::is_some))
    }

    /// What was read of a run's layers, well or badly; `None` if one of them went meanwhile: then neither counts.
    pub(crate) async fn of_run<T>(
        &self,
        run: &[Sealed],
        read: Result<T, CatalogError>,
    ) -> Result<Option<T>, CatalogError> {
        Ok(if self.run_stands(run).await? { Some(read?) } else { None })
    }

    /// [`Inner::of_run`] of all layers of a branch.
    pub(crate) async fn of_layers<T>(
        &self,
        state: &BranchState,
        read: Result<T, CatalogError>,
    ) -> Result<Option<T>, CatalogError> {
        Ok(if self.layers_stand(state).await? { Some(read?) } else { None })
    }

    /// Whether every layer of `state` still exists, so that what was read below them counts.
    async fn layers_stand(&self, state: &BranchState) -> Result<bool, CatalogError> {
        Ok(self.kv.get_many(&state.layer_keys()).await?.iter().all(Option::is_some))
    }
}

/// The entry at a path in the working state, the version of its row in the current layer, and whether it is the head's.
pub(crate) type WorkingEntry = (Option<Bytes>, Option<Version>, bool);

/// What the layers say of a path.
struct Staged {
    /// `None`: only the head counts.
    decision: Option<Decision>,
    /// The row in the current layer.
    row_version: Option<Version>,
}

/// Contention beyond what a client should wait for.
pub(crate) fn busy(what: &str) -> CatalogError {
    CatalogError::refused(ErrorKind::Busy, format!("{what}: too many concurrent updates, try again"))
}

/// The engine cannot say whether it happened, and sending it again could do it twice.
pub(crate) fn outcome_unknown(what: &str) -> CatalogError {
    let message = format!("{what}: it may or may not have happened: look, then try again");
    CatalogError::refused(ErrorKind::OutcomeUnknown, message)
}

/// An ordered walk over a ref's objects: the head's tree under the staged layers, tombstones skipped.
pub(crate) struct Working {
    stack: Option<LayerStack>,
    head: Cursor,
}

/// A path with what the head and the layers say of it.
pub(crate) struct WorkingItem<P = Vec<u8>> {
    pub(crate) path: P,
    pub(crate) head: Option<Bytes>,
    /// `None`: the layers say nothing.
    pub(crate) staged: Option<Decision>,
}

impl WorkingItem {
    /// The path and the entry that counts.
    pub(crate) fn shown(self) -> (Vec<u8>, Option<Bytes>) {
        let entry = match self.staged {
            Some(Decision::Entry(entry)) => Some(entry),
            Some(Decision::Tombstone) => None,
            None => self.head,
        };
        (self.path, entry)
    }
}

impl Working {
    pub(crate) fn new(stack: Option<LayerStack>, head: Cursor) -> Self {
        Self { stack, head }
    }

    pub(crate) async fn seek(&mut self, path: &[u8]) -> Result<(), CatalogError> {
        if let Some(stack) = &mut self.stack {
            stack.seek(path).await?;
            if stack.key().is_none() {
                // Nothing staged from here on, and seeks only go forward: the tree alone counts.
                self.stack = None;
            }
        }
        self.head.seek(path).await?;
        Ok(())
    }

    /// The next path of head or layers.
    pub(crate) async fn next(&mut self) -> Result<Option<WorkingItem>, CatalogError> {
        let staged_first = match (self.stack.as_ref().and_then(LayerStack::key), self.head.key()) {
            (None, None) => return Ok(None),
            (Some(staged), Some(head)) => staged <= head,
            (Some(_), None) => true,
            (None, Some(_)) => false,
        };
        if staged_first
            && let Some(stack) = &mut self.stack
            && let Some((path, staged)) = stack.take().await?
        {
            let mut head = None;
            if self.head.key() == Some(&path) {
                head = self.head.value();
                self.head.advance().await?;
            }
            return Ok(Some(WorkingItem { path: path.into(), head, staged }));
        }
        let path = self.head.key().unwrap_or_default().to_vec();
        let head = self.head.value();
        self.head.advance().await?;
        Ok(Some(WorkingItem { path, head, staged: None }))
    }

    /// The next path the layers say something about, with what the head says.
    pub(crate) async fn next_staged(&mut self) -> Result<Option<WorkingItem<Bytes>>, CatalogError> {
        let Some(stack) = &mut self.stack else { return Ok(None) };
        let Some((path, staged)) = stack.take().await? else {
            return Ok(None);
        };
        // Paths ascend: the head may stand before, at or behind this one already.
        if self.head.key().is_none_or(|at| at < &path[..]) {
            self.head.seek(&path).await?;
        }
        let head = if self.head.key() == Some(&path) { self.head.value() } else { None };
        Ok(Some(WorkingItem { path, head, staged }))
    }
}
