//! Import: objects of the store become part of a branch without being copied (`api-objects` §7; `protocol.md`, Import).
//!
//! What the sources list is collected in a sorted run, so that memory is constant and the order of the listing does not
//! matter. Then, as often as the branch moves meanwhile, the run is laid over its present head, and one commit is
//! published together with the end of the task.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError, BlockInfo, Namespace};
use lakebed_core::{BranchId, LayerId, ObjectName, ObjectPath, RepositoryId};
use lakebed_kv::KeyRange;
use lakebed_tree::{Cursor, Edit, EditSource, NodeStore, TreeError};

use crate::catalog::Inner;
use crate::changed_paths::{ChangedPaths, Noted};
use crate::commits::{COMMIT_VERSION, millis_of};
use crate::merges::STRATEGY_KEY;
use crate::publish::{MOVE_ATTEMPTS, Publication, Published};
use crate::spool::{Run, Spool};
use crate::task_runner::{Live, NewTask};
use crate::working::busy;
use crate::{
    Catalog, CatalogError, Commit, Entry, ErrorKind, ImportRequest, ImportSource, Repository, TaskKind,
    TaskResult, keys,
};

/// Objects listed at once.
const PAGE: usize = 1000;

impl Catalog {
    /// Begins an import. Refused at once: an unknown branch, a store that cannot import, a source in the storage namespace
    /// of a repository, a destination that is no path. Everything else is the task's error.
    pub async fn submit_import(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: ImportRequest,
    ) -> Result<ObjectName, CatalogError> {
        let inner = &self.inner;
        let (record, _) = inner.repository(repository).await?;
        if !inner.store_of(&record)?.import {
            return Err(CatalogError::refused(
                ErrorKind::Forbidden,
                "import is not supported for this storage: allow it in the server's configuration",
            ));
        }
        let life = self.life_of(repository, branch).await?;
        for source in &request.sources {
            source.check()?;
            inner.check_source(&record, source).await?;
        }
        let layer = LayerId::random(&*inner.entropy);
        let (id, on) = (repository.clone(), branch.clone());
        let new = |_: &_| {
            let spool = Some(layer);
            Ok(NewTask { branch: branch.to_string(), spool, ..NewTask::of(TaskKind::Import) })
        };
        let submitted = self.submit(repository, new, async move |catalog: Self, task| {
            catalog.check_life(&id, &on, life).await?;
            let (record, _) = catalog.inner.repository(&id).await?;
            let commit = catalog.inner.import(&record, &on, &request, &layer, &task).await?;
            Ok(TaskResult::Commit(commit.id))
        });
        Ok(submitted.await?.id)
    }

    /// Ends an import without a commit. [`ErrorKind::Conflict`] if it is completed; one that failed stays as it is.
    pub async fn cancel_import(&self, repository: &RepositoryId, id: &str) -> Result<(), CatalogError> {
        self.cancel(repository, TaskKind::Import, id, "import error: Canceled").await
    }
}

impl ImportSource {
    fn address(&self) -> &str {
        match self {
            Self::Prefix { address, .. } | Self::Object { address, .. } => address,
        }
    }

    fn check(&self) -> Result<(), CatalogError> {
        match self {
            Self::Object { path, .. } => path.parse::<ObjectPath>().map(drop).map_err(Into::into),
            Self::Prefix { under, .. } if under.is_empty() => Ok(()),
            Self::Prefix { under, .. } => under.parse::<ObjectPath>().map(drop).map_err(Into::into),
        }
    }
}

/// What tells an object's content from another at the same address: the store's tag, or one like it. With a dash in it,
/// so that nobody takes it for the MD5 of the content.
pub(crate) fn tag_of(info: &BlockInfo) -> String {
    info.etag.clone().unwrap_or_else(|| format!("{:x}-{:x}", info.mtime_secs, info.size))
}

/// An imported object's entry.
fn entry(info: &BlockInfo) -> Bytes {
    let entry = Entry {
        address: info.address.as_str().to_owned(),
        size: info.size,
        checksum: tag_of(info),
        mtime_secs: info.mtime_secs,
        ..Entry::default()
    };
    entry.encode().as_bytes().clone()
}

/// A refusal by the store, as a task shows it.
fn refused_source(address: &str, error: BlockError) -> CatalogError {
    match error {
        BlockError::NotFound(_) => CatalogError::refused(
            ErrorKind::NotFound,
            format!("import source '{address}' not found: nothing was imported"),
        ),
        BlockError::Refused { why, .. } => CatalogError::refused(
            ErrorKind::Invalid,
            format!("import source '{address}' refused: {why}: nothing was imported"),
        ),
        error => error.into(),
    }
}

impl Inner {
    /// A source must not lie in the storage namespace of a repository, nor hold one: what is there belongs to the
    /// repository, which may collect it.
    async fn check_source(&self, repository: &Repository, source: &ImportSource) -> Result<(), CatalogError> {
        let address = source.address();
        let refused = |namespace: &str| {
            Err(CatalogError::refused(
                ErrorKind::Invalid,
                format!(
                    "import source '{address}' overlaps with the storage namespace '{namespace}' of a repository: \
                     what is in it belongs to that repository, copy objects instead: validation error"
                ),
            ))
        };
        let own = &repository.storage_namespace;
        let holds = matches!(source, ImportSource::Prefix { .. });
        if is_under(address, own.as_str()) || holds && own.as_str().starts_with(address) {
            return refused(own.as_str());
        }
        // Namespaces above the source, part by part, then any that begins with it.
        let scheme = address.find("://").map_or(0, |at| at + 3);
        let parts = address.match_indices('/').map(|(at, _)| at).filter(|at| *at > scheme);
        let registered = |address: &str| self.registered(&Namespace::new(own.store().clone(), address));
        for end in parts.chain([address.len()]) {
            if self.kv.get(&keys::namespace_claim(&registered(&address[..end])?)).await?.is_some() {
                return refused(&address[..end]);
            }
        }
        if !holds {
            return Ok(());
        }
        let below = KeyRange::prefix(&keys::namespace_claim(&registered(address)?));
        if let Some(claim) = self.kv.scan(&below, 1).await?.first() {
            return refused(Namespace::decode(&String::from_utf8_lossy(&claim.key[1..])).as_str());
        }
        Ok(())
    }

    async fn import(
        &self,
        repository: &Repository,
        branch: &BranchId,
        request: &ImportRequest,
        layer: &LayerId,
        task: &Live,
    ) -> Result<Commit, CatalogError> {
        Self::check_writable(repository, request.force)?;
        let what = format!("import into {branch}");
        // Asked again when it matters; now only so that nobody waits for a listing in vain.
        self.clean_cut(repository, branch, &what).await?;
        let run = self.collect(repository, request, layer, task).await?;
        let covered = covered(&request.sources);
        let finish = task.finish();
        let turn = self.turn(repository, branch).await?;
        for _ in 0..MOVE_ATTEMPTS {
            let (cut, head) = self.clean_cut(repository, branch, &what).await?;
            let base = head.tree.unwrap_or_else(lakebed_tree::empty_tree);
            let nodes = self.nodes(repository);
            let mut changed = ChangedPaths::default();
            let source = Replace {
                head: Cursor::new(nodes.clone(), base),
                run: run.cursor(),
                covered: &covered,
                begun: false,
            };
            let mut replace = Noted { source, changed: &mut changed };
            let root = lakebed_tree::edit(&*nodes, &base, &mut replace).await?.root;
            nodes.flush().await?;
            let commit = self.import_commit(request, &head, root);
            let publication = Publication {
                from: &cut,
                run: &cut.sealed,
                commit: Some(&commit),
                head: commit.id,
                changed_paths: changed.filter(),
                operation: "import",
                // As a merge, an import is a way by which a protected branch is changed.
                protected_refused: false,
                joined: &[&finish],
                turn: &turn,
                seen: None,
            };
            if let Published::Done = self.publish(repository, branch, &publication).await? {
                return Ok(commit);
            }
        }
        Err(busy(&what))
    }

    fn import_commit(
        &self,
        request: &ImportRequest,
        head: &Arc<Commit>,
        root: lakebed_core::NodeId,
    ) -> Commit {
        let now = self.clock.now();
        let message = if request.message.is_empty() { "Import objects" } else { &request.message };
        let mut metadata = request.metadata.clone();
        metadata.insert(STRATEGY_KEY.to_owned(), "source-wins".to_owned());
        Commit {
            id: head.id,
            parents: vec![head.id],
            tree: Some(root),
            committer: request.committer.clone(),
            message: message.to_owned(),
            created_secs: now.secs(),
            created_millis: millis_of(now),
            metadata,
            generation: head.generation + 1,
            version: COMMIT_VERSION,
        }
        .seal()
    }

    /// What all sources list, as one sorted run; of one path the later source counts.
    async fn collect(
        &self,
        repository: &Repository,
        request: &ImportRequest,
        layer: &LayerId,
        task: &Live,
    ) -> Result<Run, CatalogError> {
        let mut spool = Spool::new(self, repository, layer);
        let scheme = self.store_of(repository)?.scheme;
        let store = repository.storage_namespace.store();
        for source in &request.sources {
            let address = source.address();
            if !address.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")) {
                return Err(CatalogError::refused(
                    ErrorKind::Invalid,
                    format!(
                        "import source '{address}' is of another store, that of the repository has {scheme}://...: nothing is \
                         imported from one store into another"
                    ),
                ));
            }
            match source {
                ImportSource::Object { address, path } => {
                    let info = self
                        .blocks
                        .head(&BlockAddress::in_store(store.clone(), address))
                        .await
                        .map_err(|error| refused_source(address, error))?;
                    spool.put(Bytes::copy_from_slice(path.as_bytes()), entry(&info)).await?;
                    task.advance(1);
                }
                ImportSource::Prefix { address, under } => {
                    let prefix = BlockAddress::in_store(store.clone(), address);
                    self.collect_prefix(&mut spool, &prefix, under, task).await?;
                }
            }
        }
        spool.finish().await
    }

    async fn collect_prefix(
        &self,
        spool: &mut Spool,
        prefix: &BlockAddress,
        under: &str,
        task: &Live,
    ) -> Result<(), CatalogError> {
        let address = prefix.as_str();
        let mut after: Option<BlockAddress> = None;
        loop {
            let page = self
                .blocks
                .list(prefix, after.as_ref(), PAGE)
                .await
                .map_err(|error| refused_source(address, error))?;
            for info in &page {
                let rest = info.address.as_str().strip_prefix(address).unwrap_or_default();
                let path: ObjectPath = format!("{under}{rest}").parse().map_err(|error| {
                    let message = format!("'{}' cannot be imported to '{under}': {error}", info.address);
                    CatalogError::refused(ErrorKind::Invalid, message)
                })?;
                spool.put(Bytes::copy_from_slice(path.as_bytes()), entry(info)).await?;
            }
            task.advance(page.len() as u64);
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.address.clone()),
                _ => return Ok(()),
            }
        }
    }
}

/// Whether an address lies in a namespace, or is it.
fn is_under(address: &str, namespace: &str) -> bool {
    address.strip_prefix(namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The prefixes of the branch that the import replaces, in order, none within another.
fn covered(sources: &[ImportSource]) -> Vec<&[u8]> {
    let mut prefixes: Vec<&[u8]> = sources
        .iter()
        .filter_map(|source| match source {
            ImportSource::Prefix { under, .. } => Some(under.as_bytes()),
            ImportSource::Object { .. } => None,
        })
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup_by(|later, earlier| later.starts_with(earlier));
    prefixes
}

/// What an import changes in a tree: under the covered prefixes only the run remains, elsewhere it is added.
struct Replace<'a> {
    head: Cursor,
    run: Cursor,
    /// Those not behind us yet.
    covered: &'a [&'a [u8]],
    begun: bool,
}

impl Replace<'_> {
    /// Moves the head's cursor to its next path under a covered prefix. False: there is none.
    async fn next_covered(&mut self) -> Result<bool, TreeError> {
        while let Some(prefix) = self.covered.first() {
            match self.head.key() {
                None => break,
                Some(key) if key.starts_with(prefix) => return Ok(true),
                Some(key) if key < *prefix => self.head.seek(prefix).await?,
                Some(_) => self.covered = &self.covered[1..],
            }
        }
        self.covered = &[];
        Ok(false)
    }
}

#[async_trait]
impl EditSource for Replace<'_> {
    async fn next(&mut self) -> Result<Option<Edit>, TreeError> {
        if !self.begun {
            self.begun = true;
            self.head.seek(b"").await?;
            self.run.seek(b"").await?;
        }
        let old = self.next_covered().await?;
        let old = if old { self.head.key() } else { None };
        let (key, value) = match (self.run.key(), old) {
            (None, None) => return Ok(None),
            (Some(new), Some(old)) if old < new => (old, None),
            (None, Some(old)) => (old, None),
            (Some(new), _) => (new, self.run.value()),
        };
        let key = Bytes::copy_from_slice(key);
        if old == Some(&key[..]) {
            self.head.advance().await?;
        }
        if value.is_some() {
            self.run.advance().await?;
        }
        Ok(Some(Edit { key, value }))
    }
}
