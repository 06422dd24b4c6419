//! Repositories: create, look up, list, delete, metadata (`versioning-api` §4; `protocol.md`, Create repository).

use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_blocks::StoreId;
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, Incarnation, RepositoryId};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction, Version};

use crate::branch_state::{BranchLife, BranchState};
use crate::catalog::Inner;
use crate::jumps::Jump;
use crate::publish::MOVE_ATTEMPTS;
use crate::working::{busy, outcome_unknown};
use crate::{Catalog, CatalogError, ErrorKind, NewRepository, Page, PageRequest, Repository, keys, wire};

impl Catalog {
    /// Makes a repository with its marker, root commit and default branch (unless bare).
    #[tracing::instrument(target = SPAN, name = "catalog create repository", skip_all)]
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
        let namespace = inner.check_namespace(&new.storage_namespace, &new.storage_id)?;
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
            closing: None,
        };
        let root = (!new.bare).then(|| inner.root_commit());
        if let Some(root) = root.as_ref().filter(|_| owns) {
            inner.store_commit(&repository, root).await?;
        }
        for _ in 0..MOVE_ATTEMPTS {
            let mut transaction = Transaction::new()
                .check(key.clone(), Check::Absent)
                .put(key.clone(), wire::encode(&wire::RepositoryRow::from(&repository)));
            transaction = inner.depend(transaction, &repository.storage_namespace).await?;
            if let Some(root) = &root {
                let row = wire::encode(&wire::CommitRow::of(root));
                let jump = wire::encode(&Jump::of_first(root).to_row());
                transaction = transaction
                    .put(keys::commit(&incarnation, &root.id), row)
                    .put(keys::jump(&incarnation, &root.id), jump);
                let life = BranchLife::fresh(&*inner.entropy);
                transaction =
                    inner.new_branch(transaction, &repository, &default_branch, root.id, false, life);
            }
            return match inner.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    inner.exports.mark(&new.id);
                    Ok(repository)
                }
                Outcome::Refused(refused) if refused == key => Err(taken(&new.id)),
                // Another came to depend on the namespace meanwhile.
                Outcome::Refused(_) => continue,
                Outcome::Unknown => match inner.repository(&new.id).await {
                    Ok((found, _)) if found.incarnation == incarnation => Ok(repository),
                    _ => Err(outcome_unknown(&format!("create repository '{}'", new.id))),
                },
            };
        }
        Err(busy(&format!("create repository '{}'", new.id)))
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

    /// Repositories whose store this server does not have, at most `most`, with the store they name.
    pub async fn repositories_without_store(
        &self,
        most: usize,
    ) -> Result<Vec<(RepositoryId, StoreId)>, CatalogError> {
        let mut found = Vec::new();
        let mut page = PageRequest { amount: 1000, ..PageRequest::default() };
        loop {
            let repositories = self.list_repositories(&page, "").await?;
            for repository in repositories.items {
                let store = repository.storage_namespace.store();
                if self.inner.blocks.info_of(store).is_none() {
                    found.push((repository.id, store.clone()));
                }
                if found.len() == most {
                    return Ok(found);
                }
            }
            if !repositories.has_more {
                return Ok(found);
            }
            page.after = repositories.next_offset;
        }
    }

    /// Removes all metadata; the name is free at once, the bytes stay.
    pub async fn delete_repository(&self, id: &RepositoryId, force: bool) -> Result<(), CatalogError> {
        self.delete_repository_as(id, force, false).await
    }

    /// [`Catalog::delete_repository`], and what it wrote into its namespace is deleted in the background, for good.
    /// [`ErrorKind::Conflict`], and nothing is deleted, if another repository needs the data or the namespace is not
    /// this server's.
    pub async fn delete_repository_and_data(
        &self,
        id: &RepositoryId,
        force: bool,
    ) -> Result<(), CatalogError> {
        self.delete_repository_as(id, force, true).await
    }

    async fn delete_repository_as(
        &self,
        id: &RepositoryId,
        force: bool,
        data: bool,
    ) -> Result<(), CatalogError> {
        let inner = &self.inner;
        // What an attempt of unknown outcome was to delete.
        let mut unsure: Option<Incarnation> = None;
        for _ in 0..MOVE_ATTEMPTS {
            let (repository, version) = match inner.repository(id).await {
                Ok((repository, _)) if unsure.is_some_and(|birth| birth != repository.birth) => return Ok(()),
                Err(error) if unsure.is_some() && error.kind() == ErrorKind::RepositoryNotFound => {
                    return Ok(());
                }
                found => found?,
            };
            Inner::check_writable(&repository, force)?;
            let mut transaction = repository.deletion(version);
            if data {
                transaction = inner.give_up(transaction, &repository).await?;
            }
            match inner.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    inner.sweep.notify_one();
                    inner.freeing.notify_one();
                    return Ok(());
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => unsure = Some(repository.birth),
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

    /// The transaction that deletes it, if its record still has this version.
    pub(crate) fn deletion(&self, version: Version) -> Transaction {
        let key = keys::repository(&self.id);
        let transaction = Transaction::new().check(key.clone(), Check::Version(version)).delete(key);
        let transaction = self.lives().fold(transaction, |transaction, life| {
            transaction.put(keys::dead_repository(&life), self.storage_namespace.encode())
        });
        match self.restoring {
            // Nothing of a restore lands after its gate is gone.
            Some(restoring) => transaction.delete(keys::gate(&restoring, 0)),
            None => transaction,
        }
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
    /// Adds a fresh branch to a transaction: record, gates, current layer, index.
    pub(crate) fn new_branch(
        &self,
        transaction: Transaction,
        repository: &Repository,
        name: &BranchId,
        head: lakebed_core::CommitId,
        hidden: bool,
        life: BranchLife,
    ) -> Transaction {
        let key = keys::branch(&repository.incarnation, name);
        let state = BranchState {
            key: key.clone(),
            version: lakebed_kv::Version(0),
            incarnation: life.incarnation,
            head,
            current: life.current,
            gate: life.gate,
            sealed: Vec::new(),
            reset_count: 0,
            sequence: 0,
            hidden,
            closing: None,
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
