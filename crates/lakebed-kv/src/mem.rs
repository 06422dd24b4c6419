//! The engine in memory: for tests, and for servers whose state may vanish.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::check::{self, verdict};
use crate::{Key, KeyRange, Kv, KvError, Limits, Outcome, Row, Transaction, Version, Versioned, Write};

#[derive(Default)]
struct State {
    sequence: u64,
    rows: BTreeMap<Key, Versioned>,
    closed: bool,
}

/// An engine whose state lives and dies with it.
#[derive(Default)]
pub struct MemKv(Mutex<State>);

impl MemKv {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> Result<parking_lot::MutexGuard<'_, State>, KvError> {
        let state = self.0.lock();
        if state.closed { Err(KvError::Stopped("it was closed".into())) } else { Ok(state) }
    }
}

#[async_trait]
impl Kv for MemKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        Ok(self.open()?.rows.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        let state = self.open()?;
        Ok(keys.iter().map(|key| state.rows.get(key).cloned()).collect())
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        let state = self.open()?;
        let rows = state.rows.range(range.start.clone()..);
        let within = rows.take_while(|(key, _)| range.end.as_ref().is_none_or(|end| *key < end));
        let row = |(key, row): (&Key, &Versioned)| Row {
            key: key.clone(),
            value: row.value.clone(),
            version: row.version,
        };
        Ok(within.take(limit).map(row).collect())
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        check::well_formed(&transaction, &self.limits())?;
        let mut state = self.open()?;
        for (key, check) in &transaction.checks {
            if !verdict(*check, state.rows.get(key).map(|row| row.version)) {
                return Ok(Outcome::Refused(key.clone()));
            }
        }
        state.sequence += 1;
        let version = Version(state.sequence);
        for (key, write) in transaction.writes {
            match write {
                Write::Put(value) => drop(state.rows.insert(key, Versioned { value, version })),
                Write::Delete => drop(state.rows.remove(&key)),
            }
        }
        Ok(Outcome::Done(version))
    }

    fn limits(&self) -> Limits {
        Limits { max_items: 4096, max_bytes: 16 << 20, max_key_bytes: 4096, gate_spread: 1 }
    }

    async fn close(&self) -> Result<(), KvError> {
        self.0.lock().closed = true;
        Ok(())
    }
}
