//! The engine in memory, as narrow as the narrowest there is: what DynamoDB does not take in one transaction is refused.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::sync::Arc;

use super::forgetful::ForgetfulKv;
use lakebed_kv::{DynamoKv, Key, KeyRange, Kv, KvError, Limits, MemKv, Outcome, Row, Transaction, Versioned};

/// The engine.
#[derive(Default)]
pub struct NarrowKv(MemKv);

/// The engine of a history: every other seed has the narrow one, with gates that are spread, every fourth the one that drops
/// guarded rows when it may.
pub fn of_seed(seed: u64) -> Arc<dyn Kv> {
    match seed % 4 {
        0 => Arc::new(MemKv::new()),
        2 => Arc::new(ForgetfulKv::default()),
        _ => Arc::new(NarrowKv::default()),
    }
}

#[async_trait::async_trait]
impl Kv for NarrowKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.0.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.0.get_many(keys).await
    }
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.0.scan(range, limit).await
    }
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        DynamoKv::takes(&transaction)?;
        self.0.transact(transaction).await
    }
    fn limits(&self) -> Limits {
        DynamoKv::most()
    }
    async fn close(&self) -> Result<(), KvError> {
        self.0.close().await
    }
}
