//! An engine that counts what it is asked for.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use lakebed_kv::{Key, KeyRange, Kv, KvError, Limits, MemKv, Outcome, Row, Transaction, Versioned};

/// The engine, in memory.
#[derive(Default)]
pub struct CountedKv {
    pub inner: MemKv,
    /// Calls that read.
    reads: AtomicUsize,
    /// Keys that were looked up, rows that were found by scans; a scan that finds nothing counts as one.
    keys: AtomicUsize,
    transactions: AtomicUsize,
}

impl CountedKv {
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    pub fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    pub fn transactions(&self) -> usize {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Counts from none.
    pub fn reset(&self) {
        for count in [&self.reads, &self.keys, &self.transactions] {
            count.store(0, Ordering::Relaxed);
        }
    }

    fn read(&self, keys: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.keys.fetch_add(keys, Ordering::Relaxed);
    }
}

#[async_trait]
impl Kv for CountedKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.read(1);
        self.inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.read(keys.len());
        self.inner.get_many(keys).await
    }
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        let rows = self.inner.scan(range, limit).await?;
        self.read(rows.len().max(1));
        Ok(rows)
    }
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.inner.transact(transaction).await
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn close(&self) -> Result<(), KvError> {
        self.inner.close().await
    }
}
