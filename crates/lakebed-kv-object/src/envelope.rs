//! How every object of the engine is wrapped: what it is, how long, a checksum, and compressed content.
//!
//! ```text
//! "LKVO" | format version (1) | kind (1) | length uncompressed (4, LE) | BLAKE3 of the content, first 16 | zstd
//! ```

use bytes::{Bytes, BytesMut};
use prost::Message;

const MAGIC: &[u8; 4] = b"LKVO";
const FORMAT: u8 = 1;
const HEAD: usize = 26;

/// The most an object holds uncompressed: a group and the transaction that overflowed it, with room to spare.
pub(crate) const MAX_CONTENT: usize = 64 << 20;

/// The most an object takes as stored.
pub(crate) const MAX_STORED: usize = MAX_CONTENT + (1 << 20);

/// Kinds of objects, so that one is never taken for another.
pub(crate) trait Wrapped: Message + Default {
    const KIND: u8;
}

/// Wraps a record.
pub(crate) fn wrap<M: Wrapped>(record: &M) -> Result<Bytes, Damaged> {
    let content = record.encode_to_vec();
    if content.len() > MAX_CONTENT {
        return Err(Damaged("it is too long to be stored"));
    }
    let compressed = zstd::bulk::compress(&content, 1).map_err(|_| Damaged("it cannot be compressed"))?;
    let mut stored = BytesMut::with_capacity(HEAD + compressed.len());
    stored.extend_from_slice(MAGIC);
    stored.extend_from_slice(&[FORMAT, M::KIND]);
    stored.extend_from_slice(&(content.len() as u32).to_le_bytes());
    stored.extend_from_slice(&blake3::hash(&content).as_bytes()[..16]);
    stored.extend_from_slice(&compressed);
    Ok(stored.freeze())
}

/// Why an object cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged(pub(crate) &'static str);

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Unwraps a record. Its byte fields are slices of one buffer.
pub(crate) fn unwrap<M: Wrapped>(stored: &[u8]) -> Result<M, Damaged> {
    let Some((head, compressed)) = stored.split_at_checked(HEAD) else {
        return Err(Damaged("it is cut off"));
    };
    if &head[..4] != MAGIC {
        return Err(Damaged("it is none of the engine's objects"));
    }
    if head[4] != FORMAT {
        return Err(Damaged("it was written by a later version of Lakebed: start that version"));
    }
    if head[5] != M::KIND {
        return Err(Damaged("it is of another kind"));
    }
    let length = u32::from_le_bytes([head[6], head[7], head[8], head[9]]) as usize;
    if length > MAX_CONTENT {
        return Err(Damaged("it says to be longer than it may be"));
    }
    let content =
        zstd::bulk::decompress(compressed, length).map_err(|_| Damaged("it cannot be decompressed"))?;
    if content.len() != length || blake3::hash(&content).as_bytes()[..16] != head[10..HEAD] {
        return Err(Damaged("its checksum is wrong"));
    }
    M::decode(Bytes::from(content)).map_err(|_| Damaged("its content is malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Manifest, Segment};

    #[test]
    fn what_is_wrapped_is_unwrapped_and_nothing_else() {
        let segment = Segment { epoch: 3, sequence: 9, holder: "host".to_owned(), ..Segment::default() };
        let stored = wrap(&segment).unwrap();
        assert_eq!(unwrap::<Segment>(&stored).unwrap(), segment);
        assert_eq!(unwrap::<Manifest>(&stored).unwrap_err(), Damaged("it is of another kind"));
        for at in 0..stored.len() {
            let mut bad = stored.to_vec();
            bad[at] ^= 1;
            assert!(unwrap::<Segment>(&bad).is_err(), "byte {at} changed");
            assert!(unwrap::<Segment>(&stored[..at]).is_err(), "cut at {at}");
        }
    }
}
