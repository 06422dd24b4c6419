//! An engine with another server beside it that does something at a chosen moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use lakebed_kv::{Key, KeyRange, Kv, KvError, Limits, Outcome, Row, Transaction, Versioned};
use parking_lot::Mutex;

/// What happens meanwhile.
pub type Meanwhile = futures::future::BoxFuture<'static, ()>;

/// An engine in whose `at`-th call something else happens first.
pub struct Interrupted {
    inner: Arc<dyn Kv>,
    left: AtomicUsize,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Interrupted {
    /// Over `inner`; `at` counts from 1.
    pub fn new(inner: Arc<dyn Kv>, at: usize, meanwhile: Meanwhile) -> Self {
        Self { inner, left: AtomicUsize::new(at), meanwhile: Mutex::new(Some(meanwhile)) }
    }

    async fn turn(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let meanwhile = self.meanwhile.lock().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
        }
    }
}

#[async_trait]
impl Kv for Interrupted {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.turn().await;
        self.inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.turn().await;
        self.inner.get_many(keys).await
    }
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.turn().await;
        self.inner.scan(range, limit).await
    }
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        self.turn().await;
        self.inner.transact(transaction).await
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn close(&self) -> Result<(), KvError> {
        self.inner.close().await
    }
}
