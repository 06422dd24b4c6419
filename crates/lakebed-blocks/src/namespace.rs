//! Where a repository keeps its bytes: a store and a place in it.

use std::sync::Arc;

use crate::BlockAddress;

/// Which of several stores: the id it has in the configuration. The empty id is the store of repositories that name
/// none: the only store, or the one that is configured to serve them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(Option<Arc<str>>);

/// A text that cannot be the id of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a store has letters, digits, '.', '_' and '-', and at most 64 of them")]
pub struct BadStoreId;

impl StoreId {
    /// Whether it is the empty id.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl std::str::FromStr for StoreId {
    type Err = BadStoreId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        match text {
            "" => Ok(Self(None)),
            text if text.len() <= 64 && text.bytes().all(good) => Ok(Self(Some(text.into()))),
            _ => Err(BadStoreId),
        }
    }
}

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a store, `scheme://bucket-or-directory/prefix` without a trailing slash. It has no `Display`: what is made
/// of its text alone no longer says in which store it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    store: StoreId,
    text: String,
}

impl Namespace {
    /// A place in a store; a trailing slash is insignificant.
    pub fn new(store: StoreId, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.ends_with('/') {
            text.pop();
        }
        Self { store, text }
    }

    /// The store.
    pub fn store(&self) -> &StoreId {
        &self.store
    }

    /// The place, as clients know it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A place inside this one.
    #[must_use]
    pub fn below(&self, directory: &str) -> Self {
        Self { store: self.store.clone(), text: format!("{}/{directory}", self.text) }
    }

    /// The key of an address inside it.
    pub fn key_of<'a>(&self, address: &'a BlockAddress) -> Option<&'a str> {
        if *address.store() == self.store { self.key_in(address.as_str()) } else { None }
    }

    /// The key behind an address of the same store, if it lies inside.
    pub fn key_in<'a>(&self, address: &'a str) -> Option<&'a str> {
        address.strip_prefix(&self.text)?.strip_prefix('/')
    }

    /// Store and place as one text: the place alone in the store without an id, else `id@place`.
    pub fn encode(&self) -> String {
        if self.store.is_empty() { self.text.clone() } else { format!("{}@{}", self.store, self.text) }
    }

    /// What [`Namespace::encode`] made. A text that cannot be one is taken for a place.
    pub fn decode(encoded: &str) -> Self {
        // No scheme has an '@' in it, and every place begins with a scheme.
        if let Some((store, text)) = encoded.split_once('@')
            && !store.contains("://")
            && let Ok(store) = store.parse()
        {
            return Self::new(store, text);
        }
        Self::new(StoreId::default(), encoded)
    }
}

impl From<&str> for Namespace {
    /// A place in the store without an id.
    fn from(text: &str) -> Self {
        Self::new(StoreId::default(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_read_as_it_was_written() {
        for encoded in ["s3://b/a", "two@s3://b/a", "s3://b/a@c", "two@s3://b/a@c", "a.b-c_1@local://x"] {
            let namespace = Namespace::decode(encoded);
            assert_eq!(namespace.encode(), encoded);
        }
        assert_eq!(Namespace::decode("two@s3://b/a/").as_str(), "s3://b/a");
        assert_eq!(Namespace::decode("two@s3://b").store().as_str(), "two");
        assert!(Namespace::decode("s3://b/a@c").store().is_empty());
    }

    #[test]
    fn ids_of_stores_are_plain() {
        for bad in ["a b", "a@b", "a/b", "ä", &"x".repeat(65)] {
            assert_eq!(bad.parse::<StoreId>(), Err(BadStoreId), "{bad}");
        }
        assert!("".parse::<StoreId>().unwrap().is_empty());
    }

    #[test]
    fn keys_are_of_one_store() {
        let one = Namespace::decode("one@mem://lake");
        let address = BlockAddress::in_namespace(&one, "data/x");
        assert_eq!(one.key_of(&address), Some("data/x"));
        assert_eq!(Namespace::decode("two@mem://lake").key_of(&address), None);
        assert_eq!(one.key_in("mem://lakes/x"), None);
    }
}
