//! Servers that crash, sleep and wake, clocks that run unevenly, and a store that is slow and loses answers: all on
//! virtual time, all from one seed.
#![allow(dead_code)] // each test file uses its part

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_blocks::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, MemStore, PutOptions, StoreInfo,
    Stored, StoredPart,
};
use lakebed_kv::KvError;
use lakebed_kv_object::Ticks;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A store that overwrites although it was asked not to.
pub(crate) struct Careless(pub(crate) MemStore);

/// What lies between one server and the store, and the server's own clock.
pub(crate) struct Link {
    inner: Arc<MemStore>,
    random: Mutex<SmallRng>,
    begun: Instant,
    /// Of our clock against the true one, in thousandths.
    rate: u64,
    /// Asleep until then.
    sleeping: Mutex<Instant>,
    /// Without a way to the store until then.
    cut: Mutex<Instant>,
    dead: AtomicBool,
    died: Notify,
    /// Whether calls are slow and answers are lost.
    trouble: bool,
    /// The next conditional put waits for this.
    pub(crate) held: Mutex<Option<Arc<Notify>>>,
    /// The answer to the next put waits for this.
    pub(crate) late: Mutex<Option<Arc<Notify>>>,
    pub(crate) holding: Notify,
    pub(crate) faults: AtomicU64,
}

impl Link {
    pub(crate) fn new(
        inner: Arc<MemStore>,
        seed: u64,
        begun: Instant,
        rate: u64,
        trouble: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            begun,
            rate,
            sleeping: Mutex::new(begun),
            cut: Mutex::new(begun),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            trouble,
            held: Mutex::default(),
            late: Mutex::default(),
            holding: Notify::new(),
            faults: AtomicU64::new(0),
        })
    }

    /// The process stops executing, and goes on later: its clock goes on meanwhile.
    pub(crate) fn sleep_for(&self, duration: Duration) {
        *self.sleeping.lock() = Instant::now() + duration;
    }

    /// The store cannot be reached; the process goes on.
    pub(crate) fn cut_for(&self, duration: Duration) {
        *self.cut.lock() = Instant::now() + duration;
    }

    /// `kill -9`: nothing it does has an effect any more, but for what is under way to the store.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_waiters();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Resolves when it is dead.
    pub(crate) async fn death(&self) {
        let died = self.died.notified();
        tokio::pin!(died);
        died.as_mut().enable();
        if !self.is_dead() {
            died.await;
        }
    }

    /// Returns when the process executes; never if it is dead.
    pub(crate) async fn awake(&self) {
        loop {
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            let until = *self.sleeping.lock();
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn chance(&self, one_in: u32) -> bool {
        self.trouble && self.random.lock().random_range(0..one_in) == 0
    }

    async fn lag(&self) {
        if self.trouble {
            let millis = {
                let mut random = self.random.lock();
                if random.random_range(0..60) == 0 {
                    random.random_range(0..6000)
                } else {
                    random.random_range(1..40)
                }
            };
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    /// Sends something to the store. Once sent it happens, sooner or later, whoever still waits for it.
    async fn send<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl Future<Output = Result<T, BlockError>> + Send + 'static,
    ) -> Result<T, BlockError> {
        self.awake().await;
        let lost = || Err(BlockError::Unavailable { what: "call", why: "lost".to_owned() });
        let cut = Instant::now() < *self.cut.lock();
        if cut || self.chance(25) {
            self.faults.fetch_add(1, Ordering::SeqCst);
            self.lag().await;
            self.awake().await;
            return lost();
        }
        let link = self.clone();
        let answer = tokio::spawn(async move {
            link.lag().await;
            call.await
        })
        .await
        .unwrap();
        self.lag().await;
        self.awake().await;
        if self.chance(25) {
            self.faults.fetch_add(1, Ordering::SeqCst);
            return lost();
        }
        answer
    }
}

/// A server's view of the store.
pub(crate) struct Far(pub(crate) Arc<Link>);

/// A server's clock.
pub(crate) struct Uneven(pub(crate) Arc<Link>);

#[async_trait]
impl Ticks for Uneven {
    fn now(&self) -> Duration {
        let passed = self.0.begun.elapsed();
        Duration::from_micros(passed.as_micros() as u64 * self.0.rate / 1000)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(Duration::from_micros(duration.as_micros() as u64 * 1000 / self.0.rate)).await;
        self.0.awake().await;
    }
}

/// A store of which the engine uses a part.
macro_rules! store {
    ($store:ty { $($methods:tt)* }) => {
        #[async_trait]
        impl BlockStore for $store {
            $($methods)*

        async fn put(&self, _: &BlockAddress, _: ByteStream, _: PutOptions) -> Result<Stored, BlockError> {
            Err(BlockError::Unsupported("this"))
        }
        async fn get(&self, _: &BlockAddress, _: Option<ByteRange>) -> Result<ByteStream, BlockError> {
            Err(BlockError::Unsupported("this"))
        }
        async fn head(&self, _: &BlockAddress) -> Result<BlockInfo, BlockError> {
            Err(BlockError::Unsupported("this"))
        }
        async fn copy(&self, _: &BlockAddress, _: &BlockAddress) -> Result<(), BlockError> {
            Err(BlockError::Unsupported("this"))
        }
        async fn create_multipart(&self, _: &BlockAddress) -> Result<String, BlockError> {
            Err(BlockError::Unsupported("this"))
        }
        async fn put_part(
            &self,
            _: &BlockAddress,
            _: &str,
            _: u32,
            _: ByteStream,
            _: Option<u64>,
        ) -> Result<(Stored, String), BlockError> {
            Err(BlockError::Unsupported("this"))
        }
        async fn complete_multipart(
            &self,
            _: &BlockAddress,
            _: &str,
            _: &[StoredPart],
        ) -> Result<(), BlockError> {
            Err(BlockError::Unsupported("this"))
        }
        async fn abort_multipart(&self, _: &BlockAddress, _: &str) -> Result<(), BlockError> {
            Err(BlockError::Unsupported("this"))
        }
        async fn close(&self) -> Result<(), BlockError> {
            Ok(())
        }
        }
    };
}

store! { Far {
    fn info(&self) -> StoreInfo {
        self.0.inner.info()
    }

    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        let held = self.0.held.lock().take();
        if let Some(held) = held {
            self.0.holding.notify_one();
            held.notified().await;
        }
        let (store, address) = (self.0.inner.clone(), address.clone());
        let put = self.0.send(async move { store.put_bytes(&address, bytes, options).await }).await;
        let late = self.0.late.lock().take();
        if let Some(late) = late {
            self.0.holding.notify_one();
            late.notified().await;
        }
        put
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        let (store, address) = (self.0.inner.clone(), address.clone());
        self.0.send(async move { store.get_bytes(&address, limit).await }).await
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        let (store, addresses) = (self.0.inner.clone(), addresses.to_vec());
        let count = addresses.len();
        match self.0.send(async move { Ok(store.delete(&addresses).await) }).await {
            Ok(results) => results,
            Err(_) => (0..count)
                .map(|_| Err(BlockError::Unavailable { what: "delete", why: "lost".to_owned() }))
                .collect(),
        }
    }

    async fn list(
        &self,
        prefix: &BlockAddress,
        after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        let (store, prefix, after) = (self.0.inner.clone(), prefix.clone(), after.cloned());
        self.0.send(async move { store.list(&prefix, after.as_ref(), limit).await }).await
    }
} }

store! { Careless {
    fn info(&self) -> StoreInfo {
        self.0.info()
    }

    async fn put_bytes(&self, address: &BlockAddress, bytes: Bytes, _: PutOptions) -> Result<(), BlockError> {
        self.0.put_bytes(address, bytes, PutOptions::default()).await
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        self.0.get_bytes(address, limit).await
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        self.0.delete(addresses).await
    }

    async fn list(
        &self,
        prefix: &BlockAddress,
        after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        self.0.list(prefix, after, limit).await
    }
} }

/// The error of a server that is not there.
pub(crate) fn nobody() -> KvError {
    KvError::Engine("nobody answers".into())
}
