//! The engine on PostgreSQL, for many servers over one truth.
//!
//! **One table**, `lakebed_kv (key, value, version)`, keys as `bytea`, which orders bytewise whatever the database's
//! collation. The key is the only index and the whole primary key, and every statement enters by it; so a large
//! installation may partition the table, by range (keys begin with a letter that says what they are, so staged rows, which
//! come and go, can lie apart from refs, which stay) or by hash, without a change here: `ON CONFLICT` and row locks work
//! through partitions only where the unique index has all of the partition key, and here it does.
//!
//! **A version** is the next number of one sequence, drawn once per transaction inside the database. Numbers of one sequence
//! are never given twice: not to concurrent transactions, not after a rollback (it leaves a gap), not after a crash (a
//! commit's flush covers the sequence's own log record before it), not after a dump and restore. Versions of concurrent
//! transactions need not be ordered as their commits are: only equality means anything.
//!
//! **A transaction** is one call of the function `lakebed_transact` (`schema_1.sql`), one round trip, under `READ COMMITTED`:
//! it locks every key it names in the order of keys, each as weakly as its use allows (`FOR KEY SHARE` to see that a gate
//! exists, `FOR SHARE` for a version, more for a write), decides the checks on what it holds, then writes. Locks are held until
//! the commit, which is on disk before anyone sees it: transactions are as if one after the other, in the order of their
//! commits. A key that must be absent is inserted, and a deleted key that was not there is inserted and deleted, so they are
//! locked, too. A deadlock (possible where two transactions make the same keys) or a key made meanwhile undoes the whole
//! call; it is sent again after a random pause.
//!
//! **Groups.** Transactions that wait, and do not write what another of them names, go in one call over one of a few lanes.
//! A thousand writes staged behind one gate so lock its row a dozen times, not a thousand. That is also why a gate is **one**
//! row here ([`Limits::gate_spread`] 1): those who check it do not keep one another waiting, only a seal waits for them and they
//! for it; as many lock it at once as all servers have lanes; and of a spread gate each group would have to lock several rows
//! for the same right, and each seal to delete and make them.
//!
//! **Reads** of a few keys that wait at the same time go together, too: one statement answers them all, over one of a few
//! lanes of their own. A lane that is idle takes a read at once, so nobody waits for others to come. Scans and reads of many
//! keys go by themselves.
//!
//! **Unknown.** An error the database reports instead of a commit means that nothing happened. A connection that is lost, a
//! session that is ended or an answer that does not come once the call was sent means [`Outcome::Unknown`]: it is never sent
//! again.

mod config;
mod connections;
mod group;
mod reader;
mod schema;
mod tls;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_core::Entropy;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_postgres::Row as SqlRow;

pub use self::config::PostgresConfig;
use self::connections::{Connections, failed};
use self::reader::{Reader, key_of};
pub use self::schema::Migrated;
use self::writer::Request;
use crate::check;
use crate::{Key, KeyRange, Kv, KvError, Limits, Outcome, Row, Transaction, Version, Versioned};

/// Transactions that wait for a lane; more callers wait for a place.
const QUEUE: usize = 4096;

/// Groups at work at once, if there are connections enough.
const LANES: usize = 4;

/// How often connections that nobody needs are looked for.
const TRIM: Duration = Duration::from_secs(30);

const SCAN: &str =
    "SELECT key, value, version FROM lakebed_kv WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3";
const SCAN_TO_END: &str = "SELECT key, value, version FROM lakebed_kv WHERE key >= $1 ORDER BY key LIMIT $2";

/// Deletes the first rows of a range; answers the last key and how many there were, whoever deleted them: another server
/// that is at it, too, may be faster.
const DELETE_FIRST: &str = "WITH wanted AS \
    (SELECT key FROM lakebed_kv WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3), \
    gone AS (DELETE FROM lakebed_kv USING wanted WHERE lakebed_kv.key = wanted.key) \
    SELECT key, count(*) OVER () FROM wanted ORDER BY key DESC LIMIT 1";
const DELETED_AT_ONCE: i64 = 2000;

/// The engine on PostgreSQL.
pub struct PostgresKv {
    connections: Arc<Connections>,
    reader: Reader,
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    trimmer: JoinHandle<()>,
}

impl PostgresKv {
    /// Connects. Makes the schema of an empty database, and fails on one that this binary does not know.
    pub async fn open(config: &PostgresConfig, entropy: Arc<dyn Entropy>) -> Result<Self, KvError> {
        let connections = Arc::new(Connections::new(config, entropy)?);
        schema::ensure(&connections).await?;
        let rows = connections.read("SELECT current_setting('fsync')", &[]).await?;
        if rows.first().and_then(|row| row.try_get::<_, String>(0).ok()).as_deref() == Some("off") {
            tracing::warn!(
                "the database runs with fsync = off: a crash of its machine loses what was acknowledged"
            );
        }
        let (queue, requests) = mpsc::channel(QUEUE);
        let lanes = LANES.min(config.max_connections.max(2) / 2);
        let writer = tokio::spawn(writer::run(connections.clone(), requests, lanes));
        let trimmed = connections.clone();
        let trimmer = tokio::spawn(async move {
            loop {
                tokio::time::sleep(TRIM).await;
                trimmed.trim();
            }
        });
        let reader = Reader::start(&connections, config.max_connections);
        let (queue, writer) = (Mutex::new(Some(queue)), Mutex::new(Some(writer)));
        Ok(Self { connections, reader, queue, writer, trimmer })
    }

    /// The version of the database's schema; `None`: there is none yet.
    pub async fn schema_version(
        config: &PostgresConfig,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Option<u32>, KvError> {
        let connections = Connections::new(config, entropy)?;
        let client = connections.get().await?;
        schema::version(&**client).await
    }

    /// Brings the database's schema to this binary's version. No server may run on it.
    pub async fn migrate(config: &PostgresConfig, entropy: Arc<dyn Entropy>) -> Result<Migrated, KvError> {
        schema::migrate(&Connections::new(config, entropy)?).await
    }
}

impl Drop for PostgresKv {
    fn drop(&mut self) {
        self.trimmer.abort();
    }
}

fn versioned(row: &SqlRow, at: usize) -> Result<Versioned, KvError> {
    let value: &[u8] = row.try_get(at).map_err(|error| failed(&error))?;
    let version: i64 = row.try_get(at + 1).map_err(|error| failed(&error))?;
    Ok(Versioned { value: Bytes::copy_from_slice(value), version: Version(version as u64) })
}

#[async_trait]
impl Kv for PostgresKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        Ok(self.reader.read(vec![Bytes::copy_from_slice(key)]).await?.pop().flatten())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.reader.read(keys.to_vec()).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        let (start, most) = (&range.start[..], i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = match &range.end {
            Some(end) => self.connections.read(SCAN, &[&start, &&end[..], &most]).await?,
            None => self.connections.read(SCAN_TO_END, &[&start, &most]).await?,
        };
        rows.iter()
            .map(|row| {
                let Versioned { value, version } = versioned(row, 1)?;
                Ok(Row { key: Bytes::copy_from_slice(key_of(row)?), value, version })
            })
            .collect()
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        check::well_formed(&transaction, &self.limits())?;
        let stopped = || KvError::Stopped("it was closed".into());
        let queue = self.queue.lock().clone().ok_or_else(stopped)?;
        let (answer, answered) = oneshot::channel();
        queue.send(Request { transaction, answer }).await.map_err(|_| stopped())?;
        // Every request is answered; if its task went away, nobody knows how far it came.
        answered.await.unwrap_or(Ok(Outcome::Unknown))
    }

    /// Nobody writes these rows any more, so they go without locks taken in order and without versions; and what was
    /// deleted may be deleted again after a connection was lost.
    async fn abandon(&self, rows: &KeyRange) -> Result<bool, KvError> {
        let Some(end) = &rows.end else { return Ok(false) };
        let mut start = rows.start.to_vec();
        loop {
            let deleted = self.connections.read(DELETE_FIRST, &[&start, &&end[..], &DELETED_AT_ONCE]).await?;
            let Some(last) = deleted.first() else { return Ok(true) };
            let count: i64 = last.try_get(1).map_err(|error| failed(&error))?;
            if count < DELETED_AT_ONCE {
                return Ok(true);
            }
            // Behind what was deleted, which is in the index until the database cleans up.
            start = [key_of(last)?, &[0]].concat();
        }
    }

    fn limits(&self) -> Limits {
        // An index row must fit a third of a page, 2,704 bytes with its head.
        Limits { max_items: 4096, max_bytes: 16 << 20, max_key_bytes: 2600, gate_spread: 1 }
    }

    async fn close(&self) -> Result<(), KvError> {
        drop(self.queue.lock().take());
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            writer.await.map_err(|_| KvError::Engine("the writer of the PostgreSQL engine failed".into()))?;
        }
        self.reader.close().await?;
        self.trimmer.abort();
        self.connections.close();
        Ok(())
    }
}
