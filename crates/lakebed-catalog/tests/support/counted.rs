//! A lake over a store in memory that counts the tree nodes read and written.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lakebed_blocks::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, MemStore, PutOptions, StoreInfo,
    Stored, StoredPart,
};
use lakebed_catalog::NewRepository;
use lakebed_core::RepositoryId;
use lakebed_kv::MemKv;

use crate::support::Lake;

/// The store.
#[derive(Default)]
pub struct CountedBlocks {
    inner: MemStore,
    reads: AtomicU64,
    writes: AtomicU64,
}

fn is_node(address: &BlockAddress) -> bool {
    address.as_str().contains("/_lakebed/tree/")
}

#[async_trait::async_trait]
impl BlockStore for CountedBlocks {
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }
    async fn put(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        self.inner.put(address, body, options).await
    }
    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        self.writes.fetch_add(u64::from(is_node(address)), Ordering::Relaxed);
        self.inner.put_bytes(address, bytes, options).await
    }
    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        self.inner.get(address, range).await
    }
    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        self.reads.fetch_add(u64::from(is_node(address)), Ordering::Relaxed);
        self.inner.get_bytes(address, limit).await
    }
    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        self.inner.head(address).await
    }
    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        self.inner.delete(addresses).await
    }
    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        self.inner.copy(from, to).await
    }
    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        self.inner.list(prefix, start_after, limit).await
    }
    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError> {
        self.inner.create_multipart(address).await
    }
    async fn put_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        self.inner.put_part(address, upload, number, body, size).await
    }
    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        self.inner.complete_multipart(address, upload, parts).await
    }
    async fn abort_multipart(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        self.inner.abort_multipart(address, upload).await
    }
    async fn close(&self) -> Result<(), BlockError> {
        self.inner.close().await
    }
}

/// Nodes that an operation read from the store and wrote to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    pub read: u64,
    pub written: u64,
}

/// Engines that hold a lake.
pub struct CountedLake {
    kv: Arc<MemKv>,
    blocks: Arc<CountedBlocks>,
    repo: RepositoryId,
}

/// Paths as a data lake has them.
pub fn object(n: usize) -> String {
    format!("tables/events/day={:03}/part-{n:08}-c000.snappy.parquet", n % 300)
}

impl CountedLake {
    /// A lake whose main branch has so many objects.
    pub async fn new(objects: usize) -> Self {
        let repo: RepositoryId = "lake".parse().unwrap();
        let counted = Self { kv: Arc::default(), blocks: Arc::default(), repo: repo.clone() };
        let lake = counted.cold();
        let new = NewRepository {
            id: repo,
            storage_namespace: "mem://lake".to_owned(),
            storage_id: String::new(),
            default_branch: None,
            bare: false,
            read_only: false,
        };
        lake.catalog.create_repository(new).await.unwrap();
        for n in 0..objects {
            lake.put("main", &object(n), "first").await.unwrap();
        }
        lake.commit("main", "all").await.unwrap();
        lake.catalog.sweep_once().await.unwrap();
        counted
    }

    /// The lake as a server that has just started sees it: no node is cached.
    pub fn cold(&self) -> Lake {
        Lake::again(self.kv.clone(), self.blocks.clone(), self.repo.clone(), self.blocks.writes())
    }

    /// The nodes that `operation` reads and writes.
    pub async fn nodes_of<T>(&self, operation: impl Future<Output = T>) -> (T, Nodes) {
        let (read, written) = (self.blocks.reads(), self.blocks.writes());
        let result = operation.await;
        let nodes = Nodes { read: self.blocks.reads() - read, written: self.blocks.writes() - written };
        (result, nodes)
    }
}

impl CountedBlocks {
    fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
    fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}
