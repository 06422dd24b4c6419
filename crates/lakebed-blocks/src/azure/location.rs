//! Account, container and blob of an address: `https://account.blob.core.windows.net/container/blob`.

use crate::{BlockAddress, BlockError};

/// The longest name, in characters of UTF-16 as the service counts.
const MAX_NAME: usize = 1024;

/// An address taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location<'a> {
    /// `account.blob.core.windows.net`.
    pub(super) host: &'a str,
    pub(super) account: &'a str,
    pub(super) container: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Location<'a> {
    /// Of a blob in an account of `domain`.
    pub(super) fn of(address: &'a BlockAddress, domain: &str) -> Result<Self, BlockError> {
        let location = Self::of_prefix(address, domain)?;
        let refused = |why| Err(BlockError::Refused { address: address.clone(), why });
        if location.name.is_empty() {
            return refused("it names no object");
        }
        if location.name.split('/').any(|segment| matches!(segment, "." | "..")) {
            // The service resolves them before it looks.
            return refused("it has a '.' or '..' segment");
        }
        Ok(location)
    }

    /// Of a prefix, which may be a whole container.
    pub(super) fn of_prefix(address: &'a BlockAddress, domain: &str) -> Result<Self, BlockError> {
        let refused = |why| Err(BlockError::Refused { address: address.clone(), why });
        let text = address.as_str();
        let Some(rest) = text.strip_prefix("https://") else {
            return refused("it belongs to another store");
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let account = host.strip_suffix(domain).and_then(|account| account.strip_suffix('.'));
        let Some(account) = account.filter(|account| is_account(account)) else {
            return refused("it names no storage account of blockstore.azure.domain");
        };
        let (container, name) = path.split_once('/').unwrap_or((path, ""));
        if !is_container(container) {
            return refused("it has no valid container name");
        }
        if name.contains('\0') {
            return refused("it has a NUL");
        }
        if name.encode_utf16().count() > MAX_NAME {
            return refused("its name is longer than 1024 characters");
        }
        Ok(Self { host, account, container, name })
    }
}

fn is_account(name: &str) -> bool {
    (3..=24).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_container(name: &str) -> bool {
    matches!(name, "$root" | "$web")
        || ((3..=63).contains(&name.len())
            && !name.starts_with('-')
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "blob.core.windows.net";

    #[test]
    fn addresses_are_taken_apart() {
        let address = BlockAddress::new("https://lake.blob.core.windows.net/box/a//ü b+%2F");
        let at = Location::of(&address, DOMAIN).unwrap();
        assert_eq!((at.account, at.container, at.name), ("lake", "box", "a//ü b+%2F"));
        for bad in [
            "http://lake.blob.core.windows.net/box/x",
            "https://lake.blob.core.windows.net/box",
            "https://lake.blob.core.windows.net/box/",
            "https://lake.blob.core.windows.net//x",
            "https://lake.blob.core.windows.net/box/../other/x",
            "https://lake.blob.core.windows.net/box/./x",
            "https://lake.blob.core.windows.net/../x",
            "https://lake.blob.core.windows.net.example/box/x",
            "https://example/lake.blob.core.windows.net/box/x",
            "https://user@lake.blob.core.windows.net/box/x",
            "https://lakeblob.core.windows.net/box/x",
            "https://lake.blob.core.windows.net/box/a\0b",
        ] {
            assert!(Location::of(&BlockAddress::new(bad), DOMAIN).is_err(), "{bad:?}");
        }
    }
}
