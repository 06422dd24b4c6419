//! The store in memory: for tests, and for servers whose data may vanish.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use lakebed_core::{Clock, Entropy, SystemClock, SystemEntropy};
use md5::{Digest, Md5};
use parking_lot::Mutex;

use crate::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, PutOptions, StoreInfo, Stored,
    StoredPart, WaitingUpload, body_from_bytes,
};

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    mtime_secs: i64,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<BlockAddress, Object>,
    uploads: HashMap<String, Upload>,
}

struct Upload {
    address: BlockAddress,
    begun_secs: i64,
    /// By tag.
    parts: HashMap<String, Bytes>,
}

/// A store whose objects live and die with it. Scheme `mem`.
pub struct MemStore {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        Self { state: Mutex::default(), clock, entropy }
    }

    fn check(address: &BlockAddress) -> Result<(), BlockError> {
        crate::address::segments("mem", address).map(drop)
    }

    fn insert(&self, address: &BlockAddress, bytes: Bytes, if_absent: bool) -> Result<(), BlockError> {
        let mut state = self.state.lock();
        if if_absent && state.objects.contains_key(address) {
            return Err(BlockError::Exists(address.clone()));
        }
        state.objects.insert(address.clone(), Object { bytes, mtime_secs: self.clock.now().secs() });
        Ok(())
    }

    fn object(&self, address: &BlockAddress) -> Result<Object, BlockError> {
        Self::check(address)?;
        let state = self.state.lock();
        state.objects.get(address).cloned().ok_or_else(|| BlockError::NotFound(address.clone()))
    }
}

async fn read_all(mut body: ByteStream) -> Result<(Bytes, Stored), BlockError> {
    let mut all = BytesMut::new();
    let mut md5 = Md5::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        md5.update(&chunk);
        all.extend_from_slice(&chunk);
    }
    let stored = Stored { size: all.len() as u64, md5: md5.finalize().into() };
    Ok((all.freeze(), stored))
}

#[async_trait]
impl BlockStore for MemStore {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "mem",
            scheme: "mem",
            presign: false,
            presign_multipart: false,
            import: true,
            min_part_bytes: 0,
        }
    }

    async fn put(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        Self::check(address)?;
        let (bytes, stored) = read_all(body).await?;
        self.insert(address, bytes, options.if_absent)?;
        Ok(stored)
    }

    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        Self::check(address)?;
        self.insert(address, bytes, options.if_absent)
    }

    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        let bytes = self.object(address)?.bytes;
        let Some(ByteRange { start, end }) = range else { return Ok(body_from_bytes(bytes)) };
        if start > end || end > bytes.len() as u64 {
            return Err(BlockError::OutOfRange(address.clone()));
        }
        Ok(body_from_bytes(bytes.slice(start as usize..end as usize)))
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        let bytes = self.object(address)?.bytes;
        if bytes.len() > limit {
            return Err(BlockError::Refused {
                address: address.clone(),
                why: "the object is larger than expected",
            });
        }
        Ok(bytes)
    }

    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        let object = self.object(address)?;
        Ok(BlockInfo {
            address: address.clone(),
            size: object.bytes.len() as u64,
            mtime_secs: object.mtime_secs,
            etag: None,
        })
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        let mut state = self.state.lock();
        addresses
            .iter()
            .map(|address| {
                Self::check(address)?;
                state.objects.remove(address);
                Ok(())
            })
            .collect()
    }

    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        Self::check(to)?;
        let bytes = self.object(from)?.bytes;
        self.insert(to, bytes, false)
    }

    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        let state = self.state.lock();
        let from = start_after.unwrap_or(prefix).max(prefix).clone();
        Ok(state
            .objects
            .range(from..)
            .filter(|(address, _)| Some(*address) != start_after)
            .take_while(|(address, _)| address.as_str().starts_with(prefix.as_str()))
            .take(limit)
            .map(|(address, object)| BlockInfo {
                address: address.clone(),
                size: object.bytes.len() as u64,
                mtime_secs: object.mtime_secs,
                etag: None,
            })
            .collect())
    }

    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError> {
        Self::check(address)?;
        let upload = format!("{:016x}", self.entropy.next_u64());
        let begun =
            Upload { address: address.clone(), begun_secs: self.clock.now().secs(), parts: HashMap::new() };
        self.state.lock().uploads.insert(upload.clone(), begun);
        Ok(upload)
    }

    async fn put_part(
        &self,
        _: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        _: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        let (bytes, stored) = read_all(body).await?;
        let tag = format!("{number}-{:016x}", self.entropy.next_u64());
        let mut state = self.state.lock();
        let begun =
            state.uploads.get_mut(upload).ok_or_else(|| BlockError::NoSuchUpload(upload.to_owned()))?;
        begun.parts.insert(tag.clone(), bytes);
        Ok((stored, tag))
    }

    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        let unknown = || BlockError::NoSuchUpload(upload.to_owned());
        let mut state = self.state.lock();
        let Some(stored) = state.uploads.get(upload) else {
            return if state.objects.contains_key(address) { Ok(()) } else { Err(unknown()) };
        };
        let mut all = BytesMut::new();
        for part in parts {
            all.extend_from_slice(stored.parts.get(&part.tag).ok_or_else(unknown)?);
        }
        state.uploads.remove(upload);
        let object = Object { bytes: all.freeze(), mtime_secs: self.clock.now().secs() };
        state.objects.insert(address.clone(), object);
        Ok(())
    }

    async fn abort_multipart(&self, _: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        let removed = self.state.lock().uploads.remove(upload);
        removed.map(drop).ok_or_else(|| BlockError::NoSuchUpload(upload.to_owned()))
    }

    async fn waiting_uploads(
        &self,
        prefix: &BlockAddress,
        begun_before_secs: i64,
        limit: usize,
    ) -> Result<Vec<WaitingUpload>, BlockError> {
        let state = self.state.lock();
        let waiting = state.uploads.iter().filter(|(_, upload)| {
            upload.begun_secs < begun_before_secs && upload.address.as_str().starts_with(prefix.as_str())
        });
        let named = waiting.map(|(name, upload)| WaitingUpload {
            address: upload.address.clone(),
            upload: name.clone(),
            begun_secs: upload.begun_secs,
        });
        Ok(named.take(limit).collect())
    }

    async fn close(&self) -> Result<(), BlockError> {
        Ok(())
    }
}
