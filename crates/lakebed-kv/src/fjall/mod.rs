//! The embedded engine: `fjall`, one writer thread, group commit.
//!
//! Durability: the writer takes everything that waits, checks it, writes one batch and syncs the journal **once**
//! (`PersistMode::SyncData`, one `fdatasync`) before any of its callers is answered. `fjall` applies a batch to what
//! readers see only behind that sync, so nothing a crash could take back is ever shown. A failed write or sync stops the
//! engine for good: what is on disk is then unknown, and only a restart finds out.
//!
//! A stored value is the version (8 bytes) and the value. Versions are one sequence for the engine; its high-water mark
//! is written with every batch, so a number is never given twice, not even after a crash.

mod abandoned;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::compaction::filter::Factory;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use foldhash::quality::RandomState;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use self::abandoned::{Filters, Guards};
use crate::check::{self, verdict};
use crate::row_cache::RowCache;
use crate::{
    Guarded, Key, KeyRange, Kv, KvError, Limits, Outcome, Row, Transaction, Version, Versioned, Write,
};

/// Memory and journal of the embedded engine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FjallConfig {
    /// Journals are kept below this; must be at least 64 MiB.
    pub journal_bytes: u64,
    /// A memtable is flushed at this size, of its keys and values. It takes two to three times the memory, and there are up
    /// to three of them at a time.
    pub memtable_bytes: u64,
    /// Cache of table blocks.
    pub cache_bytes: u64,
    /// Cache of single rows.
    pub row_cache_bytes: u64,
    /// Rows that go with their guard, if there are such.
    pub guarded: Option<Guarded>,
}

impl Default for FjallConfig {
    fn default() -> Self {
        Self {
            journal_bytes: 64 << 20,
            memtable_bytes: 8 << 20,
            cache_bytes: 16 << 20,
            row_cache_bytes: 8 << 20,
            guarded: None,
        }
    }
}

/// Transactions that wait for the writer; more callers wait for a place.
const QUEUE: usize = 4096;

/// The most transactions of one group.
const GROUP: usize = 1024;

/// The most bytes of one group.
const GROUP_BYTES: usize = 32 << 20;

/// How many flushed memtables are gathered before they are merged with older tables. Staged rows soon are deleted: the more of
/// them meet their deletion here, the fewer are written again.
const FRESH_TABLES: u8 = 8;

/// Of memtables that wait to be flushed, writes are held back while there are more.
const MOST_SEALED: usize = 1;

/// How long writes are held back after each group at most, and in which steps it is looked whether they still must be.
const HOLD_BACK: Duration = Duration::from_millis(100);
const HOLD_BACK_STEP: Duration = Duration::from_millis(2);

/// Reads of more keys than this are of rows in bulk, which do not come again soon.
const CACHED_KEYS: usize = 32;

/// The keyspace of all rows.
const ROWS: &str = "rows";

/// Where the sequence's high-water mark stands, in a keyspace of its own.
const SEQUENCE_KEY: &[u8] = b"sequence";

struct Request {
    transaction: Transaction,
    answer: oneshot::Sender<Result<Outcome, KvError>>,
}

/// The embedded engine. One process at a time may have a directory open.
pub struct FjallKv {
    database: Database,
    rows: Keyspace,
    cache: Arc<RowCache>,
    guards: Option<Arc<Guards>>,
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    stopped: Arc<Mutex<Option<Arc<str>>>>,
}

fn failed(error: &fjall::Error) -> KvError {
    KvError::Engine(error.to_string().into())
}

/// Makes the names of the engine's directories durable. It flushes its files and most names itself, but not those of its
/// keyspaces.
fn flush_names(path: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::File::open(entry.path())?.sync_all()?;
        }
    }
    std::fs::File::open(path)?.sync_all()
}

impl FjallKv {
    /// Opens or makes the engine in a directory. Fails if another process has it open.
    pub fn open(path: &Path, config: FjallConfig) -> Result<Self, KvError> {
        let guards = config.guarded.map(Guards::new);
        let mut builder = Database::builder(path);
        if let Some(guards) = guards.clone() {
            builder = builder.with_compaction_filter_factories(Arc::new(move |keyspace| {
                (keyspace == ROWS).then(|| Arc::new(Filters(guards.clone())) as Arc<dyn Factory>)
            }));
        }
        let database = builder
            .manual_journal_persist(true)
            .max_journaling_size(config.journal_bytes)
            .cache_size(config.cache_bytes)
            .worker_threads(1)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => KvError::Engine(
                    format!("'{}' is in use by another process: stop it first", path.display()).into(),
                ),
                error => KvError::Engine(format!("cannot open '{}': {error}", path.display()).into()),
            })?;
        let options = || {
            KeyspaceCreateOptions::default()
                // Above what the writer lets them grow to: see `Writer::make_room`.
                .max_memtable_size(config.memtable_bytes.saturating_mul(8))
                .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(FRESH_TABLES)))
                .manual_journal_persist(true)
        };
        let rows = database.keyspace(ROWS, options).map_err(|error| failed(&error))?;
        let marks = database.keyspace("marks", options).map_err(|error| failed(&error))?;
        flush_names(path)
            .map_err(|error| KvError::Engine(format!("cannot flush '{}': {error}", path.display()).into()))?;
        let sequence = match marks.get(SEQUENCE_KEY).map_err(|error| failed(&error))? {
            Some(value) => value.as_ref().try_into().map_or(0, u64::from_le_bytes),
            None => 0,
        };
        let stopped: Arc<Mutex<Option<Arc<str>>>> = Arc::default();
        let (queue, requests) = mpsc::channel(QUEUE);
        let cache = Arc::new(RowCache::new(config.row_cache_bytes));
        let writer = Writer {
            database: database.clone(),
            rows: rows.clone(),
            marks,
            cache: cache.clone(),
            sequence,
            memtable_bytes: config.memtable_bytes,
            stopped: stopped.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("kv-writer".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(|error| KvError::Engine(error.to_string().into()))?;
        let (queue, writer) = (Mutex::new(Some(queue)), Mutex::new(Some(thread)));
        if let Some(guards) = &guards {
            guards.attach(&database, &rows);
        }
        Ok(Self { database, rows, cache, guards, queue, writer, stopped })
    }

    fn running(&self) -> Result<(), KvError> {
        match &*self.stopped.lock() {
            Some(why) => Err(KvError::Stopped(why.clone())),
            None => Ok(()),
        }
    }
}

impl Drop for FjallKv {
    fn drop(&mut self) {
        if let Some(guards) = &self.guards {
            guards.detach();
        }
    }
}

/// A stored value taken apart.
fn versioned(stored: fjall::UserValue) -> Result<Versioned, KvError> {
    let stored = Bytes::from(stored);
    match stored.first_chunk::<8>() {
        Some(version) => {
            let version = Version(u64::from_le_bytes(*version));
            Ok(Versioned { value: stored.slice(8..), version })
        }
        None => Err(KvError::Engine("a stored value is too short".into())),
    }
}

#[async_trait]
impl Kv for FjallKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.running()?;
        self.cache.through(key, || {
            // Through a snapshot: outside one, a batch's rows become visible one after the other.
            let found = self.database.snapshot().get(&self.rows, key).map_err(|error| failed(&error))?;
            found.map(versioned).transpose()
        })
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.running()?;
        let read = |snapshot: &fjall::Snapshot, key: &[u8]| {
            let found = snapshot.get(&self.rows, key).map_err(|error| failed(&error))?;
            found.map(versioned).transpose()
        };
        if keys.len() <= CACHED_KEYS {
            return self.cache.many_through(keys, || self.database.snapshot(), read);
        }
        let snapshot = self.database.snapshot();
        keys.iter().map(|key| read(&snapshot, key)).collect()
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.running()?;
        if limit == 0 || range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(Vec::new());
        }
        let snapshot = self.database.snapshot();
        let iter = match &range.end {
            Some(end) => snapshot.range(&self.rows, range.start.clone()..end.clone()),
            None => snapshot.range(&self.rows, range.start.clone()..),
        };
        iter.take(limit)
            .map(|guard| {
                let (key, value) = guard.into_inner().map_err(|error| failed(&error))?;
                let Versioned { value, version } = versioned(value)?;
                Ok(Row { key: Bytes::from(key), value, version })
            })
            .collect()
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        check::well_formed(&transaction, &self.limits())?;
        self.running()?;
        let stopped = || KvError::Stopped("it was closed".into());
        let queue = self.queue.lock().clone().ok_or_else(stopped)?;
        let (answer, answered) = oneshot::channel();
        queue.send(Request { transaction, answer }).await.map_err(|_| stopped())?;
        // The writer answers whatever it takes; if it went away, nobody knows how far it came.
        Ok(answered.await.unwrap_or(Ok(Outcome::Unknown))?)
    }

    async fn abandon(&self, rows: &KeyRange) -> Result<bool, KvError> {
        self.running()?;
        let Some(guards) = self.guards.clone() else { return Ok(false) };
        let rows = rows.clone();
        let abandoned = tokio::task::spawn_blocking(move || guards.abandon(&rows)).await;
        abandoned.map_err(|error| KvError::Engine(error.to_string().into()))?.map_err(|error| failed(&error))
    }

    fn limits(&self) -> Limits {
        Limits { max_items: 4096, max_bytes: 16 << 20, max_key_bytes: 4096, gate_spread: 1 }
    }

    async fn close(&self) -> Result<(), KvError> {
        // Without senders the writer finishes what waits and ends.
        drop(self.queue.lock().take());
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(KvError::Engine("the writer thread failed".into()));
            }
        }
        self.stopped.lock().get_or_insert_with(|| "it was closed".into());
        self.database.persist(PersistMode::SyncAll).map_err(|error| failed(&error))
    }
}

/// What the transactions of a group write, by key.
type Overlay = HashMap<Key, Option<(Version, Bytes)>, RandomState>;

/// The one thread that writes.
struct Writer {
    database: Database,
    rows: Keyspace,
    marks: Keyspace,
    cache: Arc<RowCache>,
    sequence: u64,
    memtable_bytes: u64,
    stopped: Arc<Mutex<Option<Arc<str>>>>,
}

impl Writer {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::with_capacity(GROUP);
        while requests.blocking_recv_many(&mut group, GROUP) > 0 {
            while !group.is_empty() {
                let take = group_size(&group);
                let rest = group.split_off(take);
                self.commit(std::mem::replace(&mut group, rest));
                self.make_room();
            }
        }
    }

    /// Hands full memtables to be flushed, and waits while too many are.
    ///
    /// The engine would do so itself, in its one thread that also compacts (of several, one spins while another compacts):
    /// while it compacts, each batch asks for the same memtable to be flushed, which grows without bound, and once a thousand
    /// have asked, the thread waits for ever for a place to put the next request, which only it could make. Here a memtable
    /// is sealed before the engine ever asks.
    fn make_room(&self) {
        for keyspace in [&self.rows, &self.marks] {
            if keyspace.tree.active_memtable().size() > self.memtable_bytes
                && let Err(error) = keyspace.rotate_memtable()
            {
                // What was answered is in the journal; the next write finds out whether the engine still works.
                tracing::error!(%error, "a memtable of the key-value engine could not be sealed");
            }
        }
        let mut left = HOLD_BACK;
        while !left.is_zero() && self.rows.tree.sealed_memtable_count() > MOST_SEALED {
            std::thread::sleep(HOLD_BACK_STEP);
            left = left.saturating_sub(HOLD_BACK_STEP);
        }
    }

    /// Checks and writes a group with one sync, then answers all of it.
    fn commit(&mut self, group: Vec<Request>) {
        if let Some(why) = self.stopped.lock().clone() {
            for request in group {
                let _ = request.answer.send(Err(KvError::Stopped(why.clone())));
            }
            return;
        }
        // What earlier transactions of this group did: the later ones' checks see it.
        let mut overlay = Overlay::with_capacity_and_hasher(group.len() * 2, RandomState::default());
        let mut answers = Vec::with_capacity(group.len());
        for Request { transaction, answer } in group {
            match self.refusal(&transaction, &overlay) {
                Err(error) => drop(answer.send(Err(error))),
                // Decided by what is on disk.
                Ok(Some(key)) if overlay.is_empty() => drop(answer.send(Ok(Outcome::Refused(key)))),
                // A refusal, too, shows what it was decided by: writes of this group, which readers do not see yet and
                // a crash could take back.
                Ok(Some(key)) => answers.push((answer, Outcome::Refused(key))),
                Ok(None) => {
                    self.sequence += 1;
                    let version = Version(self.sequence);
                    for (key, write) in transaction.writes {
                        let state = match write {
                            Write::Put(value) => Some((version, value)),
                            Write::Delete => None,
                        };
                        overlay.insert(key, state);
                    }
                    answers.push((answer, Outcome::Done(version)));
                }
            }
        }
        if answers.is_empty() {
            return;
        }
        // Durable before any answer: this is the flush every acknowledged write of the server rests on.
        self.cache.writing(overlay.keys());
        let result = self.write(&overlay);
        // After a failure nobody knows what there is; the engine answers no more reads then.
        self.cache.written(overlay.keys());
        if let Err(error) = &result {
            let why: Arc<str> = error.to_string().into();
            tracing::error!(%why, "the key-value journal could not be written; the engine stops");
            *self.stopped.lock() = Some(why);
        }
        for (answer, outcome) in answers {
            // After a failed flush the disk may hold the batch or not. (Unknown is no lie of a refused one either.)
            let _ = answer.send(Ok(if result.is_ok() { outcome } else { Outcome::Unknown }));
        }
    }

    fn write(&self, overlay: &Overlay) -> fjall::Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, state) in overlay {
            match state {
                Some((version, value)) => {
                    let mut stored = Vec::with_capacity(8 + value.len());
                    stored.extend_from_slice(&version.0.to_le_bytes());
                    stored.extend_from_slice(value);
                    batch.insert(&self.rows, &key[..], stored);
                }
                None => batch.remove(&self.rows, &key[..]),
            }
        }
        batch.insert(&self.marks, SEQUENCE_KEY, self.sequence.to_le_bytes());
        batch.commit()
    }

    /// What is on disk: nobody else writes.
    fn current(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.cache.through(key, || {
            let found = self.rows.get(key).map_err(|error| failed(&error))?;
            found.map(versioned).transpose()
        })
    }

    /// The first key whose check does not hold.
    fn refusal(&self, transaction: &Transaction, overlay: &Overlay) -> Result<Option<Key>, KvError> {
        for (key, check) in &transaction.checks {
            let version = match overlay.get(key) {
                Some(state) => state.as_ref().map(|(version, _)| *version),
                None => self.current(key)?.map(|row| row.version),
            };
            if !verdict(*check, version) {
                return Ok(Some(key.clone()));
            }
        }
        Ok(None)
    }
}

/// How many of the waiting transactions fit into one group by size; at least one.
fn group_size(waiting: &[Request]) -> usize {
    let mut bytes = 0;
    for (at, request) in waiting.iter().enumerate() {
        bytes += request
            .transaction
            .writes
            .iter()
            .map(|(key, write)| key.len() + if let Write::Put(value) = write { value.len() } else { 0 })
            .sum::<usize>();
        if bytes > GROUP_BYTES {
            return at.max(1);
        }
    }
    waiting.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests say what they expect by panicking
mod tests {
    use super::*;

    /// Whatever the engine's own thread is busy with: it is never asked to flush a memtable that goes on growing.
    #[tokio::test]
    async fn no_memtable_grows_beyond_its_size() {
        const BATCH: usize = 2048;
        let root = tempfile::tempdir().unwrap();
        let config = FjallConfig { memtable_bytes: 64 << 10, ..FjallConfig::default() };
        let kv = FjallKv::open(root.path(), config).unwrap();
        let mut greatest = 0;
        for n in 0..4000u32 {
            let key = n.wrapping_mul(0x9e37_79b1).to_be_bytes().to_vec();
            let done = kv.transact(Transaction::new().put(key, vec![7; BATCH])).await.unwrap();
            assert!(matches!(done, Outcome::Done(_)));
            greatest = greatest.max(kv.rows.tree.active_memtable().size());
        }
        assert!(greatest < config.memtable_bytes + 2 * BATCH as u64, "{greatest} bytes");
        kv.close().await.unwrap();
    }
}
