//! Tree nodes over the object store, with one cache for all repositories.
//!
//! Ids are content hashes, so a cached node is never stale and may serve every repository; a *save* always goes to
//! the repository's own namespace, because the bucket alone must be enough to rebuild it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError, BlockStore, Namespace, PutOptions};
use lakebed_core::NodeId;
use lakebed_core::traces::SPAN;
use lakebed_tree::{Node, NodeStore, TreeError};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tracing::Instrument;
use tracing::field::Empty;

use crate::{CacheFigures, EntryView};

/// The most bytes a stored node may have; the tree's own bound is on the decompressed form.
pub(crate) const MAX_STORED_NODE: usize = 1 << 20;

/// How many node uploads one operation has under way.
const UPLOADS_AT_ONCE: usize = 16;

#[derive(Clone)]
struct CachedNode {
    node: Arc<Node>,
    weight: u64,
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<NodeId, CachedNode> for ByMemory {
    fn weight(&self, _: &NodeId, node: &CachedNode) -> u64 {
        node.weight
    }
}

/// Parsed nodes, bounded by their memory.
pub(crate) struct NodeCache(Cache<NodeId, CachedNode, ByMemory>);

impl NodeCache {
    pub(crate) fn new(bytes: u64) -> Self {
        let nodes = usize::try_from(bytes / (80 << 10)).unwrap_or(usize::MAX).max(16);
        Self(Cache::with_weighter(nodes, bytes, ByMemory))
    }

    /// How it is used.
    pub(crate) fn figures(&self) -> CacheFigures {
        CacheFigures {
            tier: "nodes",
            hits: self.0.hits(),
            misses: self.0.misses(),
            bytes: Some(self.0.weight()),
            entries: self.0.len() as u64,
        }
    }
}

/// The nodes of one repository, as one operation sees them. Saves run in the background until
/// [`NodeStore::flush`]; dropping it abandons them.
pub(crate) struct Nodes {
    blocks: Arc<dyn BlockStore>,
    cache: Arc<NodeCache>,
    /// `<namespace>/_lakebed/tree` or `<namespace>/_lakebed/layer/<L>`.
    base: Namespace,
    /// Where nodes are looked for that are not there.
    beneath: Option<Namespace>,
    uploads: Mutex<JoinSet<Result<(), BlockError>>>,
}

impl Nodes {
    pub(crate) fn new(blocks: Arc<dyn BlockStore>, cache: Arc<NodeCache>, base: Namespace) -> Arc<Self> {
        Arc::new(Self { blocks, cache, base, beneath: None, uploads: Mutex::default() })
    }

    /// A tree most of whose nodes are those of another place.
    pub(crate) fn over(
        blocks: Arc<dyn BlockStore>,
        cache: Arc<NodeCache>,
        base: Namespace,
        beneath: Namespace,
    ) -> Arc<Self> {
        Arc::new(Self { blocks, cache, base, beneath: Some(beneath), uploads: Mutex::default() })
    }

    /// Whether a node lies here. Loading does not tell: the cache also knows the nodes of other places.
    pub(crate) async fn has(&self, id: &NodeId) -> Result<bool, BlockError> {
        match self.blocks.head(&Self::address(&self.base, id)).await {
            Ok(_) => Ok(true),
            Err(BlockError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn address(base: &Namespace, id: &NodeId) -> BlockAddress {
        let hex = id.to_hex();
        BlockAddress::in_namespace(base, &format!("{}/{hex}", &hex[..2]))
    }

    /// A node that the cache does not have. In a trace it is a span: one that was in the cache is none.
    async fn read(&self, id: &NodeId) -> Result<CachedNode, TreeError> {
        let span =
            tracing::info_span!(target: SPAN, "node read", lakebed.node = id.to_hex(), lakebed.bytes = Empty);
        let read = async {
            let mut stored = self.stored(&self.base, id).await?;
            if let (None, Some(beneath)) = (&stored, &self.beneath) {
                stored = self.stored(beneath, id).await?;
            }
            let stored = stored.ok_or(TreeError::Missing(*id))?;
            span.record("lakebed.bytes", stored.len() as i64);
            let node = Arc::new(Node::decode(id, &stored)?);
            let weight = node.size_in_memory() as u64;
            Ok(CachedNode { node, weight })
        };
        read.instrument(span.clone()).await
    }

    async fn stored(&self, base: &Namespace, id: &NodeId) -> Result<Option<Bytes>, TreeError> {
        match self.blocks.get_bytes(&Self::address(base, id), MAX_STORED_NODE).await {
            Ok(stored) => Ok(Some(stored)),
            Err(BlockError::NotFound(_)) => Ok(None),
            Err(error) => Err(store_error(&error)),
        }
    }
}

fn store_error(error: &impl std::fmt::Display) -> TreeError {
    TreeError::Store(error.to_string().into())
}

fn finished(result: Result<Result<(), BlockError>, tokio::task::JoinError>) -> Result<(), TreeError> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(store_error(&error)),
        Err(error) => Err(store_error(&error)),
    }
}

#[async_trait]
impl NodeStore for Nodes {
    async fn load(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
        Ok(self.cache.0.get_or_insert_async(id, self.read(id)).await?.node)
    }

    async fn save(&self, id: NodeId, stored: Bytes, node: Arc<Node>) -> Result<(), TreeError> {
        let weight = node.size_in_memory() as u64;
        self.cache.0.insert(id, CachedNode { node, weight });
        let mut uploads = self.uploads.lock().await;
        while uploads.len() >= UPLOADS_AT_ONCE {
            if let Some(result) = uploads.join_next().await {
                finished(result)?;
            }
        }
        let (blocks, address) = (self.blocks.clone(), Self::address(&self.base, &id));
        let upload = async move { blocks.put_bytes(&address, stored, PutOptions::default()).await };
        uploads.spawn(upload.in_current_span());
        Ok(())
    }

    async fn flush(&self) -> Result<(), TreeError> {
        let mut uploads = self.uploads.lock().await;
        while let Some(result) = uploads.join_next().await {
            finished(result)?;
        }
        Ok(())
    }

    fn object_size(&self, value: &[u8]) -> u64 {
        EntryView::parse(value).map_or(0, |entry| entry.size)
    }
}
