//! Taking addresses apart: whatever an address says, it stays inside the store.

use crate::{BlockAddress, BlockError};

/// Where stores keep what is their own; no address may name it.
pub(crate) const RESERVED: &str = ".lakebed";

/// The longest segment, as file systems have it.
const MAX_SEGMENT: usize = 255;

/// The path behind `scheme://`, every segment checked: none empty, `.`, `..`, too long or with a NUL, the first not the
/// store's own.
pub(crate) fn segments<'a>(scheme: &str, address: &'a BlockAddress) -> Result<&'a str, BlockError> {
    let refused = |why| Err(BlockError::Refused { address: address.clone(), why });
    let rest = address.as_str().strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    let Some(path) = rest else {
        return refused("it belongs to another store");
    };
    if path.is_empty() {
        return refused("it names no object");
    }
    check_segments(path).map_err(|why| BlockError::Refused { address: address.clone(), why })?;
    if path.split('/').next() == Some(RESERVED) {
        return refused("it names the store's own directory");
    }
    Ok(path)
}

/// Every segment of a path: none empty, `.`, `..`, too long or with a NUL.
pub(crate) fn check_segments(path: &str) -> Result<(), &'static str> {
    for segment in path.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." {
            return Err("it has an empty, '.' or '..' segment");
        }
        if segment.contains('\0') {
            return Err("it has a NUL");
        }
        if segment.len() > MAX_SEGMENT {
            return Err("a segment is longer than 255 bytes");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_addresses_are_refused() {
        for bad in [
            "s3://b/x",
            "local://",
            "local:///x",
            "local://a/../b",
            "local://a/./b",
            "local://a//b",
            "local://a/",
            "local://../x",
            "local://a\0b",
            "local://.lakebed/log/1",
            "/etc/passwd",
            "",
        ] {
            assert!(segments("local", &BlockAddress::new(bad)).is_err(), "{bad:?}");
        }
        let long = format!("local://a/{}", "x".repeat(256));
        assert!(segments("local", &BlockAddress::new(long)).is_err());
        assert_eq!(segments("local", &BlockAddress::new("local://a/b c/ü%2F..x")).unwrap(), "a/b c/ü%2F..x");
    }
}
