//! Bucket and key of an address.

use crate::remote::names::{is_bucket, slashed};
use crate::{BlockAddress, BlockError};

/// The longest key, in bytes.
const MAX_KEY: usize = 1024;
/// The longest name of a bucket: old ones may also have capital letters and underscores.
const LONGEST_BUCKET: usize = 255;

/// An address taken apart. Keys are opaque to S3: any UTF-8 but NUL, `..` and `//` included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
}

impl<'a> Location<'a> {
    /// Of an object.
    pub(super) fn of(address: &'a BlockAddress) -> Result<Self, BlockError> {
        let location = Self::of_prefix(address)?;
        if location.key.is_empty() {
            return Err(BlockError::Refused { address: address.clone(), why: "it names no object" });
        }
        Ok(location)
    }

    /// Of a prefix, which may be a whole bucket.
    pub(super) fn of_prefix(address: &'a BlockAddress) -> Result<Self, BlockError> {
        let refused = |why| Err(BlockError::Refused { address: address.clone(), why });
        let Some(rest) = address.as_str().strip_prefix("s3://") else {
            return refused("it belongs to another store");
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket, LONGEST_BUCKET) {
            return refused("it has no valid bucket name");
        }
        if key.contains('\0') {
            return refused("it has a NUL");
        }
        if key.len() > MAX_KEY {
            return refused("its key is longer than 1024 bytes");
        }
        Ok(Self { bucket, key })
    }

    /// As `x-amz-copy-source` wants it: every byte but the plain ones percent-encoded, slashes kept.
    pub(super) fn copy_source(&self) -> String {
        format!("{}/{}", self.bucket, slashed(self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let address = BlockAddress::new("s3://bucket/a//../ü b+%2F");
        let at = Location::of(&address).unwrap();
        assert_eq!((at.bucket, at.key), ("bucket", "a//../ü b+%2F"));
        assert_eq!(at.copy_source(), "bucket/a//../%C3%BC%20b%2B%252F");
        let bucket = BlockAddress::new("s3://bucket");
        assert_eq!(Location::of_prefix(&bucket).unwrap().key, "");
    }

    #[test]
    fn what_is_no_address_of_ours_is_refused() {
        let long = format!("s3://bucket/{}", "x".repeat(1025));
        for bad in [
            "local://bucket/x",
            "s3://",
            "s3:///x",
            "s3://../x",
            "s3://a?b/x",
            "s3://bucket",
            "s3://bucket/",
            "s3://bucket/a\0b",
            "s3://-bucket/x",
            "s3://bu..et/x",
            "bucket/x",
            "",
            &long,
        ] {
            assert!(Location::of(&BlockAddress::new(bad)).is_err(), "{bad:?}");
        }
    }
}
