//! Bodies from and to memory.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use crate::{BlockError, BodyError, ByteStream};

/// A body of these bytes.
pub fn body_from_bytes(bytes: Bytes) -> ByteStream {
    Box::pin(futures::stream::iter([Ok(bytes)]))
}

/// All of a body, at most `limit` bytes; a longer one is an error.
pub async fn collect(mut body: ByteStream, limit: usize) -> Result<Bytes, BodyError> {
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if all.len() + chunk.len() > limit {
            let source = std::io::Error::other(format!("longer than {limit} bytes"));
            let error = BlockError::Io { what: "read", source };
            return Err(BodyError::Store(Box::new(error)));
        }
        if all.is_empty() && chunk.len() == limit {
            return Ok(chunk);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}
