//! The immutable sorted tree: node format, builder, cursor, diff, edit, merge.
//!
//! A tree is a prolly tree from key (an object path) to value (an entry's bytes, opaque here). The same set of
//! `(key, value)` pairs always gives the same tree, whatever order the edits came in; node ids are the BLAKE3 of the
//! node's canonical bytes. `formats.md` of the design pages specifies bytes and boundaries.
//!
//! A tree is named by the [`NodeId`] of its root and lives in a [`NodeStore`]. Read it with [`lookup`], [`Cursor`],
//! [`Diff`] and [`aggregate`]; make a new one with [`edit`] or [`merge`]. Nothing here knows repositories or refs, and
//! nothing holds more than a bounded number of nodes in memory.

mod aggregate;
mod boundary;
mod canonical;
mod cursor;
mod diff;
mod edit;
mod memory;
mod merge;
mod node;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_core::NodeId;

pub use aggregate::{Aggregate, aggregate};
pub use canonical::check_canonical;
pub use cursor::{Cursor, child_ids, lookup};
pub use diff::{Diff, DiffItem};
pub use edit::{EDITS_AT_ONCE, Edit, EditList, EditSource, Edited, edit};
pub use memory::MemNodeStore;
pub use merge::{Changed, Identity, Merged, Resolution, Resolve, ThreeWay, merge};
pub use node::{MAX_ENTRY_BYTES, Node, common_prefix};

/// The id of the empty tree: one empty leaf, which no store needs to hold.
pub fn empty_tree() -> NodeId {
    *Node::empty().id()
}

/// Where nodes are kept. Implemented by the catalog over the object store with a cache, and in memory for tests.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// The parsed node with this id, from the cache or the store. Single-flight and verification of the hash are the
    /// implementor's: use [`Node::decode`] on what the store returned.
    async fn load(&self, id: &NodeId) -> Result<Arc<Node>, TreeError>;

    /// Keeps a node: `stored` is its compressed form, `node` the parsed one (for the cache). The call may return before
    /// the bytes are durable; [`NodeStore::flush`] waits for them. May be called again for a node that is already there.
    async fn save(&self, id: NodeId, stored: Bytes, node: Arc<Node>) -> Result<(), TreeError>;

    /// Returns when every node saved so far is durable.
    async fn flush(&self) -> Result<(), TreeError>;

    /// The size of the object a value names, for the aggregates of inner nodes. Must depend on the value alone.
    fn object_size(&self, value: &[u8]) -> u64;
}

/// What can go wrong with a tree.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TreeError {
    /// The store has no such node.
    #[error("tree node {0} is missing from the store")]
    Missing(NodeId),
    /// A node's bytes are not a node, or not the node asked for.
    #[error("tree node {id} is damaged: {why}")]
    Damaged {
        /// The node.
        id: NodeId,
        /// What is wrong.
        why: &'static str,
    },
    /// A key or value breaks a limit.
    #[error("entry too large: {0} bytes, at most 65536")]
    TooLarge(usize),
    /// The store failed.
    #[error("tree node store: {0}")]
    Store(Arc<str>),
    /// An edit source failed; the text is the source's own error.
    #[error("edit source: {0}")]
    Source(Arc<str>),
}
