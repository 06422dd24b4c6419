//! Object bytes: stores behind one trait.
//!
//! A [`BlockStore`] holds immutable objects at [`BlockAddress`]es and streams them in and out in constant memory. What
//! the objects mean is not known here. The contract, proven for every store by the [`conformance`] suite:
//!
//! - A put is durable when it answers (fsync or the service's own promise), and invisible until then; a body that
//!   ends in an error leaves nothing visible. So verifying a checksum is a matter of wrapping the body.
//! - Nothing outside the configured root or bucket can be reached, whatever the address says, symlinks included.
//! - Objects are never overwritten by the layers above; a put to an existing address replaces it whole, or is refused
//!   with [`BlockError::Exists`] when `if_absent` was asked for.

mod address;
mod azure;
mod body;
pub mod conformance;
mod gs;
mod local;
mod mem;
mod namespace;
pub mod pace;
mod remote;
mod reserved;
mod s3;
mod stores;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use azure::{AzureStore, AzureStoreConfig};
pub use body::{body_from_bytes, collect};
pub use gs::{GsCredentials, GsEncryption, GsStore, GsStoreConfig};
pub use local::{LocalImport, LocalStore};
pub use mem::MemStore;
pub use namespace::{BadStoreId, Namespace, StoreId};
pub use remote::Sources;
pub use remote::client::Patience;
pub use reserved::Reserved;
pub use s3::{S3Credentials, S3Store, S3StoreConfig};
pub use stores::Stores;

/// The bytes of an object on their way in or out. An `Err` item ends the stream.
pub type ByteStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why a body broke off. The edges put their own protocol error in `source` and take it out again.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client's side failed: connection lost, digest mismatch, bad chunk signature, too long. The source is the edge's own error.
    #[error("request body: {0}")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store's side failed while reading.
    #[error("stored object: {0}")]
    Store(#[source] Box<BlockError>),
}

/// The full address of an object: `scheme://bucket-or-directory/key`, as shown to clients in `physical_address`, and the
/// store it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockAddress {
    text: String,
    store: StoreId,
}

impl BlockAddress {
    /// From its text, in the store without an id. Nothing is checked here: each store parses and confines the addresses it
    /// is given.
    pub fn new(text: impl Into<String>) -> Self {
        Self::in_store(StoreId::default(), text)
    }

    /// From its text, in one of several stores.
    pub fn in_store(store: StoreId, text: impl Into<String>) -> Self {
        Self { store, text: text.into() }
    }

    /// The object `key` under `namespace`.
    pub fn in_namespace(namespace: &Namespace, key: &str) -> Self {
        let place = namespace.as_str();
        let mut text = String::with_capacity(place.len() + 1 + key.len());
        text.push_str(place);
        text.push('/');
        text.push_str(key);
        Self { store: namespace.store().clone(), text }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address whose text goes on like this, in the same store.
    #[must_use]
    pub fn and(&self, more: &str) -> Self {
        Self { text: format!("{}{more}", self.text), store: self.store.clone() }
    }

    /// The store it is in.
    pub fn store(&self) -> &StoreId {
        &self.store
    }
}

impl std::fmt::Display for BlockAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Bytes `start..end` of an object; `end` is exclusive and at most its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// How an object is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Refuse with [`BlockError::Exists`] if there is an object at the address. Atomic.
    pub if_absent: bool,
    /// The length of the body if known: a hint for how to store it, not trusted.
    pub size_hint: Option<u64>,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Bytes written.
    pub size: u64,
    /// MD5 of the bytes, computed while they streamed.
    pub md5: [u8; 16],
}

/// What a store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its address.
    pub address: BlockAddress,
    /// Bytes.
    pub size: u64,
    /// Last modification, Unix seconds.
    pub mtime_secs: i64,
    /// The store's own tag for this content, if it has one.
    pub etag: Option<String>,
}

/// A part of a multipart upload, as named in [`BlockStore::complete_multipart`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// 1 to 10,000.
    pub number: u32,
    /// The store's tag from [`BlockStore::put_part`].
    pub tag: String,
    /// Bytes.
    pub size: u64,
}

/// A multipart upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingUpload {
    /// Where its object would be.
    pub address: BlockAddress,
    /// The store's name of it.
    pub upload: String,
    /// When it was begun, Unix seconds.
    pub begun_secs: i64,
}

/// What clients are told about a store (`GET /config/storage`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// `local`, `mem`, `s3`, `gs`, `azure`.
    pub kind: &'static str,
    /// URI scheme of its addresses, without `://`.
    pub scheme: &'static str,
    /// Whether it can presign URLs.
    pub presign: bool,
    /// Whether it can presign the parts of a multipart upload.
    pub presign_multipart: bool,
    /// Whether objects can be imported from it without copying.
    pub import: bool,
    /// The smallest part of a multipart upload, the last one excepted.
    pub min_part_bytes: u64,
}

/// What a presigned URL's answer says besides the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresignedGet {
    /// `Content-Disposition`.
    pub disposition: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// No object at the address.
    #[error("no object at {0}")]
    NotFound(BlockAddress),
    /// A range leaves the object: it has not the size that was thought.
    #[error("the range leaves the object at {0}")]
    OutOfRange(BlockAddress),
    /// There is an object at the address and `if_absent` was asked for.
    #[error("an object exists at {0}")]
    Exists(BlockAddress),
    /// No such multipart upload.
    #[error("no multipart upload '{0}'")]
    NoSuchUpload(String),
    /// The address is malformed, of another store, or outside the configured root.
    #[error("address {address} refused: {why}")]
    Refused {
        /// The address given.
        address: BlockAddress,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store cannot do this at all.
    #[error("this store does not support {0}")]
    Unsupported(&'static str),
    /// The body given ended in an error; nothing was stored.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The store is out of reach, overloaded, or failed for now: trying again later may help. It is not known whether
    /// what was asked has happened.
    #[error("object store: {what}: {why}")]
    Unavailable {
        /// What was being done.
        what: &'static str,
        /// What the store said, or that it said nothing.
        why: String,
    },
    /// The store failed.
    #[error("object store: {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// A store.
#[async_trait]
pub trait BlockStore: Send + Sync + 'static {
    /// What this store is and can do.
    fn info(&self) -> StoreInfo;

    /// What the store of this id is and can do; `None` if there is none. A store that is not several has no id.
    fn info_of(&self, store: &StoreId) -> Option<StoreInfo> {
        store.is_empty().then(|| self.info())
    }

    /// The id under which a register keeps what lies in the store of this id, for a store may have two: its own and the
    /// empty one. `None` if there is no such store.
    fn registered(&self, store: &StoreId) -> Option<StoreId> {
        store.is_empty().then(StoreId::default)
    }

    /// Writes a whole object, durably, and answers its size and MD5.
    async fn put(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError>;

    /// Writes a small object (at most 1 MiB) from memory, durably. For tree nodes and commit records.
    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError>;

    /// Reads an object or a range of it; [`BlockError::OutOfRange`] if `range` does not lie within the object.
    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError>;

    /// Reads a whole object of at most `limit` bytes; a longer one is an error.
    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError>;

    /// Whether and how large the object is.
    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError>;

    /// Deletes objects; deleting an absent one succeeds. One result per address, in order.
    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>>;

    /// Copies an object inside the store without moving its bytes through this process where possible.
    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError>;

    /// Up to `limit` objects whose address starts with `prefix`, after `start_after`, in byte order of the address. A
    /// store with directories may say [`BlockError::NotFound`] of a prefix outside its own objects whose directory is not
    /// there.
    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError>;

    /// Begins a multipart upload to `address`; the answer names it.
    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError>;

    /// Stores part `number`, durably; sending a number again replaces it. Answers what was stored and the store's tag.
    /// `size` is the body's length if it is known: some stores need it for parts over 8 MiB.
    async fn put_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError>;

    /// Stores a range of an object as part `number`, without moving its bytes through this process where possible.
    /// Answers the store's tag.
    async fn copy_part(
        &self,
        from: &BlockAddress,
        range: ByteRange,
        address: &BlockAddress,
        upload: &str,
        number: u32,
    ) -> Result<String, BlockError> {
        let body = self.get(from, Some(range)).await?;
        let size = Some(range.end.saturating_sub(range.start));
        self.put_part(address, upload, number, body, size).await.map(|(_, tag)| tag)
    }

    /// Joins the parts, in the order given, into the object. Parts not named are dropped. Idempotent: if the upload is
    /// gone but the object is there, it succeeds.
    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError>;

    /// Drops an upload and its parts; an unknown upload is [`BlockError::NoSuchUpload`].
    async fn abort_multipart(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError>;

    /// Up to `limit` uploads to addresses that start with `prefix` and were begun before `begun_before_secs` (Unix
    /// seconds): what crashes and clients that went away left. None from stores that drop such uploads by themselves.
    async fn waiting_uploads(
        &self,
        _prefix: &BlockAddress,
        _begun_before_secs: i64,
        _limit: usize,
    ) -> Result<Vec<WaitingUpload>, BlockError> {
        Ok(Vec::new())
    }

    /// A URL that reads the object for `life`. Whether it exists is not asked.
    async fn presign_get(
        &self,
        _address: &BlockAddress,
        _wanted: &PresignedGet,
        _life: Duration,
    ) -> Result<String, BlockError> {
        Err(BlockError::Unsupported("presigned URLs"))
    }

    /// A URL that writes the object with one `PUT`, for `life`.
    async fn presign_put(&self, _address: &BlockAddress, _life: Duration) -> Result<String, BlockError> {
        Err(BlockError::Unsupported("presigned URLs"))
    }

    /// A URL that writes a part of a multipart upload with one `PUT`, for `life`.
    async fn presign_part(
        &self,
        _address: &BlockAddress,
        _upload: &str,
        _number: u32,
        _life: Duration,
    ) -> Result<String, BlockError> {
        Err(BlockError::Unsupported("presigned URLs of parts"))
    }

    /// Finishes what was accepted and flushes.
    async fn close(&self) -> Result<(), BlockError>;
}
