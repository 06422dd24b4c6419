//! An engine that drops guarded rows as early and as oddly as it may.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::collections::BTreeMap;

use lakebed_catalog::Catalog;
use lakebed_kv::{
    Guarded, Key, KeyRange, Kv, KvError, Limits, MemKv, Outcome, Row, Transaction, Versioned, Write,
};
use parking_lot::Mutex;

/// The engine in memory. When a guard is deleted, some of its rows vanish, of some the first value comes to light again, and
/// the rest stay for ever.
#[derive(Default)]
pub struct ForgetfulKv {
    inner: MemKv,
    /// The first value of every guarded row.
    first: Mutex<BTreeMap<Key, bytes::Bytes>>,
}

const GUARDED: Guarded = Catalog::GUARDED;

impl ForgetfulKv {
    async fn forget(&self, guard: &[u8]) -> Result<(), KvError> {
        let rows = KeyRange::prefix(&[&[GUARDED.rows], &guard[1..]].concat());
        let mut transaction = Transaction::new();
        for (n, row) in self.inner.scan(&rows, usize::MAX).await?.into_iter().enumerate() {
            let first = self.first.lock().remove(&row.key);
            match (n % 3, first) {
                (0, _) => transaction = transaction.delete(row.key),
                (1, Some(first)) => transaction = transaction.put(row.key, first),
                _ => {}
            }
        }
        self.inner.transact(transaction).await.map(drop)
    }
}

#[async_trait::async_trait]
impl Kv for ForgetfulKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.inner.get_many(keys).await
    }
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.inner.scan(range, limit).await
    }
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        let writes = transaction.writes.clone();
        let outcome = self.inner.transact(transaction).await?;
        if matches!(outcome, Outcome::Done(_)) {
            for (key, write) in writes {
                match write {
                    Write::Put(value) if GUARDED.is_row(&key) => {
                        self.first.lock().entry(key).or_insert(value);
                    }
                    Write::Delete if key.first() == Some(&GUARDED.guards) => self.forget(&key).await?,
                    _ => {}
                }
            }
        }
        Ok(outcome)
    }
    async fn abandon(&self, rows: &KeyRange) -> Result<bool, KvError> {
        let guard = GUARDED.guard_of(&rows.start);
        assert!(guard.is_some(), "{rows:?} are not of one guard");
        assert_eq!(self.inner.get(&guard.unwrap_or_default()).await?, None, "the guard must be gone");
        Ok(true)
    }
    fn limits(&self) -> Limits {
        // So that layers soon are large.
        Limits { max_items: 64, ..self.inner.limits() }
    }
    async fn close(&self) -> Result<(), KvError> {
        self.inner.close().await
    }
}
