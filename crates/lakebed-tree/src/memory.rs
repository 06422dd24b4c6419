//! A node store in memory, for tests of this crate and of those above.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_core::NodeId;
use parking_lot::Mutex;

use crate::{Node, NodeStore, TreeError};

/// Nodes in memory, in their stored form, so that every load goes through [`Node::decode`].
#[derive(Debug, Default)]
pub struct MemNodeStore {
    nodes: Mutex<HashMap<NodeId, Bytes>>,
    loads: AtomicU64,
}

impl MemNodeStore {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many nodes were loaded so far.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl NodeStore for MemNodeStore {
    async fn load(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let stored = self.nodes.lock().get(id).cloned().ok_or(TreeError::Missing(*id))?;
        Node::decode(id, &stored).map(Arc::new)
    }

    async fn save(&self, id: NodeId, stored: Bytes, _: Arc<Node>) -> Result<(), TreeError> {
        self.nodes.lock().insert(id, stored);
        Ok(())
    }

    async fn flush(&self) -> Result<(), TreeError> {
        Ok(())
    }

    fn object_size(&self, value: &[u8]) -> u64 {
        value.len() as u64
    }
}
