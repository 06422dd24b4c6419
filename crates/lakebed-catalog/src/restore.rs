//! Making a bare repository from a dump (`versioning-api` §15; `protocol.md`, Restore).
//!
//! A restore writes another incarnation beside the one the repository has, which nobody can see, and puts it in its
//! place in the transaction that ends the task: refs and commits appear all at once, or never. Every batch checks that
//! the restore's gate exists; whoever ends the task otherwise removes the gate and leaves the incarnation to the
//! sweeper in one transaction, so nothing of a lost restore can land afterwards, and the next one starts afresh.

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError};
use lakebed_core::{BranchId, CommitId, Incarnation, NodeId, ObjectName, RepositoryId, TagId};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction, Write};
use lakebed_tree::TreeError;

use crate::branch_state::BranchLife;
use crate::catalog::{Inner, repository_not_found};
use crate::dump::DUMPS;
use crate::publish::MOVE_ATTEMPTS;
use crate::ref_trees::{Listed, RefEntry, RefNodes, RefTree};
use crate::staging::Along;
use crate::task_runner::{Live, NewTask, Submitted};
use crate::tasks::expired;
use crate::working::busy;
use crate::{Catalog, CatalogError, ErrorKind, Repository, TaskKind, TaskResult, keys, wire};

/// What a repository is restored from.
#[derive(Clone, Debug)]
pub enum RestoreSource {
    /// The trees of a dump in the repository's namespace, as a client names them.
    Dump {
        /// Tree of commits.
        commits: String,
        /// Tree of tags.
        tags: String,
        /// Tree of branches.
        branches: String,
    },
    /// What the bucket alone says: the newest export of a repository in the namespace, and every commit there.
    Bucket {
        /// The name the repository had; `None`: as the one restored into, or the only one there is.
        repository: Option<String>,
    },
}

/// A restore to be.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// From what.
    pub source: RestoreSource,
    /// Write although the repository is read-only.
    pub force: bool,
}

/// Commits of one batch, and refs of one batch, where the engine takes as many.
const BATCH: usize = 64;

/// Checks and writes of one ref, the gates of a branch not counted.
const ITEMS_OF_REF: usize = 5;

/// Bytes of one batch of commits, so that it stays far below what any engine takes.
const BATCH_BYTES: usize = 512 << 10;

/// The most bytes of a commit's object.
const MOST_COMMIT_BYTES: usize = 16 << 20;

impl Catalog {
    /// Begins a restore. [`ErrorKind::Invalid`] unless the repository is bare, without commits, and not being restored
    /// already.
    pub async fn submit_restore(
        &self,
        repository: &RepositoryId,
        request: RestoreRequest,
    ) -> Result<ObjectName, CatalogError> {
        Ok(self.begin_restore(repository, request).await?.id)
    }

    /// [`Catalog::submit_restore`], waited for.
    pub async fn restore(
        &self,
        repository: &RepositoryId,
        request: RestoreRequest,
    ) -> Result<(), CatalogError> {
        let submitted = self.begin_restore(repository, request).await?;
        self.wait_for(repository, TaskKind::Restore, submitted).await.map(drop)
    }

    async fn begin_restore(
        &self,
        repository: &RepositoryId,
        request: RestoreRequest,
    ) -> Result<Submitted, CatalogError> {
        let inner = &self.inner;
        let (record, _) = inner.repository(repository).await?;
        let commits = KeyRange::prefix(&keys::commits(&record.incarnation, b""));
        let empty = inner.kv.scan(&commits, 1).await?.is_empty();
        let restoring = Incarnation::random(&*inner.entropy);
        let RestoreRequest { source, force } = request;
        let new = |record: &Repository| {
            if !record.bare || !empty {
                return Err(not_bare("it has commits"));
            }
            if record.restoring.is_some() {
                return Err(not_bare("another restore into it is running"));
            }
            Inner::check_writable(record, force)?;
            let next = Repository { restoring: Some(restoring), ..record.clone() };
            let row = wire::encode(&wire::RepositoryRow::from(&next));
            let mut along = Along::default();
            along.writes.push((keys::repository(&record.id), Write::Put(row)));
            along.writes.push((keys::gate(&restoring, 0), Write::Put("".into())));
            Ok(NewTask { restoring: Some(restoring), along, ..NewTask::of(TaskKind::Restore) })
        };
        let id = repository.clone();
        self.submit(repository, new, async move |catalog: Self, task| {
            let (record, _) = catalog.inner.repository(&id).await?;
            let hidden = Repository { incarnation: restoring, ..record.as_ref().clone() };
            let restore = Restore { inner: &catalog.inner, hidden: &hidden, task: &task };
            restore.run(&source).await.map_err(|error| match error {
                CatalogError::Tree(TreeError::Missing(id)) => no_data(&id.to_hex()),
                error => error,
            })?;
            Ok(TaskResult::Restored)
        })
        .await
    }
}

fn not_bare(why: &str) -> CatalogError {
    CatalogError::refused(ErrorKind::Invalid, format!("can only restore into a bare repository: {why}"))
}

fn no_data(tree: &str) -> CatalogError {
    let tree: String = tree.chars().take(80).collect();
    CatalogError::refused(
        ErrorKind::NotFound,
        format!("No data: tree '{tree}' is not among the dumps in the namespace, or not whole"),
    )
}

/// A restore at work.
pub(crate) struct Restore<'a> {
    pub(crate) inner: &'a Inner,
    /// The repository as it will be: what is written is under this incarnation.
    pub(crate) hidden: &'a Repository,
    pub(crate) task: &'a Live,
}

impl Restore<'_> {
    pub(crate) async fn run(&self, source: &RestoreSource) -> Result<(), CatalogError> {
        match source {
            RestoreSource::Dump { commits, tags, branches } => {
                let nodes = RefNodes::new(self.inner, self.hidden, DUMPS);
                let open = async |text: &str, listed| {
                    let root: NodeId = text.parse().map_err(|_| no_data(text))?;
                    RefTree::open(nodes.clone(), root, listed).await
                };
                // All three first: a wrong id is found before anything is written.
                let mut commits = open(commits, Listed::Commits).await?;
                let tags = open(tags, Listed::Tags).await?;
                let branches = open(branches, Listed::Branches).await?;
                let mut batch = CommitBatch::default();
                while let Some((id, row)) = commits.next_commit().await? {
                    let row = match row {
                        Some(row) => row,
                        None => self.stored_commit(&id).await?,
                    };
                    self.add(&mut batch, id, row).await?;
                }
                self.flush(&mut batch).await?;
                self.refs(branches, Listed::Branches).await?;
                self.refs(tags, Listed::Tags).await?;
            }
            RestoreSource::Bucket { repository } => self.rebuild(repository.as_deref()).await?,
        }
        let default = &self.hidden.default_branch;
        let key = keys::reference(&self.hidden.incarnation, default);
        let found = self.inner.kv.get(&key).await?;
        let found = found.map(|row| wire::decode::<wire::RefRow>(&row.value, "ref")).transpose()?;
        if found.is_none_or(|row| row.branch.is_none()) {
            return Err(CatalogError::refused(
                ErrorKind::Invalid,
                format!(
                    "there is no branch '{default}' to restore, the repository's default branch: make the bare \
                     repository with the default branch of the one it is restored from"
                ),
            ));
        }
        Ok(())
    }

    /// A commit's record from its object.
    pub(crate) async fn stored_commit(&self, id: &CommitId) -> Result<Bytes, CatalogError> {
        let key = format!("_lakebed/commits/{id}");
        let address = BlockAddress::in_namespace(&self.hidden.storage_namespace, &key);
        let bytes = match self.inner.blocks.get_bytes(&address, MOST_COMMIT_BYTES).await {
            Err(BlockError::NotFound(_)) => return Err(no_data(&id.to_hex())),
            other => other?,
        };
        let row: wire::CommitRow = wire::decode(&bytes, "commit")?;
        if row.to_commit()?.id != *id {
            return Err(CatalogError::Damaged { what: "commit" });
        }
        Ok(bytes)
    }

    /// Adds a commit to the batch, and writes the batch when it is full.
    pub(crate) async fn add(
        &self,
        batch: &mut CommitBatch,
        id: CommitId,
        row: Bytes,
    ) -> Result<(), CatalogError> {
        if batch.bytes + row.len() > BATCH_BYTES {
            self.flush(batch).await?;
        }
        batch.bytes += row.len();
        batch.rows.push((id, row));
        if batch.rows.len() >= self.fitting(1) {
            self.flush(batch).await?;
        }
        Ok(())
    }

    /// How many things of so many items go into a batch, beside the restore's gate.
    fn fitting(&self, items_of_each: usize) -> usize {
        let room = self.inner.kv.limits().max_items.saturating_sub(1);
        (room / items_of_each).clamp(1, BATCH)
    }

    pub(crate) async fn flush(&self, batch: &mut CommitBatch) -> Result<(), CatalogError> {
        let CommitBatch { rows, .. } = std::mem::take(batch);
        if rows.is_empty() {
            return Ok(());
        }
        for _ in 0..MOVE_ATTEMPTS {
            let mut transaction = self.gated();
            for (id, row) in &rows {
                transaction = transaction.put(keys::commit(&self.hidden.incarnation, id), row.clone());
            }
            match self.inner.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    self.task.advance(rows.len() as u64);
                    return Ok(());
                }
                Outcome::Refused(_) => return Err(expired("the restore was ended by another")),
                // The same rows again are the same rows, and the gate keeps a lost restore out.
                Outcome::Unknown => {}
            }
        }
        Err(busy("restore"))
    }

    /// Every batch lands only while the restore is its repository's.
    pub(crate) fn gated(&self) -> Transaction {
        Transaction::new().check(keys::gate(&self.hidden.incarnation, 0), Check::Exists)
    }

    /// Writes the refs of a tree.
    pub(crate) async fn refs(&self, mut tree: RefTree, listed: Listed) -> Result<(), CatalogError> {
        let gates = match listed {
            Listed::Branches => usize::from(self.inner.kv.limits().gate_spread.max(1)),
            Listed::Tags | Listed::Commits => 0,
        };
        let most = self.fitting(ITEMS_OF_REF + gates);
        let mut batch = Vec::with_capacity(most);
        loop {
            let next = tree.next_ref().await?;
            let last = next.is_none();
            batch.extend(next);
            if batch.len() >= most || last && !batch.is_empty() {
                self.write_refs(&batch, listed).await?;
                batch.clear();
            }
            if last {
                return Ok(());
            }
        }
    }

    async fn write_refs(&self, refs: &[RefEntry], listed: Listed) -> Result<(), CatalogError> {
        let r = &self.hidden.incarnation;
        let commits: Vec<Bytes> = refs.iter().map(|entry| keys::commit(r, &entry.commit)).collect();
        for (entry, commit) in refs.iter().zip(self.inner.kv.get_many(&commits).await?) {
            if commit.is_none() {
                return Err(CatalogError::refused(
                    ErrorKind::Invalid,
                    format!("'{}' names commit '{}', which is not in the dump", entry.name, entry.commit),
                ));
            }
        }
        let mut transaction = self.gated();
        for entry in refs {
            transaction = match listed {
                Listed::Branches => {
                    let name: BranchId = entry.name.parse()?;
                    let life = BranchLife::fresh(&*self.inner.entropy);
                    self.inner.new_branch(transaction, self.hidden, &name, entry.commit, entry.hidden, life)
                }
                Listed::Tags | Listed::Commits => {
                    let name: TagId = entry.name.parse()?;
                    let key = keys::tag(r, &name);
                    let row =
                        wire::RefRow { tag: entry.commit.as_bytes().to_vec(), ..wire::RefRow::default() };
                    transaction
                        .check(key.clone(), Check::Absent)
                        .put(key, wire::encode(&row))
                        .put(keys::tag_index(r, name.as_str()), "")
                }
            };
        }
        // The same rows are sent again after an unknown outcome: then they may be there already.
        for _ in 0..MOVE_ATTEMPTS {
            match self.inner.kv.transact(transaction.clone()).await? {
                Outcome::Done(_) => {
                    self.task.advance(refs.len() as u64);
                    return Ok(());
                }
                Outcome::Refused(key) if key == keys::gate(r, 0) => {
                    return Err(expired("the restore was ended by another"));
                }
                Outcome::Refused(key) => return self.written(&transaction, &key).await,
                Outcome::Unknown => {}
            }
        }
        Err(busy("restore"))
    }

    /// A ref of a batch is there already: by this very batch, or by another of the same name.
    async fn written(&self, transaction: &Transaction, key: &Bytes) -> Result<(), CatalogError> {
        let ours = transaction.writes.iter().find(|(written, _)| written == key);
        let found = self.inner.kv.get(key).await?.map(|row| Write::Put(row.value));
        if found.is_some() && ours.map(|(_, write)| write) == found.as_ref() {
            return Ok(());
        }
        let name = keys::name_of(key, keys::NAME_AT).unwrap_or_default();
        Err(CatalogError::refused(
            ErrorKind::Invalid,
            format!("'{name}' is both a tag and a branch in the dump: a name is one of them"),
        ))
    }
}

/// Commits to be written together.
#[derive(Default)]
pub(crate) struct CommitBatch {
    rows: Vec<(CommitId, Bytes)>,
    bytes: usize,
}

impl Inner {
    /// What becomes of the incarnation that a restore wrote when its task ends.
    pub(crate) async fn end_restore(
        &self,
        row: &wire::TaskRow,
        restoring: Incarnation,
        well: bool,
        along: &mut Along,
    ) -> Result<(), CatalogError> {
        let id: RepositoryId = row.repository.parse()?;
        let found = match self.repository(&id).await {
            Ok((record, version)) if record.restoring == Some(restoring) => Some((record, version)),
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::RepositoryNotFound => None,
            Err(error) => return Err(error),
        };
        along.writes.push((keys::gate(&restoring, 0), Write::Delete));
        if !well {
            let dead = keys::dead_repository(&restoring);
            along.writes.push((dead, Write::Put(row.namespace.clone().into())));
        }
        let Some((record, version)) = found else {
            return if well { Err(repository_not_found(&id)) } else { Ok(()) };
        };
        let mut next = Repository { restoring: None, ..record.as_ref().clone() };
        if well {
            (next.incarnation, next.bare) = (restoring, false);
        }
        let key = keys::repository(&id);
        along.checks.push((key.clone(), Check::Version(version)));
        along.writes.push((key, Write::Put(wire::encode(&wire::RepositoryRow::from(&next)))));
        Ok(())
    }
}
