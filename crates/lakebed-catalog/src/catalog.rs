//! [`Catalog`]: the engines wired together, and the caches that can never be stale.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use lakebed_blocks::BlockStore;
use lakebed_core::{BranchId, Clock, CommitId, Entropy, Incarnation, LayerId, RepositoryId};
use lakebed_kv::{Kv, Version, Versioned};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::branch_state::BranchState;
use crate::export::Exports;
use crate::figures::{CacheFigures, Observer};
use crate::jumps::Jump;
use crate::log_frontier::Frontiers;
use crate::nodes::NodeCache;
use crate::objects::Slice;
use crate::pulls::PullNames;
use crate::refs::Base;
use crate::task_runner::Tasks;
use crate::tidy::Tidy;
use crate::turns::HeadQueue;
use crate::{CatalogError, Commit, ErrorKind, Repository, keys, wire};

/// What a catalog stands on.
pub struct CatalogConfig {
    /// Mutable state.
    pub kv: Arc<dyn Kv>,
    /// Object bytes.
    pub blocks: Arc<dyn BlockStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Memory for tree nodes, in bytes.
    pub node_cache_bytes: u64,
    /// Signs the physical addresses issued to clients (`blockstore.signing.secret_key`).
    pub signing_key: Vec<u8>,
}

/// Every versioning rule, over a key-value engine and an object store. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    pub(crate) inner: Arc<Inner>,
}

/// A decoded record and the version it was decoded from: used only when the engine still says that version, so it
/// saves the decoding and never the read.
type Decoded<T> = Cache<Bytes, (Version, Arc<T>)>;

pub(crate) struct Inner {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) blocks: Arc<dyn BlockStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) signing_key: Vec<u8>,
    pub(crate) nodes: Arc<NodeCache>,
    /// Commits are immutable: cached without a check. Keyed by repository incarnation and id.
    pub(crate) commits: Cache<(Incarnation, CommitId), Arc<Commit>>,
    /// How walks jump from commits; `None`: they do not.
    pub(crate) jumps: Cache<(Incarnation, CommitId), Option<Jump>>,
    repositories: Decoded<Repository>,
    branches: Decoded<BranchState>,
    /// Layers in which this server staged something. A layer that takes writes never loses all its rows.
    pub(crate) has_rows: Cache<LayerId, ()>,
    /// Operations that move one branch's head queue here, so that they need not compute twice (`protocol.md`,
    /// Publish). For speed only: correctness is in the transactions.
    queues: Mutex<HashMap<(Incarnation, BranchId), Weak<HeadQueue>>>,
    /// Completions of one multipart upload wait for each other here, by the upload's key.
    pub(crate) completions: Mutex<HashMap<Bytes, Weak<tokio::sync::Mutex<()>>>>,
    pub(crate) slice: Mutex<Slice>,
    pub(crate) pull_names: Mutex<PullNames>,
    pub(crate) sweep: Arc<Notify>,
    pub(crate) abandoned_turns: Mutex<Vec<Bytes>>,
    pub(crate) freeing: Arc<Notify>,
    /// Namespaces that a repository (by its birth) is known to mention.
    pub(crate) mentions: Cache<(Incarnation, String), ()>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) exports: Exports,
    pub(crate) frontiers: Frontiers,
    pub(crate) tidy: Arc<Tidy>,
    pub(crate) observer: OnceLock<Arc<dyn Observer>>,
    background: Mutex<Vec<JoinHandle<()>>>,
}

/// How many decoded repositories and branches are kept, each.
const DECODED_RECORDS: usize = 4096;

/// How long a server that is told to stop waits for its tasks.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many commits are kept.
const CACHED_COMMITS: usize = 20_000;

/// How many of their jumps are kept.
const CACHED_JUMPS: usize = 4096;

impl Catalog {
    /// A catalog over these engines. Does no background work until [`Catalog::start`].
    pub fn new(config: CatalogConfig) -> Self {
        let tasks = Arc::new(Tasks::new(&*config.entropy));
        Self {
            inner: Arc::new(Inner {
                kv: config.kv,
                blocks: config.blocks,
                clock: config.clock,
                entropy: config.entropy,
                signing_key: config.signing_key,
                nodes: Arc::new(NodeCache::new(config.node_cache_bytes)),
                commits: Cache::new(CACHED_COMMITS),
                jumps: Cache::new(CACHED_JUMPS),
                repositories: Cache::new(DECODED_RECORDS),
                branches: Cache::new(DECODED_RECORDS),
                has_rows: Cache::new(DECODED_RECORDS),
                queues: Mutex::default(),
                completions: Mutex::default(),
                slice: Mutex::default(),
                pull_names: Mutex::default(),
                sweep: Arc::new(Notify::new()),
                abandoned_turns: Mutex::default(),
                freeing: Arc::new(Notify::new()),
                mentions: Cache::new(DECODED_RECORDS),
                tasks,
                exports: Exports::default(),
                frontiers: Frontiers::default(),
                tidy: Arc::default(),
                observer: OnceLock::new(),
                background: Mutex::default(),
            }),
        }
    }

    /// Starts the background work (sweeping what deleted and committed layers left, deleting the data of
    /// repositories deleted with it, signs of life of tasks, exports of
    /// refs, folding branches with many deletions) on the current runtime. It ends with [`Catalog::close`].
    pub fn start(&self) {
        let mut background = self.inner.background.lock();
        if background.is_empty() {
            let catalog = Arc::downgrade(&self.inner);
            background.push(crate::sweep::spawn(catalog.clone()));
            background.push(crate::task_runner::spawn(catalog.clone()));
            background.push(crate::export::spawn(catalog.clone()));
            background.push(crate::freeing::spawn(catalog.clone()));
            background.push(crate::lost_uploads::spawn(catalog.clone()));
            background.push(crate::tidy::spawn(catalog));
        }
    }

    /// [`Catalog::close_within`] ten seconds.
    pub async fn close(&self) {
        self.close_within(PATIENCE).await;
    }

    /// Takes no more tasks, waits so long for those of this server, ends those that have not ended by then, stops the
    /// background work, and exports what changed, waiting as long again. The engines are closed by whoever made them.
    pub async fn close_within(&self, patience: Duration) {
        self.close_tasks(patience).await;
        let background = std::mem::take(&mut *self.inner.background.lock());
        let exporting = !background.is_empty();
        for task in background {
            task.abort();
            // An aborted task answers an error; that is what was asked for.
            let _ = task.await;
        }
        if exporting && tokio::time::timeout(patience, self.export_once()).await.is_err() {
            tracing::warn!("the last changes of refs were not exported: the next start does it");
        }
    }

    /// The object store, for reading what it can do.
    pub fn blocks(&self) -> &Arc<dyn BlockStore> {
        &self.inner.blocks
    }

    /// The time source.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The randomness source.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.inner.entropy
    }
}

impl Inner {
    /// How the caches are used.
    pub(crate) fn caches(&self) -> [CacheFigures; 4] {
        fn counted<K: Eq + Hash, V: Clone>(tier: &'static str, cache: &Cache<K, V>) -> CacheFigures {
            let (hits, misses, entries) = (cache.hits(), cache.misses(), cache.len() as u64);
            CacheFigures { tier, hits, misses, bytes: None, entries }
        }
        [
            self.nodes.figures(),
            counted("commits", &self.commits),
            counted("branches", &self.branches),
            counted("repositories", &self.repositories),
        ]
    }

    /// The repository and the version of its record.
    pub(crate) async fn repository(
        &self,
        id: &RepositoryId,
    ) -> Result<(Arc<Repository>, Version), CatalogError> {
        let key = keys::repository(id);
        match self.kv.get(&key).await? {
            Some(row) => self.decode_repository(id, key, &row),
            None => Err(repository_not_found(id)),
        }
    }

    /// The repository and the version of its record, and the rows at the keys that `beneath` names for it. One round trip,
    /// and one instant, if the repository is known; else its record is read before.
    pub(crate) async fn repository_with(
        &self,
        id: &RepositoryId,
        mut beneath: impl FnMut(&Repository) -> Vec<Bytes>,
    ) -> Result<(Arc<Repository>, Version, Vec<Option<Versioned>>), CatalogError> {
        let key = keys::repository(id);
        let guess = self.repositories.get(&key).map(|(_, repository)| repository);
        let mut wanted = vec![key.clone()];
        if let Some(guess) = &guess {
            wanted.extend(beneath(guess));
        }
        let mut found = self.kv.get_many(&wanted).await?;
        let rows = found.split_off(1);
        let Some(row) = found.pop().flatten() else {
            return Err(repository_not_found(id));
        };
        let (repository, version) = self.decode_repository(id, key, &row)?;
        // Whatever else its record says now, all keys beneath it carry one of these.
        let lives = |repository: &Repository| (repository.incarnation, repository.birth);
        if guess.is_some_and(|guess| lives(&guess) == lives(&repository)) {
            return Ok((repository, version, rows));
        }
        let rows = self.kv.get_many(&beneath(&repository)).await?;
        Ok((repository, version, rows))
    }

    fn decode_repository(
        &self,
        id: &RepositoryId,
        key: Bytes,
        row: &Versioned,
    ) -> Result<(Arc<Repository>, Version), CatalogError> {
        if let Some((version, cached)) = self.repositories.get(&key)
            && version == row.version
        {
            return Ok((cached, version));
        }
        let decoded: wire::RepositoryRow = wire::decode(&row.value, "repository")?;
        let repository = Arc::new(decoded.to_repository(id)?);
        // Nothing of a repository is touched whose bytes are in a store that this server does not know.
        self.store_of(&repository)?;
        self.repositories.insert(key, (row.version, repository.clone()));
        Ok((repository, row.version))
    }

    /// The state of a branch as of now; `None` if the name is no branch.
    pub(crate) async fn find_branch(
        &self,
        repository: &Repository,
        name: &str,
    ) -> Result<Option<Arc<BranchState>>, CatalogError> {
        let key = keys::reference(&repository.incarnation, name);
        let Some(row) = self.kv.get(&key).await? else {
            return Ok(None);
        };
        self.decode_branch(key, &row)
    }

    pub(crate) fn decode_branch(
        &self,
        key: Bytes,
        row: &Versioned,
    ) -> Result<Option<Arc<BranchState>>, CatalogError> {
        if let Some((version, cached)) = self.branches.get(&key)
            && version == row.version
        {
            return Ok(Some(cached));
        }
        let decoded: wire::RefRow = wire::decode(&row.value, "ref")?;
        let Some(branch) = decoded.branch else {
            return Ok(None);
        };
        let state = Arc::new(BranchState::from_row(&branch, key.clone(), row.version)?);
        self.branches.insert(key, (row.version, state.clone()));
        Ok(Some(state))
    }

    /// The state of a branch that must exist.
    pub(crate) async fn branch(
        &self,
        repository: &Repository,
        branch: &BranchId,
    ) -> Result<Arc<BranchState>, CatalogError> {
        let key = keys::branch(&repository.incarnation, branch);
        let row = self.kv.get(&key).await?;
        self.branch_in(repository, branch, row.as_ref()).await
    }

    /// [`Inner::branch`], of its row as read.
    pub(crate) async fn branch_in(
        &self,
        repository: &Repository,
        branch: &BranchId,
        row: Option<&Versioned>,
    ) -> Result<Arc<BranchState>, CatalogError> {
        let key = keys::branch(&repository.incarnation, branch);
        match row.map(|row| self.decode_branch(key, row)).transpose()?.flatten() {
            Some(state) => Ok(state),
            None => Err(self.no_branch(repository, branch).await?),
        }
    }

    /// A branch as it was when it was read last; maybe it is another by now.
    pub(crate) fn known_branch(&self, key: &Bytes) -> Option<Arc<BranchState>> {
        self.branches.get(key).map(|(_, state)| state)
    }

    /// Why `branch` is no branch: it is a tag or commit, or nothing at all.
    async fn no_branch(
        &self,
        repository: &Repository,
        branch: &BranchId,
    ) -> Result<CatalogError, CatalogError> {
        let name = branch.as_str();
        match self.find_base(repository, name).await {
            Ok(Some(Base::Commit(_))) => {
                return Ok(CatalogError::refused(
                    ErrorKind::NotABranch,
                    format!("'{name}' is a tag or commit and is read-only; name a branch: not found"),
                ));
            }
            // A branch: made since it was looked for.
            Ok(Some(Base::Branch(_)) | None) => {}
            Err(error) if error.kind() == ErrorKind::AmbiguousRef => {}
            Err(error) => return Err(error),
        }
        Ok(CatalogError::refused(
            ErrorKind::BranchNotFound,
            format!("branch '{name}' of repository '{}' not found", repository.id),
        ))
    }

    /// The queue of operations that move this branch's head. The caller holds the lock while it computes and
    /// publishes; waiters are served in order.
    pub(crate) fn head_queue(&self, repository: &Repository, branch: &BranchId) -> Arc<HeadQueue> {
        let mut queues = self.queues.lock();
        let key = (repository.incarnation, branch.clone());
        if let Some(queue) = queues.get(&key).and_then(Weak::upgrade) {
            return queue;
        }
        if queues.len() >= DECODED_RECORDS {
            queues.retain(|_, queue| queue.strong_count() > 0);
        }
        let queue = Arc::new(HeadQueue::default());
        queues.insert(key, Arc::downgrade(&queue));
        queue
    }

    /// Refuses writes to a read-only repository unless forced.
    pub(crate) fn check_writable(repository: &Repository, force: bool) -> Result<(), CatalogError> {
        if repository.read_only && !force {
            return Err(CatalogError::refused(
                ErrorKind::ReadOnly,
                format!("repository '{}' is read-only: read-only repository", repository.id),
            ));
        }
        Ok(())
    }
}

pub(crate) fn repository_not_found(id: &RepositoryId) -> CatalogError {
    CatalogError::refused(ErrorKind::RepositoryNotFound, format!("repository '{id}' not found"))
}
