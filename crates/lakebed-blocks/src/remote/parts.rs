//! A body cut into parts that are held in memory one at a time, so that a failed call can be repeated.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use md5::{Digest, Md5};

use crate::{BlockError, ByteStream, Stored};

/// Bodies up to this are held in memory.
pub(crate) const SMALL: u64 = 1 << 20;
/// The first parts of a body of unknown length; they double every thousand parts.
pub(crate) const PART: usize = 8 << 20;

/// How large part `number` (from 1) of a body of unknown length becomes.
pub(crate) fn part_size(number: u32) -> usize {
    PART << (number / 1000).min(9)
}

/// A body that is taken part by part.
pub(crate) struct Parts {
    body: ByteStream,
    /// What was read beyond the last part.
    rest: Bytes,
    md5: Md5,
    size: u64,
}

impl Parts {
    pub(crate) fn of(body: ByteStream) -> Self {
        Self { body, rest: Bytes::new(), md5: Md5::new(), size: 0 }
    }

    /// Up to `wanted` bytes; fewer only at the body's end.
    pub(crate) async fn next(&mut self, wanted: usize) -> Result<Bytes, BlockError> {
        let mut part = BytesMut::from(&self.rest.split_to(self.rest.len().min(wanted))[..]);
        while part.len() < wanted {
            let Some(chunk) = self.body.next().await else { break };
            let mut chunk = chunk?;
            part.extend_from_slice(&chunk.split_to(chunk.len().min(wanted - part.len())));
            self.rest = chunk;
        }
        self.md5.update(&part);
        self.size += part.len() as u64;
        Ok(part.freeze())
    }

    /// What was taken.
    pub(crate) fn stored(self) -> Stored {
        Stored { size: self.size, md5: self.md5.finalize().into() }
    }
}

/// A part of an upload whose length is not announced.
pub(crate) async fn unannounced(body: ByteStream) -> Result<(Bytes, Stored), BlockError> {
    let mut parts = Parts::of(body);
    let part = parts.next(PART + 1).await?;
    if part.len() > PART {
        return Err(BlockError::Unsupported("parts over 8 MiB whose length is not announced"));
    }
    Ok((part, parts.stored()))
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
            let mut body = Parts::of(Box::pin(futures::stream::iter(chunks)));
            let mut parts = Vec::new();
            loop {
                let part = body.next(30).await.unwrap();
                if part.is_empty() {
                    break;
                }
                parts.push(part);
            }
            assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [30, 30, 30, 10]);
            assert_eq!(parts.concat(), content);
            let stored = body.stored();
            assert_eq!((stored.size, stored.md5), (100, Md5::digest(&content).into()));
        }
    }
}
