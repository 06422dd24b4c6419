//! Object paths: plain, byte-exact strings. Nothing is normalised (`api-objects` §1).

use std::{borrow::Borrow, fmt, str::FromStr};

/// The greatest length of an object path, in bytes of UTF-8.
pub(crate) const MAX_PATH_BYTES: usize = 1024;

/// The path of an object inside a repository: 1 to 1024 bytes of UTF-8, kept as given (`//`, `..`, a leading or
/// trailing `/` included).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(Box<str>);

/// Why a text is not an object path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path is empty.
    #[error("argument path: required value")]
    Empty,
    /// The path is longer than 1024 bytes.
    #[error("argument path: {0} bytes are too long, a path has at most 1024 bytes: validation error")]
    TooLong(usize),
    /// The path is not UTF-8.
    #[error("argument path: not valid UTF-8: validation error")]
    NotUtf8,
}

impl ObjectPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path's bytes, whose order is the order of listings.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// From bytes that must be UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        std::str::from_utf8(bytes).map_err(|_| PathError::NotUtf8)?.parse()
    }
}

impl FromStr for ObjectPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        match text.len() {
            0 => Err(PathError::Empty),
            1..=MAX_PATH_BYTES => Ok(Self(text.into())),
            length => Err(PathError::TooLong(length)),
        }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectPath({:?})", &self.0)
    }
}

impl Borrow<str> for ObjectPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}
