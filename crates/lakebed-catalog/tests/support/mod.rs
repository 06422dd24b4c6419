//! A catalog over engines in memory, with short ways to say what the tests say often.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod counted_kv;
pub mod forgetful;
pub mod interrupted;
pub mod naive;
pub mod narrow;
pub mod sequential;

use std::sync::Arc;

use lakebed_blocks::{BlockStore, MemStore};
use lakebed_catalog::{
    BranchCreation, Catalog, CatalogConfig, CatalogError, Commit, CommitRequest, DiffKind, DiffMode,
    DiffRequest, EntryDraft, ListRequest, ListedObject, LogRequest, MergeOutcome, MergeRequest,
    MergeStrategy, NewRepository, Precondition,
};
use lakebed_core::{
    BranchId, Entropy, ManualClock, ObjectPath, RefExpr, RepositoryId, SeededEntropy, Timestamp,
};
use lakebed_kv::{Key, KeyRange, Kv, KvError, Limits, Outcome, Row, Transaction, Versioned};

use self::narrow::NarrowKv;

pub struct Lake {
    pub catalog: Catalog,
    pub clock: Arc<ManualClock>,
    pub repo: RepositoryId,
}

/// One thread, and a clock that stands still but for pauses: the same seed gives the same history.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

pub fn branch(name: &str) -> BranchId {
    name.parse().unwrap()
}

pub fn expr(text: &str) -> RefExpr {
    text.parse().unwrap()
}

pub fn path(text: &str) -> ObjectPath {
    text.parse().unwrap()
}

/// An entry draft whose content is `content`, without bytes behind it.
pub fn draft(content: &str) -> EntryDraft {
    EntryDraft { size: content.len() as u64, checksum: content.to_owned(), ..EntryDraft::default() }
}

impl Lake {
    pub async fn new() -> Self {
        Self::over(Arc::new(NarrowKv::default()), 7).await
    }

    pub async fn over(kv: Arc<dyn Kv>, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let catalog = Catalog::new(CatalogConfig {
            kv,
            blocks: Arc::new(MemStore::new()),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(seed)),
            node_cache_bytes: 16 << 20,
            signing_key: b"key".to_vec(),
        });
        let repo: RepositoryId = "lake".parse().unwrap();
        let new = NewRepository {
            id: repo.clone(),
            storage_namespace: "mem://lake".to_owned(),
            storage_id: String::new(),
            default_branch: None,
            bare: false,
            read_only: false,
        };
        catalog.create_repository(new).await.unwrap();
        Self { catalog, clock, repo }
    }

    /// A fresh catalog over engines that hold a lake already, as after a restart.
    pub fn again(kv: Arc<dyn Kv>, blocks: Arc<dyn BlockStore>, repo: RepositoryId, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let catalog = Catalog::new(CatalogConfig {
            kv,
            blocks,
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            node_cache_bytes: 16 << 20,
            signing_key: b"key".to_vec(),
        });
        Self { catalog, clock, repo }
    }

    pub async fn put(&self, on: &str, at: &str, content: &str) -> Result<(), CatalogError> {
        let ticket =
            self.catalog.begin_write(&self.repo, &branch(on), &path(at), Precondition::None, false).await?;
        self.catalog.link(ticket, draft(content)).await.map(drop)
    }

    pub async fn delete(&self, on: &str, at: &str) -> Result<(), CatalogError> {
        self.catalog.delete_object(&self.repo, &branch(on), &path(at), Precondition::None, false).await
    }

    pub async fn commit(&self, on: &str, message: &str) -> Result<Commit, CatalogError> {
        self.clock.advance_millis(1000);
        let request = CommitRequest { message: message.to_owned(), ..CommitRequest::default() };
        self.catalog.commit(&self.repo, &branch(on), request).await
    }

    pub async fn create_branch(&self, name: &str, source: &str) -> Result<(), CatalogError> {
        let new = BranchCreation { name: branch(name), source: expr(source), hidden: false, force: false };
        self.catalog.create_branch(&self.repo, new).await.map(drop)
    }

    pub async fn merge(
        &self,
        source: &str,
        into: &str,
        strategy: MergeStrategy,
    ) -> Result<MergeOutcome, CatalogError> {
        self.clock.advance_millis(1000);
        let request = MergeRequest { strategy, ..MergeRequest::default() };
        self.catalog.merge(&self.repo, &expr(source), &branch(into), request).await
    }

    /// The messages of a ref's log, read page by page.
    pub async fn log(&self, at: &str) -> Vec<String> {
        let mut request = LogRequest { amount: 2, ..LogRequest::default() };
        let mut all = Vec::new();
        loop {
            let page = self.catalog.log(&self.repo, &expr(at), &request).await.unwrap();
            all.extend(page.items.into_iter().map(|commit| commit.message));
            if !page.has_more {
                return all;
            }
            request.after = page.next_offset;
        }
    }

    /// Every object of a ref with its content, read page by page.
    pub async fn list(&self, at: &str) -> Result<Vec<(String, String)>, CatalogError> {
        let mut request = ListRequest { amount: 3, ..ListRequest::default() };
        let mut all = Vec::new();
        loop {
            let page = self.catalog.list_objects(&self.repo, &expr(at), &request).await?;
            for item in page.items {
                let ListedObject::Object { path, entry } = item else {
                    panic!("a flat listing folds nothing")
                };
                all.push((path, entry.view().unwrap().checksum.to_owned()));
            }
            if !page.has_more {
                return Ok(all);
            }
            request.after = page.next_offset;
        }
    }

    /// The listing with `/` folded, prefixes ending in `/`.
    pub async fn folded(&self, at: &str) -> Result<Vec<String>, CatalogError> {
        let mut request = ListRequest { amount: 2, delimiter: "/".to_owned(), ..ListRequest::default() };
        let mut all = Vec::new();
        loop {
            let page = self.catalog.list_objects(&self.repo, &expr(at), &request).await?;
            all.extend(page.items.into_iter().map(|item| match item {
                ListedObject::Object { path, .. } | ListedObject::Prefix(path) => path,
            }));
            if !page.has_more {
                return Ok(all);
            }
            request.after = page.next_offset;
        }
    }

    pub async fn content(&self, at: &str, of: &str) -> Option<String> {
        match self.catalog.stat(&self.repo, &expr(at), &path(of)).await {
            Ok(entry) => Some(entry.view().unwrap().checksum.to_owned()),
            Err(error) => {
                assert_eq!(error.kind(), lakebed_catalog::ErrorKind::ObjectNotFound, "{error}");
                None
            }
        }
    }

    pub async fn uncommitted(&self, on: &str) -> Result<Vec<(String, DiffKind)>, CatalogError> {
        let mut request = DiffRequest { amount: 2, ..DiffRequest::default() };
        let mut all = Vec::new();
        loop {
            let page = self.catalog.diff_branch(&self.repo, &branch(on), &request).await?;
            all.extend(page.items.into_iter().map(|entry| (entry.path, entry.kind)));
            if !page.has_more {
                return Ok(all);
            }
            request.after = page.next_offset;
        }
    }

    pub async fn diff(
        &self,
        left: &str,
        right: &str,
        mode: DiffMode,
    ) -> Result<Vec<(String, DiffKind)>, CatalogError> {
        let mut request = DiffRequest { amount: 2, ..DiffRequest::default() };
        let mut all = Vec::new();
        loop {
            let page = self.catalog.diff_refs(&self.repo, &expr(left), &expr(right), mode, &request).await?;
            all.extend(page.items.into_iter().map(|entry| (entry.path, entry.kind)));
            if !page.has_more {
                return Ok(all);
            }
            request.after = page.next_offset;
        }
    }
}

/// An engine at whose gate transactions that write rows of one noun wait while it is closed.
pub struct Gate {
    inner: Arc<dyn Kv>,
    noun: u8,
    closed: tokio::sync::watch::Sender<bool>,
    waiting: tokio::sync::watch::Sender<usize>,
}

impl Gate {
    /// Before publishes: they write the outcome of an operation.
    pub fn new(inner: Arc<dyn Kv>) -> Arc<Self> {
        Self::before(inner, b'o')
    }

    pub fn before(inner: Arc<dyn Kv>, noun: u8) -> Arc<Self> {
        Arc::new(Self {
            inner,
            noun,
            closed: tokio::sync::watch::Sender::new(false),
            waiting: tokio::sync::watch::Sender::new(0),
        })
    }

    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    pub fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Returns when a transaction waits at the gate.
    pub async fn reached(&self) {
        self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.unwrap();
    }
}

#[async_trait::async_trait]
impl Kv for Gate {
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
        let waits = transaction.writes.iter().any(|(key, _)| key.first() == Some(&self.noun));
        if waits && *self.closed.borrow() {
            self.waiting.send_modify(|waiting| *waiting += 1);
            self.closed.subscribe().wait_for(|closed| !closed).await.unwrap();
        }
        self.inner.transact(transaction).await
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn close(&self) -> Result<(), KvError> {
        self.inner.close().await
    }
}

/// An engine under a random schedule.
pub struct Scheduled {
    pub inner: Arc<dyn Kv>,
    pub entropy: SeededEntropy,
    /// One transaction in this many has an unknown outcome; 0: none.
    pub unknown_every: u64,
    /// One call in this many takes so long that others come far meanwhile; 0: none.
    pub pause_every: u64,
}

impl Scheduled {
    /// With outcomes that are always known.
    pub fn new(inner: Arc<dyn Kv>, seed: u64) -> Self {
        Self { inner, entropy: SeededEntropy::new(seed), unknown_every: 0, pause_every: 0 }
    }

    async fn turn(&self) {
        let luck = self.entropy.next_u64();
        let pause = self.pause_every > 0 && luck.is_multiple_of(self.pause_every);
        for _ in 0..if pause { 400 } else { luck % 4 } {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait::async_trait]
impl Kv for Scheduled {
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
        let luck = self.entropy.next_u64();
        let unknown = self.unknown_every > 0 && luck.is_multiple_of(self.unknown_every);
        if unknown && luck.is_multiple_of(2) {
            return Ok(Outcome::Unknown);
        }
        let outcome = self.inner.transact(transaction).await?;
        self.turn().await;
        Ok(if unknown { Outcome::Unknown } else { outcome })
    }
    async fn abandon(&self, rows: &KeyRange) -> Result<bool, KvError> {
        self.turn().await;
        self.inner.abandon(rows).await
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn close(&self) -> Result<(), KvError> {
        self.inner.close().await
    }
}
