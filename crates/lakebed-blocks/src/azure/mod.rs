//! Azure Blob Storage: block blobs, through its REST API.
//!
//! A body whose length is announced becomes one request as it arrives; one of unknown length is sent in blocks, and the
//! list of them makes the blob ([`upload`]). The service shows a blob only when it has all of it, and discards blocks that
//! are named by no list after a week. It tells the MD5 of what it keeps, and a put whose bytes came out different fails.
//!
//! Durability is the service's own promise: a success answer of a put or of a list of blocks. `if_absent` is
//! `If-None-Match: *`, which it decides atomically.
//!
//! Addresses are `https://<account>.<domain>/<container>/<blob>`, whatever endpoint is asked for them.

mod errors;
mod identity;
mod location;
mod sign;
mod upload;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use quick_cache::sync::Cache;

use self::errors::Said;
use self::identity::Identity;
use self::location::Location;
use crate::remote::Sources;
use crate::remote::client::{Answer, Call, Http, Patience, Sent};
use crate::remote::errors::{or_completed_before, senseless, unanswered};
use crate::remote::names::{encoded_path, query};
use crate::remote::read::{self, Source};
use crate::remote::xml::Element;
use crate::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, PresignedGet, PutOptions,
    StoreInfo, Stored, StoredPart,
};

/// The version of the REST API that is spoken.
const API_VERSION: &str = "2021-12-02";
/// What the service lists by one call.
const LIST_PAGE: usize = 5000;
/// Deletions at once.
const DELETIONS: usize = 16;
/// The longest answer that is not a blob.
const ANSWER: usize = 32 << 20;
/// Ends of pages whose continuation is remembered.
const MARKERS: usize = 1024;
/// How often a copy that takes its time is asked for, and how long at most.
const COPY_POLL: Duration = Duration::from_secs(1);
const COPY_POLLS: u32 = 3600;

/// How the store is reached (`blockstore.azure.*`, `operations.md` 2.7).
#[derive(Clone, Default)]
pub struct AzureStoreConfig {
    /// The account the key or the shared access signature is of.
    pub account: Option<String>,
    /// The account's key, decoded; never shown.
    pub key: Option<Vec<u8>>,
    /// A shared access signature instead of a key, without `?`; never shown.
    pub sas: Option<String>,
    /// Where accounts are: `blob.core.windows.net` unless set.
    pub domain: Option<String>,
    /// Another server than Azure's, such as an emulator: what stands before the container in URLs.
    pub endpoint: Option<String>,
    /// No presigned URLs.
    pub disable_presign: bool,
    /// Time limits and repetitions.
    pub patience: Patience,
}

impl std::fmt::Debug for AzureStoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AzureStoreConfig")
            .field("account", &self.account)
            .field("domain", &self.domain)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The key of an account.
struct SharedKey {
    account: String,
    key: Vec<u8>,
}

/// Blobs in the containers of storage accounts. Scheme `https`.
pub struct AzureStore {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    key: Option<SharedKey>,
    identity: Identity,
    sources: Sources,
    config: AzureStoreConfig,
    domain: String,
    /// Without a slash at its end.
    endpoint: Option<String>,
    /// Where a list goes on after a blob: the service continues by marker only. By prefix and blob.
    markers: Cache<(String, String), String>,
}

/// A request for a blob or, without a name, its container.
struct Asked<'a> {
    method: Method,
    at: Location<'a>,
    query: Vec<(&'a str, &'a str)>,
    headers: Vec<(&'static str, String)>,
    body: Sent,
}

impl<'a> Asked<'a> {
    fn new(method: Method, at: Location<'a>) -> Self {
        Self { method, at, query: Vec::new(), headers: Vec::new(), body: Sent::Bytes(Bytes::new()) }
    }

    fn about(mut self, query: &[(&'a str, &'a str)]) -> Self {
        self.query.extend_from_slice(query);
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Inner {
    fn at<'a>(&self, address: &'a BlockAddress) -> Result<Location<'a>, BlockError> {
        Location::of(address, &self.domain)
    }

    /// `https://host` and the path of a blob in it.
    fn url(&self, at: &Location<'_>) -> (String, String) {
        let base = self.endpoint.clone().unwrap_or_else(|| format!("https://{}", at.host));
        let from = base.find("://").map_or(0, |at| at + 3);
        let path = base[from..].find('/').map_or(base.len(), |at| from + at);
        let (origin, before) = base.split_at(path);
        let path = match at.name {
            "" => format!("{before}/{}", at.container),
            name => format!("{before}/{}/{}", at.container, encoded_path(name)),
        };
        (origin.to_owned(), path)
    }

    /// The key, if it is of this account.
    fn key_of(&self, at: &Location<'_>) -> Option<&SharedKey> {
        self.key.as_ref().filter(|key| key.account == at.account)
    }

    /// Asks as who the server is; refusals are answers.
    async fn send(
        &self,
        what: &'static str,
        address: &BlockAddress,
        asked: Asked<'_>,
    ) -> Result<Answer, BlockError> {
        let (origin, path) = self.url(&asked.at);
        let now = UNIX_EPOCH + Duration::from_millis(self.sources.clock.now().millis().max(0) as u64);
        let mut call = Call::new(asked.method, format!("{origin}{path}{}", query(&asked.query)))
            .with("x-ms-version", API_VERSION)
            .with("x-ms-date", httpdate::fmt_http_date(now))
            .with_body(asked.body);
        for (name, value) in &asked.headers {
            call = call.with(name, value);
        }
        if let Some(key) = self.key_of(&asked.at) {
            let shown = key.authorization(&call.method, &path, &asked.query, &call.headers, call.length());
            call = call.with("authorization", shown);
        } else if let Some(sas) = &self.config.sas {
            call.uri.push(if asked.query.is_empty() { '?' } else { '&' });
            call.uri.push_str(sas);
        } else {
            let token = self.identity.token(&self.http).await?;
            call = call.with("authorization", format!("Bearer {token}"));
        }
        self.http.send(call).await.map_err(|error| unanswered(what, address, &error))
    }

    /// The same; refusals are errors.
    async fn ask(
        &self,
        what: &'static str,
        address: &BlockAddress,
        asked: Asked<'_>,
    ) -> Result<Answer, BlockError> {
        let answer = self.send(what, address, asked).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(Said::by(answer).await.error(what, address)) }
    }

    async fn xml(
        &self,
        what: &'static str,
        address: &BlockAddress,
        asked: Asked<'_>,
    ) -> Result<Element, BlockError> {
        let answer = self.ask(what, address, asked).await?;
        let body = answer.bytes(ANSWER).await.map_err(|error| unanswered(what, address, &error))?;
        Element::parse(&body).map_err(|error| senseless(what, error))
    }

    async fn properties(&self, address: &BlockAddress) -> Result<Answer, BlockError> {
        self.ask("head", address, Asked::new(Method::HEAD, self.at(address)?)).await
    }

    async fn delete_one(&self, address: &BlockAddress) -> Result<(), BlockError> {
        let asked = Asked::new(Method::DELETE, self.at(address)?).with("x-ms-delete-snapshots", "include");
        match self.ask("delete", address, asked).await {
            Ok(_) | Err(BlockError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        let source = self.at(from)?;
        let (origin, path) = self.url(&source);
        let mut url = format!("{origin}{path}");
        if let Some(sas) = &self.config.sas {
            url = format!("{url}?{sas}");
        } else if let Some(key) = self.key_of(&source) {
            let now = self.sources.clock.now();
            let life = COPY_POLL * COPY_POLLS;
            let sas = key.sas(&source, "r", &PresignedGet::default(), now, life, origin.starts_with("https"));
            url = format!("{url}?{sas}");
        }
        let asked = Asked::new(Method::PUT, self.at(to)?).with("x-ms-copy-source", url);
        let mut answer = self.ask("copy", from, asked).await?;
        for _ in 0..COPY_POLLS {
            match answer.header("x-ms-copy-status") {
                Some("pending") => {}
                Some("success") | None => return Ok(()),
                Some(other) => {
                    let why = format!("copy of {from} to {to}: {other}");
                    self.delete_one(to).await?;
                    return Err(BlockError::Io { what: "copy", source: std::io::Error::other(why) });
                }
            }
            tokio::time::sleep(COPY_POLL).await;
            answer = self.properties(to).await?;
        }
        Err(BlockError::Unavailable { what: "copy", why: format!("the copy of {from} does not end") })
    }

    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        let at = Location::of_prefix(prefix, &self.domain)?;
        let after = match start_after {
            Some(after) => {
                let after = Location::of_prefix(after, &self.domain)?;
                if (after.host, after.container) != (at.host, at.container) {
                    let why = "it is in another container than the prefix";
                    return Err(BlockError::Refused { address: prefix.clone(), why });
                }
                after.name
            }
            None => "",
        };
        let place = format!("{}/{}", at.host, at.container);
        let key = |name: &str| (prefix.as_str().to_owned(), name.to_owned());
        // Without a marker what comes before is listed too, and passed over.
        let known = self.markers.get(&key(after)).filter(|_| !after.is_empty());
        let skipping = known.is_none() && !after.is_empty();
        let mut marker = known.unwrap_or_default();
        let mut found: Vec<BlockInfo> = Vec::new();
        let mut page_of_last = marker.clone();
        while found.len() < limit {
            let amount = if skipping { LIST_PAGE } else { (limit - found.len() + 1).min(LIST_PAGE) };
            let amount = amount.to_string();
            let asked = Asked::new(Method::GET, Location { name: "", ..at }).about(&[
                ("restype", "container"),
                ("comp", "list"),
                ("maxresults", &amount),
                ("prefix", at.name),
                ("marker", &marker),
            ]);
            let page = self.xml("list", prefix, asked).await?;
            for blob in page.child("Blobs").map(|blobs| blobs.children.as_slice()).unwrap_or_default() {
                let Some(info) = listed(blob, &place).filter(|(name, _)| *name > after) else { continue };
                if found.len() < limit {
                    found.push(info.1);
                    page_of_last.clone_from(&marker);
                }
            }
            page.text_of("NextMarker").unwrap_or_default().clone_into(&mut marker);
            if marker.is_empty() {
                break;
            }
        }
        if let Some(last) = found.last()
            && let Some(name) = last.address.as_str().strip_prefix(&format!("https://{place}/"))
        {
            self.markers.insert(key(name), page_of_last);
        }
        Ok(found)
    }
}

/// A blob of a list, with its name; directories of a hierarchical namespace are none.
fn listed<'a>(blob: &'a Element, place: &str) -> Option<(&'a str, BlockInfo)> {
    let name = blob.text_of("Name").filter(|_| blob.name == "Blob")?;
    let properties = blob.child("Properties")?;
    if properties.text_of("ResourceType") == Some("directory") {
        return None;
    }
    let text = |name| properties.text_of(name).filter(|text| !text.is_empty());
    let info = BlockInfo {
        address: BlockAddress::new(format!("https://{place}/{name}")),
        size: text("Content-Length").and_then(|size| size.parse().ok()).unwrap_or(0),
        mtime_secs: text("Last-Modified").map_or(0, seconds),
        etag: tag(text("Content-MD5"), text("Etag")),
    };
    Some((name, info))
}

/// The MD5 as hex digits where the service has it - it has none of what was sent in blocks -, else its own tag.
fn tag(md5: Option<&str>, etag: Option<&str>) -> Option<String> {
    let md5 = md5.and_then(|md5| STANDARD.decode(md5).ok()).filter(|md5| md5.len() == 16);
    match md5 {
        Some(md5) => Some(hex::encode(md5)),
        None => etag.map(|tag| tag.trim_matches('"').to_owned()),
    }
}

fn seconds(date: &str) -> i64 {
    let time = httpdate::parse_http_date(date).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs() as i64)
}

#[async_trait]
impl Source for Inner {
    async fn open(
        &self,
        address: &BlockAddress,
        range: Option<ByteRange>,
        version: Option<&str>,
    ) -> Result<Answer, BlockError> {
        let mut asked = Asked::new(Method::GET, self.at(address)?);
        if let Some(ByteRange { start, end }) = range {
            asked = asked.with("x-ms-range", format!("bytes={start}-{}", end - 1));
        }
        if let Some(version) = version {
            asked = asked.with("if-match", version);
        }
        self.ask("get", address, asked).await
    }

    fn version(&self, answer: &Answer) -> Option<String> {
        answer.header("etag").map(str::to_owned)
    }

    async fn size(&self, address: &BlockAddress) -> Result<u64, BlockError> {
        let answer = self.properties(address).await?;
        Ok(answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0))
    }
}

impl AzureStore {
    /// Takes the configuration and looks into the environment; nothing is asked of the service yet.
    pub fn open(config: AzureStoreConfig, sources: Sources) -> Result<Self, BlockError> {
        let http = Http::new(config.patience, sources.entropy.clone())
            .map_err(|source| BlockError::Io { what: "open", source })?;
        let key = match (&config.account, &config.key) {
            (Some(account), Some(key)) => Some(SharedKey { account: account.clone(), key: key.clone() }),
            _ => None,
        };
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let identity = Identity::find(variable, sources.clock.clone());
        let domain = config.domain.clone().unwrap_or_else(|| "blob.core.windows.net".to_owned());
        let endpoint = config.endpoint.as_ref().map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        let markers = Cache::new(MARKERS);
        Ok(Self {
            inner: Arc::new(Inner { http, key, identity, sources, config, domain, endpoint, markers }),
        })
    }

    fn presigns(&self) -> bool {
        !self.inner.config.disable_presign && self.inner.key.is_some()
    }

    fn signed(
        &self,
        address: &BlockAddress,
        permissions: &str,
        wanted: &PresignedGet,
        life: Duration,
    ) -> Result<String, BlockError> {
        let at = self.inner.at(address)?;
        let key = self.inner.key_of(&at).filter(|_| self.presigns());
        let key = key.ok_or(BlockError::Unsupported("presigned URLs without the key of the account"))?;
        let (origin, path) = self.inner.url(&at);
        let now = self.inner.sources.clock.now();
        let sas = key.sas(&at, permissions, wanted, now, life, origin.starts_with("https"));
        Ok(format!("{origin}{path}?{sas}"))
    }
}

#[async_trait]
impl BlockStore for AzureStore {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "azure",
            scheme: "https",
            presign: self.presigns(),
            // A block that is put answers with no tag, which clients would have to name.
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
        self.inner.upload(address, body, options).await
    }

    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        self.inner.put_blob(address, Sent::Bytes(bytes), options.if_absent).await.map(drop)
    }

    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        read::read(self.inner.clone(), address, range).await
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        read::read_bytes(self.inner.clone(), address, limit).await
    }

    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        let answer = self.inner.properties(address).await?;
        Ok(BlockInfo {
            address: address.clone(),
            size: answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0),
            mtime_secs: answer.header("last-modified").map_or(0, seconds),
            etag: tag(answer.header("content-md5"), answer.header("etag")),
        })
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        let deletions = addresses.iter().map(|address| {
            let (inner, address) = (self.inner.clone(), address.clone());
            async move { inner.delete_one(&address).await }
        });
        futures::stream::iter(deletions.collect::<Vec<_>>()).buffered(DELETIONS).collect().await
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

    async fn presign_get(
        &self,
        address: &BlockAddress,
        wanted: &PresignedGet,
        life: Duration,
    ) -> Result<String, BlockError> {
        self.signed(address, "r", wanted, life)
    }

    async fn presign_put(&self, address: &BlockAddress, life: Duration) -> Result<String, BlockError> {
        self.signed(address, "cw", &PresignedGet::default(), life)
    }

    async fn close(&self) -> Result<(), BlockError> {
        Ok(())
    }
}
