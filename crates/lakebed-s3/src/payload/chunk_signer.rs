//! The chain of chunk signatures (`s3-gateway` §3.3): each covers its chunk and the signature before it.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::auth::hmac;

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Verifies chunks in their order.
#[derive(Clone)]
pub(crate) struct ChunkSigner {
    key: [u8; 32],
    /// `date-time \n scope`
    head: String,
    previous: String,
}

impl std::fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.write_str("ChunkSigner")
    }
}

impl ChunkSigner {
    pub(crate) fn new(key: [u8; 32], date_time: &str, scope: &str, seed: &str) -> Self {
        Self { key, head: format!("{date_time}\n{scope}"), previous: seed.to_owned() }
    }

    /// Whether the next chunk, of this hash, has this signature.
    pub(super) fn chunk(&mut self, hash: Sha256, signature: &str) -> bool {
        let to_sign = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{EMPTY}\n{}",
            self.head,
            self.previous,
            hex::encode(hash.finalize())
        );
        self.check(&to_sign, signature)
    }

    /// Whether the trailers, in canonical form, have this signature.
    pub(super) fn trailer(&mut self, canonical: &[u8], signature: &str) -> bool {
        let to_sign = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}",
            self.head,
            self.previous,
            hex::encode(Sha256::digest(canonical))
        );
        self.check(&to_sign, signature)
    }

    fn check(&mut self, to_sign: &str, signature: &str) -> bool {
        let right = hex::encode(hmac(&self.key, to_sign.as_bytes()));
        let good = bool::from(right.as_bytes().ct_eq(signature.as_bytes()));
        self.previous = right;
        good
    }
}
