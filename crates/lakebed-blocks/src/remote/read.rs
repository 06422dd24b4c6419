//! Objects on their way out: a read that breaks off goes on where it stopped.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;

use super::client::Answer;
use crate::{BlockAddress, BlockError, BodyError, ByteRange, ByteStream, body_from_bytes};

/// How often in a row a read is taken up again without a byte in between.
const RESUMES: u32 = 3;
/// Before a read is taken up again, times the number of tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Where objects are read.
#[async_trait]
pub(crate) trait Source: Send + Sync + 'static {
    /// Begins to read; `version` is what [`Source::version`] said of an earlier answer, and no other content will do.
    async fn open(
        &self,
        address: &BlockAddress,
        range: Option<ByteRange>,
        version: Option<&str>,
    ) -> Result<Answer, BlockError>;

    /// What tells this content from another at the same address.
    fn version(&self, answer: &Answer) -> Option<String>;

    /// The object's size.
    async fn size(&self, address: &BlockAddress) -> Result<u64, BlockError>;
}

/// A read under way.
struct Reading<S> {
    source: Arc<S>,
    address: BlockAddress,
    answer: Answer,
    version: Option<String>,
    /// Next byte, and one past the last.
    at: u64,
    end: u64,
    failures: u32,
}

impl<S: Source> Reading<S> {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if self.at == self.end {
                return None;
            }
            let why = match self.answer.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(mut chunk)) => {
                    self.failures = 0;
                    chunk.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
                    self.at += chunk.len() as u64;
                    return Some(Ok(chunk));
                }
                Some(Err(error)) => error.0,
                None => "the body ended early".to_owned(),
            };
            let mut failure = BlockError::Unavailable { what: "get", why };
            loop {
                if self.failures == RESUMES {
                    self.end = self.at;
                    return Some(Err(BodyError::Store(Box::new(failure))));
                }
                self.failures += 1;
                tokio::time::sleep(PAUSE * self.failures).await;
                let rest = ByteRange { start: self.at, end: self.end };
                match self.source.open(&self.address, Some(rest), self.version.as_deref()).await {
                    Ok(answer) => {
                        self.answer = answer;
                        break;
                    }
                    Err(error) => failure = error,
                }
            }
        }
    }
}

/// Reads an object or a range of it; [`BlockError::OutOfRange`] if that leaves the object.
pub(crate) async fn read<S: Source>(
    source: Arc<S>,
    address: &BlockAddress,
    range: Option<ByteRange>,
) -> Result<ByteStream, BlockError> {
    let leaves = || BlockError::OutOfRange(address.clone());
    if let Some(ByteRange { start, end }) = range
        && start >= end
    {
        // HTTP knows no empty range.
        return if start == end && end <= source.size(address).await? {
            Ok(body_from_bytes(Bytes::new()))
        } else {
            Err(leaves())
        };
    }
    let answer = source.open(address, range, None).await?;
    let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_u64);
    let (at, end) = match range {
        // A range that leaves the object is shortened by the service.
        Some(ByteRange { start, end }) if end - start != length => return Err(leaves()),
        Some(ByteRange { start, end }) => (start, end),
        None => (0, length),
    };
    let version = source.version(&answer);
    let reading = Reading { source, address: address.clone(), answer, version, at, end, failures: 0 };
    Ok(Box::pin(stream::unfold(reading, |mut reading| async move {
        reading.next().await.map(|chunk| (chunk, reading))
    })))
}

/// Reads a whole object of at most `limit` bytes.
pub(crate) async fn read_bytes<S: Source>(
    source: Arc<S>,
    address: &BlockAddress,
    limit: usize,
) -> Result<Bytes, BlockError> {
    use futures::StreamExt;
    let mut body = read(source, address, None).await?;
    let mut all = bytes::BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(BodyError::Store(error)) => return Err(*error),
            Err(error) => return Err(BlockError::Body(error)),
        };
        if all.len() + chunk.len() > limit {
            let why = "the object is larger than expected";
            return Err(BlockError::Refused { address: address.clone(), why });
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}
