//! Amazon S3 and what speaks its protocol.
//!
//! Bytes stream through in both directions. A body whose length is announced becomes one `PutObject` as it arrives; one
//! of unknown length is sent in parts of 8 MiB and more ([`upload`]). S3 shows an object only when it has all of it, so a
//! body that breaks off leaves nothing visible, and a part upload that is given up is aborted. Reads that break off are
//! taken up again where they stopped ([`read`]).
//!
//! Durability is S3's own promise: a success answer of a put or a completion. `if_absent` is `If-None-Match: *`, which
//! S3 decides atomically; a compatible store that ignores the header cannot hold the catalog's marker invariant and is
//! not supported.
//!
//! Every call has a time limit for connecting and for the first byte of its answer; bodies must keep moving. Calls that
//! can be repeated are, with jitter.

mod errors;
mod location;
mod presign;
mod read;
mod upload;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    retry::RetryConfig,
};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ServerSideEncryption};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use lakebed_core::Entropy;
use parking_lot::Mutex;

use self::errors::{Answer, failed};
use self::location::Location;
use crate::remote::client::Patience;
use crate::remote::errors::or_completed_before;
use crate::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, PresignedGet, PutOptions,
    Sources, StoreInfo, Stored, StoredPart, WaitingUpload,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What S3 deletes by one call.
const DELETE_BATCH: usize = 1000;
/// Buckets whose region is remembered.
const REGIONS: usize = 1024;

/// How the store is reached (`blockstore.s3.*`, `operations.md` 2.7).
#[derive(Clone, Debug, Default)]
pub struct S3StoreConfig {
    /// The region of buckets whose own is not asked for or not told.
    pub region: Option<String>,
    /// A profile of the shared configuration.
    pub profile: Option<String>,
    /// The file with the shared credentials.
    pub credentials_file: Option<PathBuf>,
    /// Access key, secret and, for temporary ones, session token; otherwise the usual chain of sources is asked.
    pub credentials: Option<S3Credentials>,
    /// Another server than Amazon's.
    pub endpoint: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    /// Ask each bucket for its region.
    pub discover_region: bool,
    /// The server-side encryption asked for with every object, such as `aws:kms`.
    pub encryption: Option<String>,
    /// Its key.
    pub encryption_key: Option<String>,
    /// The server that presigned URLs name, if it is another one for clients.
    pub presign_endpoint: Option<String>,
    /// No presigned URLs.
    pub disable_presign: bool,
    /// No presigned URLs of parts.
    pub disable_presign_parts: bool,
    /// Time limits and repetitions.
    pub patience: Patience,
}

/// A key pair that is configured as such.
#[derive(Clone)]
pub struct S3Credentials {
    /// The public part.
    pub access_key: String,
    /// The secret part; never shown.
    pub secret_key: String,
    /// For temporary credentials.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Objects in the buckets of an S3 service. Scheme `s3`.
pub struct S3Store {
    /// For the configured region; the others are made of its configuration.
    client: Client,
    /// By bucket, where regions are asked for.
    clients: Mutex<HashMap<String, Client>>,
    config: S3StoreConfig,
    entropy: Arc<dyn Entropy>,
}

impl S3Store {
    /// Finds credentials and region; nothing is asked of the service yet.
    pub async fn open(config: S3StoreConfig, sources: Sources) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        // From the begin of a request to the first byte of its answer; bodies that pass are watched by themselves.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(config.patience.timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(config.patience.attempts.max(1)));
        if let Some(file) = &config.credentials_file {
            loader = loader.profile_files(
                EnvConfigFiles::builder()
                    .with_file(EnvConfigFileKind::Credentials, file)
                    .include_default_config_file(true)
                    .build(),
            );
        }
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        let mut in_profile = ProfileFileRegionProvider::builder();
        if let Some(profile) = &config.profile {
            in_profile = in_profile.profile_name(profile);
        }
        let region = RegionProviderChain::first_try(config.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(in_profile.build())
            .or_else(Region::from_static("us-east-1"));
        loader = loader.region(region);
        if let Some(endpoint) = &config.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(S3Credentials { access_key, secret_key, session_token }) = &config.credentials {
            let credentials =
                Credentials::new(access_key, secret_key, session_token.clone(), None, "configuration");
            loader = loader.credentials_provider(credentials);
        }
        let shared = loader.load().await;
        let builder = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(config.path_style)
            // Other servers than Amazon's may not know checksums they did not ask for; the catalog keeps its own.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        Self {
            client: Client::from_conf(builder.build()),
            clients: Mutex::default(),
            config,
            entropy: sources.entropy,
        }
    }

    /// What the service says of an object without its bytes.
    async fn head_object(&self, address: &BlockAddress) -> Result<HeadObjectOutput, BlockError> {
        let (client, at) = self.at(address).await?;
        let answer = client.head_object().bucket(at.bucket).key(at.key).send().await;
        answer.map_err(|error| failed("head", address, &error))
    }

    /// The client for a bucket's region.
    async fn client(&self, bucket: &str) -> Client {
        if !self.config.discover_region {
            return self.client.clone();
        }
        if let Some(client) = self.clients.lock().get(bucket) {
            return client.clone();
        }
        // The answer names the region even where it refuses; a store that does not name it has one only.
        let region = match self.client.head_bucket().bucket(bucket).send().await {
            Ok(answer) => answer.bucket_region().map(str::to_owned),
            Err(error) => error
                .raw_response()
                .and_then(|raw| raw.headers().get("x-amz-bucket-region"))
                .map(str::to_owned),
        };
        let client = match region {
            Some(region) if self.client.config().region().map(Region::as_ref) != Some(&region) => {
                let config = self.client.config().to_builder().region(Region::new(region)).build();
                Client::from_conf(config)
            }
            _ => self.client.clone(),
        };
        let mut clients = self.clients.lock();
        if clients.len() >= REGIONS {
            clients.clear();
        }
        clients.insert(bucket.to_owned(), client.clone());
        client
    }

    async fn at<'a>(&self, address: &'a BlockAddress) -> Result<(Client, Location<'a>), BlockError> {
        let location = Location::of(address)?;
        Ok((self.client(location.bucket).await, location))
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        self.config.encryption.as_deref().map(ServerSideEncryption::from)
    }

    fn encryption_key(&self) -> Option<String> {
        self.config.encryption_key.clone()
    }
}

#[async_trait]
impl BlockStore for S3Store {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "s3",
            scheme: "s3",
            presign: !self.config.disable_presign,
            presign_multipart: !self.config.disable_presign && !self.config.disable_presign_parts,
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
        self.upload(address, body, options).await
    }

    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        self.upload_bytes(address, bytes, options.if_absent).await
    }

    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        self.read(address, range).await
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        let (client, at) = self.at(address).await?;
        let answer = client
            .get_object()
            .bucket(at.bucket)
            .key(at.key)
            .send()
            .await
            .map_err(|error| failed("get", address, &error))?;
        if answer.content_length().is_none_or(|length| length > limit as i64) {
            let why = "the object is larger than expected";
            return Err(BlockError::Refused { address: address.clone(), why });
        }
        let bytes = answer
            .body
            .collect()
            .await
            .map_err(|error| BlockError::Unavailable { what: "get", why: error.to_string() })?;
        Ok(bytes.into_bytes())
    }

    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        let answer = self.head_object(address).await?;
        Ok(BlockInfo {
            address: address.clone(),
            size: answer.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
            mtime_secs: answer.last_modified().map_or(0, aws_sdk_s3::primitives::DateTime::secs),
            etag: answer.e_tag().map(|tag| tag.trim_matches('"').to_owned()),
        })
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        let mut results: Vec<Result<(), BlockError>> = Vec::with_capacity(addresses.len());
        let mut by_bucket: HashMap<&str, Vec<(usize, &str)>> = HashMap::new();
        for (index, address) in addresses.iter().enumerate() {
            results.push(Location::of(address).map(|at| {
                by_bucket.entry(at.bucket).or_default().push((index, at.key));
            }));
        }
        for (bucket, keys) in by_bucket {
            let client = self.client(bucket).await;
            for batch in keys.chunks(DELETE_BATCH) {
                self.delete_batch(&client, bucket, batch, addresses, &mut results).await;
            }
        }
        results
    }

    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        self.copy_object(from, to).await
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
                Some(after.key.to_owned()).filter(|key| !key.is_empty())
            }
            None => None,
        };
        let client = self.client(at.bucket).await;
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        while found.len() < limit {
            let answer = client
                .list_objects_v2()
                .bucket(at.bucket)
                .prefix(at.key)
                .set_start_after(after.clone())
                .max_keys((limit - found.len()).min(1000) as i32)
                .set_continuation_token(token.take())
                .send()
                .await
                .map_err(|error| failed("list", prefix, &error))?;
            for object in answer.contents() {
                let Some(key) = object.key() else { continue };
                found.push(BlockInfo {
                    address: BlockAddress::new(format!("s3://{}/{key}", at.bucket)),
                    size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    mtime_secs: object.last_modified().map_or(0, aws_sdk_s3::primitives::DateTime::secs),
                    etag: object.e_tag().map(|tag| tag.trim_matches('"').to_owned()),
                });
            }
            token = answer.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError> {
        let (client, at) = self.at(address).await?;
        self.begin_parts(&client, &at, address).await
    }

    async fn put_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        self.upload_part(address, upload, number, body, size).await
    }

    async fn copy_part(
        &self,
        from: &BlockAddress,
        range: ByteRange,
        address: &BlockAddress,
        upload: &str,
        number: u32,
    ) -> Result<String, BlockError> {
        let (client, at) = self.at(address).await?;
        self.copy_into_part(&client, &at, from, range, upload, number).await
    }

    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        let (client, at) = self.at(address).await?;
        let completed = self.join_parts(&client, &at, address, upload, parts, false).await;
        or_completed_before(self, address, completed).await
    }

    async fn abort_multipart(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        let (client, at) = self.at(address).await?;
        client
            .abort_multipart_upload()
            .bucket(at.bucket)
            .key(at.key)
            .upload_id(upload)
            .send()
            .await
            .map_err(|error| errors::of_upload("abort upload", address, upload, &error))?;
        Ok(())
    }

    async fn waiting_uploads(
        &self,
        prefix: &BlockAddress,
        begun_before_secs: i64,
        limit: usize,
    ) -> Result<Vec<WaitingUpload>, BlockError> {
        let at = Location::of_prefix(prefix)?;
        let client = self.client(at.bucket).await;
        let mut found = Vec::new();
        let (mut key, mut upload) = (None, None);
        loop {
            let answer = client
                .list_multipart_uploads()
                .bucket(at.bucket)
                .prefix(at.key)
                .set_key_marker(key.take())
                .set_upload_id_marker(upload.take())
                .send()
                .await
                .map_err(|error| failed("list uploads", prefix, &error))?;
            for one in answer.uploads() {
                let (Some(key), Some(upload), Some(begun)) = (one.key(), one.upload_id(), one.initiated())
                else {
                    continue;
                };
                // Not every service filters by prefix.
                if found.len() < limit && key.starts_with(at.key) && begun.secs() < begun_before_secs {
                    let address = BlockAddress::new(format!("s3://{}/{key}", at.bucket));
                    let (upload, begun_secs) = (upload.to_owned(), begun.secs());
                    found.push(WaitingUpload { address, upload, begun_secs });
                }
            }
            key = answer.next_key_marker().filter(|_| answer.is_truncated() == Some(true)).map(str::to_owned);
            upload = answer.next_upload_id_marker().map(str::to_owned);
            if found.len() >= limit || key.is_none() {
                return Ok(found);
            }
        }
    }

    async fn presign_get(
        &self,
        address: &BlockAddress,
        wanted: &PresignedGet,
        life: Duration,
    ) -> Result<String, BlockError> {
        self.sign_get(address, wanted, life).await
    }

    async fn presign_put(&self, address: &BlockAddress, life: Duration) -> Result<String, BlockError> {
        self.sign_put(address, life).await
    }

    async fn presign_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        life: Duration,
    ) -> Result<String, BlockError> {
        self.sign_part(address, upload, number, life).await
    }

    async fn close(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

impl S3Store {
    /// One call's worth of deletions; each failure goes to its address.
    async fn delete_batch(
        &self,
        client: &Client,
        bucket: &str,
        batch: &[(usize, &str)],
        addresses: &[BlockAddress],
        results: &mut [Result<(), BlockError>],
    ) {
        let mut objects = Vec::with_capacity(batch.len());
        for (index, key) in batch {
            match ObjectIdentifier::builder().key(*key).build() {
                Ok(object) => objects.push(object),
                Err(error) => results[*index] = Err(errors::unbuilt("delete", &error)),
            }
        }
        let delete = match Delete::builder().set_objects(Some(objects)).quiet(true).build() {
            Ok(delete) => delete,
            Err(error) => {
                for (index, _) in batch {
                    results[*index] = Err(errors::unbuilt("delete", &error));
                }
                return;
            }
        };
        match client.delete_objects().bucket(bucket).delete(delete).send().await {
            Ok(answer) => {
                for error in answer.errors() {
                    if error.code() == Some("NoSuchKey") {
                        continue;
                    }
                    let said = Answer { code: error.code(), message: error.message() };
                    if let Some((index, _)) = batch.iter().find(|(_, key)| Some(*key) == error.key()) {
                        results[*index] = Err(said.error("delete", &addresses[*index]));
                    }
                }
            }
            Err(error) => {
                // One failure for all.
                for (index, _) in batch {
                    results[*index] = Err(failed("delete", &addresses[*index], &error));
                }
            }
        }
    }
}
