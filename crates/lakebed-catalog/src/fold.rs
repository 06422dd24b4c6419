//! Fold: the sealed layers of a branch become one immutable tree with the same meaning, so that reads stay fast
//! however many commits were refused or resets asked for (`protocol.md`, Fold).
//!
//! Always the whole run from the oldest layer up: below it only the head remains, so masks are spent on it and vanish.
//!
//! With the layer comes the tree that the present head becomes with it ([`Over`]): a listing walks that one, and what is
//! deleted in the layer is not there to be stepped over. Point reads, diffs and commits go on reading layer and head.

use async_trait::async_trait;
use lakebed_core::traces::SPAN;
use lakebed_core::{LayerId, NodeId};
use lakebed_kv::{Check, Transaction};
use lakebed_tree::{Cursor, Edit, EditSource, NodeStore, TreeError};

use crate::branch_state::{BranchState, Content, Over, Sealed};
use crate::catalog::Inner;
use crate::layers::{Decision, LayerStack, row_value};
use crate::publish::dead_rows;
use crate::staged_edits::{Replaces, StagedEdits};
use crate::working::Working;
use crate::{CatalogError, Repository, keys};

/// The decisions of a stack as row values.
struct Rows(LayerStack);

#[async_trait]
impl EditSource for Rows {
    async fn next(&mut self) -> Result<Option<Edit>, TreeError> {
        loop {
            let taken = self.0.take().await.map_err(|error| TreeError::Source(error.to_string().into()))?;
            let Some((path, decision)) = taken else {
                return Ok(None);
            };
            let value = match decision {
                Some(Decision::Entry(entry)) => row_value(0, Some(&entry)),
                Some(Decision::Tombstone) => row_value(0, None),
                // Masked: only the head counts, which is what absence from the lowest layer says.
                None => continue,
            };
            return Ok(Some(Edit { key: path, value: Some(value) }));
        }
    }
}

impl Inner {
    /// Replaces all sealed layers of `state` by one, if they are still the oldest of the branch.
    #[tracing::instrument(target = SPAN, name = "catalog fold", skip_all)]
    pub(crate) async fn fold(
        &self,
        repository: &Repository,
        state: &BranchState,
    ) -> Result<(), CatalogError> {
        let id = LayerId::random(&*self.entropy);
        let read = self.write_fold(repository, state, &id).await;
        // Another server may have folded them, and swept what was read here.
        let Some((root, over)) = self.of_run(&state.sealed, read).await? else { return Ok(()) };
        let inputs = state
            .sealed
            .iter()
            .flat_map(|layer| if layer.inputs.is_empty() { vec![layer.id] } else { layer.inputs.clone() });
        let mut next = state.clone();
        let over = Some(Over { head: state.head, tree: over });
        next.sealed = vec![Sealed { id, content: Content::Tree(root), inputs: inputs.collect(), over }];
        let mut transaction = Transaction::new()
            .check(state.key.clone(), Check::Version(state.version))
            .put(state.key.clone(), next.encode())
            .put(keys::layer(&id), "");
        for (key, value) in dead_rows(&repository.storage_namespace, &state.sealed) {
            transaction = transaction.put(key, value);
        }
        // Refused or unknown: the caller reads the record again and sees what came of it.
        self.kv.transact(transaction).await?;
        self.sweep.notify_one();
        Ok(())
    }

    /// Writes the nodes of the layer `id` folded from the sealed ones, and of the tree the head becomes with it.
    async fn write_fold(
        &self,
        repository: &Repository,
        state: &BranchState,
        id: &LayerId,
    ) -> Result<(NodeId, NodeId), CatalogError> {
        let nodes = self.layer_nodes(repository, id);
        let mut stack = self.stack(repository, None, &state.sealed);
        stack.seek(b"").await?;
        let root = lakebed_tree::edit(&*nodes, &lakebed_tree::empty_tree(), &mut Rows(stack)).await?.root;
        nodes.flush().await?;
        let head = self.tree_of(repository, &state.head).await?;
        let beneath = self.nodes_over(repository, id);
        let mut stack = self.stack(repository, None, &state.sealed);
        stack.seek(b"").await?;
        let walk = Working::new(Some(stack), Cursor::new(beneath.clone(), head));
        let mut shown = StagedEdits { walk, replaces: Replaces::Always };
        let over = lakebed_tree::edit(&*beneath, &head, &mut shown).await?.root;
        beneath.flush().await?;
        Ok((root, over))
    }
}
