//! The key-value engine that keeps its state in the object store: no disk of its own, one active server, any number that
//! stand by.
//!
//! Under one prefix of the store lie three kinds of immutable objects; nothing is ever overwritten:
//!
//! - `log/<epoch>/<sequence>`: **segments**, each a group of transactions. A segment is created only if its name is
//!   free: that one conditional write is the commit of the group **and** the fence, for of two servers that both want
//!   to write the next segment one finds it taken.
//! - `pieces/`: sorted rows, some 256 KiB each, under names never used twice.
//! - `manifests/`: each lists the pieces that hold everything up to some segment: a **checkpoint**. A checkpoint counts
//!   from the moment a segment names it, so a fenced server cannot publish one.
//!
//! State is a [`state::State`]: the rows changed since the checkpoint in memory (bounded), the rest in pieces behind a
//! bounded cache.
//!
//! An **epoch** is the reign of one server. It begins when that server *seals* its predecessor's: it writes the next
//! segment of the predecessor's epoch, which the predecessor then finds taken. The last segment of an epoch is never
//! deleted, so that a server which slept for a week still finds it.
//!
//! Reads are answered under a **lease**: for a time after the *beginning* of the last write of a segment that succeeded,
//! measured on the server's own clock. Who wants to take over waits for longer than that since *it saw* the last
//! segment, on its own clock, before it seals. So only the rates of the clocks matter, not what they show, and writes
//! do not depend on clocks at all. [`election`] says why each step is safe; `docs/src/design/object-metadata.md` is the
//! same for people who do not read the code.

mod checkpoint;
mod election;
mod engine;
mod envelope;
mod lease;
mod log;
mod names;
mod pieces;
mod probe;
mod records;
mod state;
mod sweep;
mod ticks;
mod writer;

use std::time::Duration;

use lakebed_blocks::BlockAddress;

pub use engine::{Ended, ObjectKv};
pub use ticks::{SystemTicks, Ticks};

/// Where the engine keeps its objects and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectConfig {
    /// The prefix of everything it writes, with or without a slash at its end, as `s3://bucket/lakebed-metadata`.
    pub prefix: BlockAddress,
    /// How long reads are answered after the last segment was written, and with a quarter on top, how long a server that
    /// stands by waits. At least a second.
    pub lease: Duration,
    /// Changed rows are held in memory up to this many bytes; then they are written to a checkpoint. While one is being
    /// written another two may gather.
    pub checkpoint_bytes: usize,
    /// The cache of pieces, in bytes.
    pub cache_bytes: u64,
    /// How this server is called in the log and by those that wait for it. For people only.
    pub holder: String,
}

impl ObjectConfig {
    /// With the usual times and sizes.
    pub fn new(prefix: BlockAddress) -> Self {
        Self {
            prefix,
            lease: Duration::from_secs(15),
            checkpoint_bytes: 32 << 20,
            cache_bytes: 64 << 20,
            holder: String::new(),
        }
    }
}

/// What a server that stands by waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Another server is active: it goes by this name.
    For(String),
    /// The store does not answer, or answers nonsense.
    Store(String),
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::For(holder) => write!(f, "standing by: '{holder}' is active"),
            Self::Store(why) => write!(f, "waiting for the object store: {why}"),
        }
    }
}
