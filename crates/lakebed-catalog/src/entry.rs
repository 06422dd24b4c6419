//! Entries: what a path says about its object. Encoded once, when the write is staged, and carried as opaque bytes
//! from then on (`formats.md`, Node).
//!
//! The encoding is protobuf wire format with fields in ascending order and maps sorted, so that the same entry always
//! gives the same bytes. It is written and read by hand: readers borrow from the node's memory and allocate nothing.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | 1 | string | physical address, relative to the namespace or absolute (`scheme://`) |
//! | 2 | varint | size in bytes |
//! | 3 | string | checksum (ETag without quotes) |
//! | 4 | zigzag varint | modification time, Unix seconds |
//! | 5 | string | content type; absent = the default |
//! | 6 | message {1 key, 2 value}, repeated | user metadata, sorted by key |
//! | 7 | message {1 key, 2 value}, repeated | headers and checksums kept by an edge, sorted by key |

use std::collections::BTreeMap;

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, Namespace};

/// The content type of objects stored without one.
pub const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// The most bytes an encoded entry may take (`formats.md`).
pub(crate) const MAX_ENTRY_BYTES: usize = 48 * 1024;

/// An owned, decoded entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the namespace, or absolute.
    pub address: String,
    /// Bytes.
    pub size: u64,
    /// ETag without quotes.
    pub checksum: String,
    /// Unix seconds.
    pub mtime_secs: i64,
    /// Content type; may be empty.
    pub content_type: String,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// Headers and checksums kept by an edge.
    pub headers: BTreeMap<String, String>,
}

/// An encoded entry; clones share the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBytes(Bytes);

/// An entry read in place.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// Relative to the namespace, or absolute.
    pub address: &'a str,
    /// Bytes.
    pub size: u64,
    /// ETag without quotes.
    pub checksum: &'a str,
    /// Unix seconds.
    pub mtime_secs: i64,
    content_type: &'a str,
    pairs: &'a [u8],
}

impl Entry {
    /// Its bytes.
    pub fn encode(&self) -> EntryBytes {
        let mut out = Vec::with_capacity(96 + self.address.len());
        put_text(&mut out, 1, &self.address);
        put_tag(&mut out, 2, 0);
        put_varint(&mut out, self.size);
        put_text(&mut out, 3, &self.checksum);
        put_tag(&mut out, 4, 0);
        put_varint(&mut out, ((self.mtime_secs << 1) ^ (self.mtime_secs >> 63)) as u64);
        put_text(&mut out, 5, &self.content_type);
        for (field, map) in [(6, &self.metadata), (7, &self.headers)] {
            for (key, value) in map {
                let mut pair = Vec::with_capacity(key.len() + value.len() + 8);
                put_text(&mut pair, 1, key);
                put_text(&mut pair, 2, value);
                put_tag(&mut out, field, 2);
                put_varint(&mut out, pair.len() as u64);
                out.extend_from_slice(&pair);
            }
        }
        EntryBytes(out.into())
    }

    /// Its content type, the default if none was given.
    pub fn content_type(&self) -> &str {
        if self.content_type.is_empty() { DEFAULT_CONTENT_TYPE } else { &self.content_type }
    }

    /// The full address of its bytes, for an entry of a repository with this namespace: in the same store.
    pub fn full_address(&self, namespace: &Namespace) -> BlockAddress {
        full_address(&self.address, namespace)
    }
}

fn full_address(address: &str, namespace: &Namespace) -> BlockAddress {
    if address.contains("://") {
        BlockAddress::in_store(namespace.store().clone(), address)
    } else {
        BlockAddress::in_namespace(namespace, address)
    }
}

impl EntryBytes {
    /// From stored bytes.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The entry read in place; `None` if the bytes are no entry.
    pub fn view(&self) -> Option<EntryView<'_>> {
        EntryView::parse(&self.0)
    }

    /// Whether this and `other` count as the same content: equal checksum, content type and user metadata
    /// (`versioning-api` §2, entry identity). Address and time do not count.
    pub fn same_content(&self, other: &Self) -> bool {
        same_content(&self.0, &other.0)
    }
}

/// [`EntryBytes::same_content`] on raw bytes.
pub(crate) fn same_content(left: &[u8], right: &[u8]) -> bool {
    if left == right {
        return true;
    }
    match (EntryView::parse(left), EntryView::parse(right)) {
        (Some(l), Some(r)) => {
            l.checksum == r.checksum && l.content_type() == r.content_type() && l.metadata().eq(r.metadata())
        }
        _ => false,
    }
}

impl<'a> EntryView<'a> {
    /// Reads an entry in place. Unknown fields are skipped.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut view =
            Self { address: "", size: 0, checksum: "", mtime_secs: 0, content_type: "", pairs: &[] };
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = rest;
            let tag = get_varint(&mut rest)?;
            let (field, wire) = (tag >> 3, tag & 7);
            let (number, text) = match wire {
                0 => (get_varint(&mut rest)?, &[][..]),
                2 => (0, get_block(&mut rest)?),
                _ => return None,
            };
            match (field, wire) {
                (1, 2) => view.address = std::str::from_utf8(text).ok()?,
                (2, 0) => view.size = number,
                (3, 2) => view.checksum = std::str::from_utf8(text).ok()?,
                (4, 0) => view.mtime_secs = ((number >> 1) as i64) ^ -((number & 1) as i64),
                (5, 2) => view.content_type = std::str::from_utf8(text).ok()?,
                (6 | 7, 2) if view.pairs.is_empty() => view.pairs = before,
                _ => {}
            }
        }
        Some(view)
    }

    /// The content type, the default if none was given.
    pub fn content_type(&self) -> &'a str {
        if self.content_type.is_empty() { DEFAULT_CONTENT_TYPE } else { self.content_type }
    }

    /// User metadata, sorted by key.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        pairs(self.pairs, 6)
    }

    /// Headers and checksums kept by an edge, sorted by key.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        pairs(self.pairs, 7)
    }

    /// The full address of its bytes, for an entry of a repository with this namespace: in the same store.
    pub fn full_address(&self, namespace: &Namespace) -> BlockAddress {
        full_address(self.address, namespace)
    }

    /// An owned copy.
    pub fn to_entry(&self) -> Entry {
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Entry {
            address: self.address.to_owned(),
            size: self.size,
            checksum: self.checksum.to_owned(),
            mtime_secs: self.mtime_secs,
            content_type: self.content_type.to_owned(),
            metadata: self.metadata().map(own).collect(),
            headers: self.headers().map(own).collect(),
        }
    }
}

fn pairs(mut rest: &[u8], wanted: u64) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let tag = get_varint(&mut rest)?;
            match tag & 7 {
                0 => drop(get_varint(&mut rest)?),
                2 => {
                    let mut block = get_block(&mut rest)?;
                    if tag >> 3 == wanted {
                        let (mut key, mut value) = ("", "");
                        while !block.is_empty() {
                            let tag = get_varint(&mut block)?;
                            let text = std::str::from_utf8(get_block(&mut block)?).ok()?;
                            if tag >> 3 == 1 { key = text } else { value = text }
                        }
                        return Some((key, value));
                    }
                }
                _ => return None,
            }
        }
        None
    })
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_tag(out: &mut Vec<u8>, field: u8, wire: u8) {
    out.push(field << 3 | wire);
}

fn put_text(out: &mut Vec<u8>, field: u8, text: &str) {
    if !text.is_empty() {
        put_tag(out, field, 2);
        put_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
}

fn get_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn get_block<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(get_varint(rest)?).ok()?;
    let (block, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Entry> {
        let map = || proptest::collection::btree_map("[a-c]{0,3}", "\\PC{0,5}", 0..3);
        (("\\PC{0,20}", any::<u64>(), "[0-9a-f]{0,4}"), any::<i64>(), "[a/]{0,3}", map(), map()).prop_map(
            |((address, size, checksum), mtime_secs, content_type, metadata, headers)| Entry {
                address,
                size,
                checksum,
                mtime_secs,
                content_type,
                metadata,
                headers,
            },
        )
    }

    proptest! {
        #[test]
        fn encoding_round_trips(entry in entries()) {
            let bytes = entry.encode();
            prop_assert_eq!(bytes.view().unwrap().to_entry(), entry);
        }

        #[test]
        fn identity_is_checksum_type_and_metadata(left in entries(), right in entries()) {
            let same = left.checksum == right.checksum
                && left.content_type() == right.content_type()
                && left.metadata == right.metadata;
            prop_assert_eq!(left.encode().same_content(&right.encode()), same);
        }

        #[test]
        fn reading_hostile_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(view) = EntryView::parse(&bytes) {
                let _ = (view.metadata().count(), view.headers().count());
            }
        }
    }
}
