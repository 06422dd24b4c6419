//! Collecting many things in order without holding them: a sorted run that lies in the store while it grows.
//!
//! The run is a tree in a layer of its own (`_lakebed/layer/<L>/`), which goes as any layer goes: whoever is done with it
//! writes `dead/<L>`. Things may come in any order; of one key the last counts. Memory is one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::{LayerId, NodeId};
use lakebed_tree::{Cursor, Edit, EditList, NodeStore};

use crate::catalog::Inner;
use crate::nodes::Nodes;
use crate::{CatalogError, Repository};

/// Things held at once.
const BATCH: usize = 8192;

/// Bytes held at once.
const BATCH_BYTES: usize = 4 << 20;

/// A run that grows.
pub(crate) struct Spool {
    nodes: Arc<Nodes>,
    root: NodeId,
    held: BTreeMap<Bytes, Bytes>,
    held_bytes: usize,
}

impl Spool {
    pub(crate) fn new(inner: &Inner, repository: &Repository, layer: &LayerId) -> Self {
        Self {
            nodes: inner.layer_nodes(repository, layer),
            root: lakebed_tree::empty_tree(),
            held: BTreeMap::new(),
            held_bytes: 0,
        }
    }

    pub(crate) async fn put(&mut self, key: Bytes, value: Bytes) -> Result<(), CatalogError> {
        self.held_bytes += key.len() + value.len();
        self.held.insert(key, value);
        if self.held.len() >= BATCH || self.held_bytes >= BATCH_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), CatalogError> {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let edits = held.into_iter().map(|(key, value)| Edit { key, value: Some(value) }).collect();
        self.root = lakebed_tree::edit(&*self.nodes, &self.root, &mut EditList::new(edits)).await?.root;
        // The next batch reads what this one wrote, and the cache keeps nothing for certain.
        self.nodes.flush().await?;
        Ok(())
    }

    /// The whole run.
    pub(crate) async fn finish(mut self) -> Result<Run, CatalogError> {
        self.write().await?;
        Ok(Run { nodes: self.nodes, root: self.root })
    }
}

/// A run that is whole.
pub(crate) struct Run {
    nodes: Arc<Nodes>,
    root: NodeId,
}

impl Run {
    /// Stands nowhere yet: seek first.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::new(self.nodes.clone(), self.root)
    }
}
