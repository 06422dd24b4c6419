//! What the signature says of the body (`s3-gateway` §3.1, the values of `x-amz-content-sha256`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::chunk_signer::ChunkSigner;
use crate::error::{Code, S3Error};

/// The value of `x-amz-content-sha256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The body is not covered.
    Unsigned,
    /// The SHA-256 of the whole body.
    Hash([u8; 32]),
    /// The body comes in aws-chunks.
    Chunks { signed: bool, trailer: bool },
}

impl Claim {
    /// Reads it; whatever it is, it is never taken for a hash that it is not.
    pub(crate) fn parse(text: &str) -> Result<Self, S3Error> {
        match text {
            "UNSIGNED-PAYLOAD" => return Ok(Self::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => return Ok(Self::Chunks { signed: true, trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
                return Ok(Self::Chunks { signed: true, trailer: true });
            }
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => return Ok(Self::Chunks { signed: false, trailer: true }),
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
            | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
                return Err(S3Error::new(
                    Code::NotImplemented,
                    "A header you provided implies functionality that is not implemented: SigV4A.",
                )
                .with("Header", "x-amz-content-sha256"));
            }
            _ => {}
        }
        let bytes = match text.len() {
            64 => hex::decode(text).ok(),
            44 => STANDARD.decode(text).ok(),
            _ => None,
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self::Hash).ok_or_else(|| Self::refused(text))
    }

    /// The refusal of any other value.
    pub(crate) fn refused(given: &str) -> S3Error {
        S3Error::argument(
            "x-amz-content-sha256",
            given,
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
             STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, \
             STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid \
             sha256 value.",
        )
    }
}

/// How the body is covered, with what verifying it needs.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// Not at all.
    Unsigned,
    /// The SHA-256 of the whole body.
    Hash([u8; 32]),
    /// Aws-chunks; signed ones with their signer.
    Chunks { signer: Option<ChunkSigner>, trailer: bool },
}

impl Payload {
    /// Of a request signed with version 4; `seed` is the request's own signature.
    pub(crate) fn new(claim: Claim, key: [u8; 32], date_time: &str, scope: &str, seed: &str) -> Self {
        match claim {
            Claim::Unsigned => Self::Unsigned,
            Claim::Hash(hash) => Self::Hash(hash),
            Claim::Chunks { signed, trailer } => {
                let signer = signed.then(|| ChunkSigner::new(key, date_time, scope, seed));
                Self::Chunks { signer, trailer }
            }
        }
    }

    /// Of a request whose signature does not cover the body.
    pub(crate) fn unsigned(claim: Claim) -> Result<Self, S3Error> {
        match claim {
            Claim::Unsigned => Ok(Self::Unsigned),
            Claim::Hash(hash) => Ok(Self::Hash(hash)),
            Claim::Chunks { signed: false, trailer } => Ok(Self::Chunks { signer: None, trailer }),
            Claim::Chunks { signed: true, .. } => {
                Err(S3Error::new(Code::InvalidRequest, "Signed chunks need a signature of version 4."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims() {
        let hash = Claim::Hash([0; 32]);
        assert_eq!(Claim::parse(&"0".repeat(64)).ok(), Some(hash));
        assert_eq!(Claim::parse(&STANDARD.encode([0; 32])).ok(), Some(hash));
        assert_eq!(Claim::parse("UNSIGNED-PAYLOAD").ok(), Some(Claim::Unsigned));
        for bad in ["", "SOMETHING", "STREAMING", &"S".repeat(64), &"0".repeat(63)] {
            assert_eq!(
                Claim::parse(bad).err().map(|error| error.code()),
                Some(Code::InvalidArgument),
                "{bad}"
            );
        }
        let v4a = Claim::parse("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD").err();
        assert_eq!(v4a.map(|error| error.code()), Some(Code::NotImplemented));
    }
}
