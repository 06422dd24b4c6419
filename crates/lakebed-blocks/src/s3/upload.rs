//! Objects on their way in: whole, in parts, and copied inside the service.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Config, StalledStreamProtectionConfig};
use aws_sdk_s3::primitives::{ByteStream as SdkStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::S3Store;
use super::errors::{failed, of_upload};
use super::location::Location;
use crate::remote::announced::{Announced, announced};
use crate::remote::parts::{PART, Parts, SMALL, part_size, unannounced};
use crate::{BlockAddress, BlockError, BlockStore, ByteRange, ByteStream, PutOptions, Stored, StoredPart};

/// The most that one `PutObject`, `UploadPart` or `CopyObject` takes.
const SINGLE: u64 = 5 << 30;
/// Parts of a large copy.
const COPY_PART: u64 = 1 << 30;
/// The metadata of an object that says which conditional write made it.
const WORD: &str = "lakebed-write";
/// How long giving an upload up may take.
const ABORT_TIMEOUT: Duration = Duration::from_secs(30);

/// Aborts an upload that is not completed, also when its request is dropped. What is left of it all the same, after a
/// crash, is found by [`BlockStore::waiting_uploads`].
struct Unfinished {
    client: Client,
    bucket: String,
    key: String,
    upload: Option<String>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let call =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(upload).send();
        runtime.spawn(async move {
            if !matches!(tokio::time::timeout(ABORT_TIMEOUT, call).await, Ok(Ok(_))) {
                tracing::warn!("an unfinished upload could not be aborted: it is aborted when it is old");
            }
        });
    }
}

impl S3Store {
    pub(super) async fn upload(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        match options.size_hint {
            Some(size) if SMALL < size && size <= SINGLE => {
                self.upload_streaming(address, body, size, options.if_absent).await
            }
            _ => self.upload_in_parts(address, body, options.if_absent).await,
        }
    }

    pub(super) async fn upload_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        if_absent: bool,
    ) -> Result<(), BlockError> {
        if !if_absent {
            return self.put_object(address, SdkStream::from(bytes), None, false, None).await;
        }
        // The client repeats what may have happened, and is then told that there is something: its own write, perhaps. A
        // word of this call alone, kept with the object, says whose it is.
        let word = format!("{:016x}{:016x}", self.entropy.next_u64(), self.entropy.next_u64());
        match self.put_object(address, SdkStream::from(bytes), None, true, Some(&word)).await {
            Err(BlockError::Exists(_)) => match self.word_of(address).await {
                Ok(Some(found)) if found == word => Ok(()),
                Ok(_) => Err(BlockError::Exists(address.clone())),
                // A conflict with another write that did not come about.
                Err(BlockError::NotFound(_)) => Err(BlockError::Unavailable {
                    what: "put",
                    why: format!("another write to {address} was under way, and ended without an object"),
                }),
                Err(error) => Err(error),
            },
            result => result,
        }
    }

    /// The word that a conditional write left with an object.
    async fn word_of(&self, address: &BlockAddress) -> Result<Option<String>, BlockError> {
        let answer = self.head_object(address).await?;
        Ok(answer.metadata().and_then(|metadata| metadata.get(WORD)).cloned())
    }

    async fn put_object(
        &self,
        address: &BlockAddress,
        body: SdkStream,
        size: Option<u64>,
        if_absent: bool,
        word: Option<&str>,
    ) -> Result<(), BlockError> {
        let (client, at) = self.at(address).await?;
        client
            .put_object()
            .bucket(at.bucket)
            .key(at.key)
            .body(body)
            .set_content_length(size.map(|size| size as i64))
            .set_if_none_match(if_absent.then(|| "*".to_owned()))
            .set_metadata(word.map(|word| HashMap::from([(WORD.to_owned(), word.to_owned())])))
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.encryption_key())
            .customize()
            .config_override(patient(size.is_some()))
            .send()
            .await
            .map(drop)
            .map_err(|error| failed("put", address, &error))
    }

    /// As it arrives: it cannot be repeated, so a failure goes to the client.
    async fn upload_streaming(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        size: u64,
        if_absent: bool,
    ) -> Result<Stored, BlockError> {
        let (body, outcome) = announced(body, size);
        let call = self.put_object(address, as_sent(body), Some(size), if_absent, None);
        let mut call = outcome.watch(address, self.config.patience.timeout, call).await;
        if if_absent && outcome.is_cut_off(&call) && self.head(address).await.is_ok() {
            call = Err(BlockError::Exists(address.clone()));
        }
        outcome.of(call).map(|((), stored)| stored)
    }

    /// A small body, one of unknown length, or one too large for a single call.
    async fn upload_in_parts(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        if_absent: bool,
    ) -> Result<Stored, BlockError> {
        let mut body = Parts::of(body);
        let first = body.next(PART).await?;
        if first.len() < PART {
            self.upload_bytes(address, first, if_absent).await?;
            return Ok(body.stored());
        }
        let (client, at) = self.at(address).await?;
        let upload = self.begin_parts(&client, &at, address).await?;
        let mut unfinished = Unfinished {
            client: client.clone(),
            bucket: at.bucket.to_owned(),
            key: at.key.to_owned(),
            upload: Some(upload.clone()),
        };
        let (mut parts, mut part) = (Vec::new(), first);
        while !part.is_empty() {
            let number = parts.len() as u32 + 1;
            let length = part.len() as u64;
            // The next part is read while this one is on its way.
            let (sent, next) = tokio::join!(
                self.send_part(&client, &at, address, &upload, number, SdkStream::from(part), length),
                body.next(part_size(number)),
            );
            parts.push(StoredPart { number, tag: sent?, size: length });
            part = next?;
        }
        self.join_parts(&client, &at, address, &upload, &parts, if_absent).await?;
        unfinished.upload = None;
        Ok(body.stored())
    }

    pub(super) async fn begin_parts(
        &self,
        client: &Client,
        at: &Location<'_>,
        address: &BlockAddress,
    ) -> Result<String, BlockError> {
        let answer = client
            .create_multipart_upload()
            .bucket(at.bucket)
            .key(at.key)
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.encryption_key())
            .send()
            .await
            .map_err(|error| failed("begin upload", address, &error))?;
        answer.upload_id.ok_or_else(|| BlockError::Io {
            what: "begin upload",
            source: std::io::Error::other("the store named no upload"),
        })
    }

    #[expect(clippy::too_many_arguments, reason = "one call's parameters")]
    async fn send_part(
        &self,
        client: &Client,
        at: &Location<'_>,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: SdkStream,
        size: u64,
    ) -> Result<String, BlockError> {
        let passing = body.bytes().is_none();
        let answer = client
            .upload_part()
            .bucket(at.bucket)
            .key(at.key)
            .upload_id(upload)
            .part_number(number as i32)
            .content_length(size as i64)
            .body(body)
            .customize()
            .config_override(patient(passing))
            .send()
            .await
            .map_err(|error| of_upload("put part", address, upload, &error))?;
        answer.e_tag.ok_or_else(|| BlockError::Io {
            what: "put part",
            source: std::io::Error::other("the store gave the part no tag"),
        })
    }

    pub(super) async fn upload_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        let (client, at) = self.at(address).await?;
        match size {
            Some(size) if SMALL < size && size <= SINGLE => {
                let (body, outcome) = announced(body, size);
                let call = self.send_part(&client, &at, address, upload, number, as_sent(body), size);
                let call = outcome.watch(address, self.config.patience.timeout, call).await;
                outcome.of(call).map(|(tag, stored)| (stored, tag))
            }
            _ => {
                let (part, stored) = unannounced(body).await?;
                let body = SdkStream::from(part);
                let tag = self.send_part(&client, &at, address, upload, number, body, stored.size).await?;
                Ok((stored, tag))
            }
        }
    }

    pub(super) async fn join_parts(
        &self,
        client: &Client,
        at: &Location<'_>,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
        if_absent: bool,
    ) -> Result<(), BlockError> {
        let parts = parts
            .iter()
            .map(|part| CompletedPart::builder().part_number(part.number as i32).e_tag(&part.tag).build())
            .collect();
        client
            .complete_multipart_upload()
            .bucket(at.bucket)
            .key(at.key)
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .set_if_none_match(if_absent.then(|| "*".to_owned()))
            .send()
            .await
            .map(drop)
            .map_err(|error| of_upload("complete upload", address, upload, &error))
    }

    /// Inside the service: no bytes come here. Objects over 5 GiB are copied in parts.
    pub(super) async fn copy_object(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        let size = self.head(from).await?.size;
        let (client, at) = self.at(to).await?;
        let source = Location::of(from)?.copy_source();
        if size <= SINGLE {
            return client
                .copy_object()
                .bucket(at.bucket)
                .key(at.key)
                .copy_source(source)
                .set_server_side_encryption(self.encryption())
                .set_ssekms_key_id(self.encryption_key())
                .send()
                .await
                .map(drop)
                .map_err(|error| failed("copy", from, &error));
        }
        let upload = self.begin_parts(&client, &at, to).await?;
        let mut unfinished = Unfinished {
            client: client.clone(),
            bucket: at.bucket.to_owned(),
            key: at.key.to_owned(),
            upload: Some(upload.clone()),
        };
        let mut parts = Vec::new();
        let mut start = 0;
        while start < size {
            let end = (start + COPY_PART).min(size);
            let number = parts.len() as u32 + 1;
            let range = ByteRange { start, end };
            let tag = self.copy_into_part(&client, &at, from, range, &upload, number).await?;
            parts.push(StoredPart { number, tag, size: end - start });
            start = end;
        }
        self.join_parts(&client, &at, to, &upload, &parts, false).await?;
        unfinished.upload = None;
        Ok(())
    }
}

impl S3Store {
    pub(super) async fn copy_into_part(
        &self,
        client: &Client,
        at: &Location<'_>,
        from: &BlockAddress,
        range: ByteRange,
        upload: &str,
        number: u32,
    ) -> Result<String, BlockError> {
        let answer = client
            .upload_part_copy()
            .bucket(at.bucket)
            .key(at.key)
            .upload_id(upload)
            .part_number(number as i32)
            .copy_source(Location::of(from)?.copy_source())
            .copy_source_range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            .send()
            .await
            .map_err(|error| of_upload("copy part", from, upload, &error))?;
        answer.copy_part_result.and_then(|part| part.e_tag).ok_or_else(|| BlockError::Io {
            what: "copy part",
            source: std::io::Error::other("the store gave the part no tag"),
        })
    }
}

fn as_sent(body: Announced) -> SdkStream {
    SdkStream::new(SdkBody::from_body_1_x(body))
}

/// The client's own limit runs from the begin of a request and would end long bodies: those that pass have a watch of
/// their own ([`crate::remote::announced::Outcome::watch`]).
fn patient(passing: bool) -> Builder {
    let builder = Config::builder();
    if !passing {
        return builder;
    }
    let timeouts = TimeoutConfig::builder().read_timeout(Duration::from_hours(7 * 24)).build();
    builder.timeout_config(timeouts).stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}
