//! Tasks: long operations that go on after their request was answered (`versioning-api` §15).
//!
//! A task is one row. Whoever ends it - its own publish, its failure, a cancellation, the expiry of its heartbeat, the
//! next start of its server - turns that row in a transaction that checks the row's version, so exactly one of them
//! wins; what the task was for is in the same transaction, so a task that was ended by another can never publish
//! afterwards (`protocol.md`, Import; Who recovers what).

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_core::{CommitId, Incarnation, LayerId, NodeId, ObjectName, RepositoryId, Timestamp};
use lakebed_kv::{Check, Outcome, Transaction, Version, Write};

use crate::catalog::Inner;
use crate::publish::{Joined, MOVE_ATTEMPTS};
use crate::staging::Along;
use crate::sweep::OUTCOME_LIFE_MILLIS;
use crate::working::busy;
use crate::{Catalog, CatalogError, ErrorKind, Repository, keys, wire};

/// What a task does. Ids of one kind are unknown to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Commits what is staged.
    Commit,
    /// Merges.
    Merge,
    /// Dumps refs and commits.
    Dump,
    /// Restores a dump.
    Restore,
    /// Imports objects.
    Import,
    /// Lists the commits a collector must keep.
    PrepareCommits,
}

/// A task as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: ObjectName,
    /// The branch it moves; empty if it moves none.
    pub branch: String,
    /// Where it stands.
    pub state: TaskState,
    /// Its last sign of life, its end once it has ended.
    pub updated: Timestamp,
    /// How many things (objects, commits, refs) it has done.
    pub progress: u64,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Waiting or at work.
    Running,
    /// It did what it was asked for.
    Done(TaskResult),
    /// It did not, and never will.
    Failed {
        /// As the same request made directly would have been refused.
        kind: ErrorKind,
        /// What was wrong and what to do.
        message: String,
    },
}

/// What a task made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskResult {
    /// A commit: of a commit, merge or import.
    Commit(CommitId),
    /// Trees of refs and commits.
    Dump(DumpedRefs),
    /// The repository is ready.
    Restored,
    /// A list of commits.
    Prepared(PreparedCommits),
}

/// The trees a dump wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpedRefs {
    /// Commits by id.
    pub commits: NodeId,
    /// Tags by name.
    pub tags: NodeId,
    /// Branches by name.
    pub branches: NodeId,
}

/// What a prepared collection wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreparedCommits {
    /// Its id.
    pub run: String,
    /// The file that names the commits to keep.
    pub commits_location: String,
    /// Where its collector may write addresses.
    pub addresses_location: String,
}

/// How long a task may go without a sign of life, in milliseconds (`versioning-api` §15.1).
const HEARTBEAT_LIMIT_MILLIS: i64 = 20 * 60 * 1000;

impl TaskKind {
    pub(crate) fn stored(self) -> u32 {
        match self {
            Self::Commit => 1,
            Self::Merge => 2,
            Self::Dump => 3,
            Self::Restore => 4,
            Self::Import => 5,
            Self::PrepareCommits => 6,
        }
    }
}

/// How a task ends.
#[derive(Clone)]
pub(crate) enum End {
    Well(TaskResult),
    Badly(wire::TaskErrorRow),
}

impl End {
    /// With an error. A fault of ours goes to the log, and the client learns that there was one.
    pub(crate) fn badly(error: &CatalogError) -> Self {
        let kind = error.kind();
        let message = if kind == ErrorKind::Internal {
            tracing::error!(%error, "a task failed");
            "internal error: the server's log says more".to_owned()
        } else {
            error.to_string()
        };
        Self::Badly(wire::TaskErrorRow { kind: kind.stored(), message })
    }
}

/// What came of an attempt to end a task.
pub(crate) enum Turned {
    /// It ended now, so.
    Now,
    /// It had ended before.
    Before,
    /// There is no such task.
    Unknown,
}

impl wire::TaskRow {
    pub(crate) fn is_running(&self) -> bool {
        self.result.is_none() && self.error.is_none()
    }

    /// Whether its heartbeat stopped long ago.
    fn is_stale(&self, now: Timestamp) -> bool {
        self.is_running() && now.millis() - self.updated_ms > HEARTBEAT_LIMIT_MILLIS
    }

    fn to_task(&self, id: ObjectName) -> Result<Task, CatalogError> {
        let state = match (&self.result, &self.error) {
            (None, None) => TaskState::Running,
            (Some(result), _) => TaskState::Done(result.to_result()?),
            (None, Some(error)) => TaskState::Failed {
                kind: ErrorKind::from_stored(&error.kind),
                message: error.message.clone(),
            },
        };
        Ok(Task {
            id,
            branch: self.branch.clone(),
            state,
            updated: Timestamp::from_millis(self.updated_ms),
            progress: self.progress,
        })
    }
}

impl wire::TaskResultRow {
    fn of(result: &TaskResult) -> Self {
        let mut row = Self::default();
        match result {
            TaskResult::Commit(id) => row.commit = id.as_bytes().to_vec(),
            TaskResult::Dump(refs) => {
                row.trees =
                    [refs.commits, refs.tags, refs.branches].map(|id| id.as_bytes().to_vec()).to_vec();
            }
            TaskResult::Restored => {}
            TaskResult::Prepared(prepared) => {
                row.run.clone_from(&prepared.run);
                row.commits_location.clone_from(&prepared.commits_location);
                row.addresses_location.clone_from(&prepared.addresses_location);
            }
        }
        row
    }

    fn to_result(&self) -> Result<TaskResult, CatalogError> {
        if !self.commit.is_empty() {
            return Ok(TaskResult::Commit(wire::commit_id(&self.commit)?));
        }
        if let [commits, tags, branches] = &self.trees[..] {
            let tree = |id: &Vec<u8>| -> Result<NodeId, CatalogError> { wire::node_id(id) };
            return Ok(TaskResult::Dump(DumpedRefs {
                commits: tree(commits)?,
                tags: tree(tags)?,
                branches: tree(branches)?,
            }));
        }
        if !self.run.is_empty() {
            return Ok(TaskResult::Prepared(PreparedCommits {
                run: self.run.clone(),
                commits_location: self.commits_location.clone(),
                addresses_location: self.addresses_location.clone(),
            }));
        }
        Ok(TaskResult::Restored)
    }
}

fn not_found(id: &str) -> CatalogError {
    let id: String = id.chars().take(80).collect();
    CatalogError::refused(
        ErrorKind::NotFound,
        format!("task '{id}' not found: it never was, or ended more than a day ago"),
    )
}

/// Why a task whose heartbeat stopped has failed.
pub(crate) fn expired(why: &str) -> CatalogError {
    CatalogError::refused(ErrorKind::Expired, format!("Operation expired: {why}: submit it again"))
}

impl Catalog {
    /// A task of this repository and kind. [`ErrorKind::NotFound`] if there is none, or if it ended a day ago.
    ///
    /// A task that shows no sign of life for 20 minutes is ended here and now, as [`ErrorKind::Expired`].
    pub async fn task(
        &self,
        repository: &RepositoryId,
        kind: TaskKind,
        id: &str,
    ) -> Result<Task, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        let name: ObjectName = id.parse().map_err(|_| not_found(id))?;
        let key = keys::task(&repository.birth, &name);
        for _ in 0..MOVE_ATTEMPTS {
            let Some((row, _)) = inner.task_row(&key).await? else { return Err(not_found(id)) };
            let now = inner.clock.now();
            let forgotten = !row.is_running() && now.millis() - row.updated_ms > OUTCOME_LIFE_MILLIS;
            if row.kind != kind.stored() || forgotten {
                return Err(not_found(id));
            }
            if !row.is_stale(now) {
                return row.to_task(name);
            }
            inner.expire_task(&key).await?;
        }
        Err(busy(&format!("task '{id}'")))
    }
}

impl Inner {
    pub(crate) async fn task_row(
        &self,
        key: &Bytes,
    ) -> Result<Option<(wire::TaskRow, Version)>, CatalogError> {
        let Some(row) = self.kv.get(key).await? else { return Ok(None) };
        Ok(Some((wire::decode(&row.value, "task")?, row.version)))
    }

    /// What ends a running task, read at `version`: its row, the index, the day until it is forgotten, and what
    /// becomes of the things it was making.
    pub(crate) async fn ending(
        &self,
        key: &Bytes,
        mut row: wire::TaskRow,
        version: Version,
        end: End,
    ) -> Result<Along, CatalogError> {
        let now = self.clock.now();
        row.updated_ms = now.millis();
        match end {
            End::Well(result) => row.result = Some(wire::TaskResultRow::of(&result)),
            End::Badly(error) => row.error = Some(error),
        }
        let mut along = Along {
            checks: vec![(key.clone(), Check::Version(version))],
            writes: vec![
                (keys::running_task(key), Write::Delete),
                (keys::expiry(now, key), Write::Put("".into())),
            ],
            ..Along::default()
        };
        if let Some(layer) = LayerId::from_slice(&row.spool) {
            along.writes.push((keys::dead_layer(&layer), Write::Put(row.namespace.clone().into())));
        }
        if let Some(restoring) = Incarnation::from_slice(&row.restoring) {
            self.end_restore(&row, restoring, row.result.is_some(), &mut along).await?;
        }
        along.writes.push((key.clone(), Write::Put(wire::encode(&row))));
        Ok(along)
    }

    /// Ends a task if it is running and `end` says how.
    pub(crate) async fn turn_task(
        &self,
        key: &Bytes,
        end: impl Fn(&wire::TaskRow) -> Option<End>,
    ) -> Result<Turned, CatalogError> {
        for _ in 0..MOVE_ATTEMPTS {
            let Some((row, version)) = self.task_row(key).await? else { return Ok(Turned::Unknown) };
            if !row.is_running() {
                return Ok(Turned::Before);
            }
            let Some(end) = end(&row) else { return Ok(Turned::Before) };
            let repository = row.repository.clone();
            let along = self.ending(key, row, version, end).await?;
            let transaction = Transaction { checks: along.checks, writes: along.writes };
            // Unknown: the row says what happened when it is read again.
            if let Outcome::Done(_) = self.kv.transact(transaction).await? {
                self.sweep.notify_one();
                // What a restore brought is new.
                if let Ok(repository) = repository.parse() {
                    self.exports.mark(&repository);
                }
                return Ok(Turned::Now);
            }
        }
        Err(busy("a task"))
    }

    /// Ends a task if its heartbeat stopped long ago.
    pub(crate) async fn expire_task(&self, key: &Bytes) -> Result<(), CatalogError> {
        let now = self.clock.now();
        let end = End::badly(&expired("no sign of life from its server for 20 minutes"));
        let stale = |row: &wire::TaskRow| row.is_stale(now).then(|| end.clone());
        if let Turned::Now = self.turn_task(key, stale).await? {
            self.tasks.stop(key);
        }
        Ok(())
    }
}

/// Ends a task in the very transaction that publishes what it made.
pub(crate) struct Finish<'a> {
    /// The task's key.
    pub(crate) key: &'a Bytes,
}

#[async_trait]
impl Joined for Finish<'_> {
    async fn along(
        &self,
        inner: &Inner,
        repository: &Repository,
        head: &CommitId,
    ) -> Result<Option<Along>, CatalogError> {
        let gone = || expired("it was ended by another");
        let (row, version) = inner.task_row(self.key).await?.ok_or_else(gone)?;
        if let Some(error) = &row.error {
            return Err(CatalogError::refused(ErrorKind::from_stored(&error.kind), error.message.clone()));
        }
        // The name may have been given to another repository, and a task is run by one life of one server.
        let ours = row.owner == inner.tasks.owner.as_bytes()
            && self.key[1..].starts_with(repository.birth.as_bytes());
        if !row.is_running() || !ours {
            return Err(gone());
        }
        inner.ending(self.key, row, version, End::Well(TaskResult::Commit(*head))).await.map(Some)
    }
}
