//! Google Cloud Storage.
//!
//! Objects are written, read, listed and copied through the JSON API, parts of uploads and presigned URLs go through the
//! XML API, which knows them. A body whose length is announced becomes one request as it arrives; one of unknown length
//! is a resumable upload ([`upload`]). The service shows an object only when it has all of it. Its answer names the MD5 of
//! what it keeps, and a put whose bytes came out different fails.
//!
//! Durability is the service's own promise: a success answer of a put or a completion. `if_absent` is
//! `ifGenerationMatch=0`, which it decides atomically.

mod credentials;
mod errors;
mod location;
mod sign;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use self::credentials::Credentials;
pub use self::credentials::GsCredentials;
use self::errors::Said;
use self::location::Location;
use crate::remote::Sources;
use crate::remote::client::{Answer, Call, Http, Patience};
use crate::remote::errors::{or_completed_before, senseless, unanswered};
use crate::remote::names::{encoded, query};
use crate::remote::read::{self, Source};
use crate::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, PresignedGet, PutOptions,
    StoreInfo, Stored, StoredPart, WaitingUpload,
};

const GOOGLE: &str = "https://storage.googleapis.com";
/// What the service lists by one call.
const LIST_PAGE: usize = 1000;
/// Deletions at once.
const DELETIONS: usize = 16;
/// The longest answer that is not an object.
const ANSWER: usize = 8 << 20;
/// What is asked of an object's metadata.
const FIELDS: &str = "name,size,updated,md5Hash,etag,generation";

/// Server-side encryption other than the service's own.
#[derive(Clone, Default)]
pub enum GsEncryption {
    /// As the bucket has it.
    #[default]
    Default,
    /// With an AES-256 key that is sent with every request; never shown.
    Customer([u8; 32]),
    /// With a key of the key management service, by its resource name.
    Kms(String),
}

impl std::fmt::Debug for GsEncryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("Default"),
            Self::Customer(_) => f.write_str("Customer"),
            Self::Kms(key) => f.debug_tuple("Kms").field(key).finish(),
        }
    }
}

/// How the store is reached (`blockstore.gs.*`, `operations.md` 2.7).
#[derive(Clone, Debug, Default)]
pub struct GsStoreConfig {
    /// Who the server is.
    pub credentials: GsCredentials,
    /// Another server than Google's, such as an emulator.
    pub endpoint: Option<String>,
    /// How objects are encrypted.
    pub encryption: GsEncryption,
    /// No presigned URLs.
    pub disable_presign: bool,
    /// Time limits and repetitions.
    pub patience: Patience,
}

/// Objects in buckets of Google Cloud Storage. Scheme `gs`.
pub struct GsStore {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    credentials: Credentials,
    sources: Sources,
    config: GsStoreConfig,
    /// Without a slash at its end.
    base: String,
}

/// Metadata of an object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    updated: String,
    md5_hash: Option<String>,
    etag: Option<String>,
}

impl Meta {
    fn md5(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.md5_hash.as_ref()?).ok().filter(|md5| md5.len() == 16)
    }

    fn info(&self, bucket: &str) -> BlockInfo {
        let md5 = self.md5().map(hex::encode);
        BlockInfo {
            address: BlockAddress::new(format!("gs://{bucket}/{}", self.name)),
            size: self.size.parse().unwrap_or(0),
            mtime_secs: self.updated.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second),
            // What was composed of parts has no MD5.
            etag: md5.or_else(|| self.etag.as_ref().map(|tag| tag.trim_matches('"').to_owned())),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    items: Vec<Meta>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rewritten {
    #[serde(default)]
    done: bool,
    rewrite_token: Option<String>,
}

impl Inner {
    /// `scheme://host:port` of the endpoint.
    fn origin(&self) -> &str {
        let path = self.base.find("://").and_then(|at| self.base[at + 3..].find('/').map(|end| at + 3 + end));
        &self.base[..path.unwrap_or(self.base.len())]
    }

    fn host(&self) -> &str {
        self.origin().split_once("://").map_or("", |(_, host)| host)
    }

    fn base_path(&self) -> &str {
        &self.base[self.origin().len()..]
    }

    /// The object in the JSON API.
    fn object(&self, at: &Location<'_>) -> String {
        format!("{}/storage/v1/b/{}/o/{}", self.base, at.bucket, encoded(at.name))
    }

    /// The customer's key, for every call that touches content.
    fn with_key(&self, call: Call) -> Call {
        let GsEncryption::Customer(key) = &self.config.encryption else { return call };
        call.with("x-goog-encryption-algorithm", "AES256")
            .with("x-goog-encryption-key", STANDARD.encode(key))
            .with("x-goog-encryption-key-sha256", STANDARD.encode(Sha256::digest(key)))
    }

    /// Asks as who the server is; refusals are answers.
    async fn send(
        &self,
        what: &'static str,
        address: &BlockAddress,
        call: Call,
    ) -> Result<Answer, BlockError> {
        let call = match self.credentials.token(&self.http).await? {
            Some(token) => call.with("authorization", format!("Bearer {token}")),
            None => call,
        };
        self.http.send(call).await.map_err(|error| unanswered(what, address, &error))
    }

    /// The same; refusals are errors.
    async fn ask(
        &self,
        what: &'static str,
        address: &BlockAddress,
        call: Call,
    ) -> Result<Answer, BlockError> {
        let answer = self.send(what, address, call).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(Said::by(answer).await.error(what, address)) }
    }

    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        address: &BlockAddress,
        call: Call,
    ) -> Result<T, BlockError> {
        let answer = self.ask(what, address, call).await?;
        let body = answer.bytes(ANSWER).await.map_err(|error| unanswered(what, address, &error))?;
        serde_json::from_slice(&body).map_err(|error| senseless(what, error))
    }

    async fn meta(&self, address: &BlockAddress) -> Result<Meta, BlockError> {
        let at = Location::of(address)?;
        let uri = self.object(&at) + &query(&[("fields", FIELDS)]);
        self.json("head", address, self.with_key(Call::new(Method::GET, uri))).await
    }

    async fn delete_one(&self, address: &BlockAddress) -> Result<(), BlockError> {
        let at = Location::of(address)?;
        match self.ask("delete", address, Call::new(Method::DELETE, self.object(&at))).await {
            Ok(_) | Err(BlockError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Source for Inner {
    async fn open(
        &self,
        address: &BlockAddress,
        range: Option<ByteRange>,
        version: Option<&str>,
    ) -> Result<Answer, BlockError> {
        let at = Location::of(address)?;
        let mut asked = vec![("alt", "media")];
        asked.extend(version.map(|generation| ("ifGenerationMatch", generation)));
        // Objects stored compressed are taken as they are.
        let mut call =
            Call::new(Method::GET, self.object(&at) + &query(&asked)).with("accept-encoding", "gzip");
        if let Some(ByteRange { start, end }) = range {
            call = call.with("range", format!("bytes={start}-{}", end - 1));
        }
        self.ask("get", address, self.with_key(call)).await
    }

    fn version(&self, answer: &Answer) -> Option<String> {
        answer.header("x-goog-generation").map(str::to_owned)
    }

    async fn size(&self, address: &BlockAddress) -> Result<u64, BlockError> {
        Ok(self.meta(address).await?.size.parse().unwrap_or(0))
    }
}

impl GsStore {
    /// Reads the credentials; nothing is asked of the service yet.
    pub fn open(config: GsStoreConfig, sources: Sources) -> Result<Self, BlockError> {
        let http = Http::new(config.patience, sources.entropy.clone())
            .map_err(|source| BlockError::Io { what: "open", source })?;
        let base = config.endpoint.as_deref().unwrap_or(GOOGLE).trim_end_matches('/').to_owned();
        let plain = base.starts_with("http://");
        let credentials = Credentials::find(&config.credentials, plain, sources.clock.clone())?;
        Ok(Self { inner: Arc::new(Inner { http, credentials, sources, config, base }) })
    }

    /// Whether URLs can be signed: the key of a service account is here, and no customer's key must be sent along.
    fn presigns(&self) -> bool {
        !self.inner.config.disable_presign
            && self.inner.credentials.account().is_some()
            && !matches!(self.inner.config.encryption, GsEncryption::Customer(_))
    }
}

#[async_trait]
impl BlockStore for GsStore {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "gs",
            scheme: "gs",
            presign: self.presigns(),
            presign_multipart: self.presigns(),
            import: true,
            min_part_bytes: 5 << 20,
        }
    }

    async fn put(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        self.inner.upload(address, body, options).await
    }

    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        self.inner.insert_bytes(address, bytes, options.if_absent).await
    }

    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        read::read(self.inner.clone(), address, range).await
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        read::read_bytes(self.inner.clone(), address, limit).await
    }

    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        let at = Location::of(address)?;
        Ok(BlockInfo { address: address.clone(), ..self.inner.meta(address).await?.info(at.bucket) })
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        let deletions = addresses.iter().map(|address| {
            let (inner, address) = (self.inner.clone(), address.clone());
            async move { inner.delete_one(&address).await }
        });
        futures::stream::iter(deletions.collect::<Vec<_>>()).buffered(DELETIONS).collect().await
    }

    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        let (source, target) = (Location::of(from)?, Location::of(to)?);
        let uri = format!(
            "{}/rewriteTo/b/{}/o/{}",
            self.inner.object(&source),
            target.bucket,
            encoded(target.name)
        );
        let mut token: Option<String> = None;
        // Each answer has copied more of a large object.
        loop {
            let mut asked = Vec::new();
            asked.extend(token.as_deref().map(|token| ("rewriteToken", token)));
            if let GsEncryption::Kms(key) = &self.inner.config.encryption {
                asked.push(("destinationKmsKeyName", key));
            }
            let mut call = self.inner.with_key(Call::new(Method::POST, format!("{uri}{}", query(&asked))));
            if let GsEncryption::Customer(key) = &self.inner.config.encryption {
                call = call
                    .with("x-goog-copy-source-encryption-algorithm", "AES256")
                    .with("x-goog-copy-source-encryption-key", STANDARD.encode(key))
                    .with("x-goog-copy-source-encryption-key-sha256", STANDARD.encode(Sha256::digest(key)));
            }
            let rewritten: Rewritten = self.inner.json("copy", from, call).await?;
            match rewritten.rewrite_token {
                _ if rewritten.done => return Ok(()),
                Some(more) => token = Some(more),
                None => return Err(senseless("copy", "it is neither done nor to be continued")),
            }
        }
    }

    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        let at = Location::of_prefix(prefix)?;
        let after = match start_after {
            Some(after) => {
                let after = Location::of_prefix(after)?;
                if after.bucket != at.bucket {
                    let why = "it is in another bucket than the prefix";
                    return Err(BlockError::Refused { address: prefix.clone(), why });
                }
                after.name
            }
            None => "",
        };
        let fields = format!("nextPageToken,items({FIELDS})");
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        while found.len() < limit {
            // The offset is inclusive: one more is asked for.
            let amount = (limit - found.len() + 1).min(LIST_PAGE).to_string();
            let mut asked = vec![("prefix", at.name), ("maxResults", &amount), ("fields", &fields)];
            if !after.is_empty() {
                asked.push(("startOffset", after));
            }
            asked.extend(token.as_deref().map(|token| ("pageToken", token)));
            let uri = format!("{}/storage/v1/b/{}/o{}", self.inner.base, at.bucket, query(&asked));
            let page: Page = self.inner.json("list", prefix, Call::new(Method::GET, uri)).await?;
            found.extend(
                page.items.iter().filter(|meta| meta.name.as_str() > after).map(|meta| meta.info(at.bucket)),
            );
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError> {
        self.inner.begin_parts(address).await
    }

    async fn put_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        self.inner.upload_part(address, upload, number, body, size).await
    }

    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        let completed = self.inner.join_parts(address, upload, parts).await;
        or_completed_before(self, address, completed).await
    }

    async fn abort_multipart(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        self.inner.abort_parts(address, upload).await
    }

    async fn waiting_uploads(
        &self,
        prefix: &BlockAddress,
        begun_before_secs: i64,
        limit: usize,
    ) -> Result<Vec<WaitingUpload>, BlockError> {
        self.inner.waiting(prefix, begun_before_secs, limit).await
    }

    async fn presign_get(
        &self,
        address: &BlockAddress,
        wanted: &PresignedGet,
        life: Duration,
    ) -> Result<String, BlockError> {
        let mut parameters = Vec::new();
        parameters.extend(wanted.disposition.as_deref().map(|value| ("response-content-disposition", value)));
        parameters.extend(wanted.content_type.as_deref().map(|value| ("response-content-type", value)));
        self.signed("GET", address, &parameters, life)
    }

    async fn presign_put(&self, address: &BlockAddress, life: Duration) -> Result<String, BlockError> {
        self.signed("PUT", address, &[], life)
    }

    async fn presign_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        life: Duration,
    ) -> Result<String, BlockError> {
        self.signed("PUT", address, &[("partNumber", &number.to_string()), ("uploadId", upload)], life)
    }

    async fn close(&self) -> Result<(), BlockError> {
        Ok(())
    }
}
