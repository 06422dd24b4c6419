//! Repositories: create, look up, list, delete, metadata (`versioning-api` §4; `protocol.md`, Create repository).

use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_blocks::{BlockAddress, BlockError, PutOptions};
use lakebed_core::{BranchId, Incarnation, LayerId, RepositoryId};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction};

use crate::branch_state::BranchState;
use crate::catalog::Inner;
use crate::publish::MOVE_ATTEMPTS;
use crate::working::busy;
use crate::{Catalog, CatalogError, ErrorKind, NewRepository, Page, PageRequest, Repository, keys, wire};

/// Says whose namespace it is: the repository's incarnation, written once, conditionally, never removed.
const MARKER: &str = "_lakebed/repository";

/// The marker of the server we replace: a namespace with its objects is in use, too.
const FOREIGN_MARKER: &str = "_lakefs/dummy";

impl Catalog {
    /// Makes a repository with its marker, root commit and default branch (unless bare).
    pub async fn create_repository(&self, new: NewRepository) -> Result<Repository, CatalogError> {
        let inner = &self.inner;
        let default_branch: BranchId = match new.default_branch.as_deref() {
            None | Some("") => "main",
            Some(name) => name,
        }
        .parse()?;
        let key = keys::repository(&new.id);
        if inner.kv.get(&key).await?.is_some() {
            return Err(taken(&new.id));
        }
        let namespace = inner.check_namespace(&new.storage_namespace)?;
        let incarnation = Incarnation::random(&*inner.entropy);
        // A bare repository is restored into, a read-only one looks at another's objects: both may share.
        let owns = !new.bare && !new.read_only;
        if owns {
            inner.claim(&namespace, &incarnation).await?;
        }
        let repository = Repository {
            id: new.id.clone(),
            incarnation,
            birth: incarnation,
            restoring: None,
            storage_namespace: namespace,
            default_branch: default_branch.to_string(),
            created: inner.clock.now(),
            read_only: new.read_only,
            bare: new.bare,
            metadata: BTreeMap::new(),
        };
        let mut transaction = Transaction::new()
            .check(key.clone(), Check::Absent)
            .put(key.clone(), wire::encode(&wire::RepositoryRow::from(&repository)));
        if !new.bare {
            let root = inner.root_commit();
            if owns {
                inner.store_commit(&repository, &root).await?;
            }
            let row = wire::encode(&wire::CommitRow::of(&root));
            transaction = transaction.put(keys::commit(&incarnation, &root.id), row);
            transaction = inner.new_branch(transaction, &repository, &default_branch, root.id, false);
        }
        match inner.kv.transact(transaction).await? {
            Outcome::Done(_) => {
                inner.exports.mark(&new.id);
                Ok(repository)
            }
            Outcome::Refused(_) => Err(taken(&new.id)),
            Outcome::Unknown => match inner.repository(&new.id).await {
                Ok((found, _)) if found.incarnation == incarnation => Ok(repository),
                _ => Err(busy(&format!("create repository '{}': its outcome is unknown", new.id))),
            },
        }
    }

    /// The repository; [`ErrorKind::RepositoryNotFound`] if there is none.
    pub async fn repository(&self, id: &RepositoryId) -> Result<Arc<Repository>, CatalogError> {
        Ok(self.inner.repository(id).await?.0)
    }

    /// Repositories by id; `search` keeps those whose id contains it.
    pub async fn list_repositories(
        &self,
        page: &PageRequest,
        search: &str,
    ) -> Result<Page<Repository>, CatalogError> {
        let mut range = KeyRange::prefix(&keys::repositories(&page.prefix));
        if !page.after.is_empty() {
            let mut start = keys::repositories(&page.after).to_vec();
            start.push(0);
            range.start = range.start.max(start.into());
        }
        let mut items = Vec::new();
        // A search may skip many: they are read in bounded batches.
        loop {
            let batch = page.amount + 1;
            let rows = self.inner.kv.scan(&range, batch).await?;
            let exhausted = rows.len() < batch;
            for row in &rows {
                let name = keys::name_of(&row.key, 1).unwrap_or_default();
                if name.contains(search)
                    && let Ok(id) = name.parse::<RepositoryId>()
                {
                    let decoded: wire::RepositoryRow = wire::decode(&row.value, "repository")?;
                    items.push(decoded.to_repository(&id)?);
                    if items.len() > page.amount {
                        break;
                    }
                }
            }
            match rows.last() {
                Some(last) if !exhausted && items.len() <= page.amount => {
                    let mut start = last.key.to_vec();
                    start.push(0);
                    range.start = start.into();
                }
                _ => break,
            }
        }
        Ok(page_of(items, page.amount, |repository| repository.id.to_string()))
    }

    /// Removes all metadata; the name is free at once, the bytes stay.
    pub async fn delete_repository(&self, id: &RepositoryId, force: bool) -> Result<(), CatalogError> {
        let inner = &self.inner;
        for _ in 0..MOVE_ATTEMPTS {
            let (repository, version) = inner.repository(id).await?;
            Inner::check_writable(&repository, force)?;
            let key = keys::repository(id);
            let transaction = Transaction::new().check(key.clone(), Check::Version(version)).delete(key);
            let transaction = repository.lives().fold(transaction, |transaction, life| {
                transaction.put(keys::dead_repository(&life), repository.storage_namespace.clone())
            });
            // Nothing of a restore lands after its gate is gone.
            let transaction = match repository.restoring {
                Some(restoring) => transaction.delete(keys::gate(&restoring, 0)),
                None => transaction,
            };
            if let Outcome::Done(_) = inner.kv.transact(transaction).await? {
                inner.sweep.notify_one();
                return Ok(());
            }
        }
        Err(busy(&format!("delete repository '{id}'")))
    }

    /// The free metadata.
    pub async fn repository_metadata(
        &self,
        id: &RepositoryId,
    ) -> Result<BTreeMap<String, String>, CatalogError> {
        Ok(self.repository(id).await?.metadata.clone())
    }

    /// Adds or overwrites keys.
    pub async fn set_repository_metadata(
        &self,
        id: &RepositoryId,
        set: BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        self.change_metadata(id, |metadata| metadata.extend(set.clone())).await
    }

    /// Removes keys; unknown ones are ignored.
    pub async fn delete_repository_metadata(
        &self,
        id: &RepositoryId,
        keys: &[String],
    ) -> Result<(), CatalogError> {
        self.change_metadata(id, |metadata| metadata.retain(|key, _| !keys.contains(key))).await
    }

    async fn change_metadata(
        &self,
        id: &RepositoryId,
        change: impl Fn(&mut BTreeMap<String, String>),
    ) -> Result<(), CatalogError> {
        for _ in 0..MOVE_ATTEMPTS {
            let (repository, version) = self.inner.repository(id).await?;
            let mut changed = repository.as_ref().clone();
            change(&mut changed.metadata);
            let key = keys::repository(id);
            let row = wire::encode(&wire::RepositoryRow::from(&changed));
            let transaction = Transaction::new().check(key.clone(), Check::Version(version)).put(key, row);
            if let Outcome::Done(_) = self.inner.kv.transact(transaction).await? {
                self.inner.exports.mark(id);
                return Ok(());
            }
        }
        Err(busy(&format!("metadata of repository '{id}'")))
    }
}

impl Repository {
    /// Every incarnation that rows of this repository lie under.
    fn lives(&self) -> impl Iterator<Item = Incarnation> {
        let birth = (self.birth != self.incarnation).then_some(self.birth);
        std::iter::once(self.incarnation).chain(birth).chain(self.restoring)
    }
}

fn taken(id: &RepositoryId) -> CatalogError {
    CatalogError::refused(ErrorKind::AlreadyExists, format!("repository '{id}' already exists: not unique"))
}

/// A page out of at most `amount + 1` items.
pub(crate) fn page_of<T>(mut items: Vec<T>, amount: usize, id: impl Fn(&T) -> String) -> Page<T> {
    let has_more = items.len() > amount;
    items.truncate(amount);
    let next_offset = if has_more { items.last().map(id).unwrap_or_default() } else { String::new() };
    Page { items, has_more, next_offset }
}

impl Inner {
    /// A namespace must be `scheme://bucket…` of this store; a trailing slash is insignificant.
    fn check_namespace(&self, namespace: &str) -> Result<String, CatalogError> {
        let scheme = self.blocks.info().scheme;
        let refused = |why: &str| {
            Err(CatalogError::refused(
                ErrorKind::NamespaceRefused,
                format!("storage namespace '{namespace}': {why}: invalid namespace"),
            ))
        };
        let Some(rest) = namespace.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else {
            return refused(&format!("failed to match required regex ^{scheme}://"));
        };
        let rest = rest.trim_end_matches('/');
        let hostile = |part: &str| part.is_empty() || part == "." || part == ".." || part == "_lakebed";
        if rest.is_empty() || rest.split('/').any(hostile) || rest.contains('\0') {
            return refused("a bucket or directory must follow the scheme, without empty, '.' or '..' parts");
        }
        Ok(format!("{scheme}://{rest}"))
    }

    /// Takes a namespace for good: the claim in the engine, then the marker in the store. A claim of ours without a
    /// repository may be taken up again only by its own incarnation, so a crash in between leaves the namespace used.
    async fn claim(&self, namespace: &str, incarnation: &Incarnation) -> Result<(), CatalogError> {
        let in_use = || {
            CatalogError::refused(
                ErrorKind::NamespaceRefused,
                format!(
                    "failed to create repository: found objects in the storage ({namespace}) key({MARKER}): storage \
                     namespace already in use"
                ),
            )
        };
        match self.blocks.head(&BlockAddress::in_namespace(namespace, FOREIGN_MARKER)).await {
            Ok(_) => return Err(in_use()),
            Err(BlockError::NotFound(_)) => {}
            Err(error) => return Err(unusable(namespace, &error)),
        }
        let key = keys::namespace_claim(namespace);
        let claim =
            Transaction::new().check(key.clone(), Check::Absent).put(key, incarnation.as_bytes().to_vec());
        match self.kv.transact(claim).await? {
            Outcome::Done(_) => {}
            Outcome::Refused(_) => return Err(in_use()),
            Outcome::Unknown => return Err(busy("create repository: its outcome is unknown")),
        }
        let marker = BlockAddress::in_namespace(namespace, MARKER);
        let options = PutOptions { if_absent: true, ..PutOptions::default() };
        match self.blocks.put_bytes(&marker, incarnation.to_string().into(), options).await {
            Ok(()) => Ok(()),
            Err(BlockError::Exists(_)) => Err(in_use()),
            Err(error) => {
                // The store never held our marker: the namespace must stay usable once the cause is gone.
                let release = Transaction::new().delete(keys::namespace_claim(namespace));
                self.kv.transact(release).await?;
                Err(unusable(namespace, &error))
            }
        }
    }

    /// Adds a fresh branch to a transaction: record, gates, current layer, index.
    pub(crate) fn new_branch(
        &self,
        transaction: Transaction,
        repository: &Repository,
        name: &BranchId,
        head: lakebed_core::CommitId,
        hidden: bool,
    ) -> Transaction {
        let key = keys::branch(&repository.incarnation, name);
        let state = BranchState {
            key: key.clone(),
            version: lakebed_kv::Version(0),
            incarnation: Incarnation::random(&*self.entropy),
            head,
            current: LayerId::random(&*self.entropy),
            gate: Incarnation::random(&*self.entropy),
            sealed: Vec::new(),
            reset_count: 0,
            sequence: 0,
            hidden,
        };
        let mut transaction = transaction
            .check(key.clone(), Check::Absent)
            .put(key, state.encode())
            .put(keys::branch_index(&repository.incarnation, name.as_str()), vec![u8::from(hidden)])
            .put(keys::layer(&state.current), "");
        for i in 0..self.kv.limits().gate_spread.max(1) {
            transaction = transaction.put(keys::gate(&state.gate, i), "");
        }
        transaction
    }

    /// The repository and a check that it still is this incarnation when a transaction lands.
    pub(crate) async fn pinned(
        &self,
        id: &RepositoryId,
    ) -> Result<(Arc<Repository>, (bytes::Bytes, Check)), CatalogError> {
        let (repository, version) = self.repository(id).await?;
        let check = (keys::repository(id), Check::Version(version));
        Ok((repository, check))
    }
}

fn unusable(namespace: &str, error: &BlockError) -> CatalogError {
    CatalogError::refused(
        ErrorKind::NamespaceRefused,
        format!("storage namespace '{namespace}' cannot be used: {error}"),
    )
}
