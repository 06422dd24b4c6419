//! Objects on their way in: whole, in parts, and copied inside the service.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream as SdkStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use md5::{Digest, Md5};

use super::S3Store;
use super::body::announced;
use super::errors::{failed, of_upload};
use super::location::Location;
use crate::{BlockAddress, BlockError, BlockStore, ByteRange, ByteStream, PutOptions, Stored, StoredPart};

/// Bodies up to this are held in memory, so that a failed call can be repeated.
const SMALL: u64 = 1 << 20;
/// The most that one `PutObject`, `UploadPart` or `CopyObject` takes.
const SINGLE: u64 = 5 << 30;
/// The first parts of a body of unknown length; they double every thousand parts.
const PART: usize = 8 << 20;
/// Parts of a large copy.
const COPY_PART: u64 = 1 << 30;
/// How long giving an upload up may take.
const ABORT_TIMEOUT: Duration = Duration::from_secs(30);

/// Aborts an upload that is not completed, also when its request is dropped. What is left of it all the same, after a
/// crash, is for the bucket's lifecycle rule (`AbortIncompleteMultipartUpload`).
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
                tracing::warn!(
                    "an unfinished upload could not be aborted: the bucket's lifecycle rules must remove it"
                );
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
        self.put_object(address, SdkStream::from(bytes), None, if_absent).await
    }

    async fn put_object(
        &self,
        address: &BlockAddress,
        body: SdkStream,
        size: Option<u64>,
        if_absent: bool,
    ) -> Result<(), BlockError> {
        let (client, at) = self.at(address).await?;
        client
            .put_object()
            .bucket(at.bucket)
            .key(at.key)
            .body(body)
            .set_content_length(size.map(|size| size as i64))
            .set_if_none_match(if_absent.then(|| "*".to_owned()))
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.encryption_key())
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
        let call = self.put_object(address, body, Some(size), if_absent).await;
        outcome.of(call).map(|((), stored)| stored)
    }

    /// A small body, one of unknown length, or one too large for a single call.
    async fn upload_in_parts(
        &self,
        address: &BlockAddress,
        mut body: ByteStream,
        if_absent: bool,
    ) -> Result<Stored, BlockError> {
        let mut md5 = Md5::new();
        let mut rest = Bytes::new();
        let first = next_part(&mut body, &mut rest, PART, &mut md5).await?;
        if first.len() < PART {
            let size = first.len() as u64;
            self.upload_bytes(address, first, if_absent).await?;
            return Ok(Stored { size, md5: md5.finalize().into() });
        }
        let (client, at) = self.at(address).await?;
        let upload = self.begin_parts(&client, &at, address).await?;
        let mut unfinished = Unfinished {
            client: client.clone(),
            bucket: at.bucket.to_owned(),
            key: at.key.to_owned(),
            upload: Some(upload.clone()),
        };
        let (mut parts, mut size, mut part) = (Vec::new(), 0, first);
        while !part.is_empty() {
            let number = parts.len() as u32 + 1;
            let length = part.len() as u64;
            size += length;
            let wanted = PART << (number / 1000).min(9);
            // The next part is read while this one is on its way.
            let (sent, next) = tokio::join!(
                self.send_part(&client, &at, address, &upload, number, SdkStream::from(part), length),
                next_part(&mut body, &mut rest, wanted, &mut md5),
            );
            parts.push(StoredPart { number, tag: sent?, size: length });
            part = next?;
        }
        self.join_parts(&client, &at, address, &upload, &parts, if_absent).await?;
        unfinished.upload = None;
        Ok(Stored { size, md5: md5.finalize().into() })
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
        let answer = client
            .upload_part()
            .bucket(at.bucket)
            .key(at.key)
            .upload_id(upload)
            .part_number(number as i32)
            .content_length(size as i64)
            .body(body)
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
        mut body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        let (client, at) = self.at(address).await?;
        match size {
            Some(size) if SMALL < size && size <= SINGLE => {
                let (body, outcome) = announced(body, size);
                let call = self.send_part(&client, &at, address, upload, number, body, size).await;
                outcome.of(call).map(|(tag, stored)| (stored, tag))
            }
            _ => {
                let mut md5 = Md5::new();
                let mut rest = Bytes::new();
                let part = next_part(&mut body, &mut rest, PART + 1, &mut md5).await?;
                if part.len() > PART {
                    return Err(BlockError::Unsupported("parts over 8 MiB whose length is not announced"));
                }
                let stored = Stored { size: part.len() as u64, md5: md5.finalize().into() };
                let length = stored.size;
                let tag = self
                    .send_part(&client, &at, address, upload, number, SdkStream::from(part), length)
                    .await?;
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

/// Up to `wanted` bytes of a body; fewer only at its end. What was read beyond them stays in `rest`.
async fn next_part(
    body: &mut ByteStream,
    rest: &mut Bytes,
    wanted: usize,
    md5: &mut Md5,
) -> Result<Bytes, BlockError> {
    let mut part = BytesMut::from(&rest.split_to(rest.len().min(wanted))[..]);
    while part.len() < wanted {
        let Some(chunk) = body.next().await else { break };
        let mut chunk = chunk?;
        part.extend_from_slice(&chunk.split_to(chunk.len().min(wanted - part.len())));
        *rest = chunk;
    }
    md5.update(&part);
    Ok(part.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_cut_into_parts_of_the_size_wanted() {
        let content: Vec<u8> = (0..100_u8).collect();
        for chunk in [1, 7, 100] {
            let chunks: Vec<_> =
                content.chunks(chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let mut body: ByteStream = Box::pin(futures::stream::iter(chunks));
            let (mut rest, mut md5, mut parts) = (Bytes::new(), Md5::new(), Vec::new());
            loop {
                let part = next_part(&mut body, &mut rest, 30, &mut md5).await.unwrap();
                if part.is_empty() {
                    break;
                }
                parts.push(part);
            }
            assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [30, 30, 30, 10]);
            assert_eq!(parts.concat(), content);
            assert_eq!(md5.finalize(), Md5::digest(&content));
        }
    }
}
