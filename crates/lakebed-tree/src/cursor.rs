//! Point look-ups and ordered walks over one tree.

use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::NodeId;

use crate::node::NodeCursor;
use crate::{Node, NodeStore, TreeError, empty_tree};

/// A node, without asking the store for the empty one.
pub(crate) async fn load(store: &dyn NodeStore, id: &NodeId) -> Result<Arc<Node>, TreeError> {
    if *id == empty_tree() { Ok(Node::empty()) } else { store.load(id).await }
}

/// The child a cursor on an inner node stands on: it must be one level lower, or the tree would not end.
pub(crate) async fn load_child(store: &dyn NodeStore, at: &NodeCursor) -> Result<Arc<Node>, TreeError> {
    let child = at.child()?;
    let node = store.load(&child.id).await?;
    if node.level() + 1 != at.node().level() {
        return Err(TreeError::Damaged { id: child.id, why: "its level does not fit its parent" });
    }
    Ok(node)
}

/// The ids of the nodes right below an inner node, in key order; none below a leaf.
pub fn child_ids(node: &Arc<Node>) -> Result<Vec<NodeId>, TreeError> {
    let mut ids = Vec::new();
    if node.level() > 0 {
        let mut at = NodeCursor::first(node.clone());
        while !at.is_end() {
            ids.push(at.child()?.id);
            at.advance();
        }
    }
    Ok(ids)
}

/// The value at `key`: a slice of its node.
pub async fn lookup(store: &dyn NodeStore, root: &NodeId, key: &[u8]) -> Result<Option<Bytes>, TreeError> {
    let mut cursor = NodeCursor::at(load(store, root).await?, key);
    loop {
        if cursor.is_end() {
            return Ok(None);
        }
        if cursor.node().level() == 0 {
            return Ok((cursor.key() == key).then(|| cursor.value_bytes()));
        }
        cursor = NodeCursor::at(load_child(store, &cursor).await?, key);
    }
}

/// An ordered walk over a tree's entries. Holds one node per level.
pub struct Cursor {
    store: Arc<dyn NodeStore>,
    root: NodeId,
    /// From the root to a leaf; empty before the first seek.
    path: Vec<NodeCursor>,
}

impl Cursor {
    /// A cursor that stands nowhere yet: seek first.
    pub fn new(store: Arc<dyn NodeStore>, root: NodeId) -> Self {
        Self { store, root, path: Vec::new() }
    }

    /// Moves to the first entry at or after `key`, forwards or backwards. Within the current leaf no node is loaded.
    pub async fn seek(&mut self, key: &[u8]) -> Result<(), TreeError> {
        if let Some(leaf) = self.path.last_mut()
            && !leaf.is_end()
            && leaf.key() <= key
            && key <= leaf.node().last_key()
        {
            leaf.seek(key);
            return Ok(());
        }
        // Up to the lowest node that covers the key, then down again.
        if self.path.is_empty() {
            self.path.push(NodeCursor::first(load(&*self.store, &self.root).await?));
        }
        while self.path.len() > 1 {
            // An inner cursor stands on the child the path goes through: all before it is smaller.
            let parent = &self.path[self.path.len() - 2];
            let inside = self.path.last().is_some_and(|top| !top.is_end() && top.key() <= key)
                && !parent.is_end()
                && key <= parent.key();
            if inside {
                break;
            }
            self.path.pop();
        }
        if let Some(top) = self.path.last_mut() {
            top.seek(key);
        }
        self.descend(Some(key)).await
    }

    /// From an inner entry down to its leaf: to `key`, or to the first entry.
    async fn descend(&mut self, key: Option<&[u8]>) -> Result<(), TreeError> {
        while let Some(top) = self.path.last()
            && !top.is_end()
            && top.node().level() > 0
        {
            let child = load_child(&*self.store, top).await?;
            self.path.push(match key {
                Some(key) => NodeCursor::at(child, key),
                None => NodeCursor::first(child),
            });
        }
        Ok(())
    }

    fn leaf(&self) -> Option<&NodeCursor> {
        self.path.last().filter(|top| !top.is_end() && top.node().level() == 0)
    }

    /// The key stood on; `None` at the end.
    pub fn key(&self) -> Option<&[u8]> {
        self.leaf().map(NodeCursor::key)
    }

    /// The value stood on, a slice of its node; `None` at the end.
    pub fn value(&self) -> Option<Bytes> {
        self.leaf().map(NodeCursor::value_bytes)
    }

    /// Moves to the next entry.
    pub async fn advance(&mut self) -> Result<(), TreeError> {
        let Some(leaf) = self.path.last_mut() else { return Ok(()) };
        leaf.advance();
        if !leaf.is_end() {
            return Ok(());
        }
        while self.path.len() > 1 && self.path.last().is_some_and(NodeCursor::is_end) {
            self.path.pop();
            if let Some(parent) = self.path.last_mut() {
                parent.advance();
            }
        }
        self.descend(None).await
    }
}
