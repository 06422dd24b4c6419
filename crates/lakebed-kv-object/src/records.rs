//! What the engine's objects hold: protobuf, with room to evolve. Fields are never renumbered.

use bytes::Bytes;
use prost::Message;

use crate::envelope::Wrapped;
use crate::names::Position;

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Purpose {
    /// Changes, or nothing but a sign of life.
    Data = 0,
    /// Seals the epoch it stands in; the next begins behind it and is the writer's.
    Seal = 1,
    /// The last word of an epoch's own server: it writes and reads no more.
    End = 2,
}

/// One step of the log.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Segment {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    /// Random, one for each life of a process: whose segment this is.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) writer: Bytes,
    /// For people.
    #[prost(string, tag = "4")]
    pub(crate) holder: String,
    #[prost(enumeration = "Purpose", tag = "5")]
    pub(crate) purpose: i32,
    /// How long the writer answers reads after it began to write this, in milliseconds.
    #[prost(uint64, tag = "6")]
    pub(crate) lease_ms: u64,
    /// The newest checkpoint holds every segment up to this sequence.
    #[prost(uint64, tag = "7")]
    pub(crate) covered: u64,
    /// Its manifest; empty: it is empty.
    #[prost(string, tag = "8")]
    pub(crate) manifest: String,
    /// The highest version given out so far, this segment included.
    #[prost(uint64, tag = "9")]
    pub(crate) version: u64,
    /// What changes; in this order, all at one instant.
    #[prost(message, repeated, tag = "10")]
    pub(crate) changes: Vec<Change>,
}

/// A key's new value, or its end.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Change {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) value: Option<Bytes>,
    #[prost(uint64, tag = "3")]
    pub(crate) version: u64,
}

/// The pieces of a checkpoint, in key order.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Manifest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pieces: Vec<PieceRef>,
}

/// A piece as its manifest knows it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PieceRef {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// The first key in it. It reaches to the first key of the next.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) first: Bytes,
    /// Bytes of its rows.
    #[prost(uint64, tag = "3")]
    pub(crate) bytes: u64,
}

/// Sorted rows.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Piece {
    #[prost(message, repeated, tag = "1")]
    pub(crate) rows: Vec<PieceRow>,
}

/// A row of a piece.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PieceRow {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
    #[prost(uint64, tag = "3")]
    pub(crate) version: u64,
}

impl Wrapped for Segment {
    const KIND: u8 = 1;
}

impl Wrapped for Manifest {
    const KIND: u8 = 2;
}

impl Wrapped for Piece {
    const KIND: u8 = 3;
}

impl Segment {
    pub(crate) fn position(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.sequence }
    }

    /// Where the segment after this one stands.
    pub(crate) fn next(&self) -> Position {
        let epoch = self.epoch + u64::from(self.purpose() == Purpose::Seal);
        Position { epoch, sequence: self.sequence + 1 }
    }
}

impl PieceRow {
    /// What it counts for in memory and in a piece.
    pub(crate) fn weight(&self) -> usize {
        weight(&self.key, self.value.len())
    }
}

/// What a row counts for: its bytes, and what it takes to hold them.
pub(crate) fn weight(key: &[u8], value: usize) -> usize {
    key.len() + value + 96
}
