//! [`Stores`]: several stores behind the trait of one. Each address says which it is in (`operations.md` 2.8).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, PresignedGet, PutOptions,
    StoreId, StoreInfo, Stored, StoredPart, WaitingUpload,
};

/// One or several stores. What is asked of a store that is not among them is refused.
pub struct Stores {
    by_id: BTreeMap<StoreId, Arc<dyn BlockStore>>,
    /// The store of addresses that name none.
    nameless: Option<StoreId>,
    info: StoreInfo,
}

impl Stores {
    /// Stores by their ids, and which of them serves repositories that name none; a single store has the empty id. `None`
    /// if there is none, or `nameless` is not among them.
    pub fn new(
        by_id: impl IntoIterator<Item = (StoreId, Arc<dyn BlockStore>)>,
        nameless: Option<StoreId>,
    ) -> Option<Self> {
        let by_id: BTreeMap<_, _> = by_id.into_iter().collect();
        let first = match &nameless {
            Some(id) => by_id.get(id)?,
            None => by_id.values().next()?,
        };
        Some(Self { info: first.info(), by_id, nameless })
    }

    fn find(&self, id: &StoreId) -> Option<&Arc<dyn BlockStore>> {
        let id = if id.is_empty() { self.nameless.as_ref()? } else { id };
        self.by_id.get(id)
    }

    /// The store that an address is in, and what it calls the address: no store knows its own id.
    fn of<'a>(
        &self,
        address: &'a BlockAddress,
    ) -> Result<(&dyn BlockStore, Cow<'a, BlockAddress>), BlockError> {
        let Some(store) = self.find(address.store()) else {
            let why = "its store is not configured on this server";
            return Err(BlockError::Refused { address: address.clone(), why });
        };
        let within = if address.store().is_empty() {
            Cow::Borrowed(address)
        } else {
            Cow::Owned(BlockAddress::new(address.as_str()))
        };
        Ok((&**store, within))
    }

    fn is_one_store(&self, one: &BlockAddress, other: &BlockAddress) -> bool {
        self.registered(one.store()) == self.registered(other.store())
    }
}

#[async_trait]
impl BlockStore for Stores {
    /// That of the store that serves repositories without an id, or else of the first.
    fn info(&self) -> StoreInfo {
        self.info.clone()
    }

    fn info_of(&self, store: &StoreId) -> Option<StoreInfo> {
        Some(self.find(store)?.info())
    }

    fn registered(&self, store: &StoreId) -> Option<StoreId> {
        self.find(store)?;
        Some(if self.nameless.as_ref() == Some(store) { StoreId::default() } else { store.clone() })
    }

    async fn put(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        let (store, address) = self.of(address)?;
        store.put(&address, body, options).await
    }

    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        let (store, address) = self.of(address)?;
        store.put_bytes(&address, bytes, options).await
    }

    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        let (store, address) = self.of(address)?;
        store.get(&address, range).await
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        let (store, address) = self.of(address)?;
        store.get_bytes(&address, limit).await
    }

    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        let (store, within) = self.of(address)?;
        Ok(BlockInfo { address: address.clone(), ..store.head(&within).await? })
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        let mut results = Vec::with_capacity(addresses.len());
        // Whoever deletes many deletes them in one store.
        for batch in addresses.chunk_by(|one, next| one.store() == next.store()) {
            match self.find(batch[0].store()) {
                Some(store) if batch[0].store().is_empty() => results.extend(store.delete(batch).await),
                Some(store) => {
                    let within: Vec<_> = batch.iter().map(|at| BlockAddress::new(at.as_str())).collect();
                    results.extend(store.delete(&within).await);
                }
                None => results.extend(batch.iter().map(|address| self.of(address).map(drop))),
            }
        }
        results
    }

    /// Between two stores the bytes come through this process.
    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        let ((source, within), (target, goal)) = (self.of(from)?, self.of(to)?);
        if self.is_one_store(from, to) {
            return source.copy(&within, &goal).await;
        }
        let size = source.head(&within).await?.size;
        // A range, so that an object of another size is refused while it is read.
        let range = ByteRange { start: 0, end: size };
        let body = source.get(&within, (size > 0).then_some(range)).await?;
        let options = PutOptions { if_absent: false, size_hint: Some(size) };
        target.put(&goal, body, options).await.map(drop)
    }

    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        let (store, within) = self.of(prefix)?;
        let after = start_after.map(|after| BlockAddress::new(after.as_str()));
        let mut page = store.list(&within, after.as_ref(), limit).await?;
        for found in &mut page {
            found.address.store = prefix.store().clone();
        }
        Ok(page)
    }

    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError> {
        let (store, address) = self.of(address)?;
        store.create_multipart(&address).await
    }

    async fn put_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        let (store, address) = self.of(address)?;
        store.put_part(&address, upload, number, body, size).await
    }

    /// Between two stores the bytes come through this process.
    async fn copy_part(
        &self,
        from: &BlockAddress,
        range: ByteRange,
        address: &BlockAddress,
        upload: &str,
        number: u32,
    ) -> Result<String, BlockError> {
        let ((source, within), (target, goal)) = (self.of(from)?, self.of(address)?);
        if self.is_one_store(from, address) {
            return target.copy_part(&within, range, &goal, upload, number).await;
        }
        let body = source.get(&within, Some(range)).await?;
        let size = Some(range.end.saturating_sub(range.start));
        target.put_part(&goal, upload, number, body, size).await.map(|(_, tag)| tag)
    }

    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        let (store, address) = self.of(address)?;
        store.complete_multipart(&address, upload, parts).await
    }

    async fn abort_multipart(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        let (store, address) = self.of(address)?;
        store.abort_multipart(&address, upload).await
    }

    async fn waiting_uploads(
        &self,
        prefix: &BlockAddress,
        begun_before_secs: i64,
        limit: usize,
    ) -> Result<Vec<WaitingUpload>, BlockError> {
        let (store, within) = self.of(prefix)?;
        let mut waiting = store.waiting_uploads(&within, begun_before_secs, limit).await?;
        for upload in &mut waiting {
            upload.address.store = prefix.store().clone();
        }
        Ok(waiting)
    }

    async fn presign_get(
        &self,
        address: &BlockAddress,
        wanted: &PresignedGet,
        life: Duration,
    ) -> Result<String, BlockError> {
        let (store, address) = self.of(address)?;
        store.presign_get(&address, wanted, life).await
    }

    async fn presign_put(&self, address: &BlockAddress, life: Duration) -> Result<String, BlockError> {
        let (store, address) = self.of(address)?;
        store.presign_put(&address, life).await
    }

    async fn presign_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        life: Duration,
    ) -> Result<String, BlockError> {
        let (store, address) = self.of(address)?;
        store.presign_part(&address, upload, number, life).await
    }

    /// All of them, also when one fails; the first failure is answered.
    async fn close(&self) -> Result<(), BlockError> {
        let mut closed = Ok(());
        for store in self.by_id.values() {
            let this = store.close().await;
            if closed.is_ok() {
                closed = this;
            }
        }
        closed
    }
}
