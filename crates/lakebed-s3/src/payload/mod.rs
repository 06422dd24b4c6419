//! A request's body: unframed and verified while it streams (`s3-gateway` §3.3, §4).
//!
//! [`Payload`] says how the signature covers the body. [`incoming`] gives the body as the store takes it: chunk framing
//! removed, chunk signatures, payload hash, length and checksums verified as the bytes flow; what does not hold ends the
//! stream with the door's own error, so that nothing becomes visible. [`document`] gives a small body whole.

pub(crate) mod checksum;
mod chunk_signer;
mod claim;
pub(crate) mod combine;
mod unframe;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Version, header};
use http_body::Body;
use lakebed_blocks::{BodyError, ByteStream, collect};
use lakebed_http::byte_stream;
use md5::Md5;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use self::checksum::{Algorithm, Announced, CHECKSUM_TYPE, Hasher};
pub(crate) use self::claim::{Claim, Payload};
use self::unframe::Unframer;
use crate::call::Call;
use crate::error::{Code, S3Error};

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
pub(crate) struct Verdict {
    md5: Option<[u8; 16]>,
    algorithm: Algorithm,
    digest: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Verdict {
    /// Compares with the client's `Content-MD5`, and gives the checksums to keep with the object, by header name
    /// (`x-amz-checksum-crc64nvme`, ...), `x-amz-checksum-type` included.
    pub(crate) fn settle(self, md5_hex: &str) -> Result<BTreeMap<String, String>, S3Error> {
        if let Some(md5) = self.md5
            && hex::encode(md5) != md5_hex
        {
            return Err(S3Error::of(Code::BadDigest)
                .with("ExpectedDigest", STANDARD.encode(md5))
                .with("CalculatedDigest", STANDARD.encode(hex::decode(md5_hex).unwrap_or_default())));
        }
        let digest = self.digest.lock().take();
        let kept = digest.map(|digest| {
            [
                (self.algorithm.header().to_owned(), checksum::encode(&digest)),
                (CHECKSUM_TYPE.as_str().to_owned(), "FULL_OBJECT".to_owned()),
            ]
        });
        Ok(kept.into_iter().flatten().collect())
    }
}

/// The client's `Content-MD5`.
fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, S3Error> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    STANDARD
        .decode(value.as_bytes())
        .ok()
        .and_then(|digest| digest.try_into().ok())
        .map(Some)
        .ok_or_else(|| S3Error::of(Code::InvalidDigest))
}

/// Takes the body of an upload. Nothing of it is read before the stream is.
pub(crate) fn incoming(call: &mut Call) -> Result<Incoming, S3Error> {
    take(call, Algorithm::Crc64Nvme)
}

/// Takes the body of an upload, computing this checksum if the client names none.
pub(crate) fn take(call: &mut Call, default: Algorithm) -> Result<Incoming, S3Error> {
    let headers = &call.parts.headers;
    let body = call.body.take().ok_or_else(|| S3Error::of(Code::MissingRequestBodyError))?;
    let md5 = content_md5(headers)?;
    let announced = checksum::announced(headers)?.unwrap_or(Announced {
        algorithm: default,
        digest: None,
        in_trailer: false,
    });
    let number =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let framed = matches!(call.payload, Payload::Chunks { .. });
    let length = if framed {
        Some(number("x-amz-decoded-content-length").ok_or_else(|| S3Error::of(Code::MissingContentLength))?)
    } else {
        body.size_hint().exact()
    };
    let says_length = call.parts.version >= Version::HTTP_2
        || headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING);
    if !says_length {
        return Err(S3Error::of(Code::MissingContentLength));
    }
    let most = call.s3.config().max_put_bytes;
    if let Some(length) = length.filter(|length| *length > most) {
        return Err(too_large(length, most));
    }
    let digest = Arc::new(Mutex::new(None));
    let (algorithm, kept) = (announced.algorithm, digest.clone());
    let (unframer, hash) = match call.payload.clone() {
        Payload::Unsigned => (None, None),
        Payload::Hash(expected) => (None, Some((Sha256::new(), expected))),
        Payload::Chunks { signer, trailer } => (Some(Unframer::new(signer, trailer)), None),
    };
    let verifier = Verifier {
        source: byte_stream(body),
        unframer,
        ready: VecDeque::new(),
        hash,
        hasher: Hasher::new(algorithm),
        announced,
        length,
        most,
        seen: 0,
        kept,
    };
    // A body that failed is not asked again: the state is gone.
    let stream = futures::stream::unfold(Some(verifier), |verifier| async {
        let mut verifier = verifier?;
        match verifier.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(verifier))),
            Ok(None) => match verifier.finish() {
                Ok(()) => None,
                Err(error) => Some((Err(BodyError::Client(Box::new(error))), None)),
            },
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Incoming { stream: stream.boxed(), size_hint: length, verdict: Verdict { md5, algorithm, digest } })
}

/// Takes a small body whole; one longer than `limit` bytes is no document.
pub(crate) async fn document(call: &mut Call, limit: usize) -> Result<Bytes, S3Error> {
    let Incoming { stream, verdict, size_hint } = incoming(call)?;
    if size_hint.is_some_and(|size| size > limit as u64) {
        return Err(S3Error::of(Code::MalformedXML));
    }
    let bytes = collect(stream, limit).await.map_err(|error| match error {
        BodyError::Store(_) => S3Error::of(Code::MalformedXML),
        error @ BodyError::Client(_) => error.into(),
    })?;
    if verdict.md5.is_some() {
        verdict.settle(&hex::encode(Md5::digest(&bytes)))?;
    }
    Ok(bytes)
}

fn too_large(size: u64, most: u64) -> S3Error {
    S3Error::of(Code::EntityTooLarge)
        .with("ProposedSize", size.to_string())
        .with("MaxSizeAllowed", most.to_string())
}

/// A body under verification.
struct Verifier {
    source: ByteStream,
    unframer: Option<Unframer>,
    /// Unframed, not handed on yet.
    ready: VecDeque<Bytes>,
    /// The hash of the whole body, and what it must be.
    hash: Option<(Sha256, [u8; 32])>,
    hasher: Hasher,
    announced: Announced,
    length: Option<u64>,
    /// Bytes that a body may have.
    most: u64,
    seen: u64,
    kept: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Verifier {
    /// The next bytes of the content.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let refused = |error: S3Error| BodyError::Client(Box::new(error));
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                self.count(&bytes).map_err(refused)?;
                return Ok(Some(bytes));
            }
            let Some(piece) = self.source.next().await.transpose()? else { return Ok(None) };
            match &mut self.unframer {
                Some(unframer) => unframer.push(piece, &mut self.ready).map_err(refused)?,
                None => self.ready.push_back(piece),
            }
        }
    }

    fn count(&mut self, bytes: &Bytes) -> Result<(), S3Error> {
        self.seen += bytes.len() as u64;
        if self.length.is_some_and(|length| self.seen > length) {
            return Err(S3Error::of(Code::IncompleteBody));
        }
        if self.seen > self.most {
            return Err(too_large(self.seen, self.most));
        }
        if let Some((hash, _)) = &mut self.hash {
            hash.update(bytes);
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// The body ended: does all hold that was said of it?
    fn finish(self) -> Result<(), S3Error> {
        if self.unframer.as_ref().is_some_and(|unframer| !unframer.is_whole()) {
            return Err(unframe::cut());
        }
        if self.length.is_some_and(|length| self.seen != length) {
            return Err(S3Error::of(Code::IncompleteBody));
        }
        if let Some((hash, expected)) = self.hash {
            let computed: [u8; 32] = hash.finalize().into();
            if !bool::from(computed.ct_eq(&expected)) {
                return Err(S3Error::of(Code::XAmzContentSHA256Mismatch)
                    .with("ClientComputedContentSHA256", hex::encode(expected))
                    .with("S3ComputedContentSHA256", hex::encode(computed)));
            }
        }
        let digest = self.hasher.finish();
        let algorithm = self.announced.algorithm;
        let mut trailers = self.unframer.map(Unframer::finish).transpose()?.unwrap_or_default();
        let mut expected = self.announced.digest;
        if self.announced.in_trailer {
            let value = trailers
                .remove(algorithm.header())
                .ok_or_else(|| S3Error::of(Code::MalformedTrailerError))?;
            expected = Some(algorithm.decode(&value)?);
        }
        if trailers.keys().any(|name| Algorithm::of_header(name).is_some()) {
            // A checksum that was not announced: which one counts, nobody said.
            return Err(S3Error::of(Code::MalformedTrailerError));
        }
        if expected.is_some_and(|expected| expected != digest) {
            return Err(algorithm.mismatch());
        }
        *self.kept.lock() = Some(digest);
        Ok(())
    }
}
