//! Items as they stand in the table and in the service's JSON.
//!
//! Attributes, all binary: `p` and `s` are the primary key ([`super::layout`]), `r` is the version (8 bytes), `v` the value
//! (not there if it is empty). A value too large for one item goes on in pieces; then `c` is their handle and `n` their
//! number (2 bytes). A note of pieces has the key they belong to in `k`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::layout::Place;
use crate::{KvError, Version};

/// The most bytes of a value in one item; an item may have 400 KB with its key and the names of its attributes.
pub(super) const PIECE: usize = 300 << 10;

/// Something went wrong that only a change by hand explains.
pub(super) fn damaged(what: &str) -> KvError {
    KvError::Engine(format!("DynamoDB: {what}: was the table changed by hand?").into())
}

pub(super) fn binary(bytes: &[u8]) -> Value {
    json!({"B": STANDARD.encode(bytes)})
}

/// The bytes of an attribute.
pub(super) fn bytes_of(item: &Value, name: &str) -> Option<Vec<u8>> {
    STANDARD.decode(item.get(name)?.get("B")?.as_str()?).ok()
}

/// A primary key.
pub(super) fn primary(place: &Place) -> Value {
    json!({"p": binary(&place.partition), "s": binary(&place.sort)})
}

/// An item with these further attributes.
pub(super) fn item(place: &Place, attributes: &[(&str, &[u8])]) -> Value {
    let mut item = Map::new();
    item.insert("p".to_owned(), binary(&place.partition));
    item.insert("s".to_owned(), binary(&place.sort));
    for (name, value) in attributes {
        if !value.is_empty() {
            item.insert((*name).to_owned(), binary(value));
        }
    }
    Value::Object(item)
}

pub(super) fn version_bytes(version: Version) -> [u8; 8] {
    version.0.to_be_bytes()
}

/// Where the rest of a large value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    pub(super) handle: Vec<u8>,
    pub(super) number: u16,
}

/// What an item says of its key.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) version: Version,
    pub(super) value: Bytes,
    pub(super) pieces: Option<Pieces>,
}

impl Stored {
    pub(super) fn of(item: &Value) -> Result<Self, KvError> {
        let version: [u8; 8] = bytes_of(item, "r")
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| damaged("an item without version"))?;
        let pieces = match bytes_of(item, "c") {
            None => None,
            Some(handle) => {
                let number: [u8; 2] = bytes_of(item, "n")
                    .and_then(|bytes| bytes.try_into().ok())
                    .ok_or_else(|| damaged("an item without its number of pieces"))?;
                Some(Pieces { handle, number: u16::from_be_bytes(number) })
            }
        };
        let version = Version(u64::from_be_bytes(version));
        Ok(Self { version, value: bytes_of(item, "v").unwrap_or_default().into(), pieces })
    }
}
