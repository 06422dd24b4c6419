//! Checksums of S3's flexible kind (`s3-gateway` §4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::{HeaderMap, HeaderName};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh64::Xxh64;

use crate::error::{Code, S3Error};

/// An algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
    Sha512,
    Md5,
    Xxhash64,
    Xxhash3,
    Xxhash128,
}

const ALGORITHMS: [Algorithm; 10] = [
    Algorithm::Crc32,
    Algorithm::Crc32c,
    Algorithm::Crc64Nvme,
    Algorithm::Sha1,
    Algorithm::Sha256,
    Algorithm::Sha512,
    Algorithm::Md5,
    Algorithm::Xxhash64,
    Algorithm::Xxhash3,
    Algorithm::Xxhash128,
];

impl Algorithm {
    /// As headers and clients name it, upper case.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::Xxhash64 => "XXHASH64",
            Self::Xxhash3 => "XXHASH3",
            Self::Xxhash128 => "XXHASH128",
        }
    }

    /// The header or trailer that carries its value.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha512 => "x-amz-checksum-sha512",
            Self::Md5 => "x-amz-checksum-md5",
            Self::Xxhash64 => "x-amz-checksum-xxhash64",
            Self::Xxhash3 => "x-amz-checksum-xxhash3",
            Self::Xxhash128 => "x-amz-checksum-xxhash128",
        }
    }

    /// The element that carries its value.
    pub(crate) fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
            Self::Sha512 => "ChecksumSHA512",
            Self::Md5 => "ChecksumMD5",
            Self::Xxhash64 => "ChecksumXXHASH64",
            Self::Xxhash3 => "ChecksumXXHASH3",
            Self::Xxhash128 => "ChecksumXXHASH128",
        }
    }

    /// Bytes of a digest.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::Xxhash64 | Self::Xxhash3 => 8,
            Self::Md5 | Self::Xxhash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// By its name, which must be that of one.
    pub(crate) fn required(name: &str) -> Result<Self, S3Error> {
        Self::named(name).ok_or_else(|| {
            S3Error::new(
                Code::InvalidRequest,
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                 [CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]",
            )
        })
    }

    /// The one that the headers of a request without a body ask for.
    pub(crate) fn asked(headers: &HeaderMap) -> Result<Option<Self>, S3Error> {
        let name = headers.get(&CHECKSUM_ALGORITHM).map(|value| value.to_str().unwrap_or_default());
        name.map(Self::required).transpose()
    }

    /// By its name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALGORITHMS.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// By the header that carries its value.
    pub(crate) fn of_header(name: &str) -> Option<Self> {
        ALGORITHMS.into_iter().find(|algorithm| algorithm.header() == name)
    }

    /// By the element that carries its value.
    pub(crate) fn of_element(name: &str) -> Option<Self> {
        ALGORITHMS.into_iter().find(|algorithm| algorithm.element() == name)
    }

    /// The CRC it is, for those whose parts can be joined.
    pub(crate) fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            _ => None,
        }
    }

    /// Reads a value: base64 of a digest of the right length.
    pub(crate) fn decode(self, value: &str) -> Result<Vec<u8>, S3Error> {
        STANDARD.decode(value.trim()).ok().filter(|digest| digest.len() == self.length()).ok_or_else(|| {
            S3Error::new(Code::BadDigest, format!("Value for {} header is invalid.", self.header()))
        })
    }

    /// The refusal of content whose digest is another.
    pub(crate) fn mismatch(self) -> S3Error {
        S3Error::new(
            Code::BadDigest,
            format!("The {} you specified did not match the calculated checksum.", self.name()),
        )
    }
}

/// A digest in the making.
pub(crate) enum Hasher {
    Crc(crc_fast::Digest, usize),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Md5(Md5),
    Xxhash64(Xxh64),
    Xxhash3(Box<Xxh3>, usize),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        if let Some(crc) = algorithm.crc() {
            return Self::Crc(crc_fast::Digest::new(crc), algorithm.length());
        }
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Xxhash64 => Self::Xxhash64(Xxh64::new(0)),
            Algorithm::Xxhash3 | Algorithm::Xxhash128 => {
                Self::Xxhash3(Box::new(Xxh3::new()), algorithm.length())
            }
            _ => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(hasher, _) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Xxhash64(hasher) => hasher.update(bytes),
            Self::Xxhash3(hasher, _) => hasher.update(bytes),
        }
    }

    /// The digest, big-endian.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(hasher, length) => hasher.finalize().to_be_bytes()[8 - length..].to_vec(),
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::Xxhash64(hasher) => hasher.digest().to_be_bytes().to_vec(),
            Self::Xxhash3(hasher, 8) => hasher.digest().to_be_bytes().to_vec(),
            Self::Xxhash3(hasher, _) => hasher.digest128().to_be_bytes().to_vec(),
        }
    }
}

/// What a request says of its body's checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub algorithm: Algorithm,
    /// Its digest, when a header has it.
    pub digest: Option<Vec<u8>>,
    /// A trailer will have it.
    pub in_trailer: bool,
}

/// Reads what the headers say; `None` if nothing.
pub(crate) fn announced(headers: &HeaderMap) -> Result<Option<Announced>, S3Error> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let several = || {
        S3Error::new(
            Code::InvalidRequest,
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    };
    // Before any of them is read: which of several is meant is the first question.
    let mut given =
        headers.iter().filter_map(|(name, value)| Some((Algorithm::of_header(name.as_str())?, value)));
    let mut found: Option<Announced> = None;
    if let Some((algorithm, value)) = given.next() {
        if given.next().is_some() {
            return Err(several());
        }
        let digest = Some(algorithm.decode(value.to_str().unwrap_or_default())?);
        found = Some(Announced { algorithm, digest, in_trailer: false });
    }
    for name in text("x-amz-trailer").unwrap_or_default().split(',') {
        if let Some(algorithm) = Algorithm::of_header(&name.trim().to_ascii_lowercase()) {
            if found.is_some() {
                return Err(several());
            }
            found = Some(Announced { algorithm, digest: None, in_trailer: true });
        }
    }
    let of_sdk = text(SDK_ALGORITHM);
    if let Some(found) = found {
        // The client says twice what it computed.
        if of_sdk.is_some_and(|name| Algorithm::named(name) != Some(found.algorithm)) {
            let message = format!("Value for {SDK_ALGORITHM} header is invalid.");
            return Err(S3Error::new(Code::InvalidRequest, message));
        }
        return Ok(Some(found));
    }
    let named = of_sdk.or_else(|| text(CHECKSUM_ALGORITHM.as_str()));
    named
        .map(|name| Ok(Announced { algorithm: Algorithm::required(name)?, digest: None, in_trailer: false }))
        .transpose()
}

/// The header in which SDKs name the algorithm of what they send.
const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";

/// The header that asks for an algorithm.
pub(crate) const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");

/// A header for what an object's checksum covers.
pub(crate) const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");

/// A digest as headers and documents have it.
pub(crate) fn encode(digest: &[u8]) -> String {
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: Algorithm, text: &str) -> String {
        let mut hasher = Hasher::new(algorithm);
        for byte in text.as_bytes() {
            hasher.update(&[*byte]);
        }
        let digest = hasher.finish();
        assert_eq!(digest.len(), algorithm.length());
        encode(&digest)
    }

    #[test]
    fn known_values() {
        for (algorithm, text, value) in [
            (Algorithm::Crc32, "123456789", "y/Q5Jg=="),
            (Algorithm::Crc32c, "123456789", "4waSgw=="),
            (Algorithm::Crc64Nvme, "123456789", "rosUhgp5mIg="),
            (Algorithm::Crc32, "hello world", "DUoRhQ=="),
            (Algorithm::Crc32c, "hello world", "yZRlqg=="),
            (Algorithm::Crc64Nvme, "hello world", "jSnVw/bqjr4="),
            (Algorithm::Sha1, "hello world", "Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
            (Algorithm::Sha256, "hello world", "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="),
            (Algorithm::Md5, "hello world", "XrY7u+Ae7tCTyyK7j1rNww=="),
        ] {
            assert_eq!(of(algorithm, text), value, "{algorithm:?}");
        }
        for algorithm in ALGORITHMS {
            of(algorithm, "x");
            assert_eq!(Algorithm::of_header(algorithm.header()), Some(algorithm));
            assert_eq!(Algorithm::of_element(algorithm.element()), Some(algorithm));
            assert_eq!(Algorithm::named(&algorithm.name().to_lowercase()), Some(algorithm));
        }
    }

    #[test]
    fn one_checksum_is_announced_at_most() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, http::HeaderValue::from_static(value));
            }
            announced(&headers).map_err(|error| error.code())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(
            read(&[("x-amz-checksum-mode", "ENABLED"), ("x-amz-checksum-type", "COMPOSITE")]),
            Ok(None)
        );
        let crc =
            |digest, in_trailer| Ok(Some(Announced { algorithm: Algorithm::Crc32, digest, in_trailer }));
        assert_eq!(read(&[("x-amz-checksum-crc32", "DUoRhQ==")]), crc(Some(vec![13, 74, 17, 133]), false));
        assert_eq!(read(&[("x-amz-trailer", "X-Amz-Checksum-Crc32")]), crc(None, true));
        assert_eq!(read(&[("x-amz-sdk-checksum-algorithm", "crc32")]), crc(None, false));
        assert_eq!(read(&[("x-amz-checksum-crc32", "AAAA")]), Err(Code::BadDigest));
        let two = [("x-amz-checksum-crc32", "AAAA"), ("x-amz-checksum-sha1", "AAAA")];
        assert_eq!(read(&two), Err(Code::InvalidRequest), "whatever they say");
        let two = [("x-amz-checksum-crc32", "DUoRhQ=="), ("x-amz-trailer", "x-amz-checksum-sha1")];
        assert_eq!(read(&two), Err(Code::InvalidRequest));
        assert_eq!(read(&[("x-amz-sdk-checksum-algorithm", "CRC7")]), Err(Code::InvalidRequest));
        let named =
            |name| read(&[("x-amz-checksum-crc32", "DUoRhQ=="), ("x-amz-sdk-checksum-algorithm", name)]);
        assert_eq!(named("crc32"), crc(Some(vec![13, 74, 17, 133]), false));
        assert_eq!(named("SHA256"), Err(Code::InvalidRequest));
    }
}
