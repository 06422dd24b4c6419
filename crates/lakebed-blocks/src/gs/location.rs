//! Bucket and name of an address.

use crate::remote::names::is_bucket;
use crate::{BlockAddress, BlockError};

/// The longest name, in bytes.
const MAX_NAME: usize = 1024;
/// The longest name of a bucket, one with dots.
const LONGEST_BUCKET: usize = 222;

/// An address taken apart. Names are any UTF-8 without line breaks and NUL; `.` and `..` alone are not allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location<'a> {
    pub(super) bucket: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Location<'a> {
    /// Of an object.
    pub(super) fn of(address: &'a BlockAddress) -> Result<Self, BlockError> {
        let location = Self::of_prefix(address)?;
        if matches!(location.name, "" | "." | "..") {
            return Err(BlockError::Refused { address: address.clone(), why: "it names no object" });
        }
        Ok(location)
    }

    /// Of a prefix, which may be a whole bucket.
    pub(super) fn of_prefix(address: &'a BlockAddress) -> Result<Self, BlockError> {
        let refused = |why| Err(BlockError::Refused { address: address.clone(), why });
        let Some(rest) = address.as_str().strip_prefix("gs://") else {
            return refused("it belongs to another store");
        };
        let (bucket, name) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket, LONGEST_BUCKET) {
            return refused("it has no valid bucket name");
        }
        if name.contains(['\0', '\r', '\n']) {
            return refused("it has a NUL or a line break");
        }
        if name.len() > MAX_NAME {
            return refused("its name is longer than 1024 bytes");
        }
        Ok(Self { bucket, name })
    }
}

/// The name goes into paths as it is.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let address = BlockAddress::new("gs://bucket/a//../ü b+%2F");
        let at = Location::of(&address).unwrap();
        assert_eq!((at.bucket, at.name), ("bucket", "a//../ü b+%2F"));
        for bad in [
            "s3://bucket/x",
            "gs://",
            "gs:///x",
            "gs://a?b/x",
            "gs://bucket/",
            "gs://bucket/..",
            "gs://bucket/a\nb",
        ] {
            assert!(Location::of(&BlockAddress::new(bad)).is_err(), "{bad:?}");
        }
    }
}
