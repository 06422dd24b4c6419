//! A store with a prefix taken out: what lies there is the server's own, and no address a client names leads to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, PresignedGet, PutOptions,
    StoreId, StoreInfo, Stored, StoredPart, WaitingUpload,
};

/// Hides everything under a prefix of another store: it is not listed, and asking for it is refused.
pub struct Reserved {
    inner: Arc<dyn BlockStore>,
    /// With a slash at its end.
    prefix: String,
}

impl Reserved {
    /// `inner` without what lies under `prefix`, with or without a slash at its end.
    pub fn new(inner: Arc<dyn BlockStore>, prefix: &BlockAddress) -> Self {
        Self { inner, prefix: format!("{}/", prefix.as_str().trim_end_matches('/')) }
    }

    fn hides(&self, address: &BlockAddress) -> bool {
        address.as_str().starts_with(&self.prefix)
    }

    fn check<'a>(&self, address: &'a BlockAddress) -> Result<&'a BlockAddress, BlockError> {
        if self.hides(address) {
            let why = "the server keeps its metadata there";
            return Err(BlockError::Refused { address: address.clone(), why });
        }
        Ok(address)
    }
}

#[async_trait]
impl BlockStore for Reserved {
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }

    fn info_of(&self, store: &StoreId) -> Option<StoreInfo> {
        self.inner.info_of(store)
    }

    fn registered(&self, store: &StoreId) -> Option<StoreId> {
        self.inner.registered(store)
    }

    async fn put(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        self.inner.put(self.check(address)?, body, options).await
    }

    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        self.inner.put_bytes(self.check(address)?, bytes, options).await
    }

    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        self.inner.get(self.check(address)?, range).await
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        self.inner.get_bytes(self.check(address)?, limit).await
    }

    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        self.inner.head(self.check(address)?).await
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        if !addresses.iter().any(|address| self.hides(address)) {
            return self.inner.delete(addresses).await;
        }
        let mut results = Vec::with_capacity(addresses.len());
        for address in addresses {
            results.push(match self.check(address) {
                Err(error) => Err(error),
                Ok(address) => self.inner.delete(std::slice::from_ref(address)).await.pop().unwrap_or(Ok(())),
            });
        }
        results
    }

    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        self.inner.copy(self.check(from)?, self.check(to)?).await
    }

    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        self.check(prefix)?;
        let mut found = Vec::new();
        let mut after = start_after.cloned();
        while found.len() < limit {
            let wanted = limit - found.len();
            let page = self.inner.list(prefix, after.as_ref(), wanted).await?;
            let full = page.len() == wanted;
            after = match page.last() {
                // Past most of the prefix in one step: what begins with another character is passed one by one.
                Some(last) => {
                    let past = BlockAddress::new(format!("{}~", self.prefix));
                    let jump = self.hides(&last.address) && last.address < past;
                    Some(if jump { past } else { last.address.clone() })
                }
                None => break,
            };
            found.extend(page.into_iter().filter(|info| !self.hides(&info.address)));
            if !full {
                break;
            }
        }
        Ok(found)
    }

    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError> {
        self.inner.create_multipart(self.check(address)?).await
    }

    async fn put_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        self.inner.put_part(self.check(address)?, upload, number, body, size).await
    }

    async fn copy_part(
        &self,
        from: &BlockAddress,
        range: ByteRange,
        address: &BlockAddress,
        upload: &str,
        number: u32,
    ) -> Result<String, BlockError> {
        self.inner.copy_part(self.check(from)?, range, self.check(address)?, upload, number).await
    }

    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        self.inner.complete_multipart(self.check(address)?, upload, parts).await
    }

    async fn abort_multipart(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        self.inner.abort_multipart(self.check(address)?, upload).await
    }

    async fn waiting_uploads(
        &self,
        prefix: &BlockAddress,
        begun_before_secs: i64,
        limit: usize,
    ) -> Result<Vec<WaitingUpload>, BlockError> {
        self.inner.waiting_uploads(self.check(prefix)?, begun_before_secs, limit).await
    }

    async fn presign_get(
        &self,
        address: &BlockAddress,
        wanted: &PresignedGet,
        life: Duration,
    ) -> Result<String, BlockError> {
        self.inner.presign_get(self.check(address)?, wanted, life).await
    }

    async fn presign_put(&self, address: &BlockAddress, life: Duration) -> Result<String, BlockError> {
        self.inner.presign_put(self.check(address)?, life).await
    }

    async fn presign_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        life: Duration,
    ) -> Result<String, BlockError> {
        self.inner.presign_part(self.check(address)?, upload, number, life).await
    }

    async fn close(&self) -> Result<(), BlockError> {
        self.inner.close().await
    }
}
