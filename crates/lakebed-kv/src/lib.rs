//! Small mutable state: keys, versions, atomic transactions; engines behind one trait.
//!
//! The contract is [`Kv`]; it is what `protocol.md` ("What it asks of lakebed-kv") needs, no more:
//!
//! - A [`Version`] is never reused, not even after a key was deleted and made again.
//! - [`Kv::transact`] is all or nothing and durable before it answers `Done`; its answer may be
//!   [`Outcome::Unknown`] when an engine cannot tell whether the transaction happened.
//! - Reads are strongly consistent and durable: what a crash could take back is never shown.
//! - [`Kv::scan`] is no snapshot; [`Kv::get_many`] is one consistent round trip.
//!
//! Engines: [`FjallKv`] (embedded, the default), [`PostgresKv`] and [`DynamoKv`] (many servers over one truth), [`MemKv`]
//! (tests). Behaviour shared by all engines is proven by the [`conformance`] suite. What the keys mean is not known here.

pub mod check;
pub mod conformance;
mod dynamo;
mod fjall;
mod mem;
mod postgres;
mod row_cache;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::dynamo::{DynamoCall, DynamoConfig, DynamoKv, DynamoWatch};
pub use crate::fjall::{FjallConfig, FjallKv};
pub use crate::mem::MemKv;
pub use crate::postgres::{Migrated, PostgresConfig, PostgresKv};

/// A key, at most [`Limits::max_key_bytes`] long; keys are ordered by their bytes.
pub type Key = Bytes;

/// Which write made a value. Opaque; only equality means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub u64);

/// A value and the version of the write that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// The write that made it.
    pub version: Version,
}

/// A row of a [`Kv::scan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Bytes,
    /// The write that made it.
    pub version: Version,
}

/// What must hold for a transaction to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The key does not exist. Only allowed on a key the same transaction writes.
    Absent,
    /// The key exists, at whatever version.
    Exists,
    /// The key exists at exactly this version.
    Version(Version),
}

/// What a transaction does to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The key gets this value and the transaction's version.
    Put(Bytes),
    /// The key goes; deleting an absent key is fine.
    Delete,
}

/// Checks and writes that happen together or not at all. At most one check and one write per key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold.
    pub checks: Vec<(Key, Check)>,
    /// What is done then.
    pub writes: Vec<(Key, Write)>,
}

impl Transaction {
    /// A transaction without checks and writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check.
    #[must_use]
    pub fn check(mut self, key: impl Into<Key>, check: Check) -> Self {
        self.checks.push((key.into(), check));
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        self.writes.push((key.into(), Write::Put(value.into())));
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Key>) -> Self {
        self.writes.push((key.into(), Write::Delete));
        self
    }
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was checked and written, durably; every key put now has this version.
    Done(Version),
    /// A check did not hold (one of them is named); nothing was written.
    Refused(Key),
    /// The engine cannot tell. The caller must find out by reading, never by sending again.
    Unknown,
}

/// What an engine can carry in one transaction, and how it wants hot rows spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Checks and writes together.
    pub max_items: usize,
    /// Bytes of all keys and values together.
    pub max_bytes: usize,
    /// Length of a key.
    pub max_key_bytes: usize,
    /// Over how many rows a gate is spread.
    pub gate_spread: u8,
}

/// The keys of a scan: `start` (inclusive) up to `end` (exclusive; `None` = no end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key, inclusive.
    pub start: Key,
    /// The end, exclusive.
    pub end: Option<Key>,
}

impl KeyRange {
    /// All keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: Bytes::copy_from_slice(prefix), end: successor(prefix).map(Bytes::from) }
    }
}

/// The smallest key greater than every key starting with `prefix`; `None` if there is none.
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

/// Rows that count only while another row, their guard, exists: a guard's key is `guards` and an id, a row's key is `rows`,
/// the same id, and more.
///
/// Whoever uses an engine that knows of them promises: a row is written only after the write of its guard was answered, and
/// only while the guard exists; an id whose guard was deleted is not used again; and what was read of the rows, or found
/// missing, is used only if the guard still existed at the same instant or later. The engine may then drop any value of any of
/// the rows at any time after their guard is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// First byte of the rows' keys.
    pub rows: u8,
    /// First byte of the guards' keys.
    pub guards: u8,
    /// Length of the ids.
    pub id_bytes: usize,
}

impl Guarded {
    /// Whether `key` is of a guarded row, or the beginning of all keys of an id.
    pub fn is_row(&self, key: &[u8]) -> bool {
        key.len() > self.id_bytes && key[0] == self.rows
    }

    /// The guard of a row.
    pub fn guard_of(&self, row: &[u8]) -> Option<Vec<u8>> {
        self.is_row(row).then(|| [&[self.guards], &row[1..=self.id_bytes]].concat())
    }
}

/// What can go wrong with an engine. A transaction that answers an error did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KvError {
    /// The transaction or key breaks a limit of the engine, or names a key twice.
    #[error("key-value transaction refused: {0}")]
    Invalid(String),
    /// The engine has stopped: a flush failed or it was closed. Restart the server.
    #[error("key-value engine stopped: {0}")]
    Stopped(Arc<str>),
    /// The engine is out of reach or overloaded: the same may succeed later.
    #[error("key-value engine unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The engine refused what was asked, or what it holds cannot be read.
    #[error("key-value engine failed: {0}")]
    Engine(Arc<str>),
}

/// An engine.
#[async_trait]
pub trait Kv: Send + Sync + 'static {
    /// The value at `key`.
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError>;

    /// The values at `keys`, in their order, all seen at one instant if they are no more than [`Limits::max_items`];
    /// of more, an engine may see each part of that size at an instant of its own.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError>;

    /// The first `limit` rows of `range` in key order. Fewer than `limit` rows: the range is exhausted. Continue
    /// with the last key followed by a zero byte.
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError>;

    /// Checks and writes `transaction`, as one.
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError>;

    /// Leaves the rows of an id whose guard was deleted ([`Guarded`]) to the engine, which takes them when it sees fit; `rows`
    /// are all of them. `false`: the engine does not do this, they have to be deleted.
    async fn abandon(&self, _rows: &KeyRange) -> Result<bool, KvError> {
        Ok(false)
    }

    /// What one transaction may carry.
    fn limits(&self) -> Limits;

    /// Finishes what was accepted, flushes and closes. Later calls answer [`KvError::Stopped`].
    async fn close(&self) -> Result<(), KvError>;
}
