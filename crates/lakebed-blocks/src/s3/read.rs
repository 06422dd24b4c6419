//! Objects on their way out: a read that breaks off goes on where it stopped.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream as SdkStream;
use futures::stream;

use super::S3Store;
use super::errors::failed;
use super::location::Location;
use crate::{BlockAddress, BlockError, BodyError, ByteRange, ByteStream, body_from_bytes};

/// How often in a row a read is taken up again without a byte in between.
const RESUMES: u32 = 3;
/// Before a read is taken up again, times the number of tries.
const PAUSE: Duration = Duration::from_millis(200);

/// A read under way.
struct Reading {
    client: Client,
    address: BlockAddress,
    body: SdkStream,
    /// The content this is a read of: a resumed read must be of the same.
    etag: Option<String>,
    /// Next byte, and one past the last.
    at: u64,
    end: u64,
    failures: u32,
}

impl Reading {
    async fn resume(&mut self) -> Result<(), BlockError> {
        tokio::time::sleep(PAUSE * self.failures).await;
        let location = Location::of(&self.address)?;
        let answer = self
            .client
            .get_object()
            .bucket(location.bucket)
            .key(location.key)
            .range(format!("bytes={}-{}", self.at, self.end - 1))
            .set_if_match(self.etag.clone())
            .send()
            .await
            .map_err(|error| failed("get", &self.address, &error))?;
        self.body = answer.body;
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<bytes::Bytes, BodyError>> {
        loop {
            if self.at == self.end {
                return None;
            }
            let why = match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => {
                    self.failures = 0;
                    self.at += chunk.len() as u64;
                    return Some(Ok(chunk));
                }
                Some(Err(error)) => std::io::Error::other(error),
                None => std::io::Error::from(std::io::ErrorKind::UnexpectedEof),
            };
            self.failures += 1;
            let failure = if self.failures > RESUMES {
                BlockError::Io { what: "get", source: why }
            } else {
                match self.resume().await {
                    Ok(()) => continue,
                    Err(error) => error,
                }
            };
            self.at = self.end;
            return Some(Err(BodyError::Store(Box::new(failure))));
        }
    }
}

impl S3Store {
    pub(super) async fn read(
        &self,
        address: &BlockAddress,
        range: Option<ByteRange>,
    ) -> Result<ByteStream, BlockError> {
        let (client, location) = self.at(address).await?;
        let leaves = || BlockError::Refused { address: address.clone(), why: "the range leaves the object" };
        if let Some(ByteRange { start, end }) = range
            && start >= end
        {
            // S3 knows no empty range.
            use crate::BlockStore;
            return if start == end && end <= self.head(address).await?.size {
                Ok(body_from_bytes(bytes::Bytes::new()))
            } else {
                Err(leaves())
            };
        }
        let answer = client
            .get_object()
            .bucket(location.bucket)
            .key(location.key)
            .set_range(range.map(|range| format!("bytes={}-{}", range.start, range.end - 1)))
            .send()
            .await
            .map_err(|error| failed("get", address, &error))?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        let (at, end) = match range {
            // A range that leaves the object is shortened by the service.
            Some(ByteRange { start, end }) if end - start != length => return Err(leaves()),
            Some(ByteRange { start, end }) => (start, end),
            None => (0, length),
        };
        let etag = answer.e_tag().map(str::to_owned);
        let reading =
            Reading { client, address: address.clone(), body: answer.body, etag, at, end, failures: 0 };
        Ok(Box::pin(stream::unfold(reading, |mut reading| async move {
            reading.next().await.map(|chunk| (chunk, reading))
        })))
    }
}
