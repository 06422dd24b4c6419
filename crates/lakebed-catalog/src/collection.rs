//! What a garbage collector outside the server must keep: the commits that are still active (`operations.md` §6.1, §6.2).
//!
//! A branch's active commits are the one that was its head as many days ago as its rule says, and every head since; its
//! present head always. When heads moved is taken from the branch's own log, which no client can set; for the time before
//! the log began (a branch made or restored meanwhile) the dates of the commits decide. Tags keep their commits. Where
//! anything is unsure, a commit counts as active.

use std::collections::HashMap;

use bytes::Bytes;
use futures::StreamExt;
use lakebed_blocks::{BlockAddress, BlockError, BodyError, ByteStream, PutOptions};
use lakebed_core::{CommitId, LayerId, ObjectName, RepositoryId};
use lakebed_tree::Cursor;

use crate::branch_state::BranchState;
use crate::catalog::Inner;
use crate::spool::Spool;
use crate::sweep::after;
use crate::task_runner::{Live, NewTask, Submitted};
use crate::{
    Catalog, CatalogError, Commit, PageRequest, PreparedCommits, Repository, TaskKind, TaskResult, keys, wire,
};

/// Where what collectors read and write lies in a namespace.
pub(crate) const RETENTION: &str = "_lakebed/retention/gc";

/// Branches, tags and rows of a log read at once.
const PAGE: usize = 256;

/// Walks remember this many commits, so that branches with a common history do not all walk it.
const REMEMBERED: usize = 1 << 16;

/// Bytes of one piece of the file.
const PIECE: usize = 64 << 10;

/// How long branches keep what they no longer show, in days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionRules {
    /// For branches without a rule of their own.
    pub default_days: i64,
    /// Rules by branch.
    pub branches: HashMap<String, i64>,
}

impl RetentionRules {
    /// Since when a branch keeps its heads, Unix milliseconds.
    fn since(&self, branch: &str, now_ms: i64) -> i64 {
        let days = self.branches.get(branch).copied().unwrap_or(self.default_days);
        now_ms.saturating_sub(days.saturating_mul(24 * 3600 * 1000))
    }
}

impl Catalog {
    /// Begins to write the list of active commits.
    pub async fn submit_prepare_commits(
        &self,
        repository: &RepositoryId,
        rules: RetentionRules,
    ) -> Result<ObjectName, CatalogError> {
        Ok(self.begin_prepare(repository, rules).await?.id)
    }

    /// [`Catalog::submit_prepare_commits`], waited for.
    pub async fn prepare_commits(
        &self,
        repository: &RepositoryId,
        rules: RetentionRules,
    ) -> Result<PreparedCommits, CatalogError> {
        let submitted = self.begin_prepare(repository, rules).await?;
        match self.wait_for(repository, TaskKind::PrepareCommits, submitted).await? {
            TaskResult::Prepared(prepared) => Ok(prepared),
            _ => Err(CatalogError::Damaged { what: "task" }),
        }
    }

    /// Whether a collector's lists may be written into a repository's namespace.
    pub async fn check_collectable(&self, repository: &RepositoryId) -> Result<(), CatalogError> {
        Inner::check_writable(&*self.repository(repository).await?, false)
    }

    async fn begin_prepare(
        &self,
        repository: &RepositoryId,
        rules: RetentionRules,
    ) -> Result<Submitted, CatalogError> {
        let layer = LayerId::random(&*self.inner.entropy);
        let new = |record: &Repository| {
            Inner::check_writable(record, false)?;
            Ok(NewTask { spool: Some(layer), ..NewTask::of(TaskKind::PrepareCommits) })
        };
        let id = repository.clone();
        self.submit(repository, new, async move |catalog: Self, task| {
            let record = catalog.repository(&id).await?;
            let active = Active::new(&catalog, &record, &layer, &task);
            Ok(TaskResult::Prepared(active.write(&rules).await?))
        })
        .await
    }
}

/// A list of active commits on its way.
struct Active<'a> {
    catalog: &'a Catalog,
    repository: &'a Repository,
    task: &'a Live,
    spool: Spool,
    /// Commits whose first ancestors were walked, and back to which date.
    walked: HashMap<CommitId, i64>,
}

impl<'a> Active<'a> {
    fn new(catalog: &'a Catalog, repository: &'a Repository, layer: &LayerId, task: &'a Live) -> Self {
        let spool = Spool::new(&catalog.inner, repository, layer);
        Self { catalog, repository, task, spool, walked: HashMap::new() }
    }

    async fn write(mut self, rules: &RetentionRules) -> Result<PreparedCommits, CatalogError> {
        let inner = &self.catalog.inner;
        let now = inner.clock.now().millis();
        let mut page = PageRequest { amount: PAGE, ..PageRequest::default() };
        loop {
            let branches = self.catalog.list_branches(&self.repository.id, &page, true).await?;
            for branch in &branches.items {
                // Deleted since it was listed: then nothing of it counts.
                if let Some(state) = inner.find_branch(self.repository, branch.id.as_str()).await? {
                    self.branch(&state, rules.since(branch.id.as_str(), now)).await?;
                }
            }
            if !branches.has_more {
                break;
            }
            page.after = branches.next_offset;
        }
        let mut page = PageRequest { amount: PAGE, ..PageRequest::default() };
        loop {
            let tags = self.catalog.list_tags(&self.repository.id, &page).await?;
            for tag in &tags.items {
                self.commit(&tag.commit).await?;
            }
            if !tags.has_more {
                break;
            }
            page.after = tags.next_offset;
        }
        self.publish().await
    }

    /// Notes the active commits of a branch.
    async fn branch(&mut self, state: &BranchState, since: i64) -> Result<(), CatalogError> {
        self.commit(&state.head).await?;
        let first = self.first_move_since(state, since).await?;
        if let Some((number, row)) = &first {
            // What was its head when the time began, unless that was before the branch had a log.
            self.commit(&wire::commit_id(&row.old_head)?).await?;
            let mut range = keys::reflog_of(&state.incarnation);
            range.start = keys::reflog(&state.incarnation, *number);
            loop {
                let rows = self.catalog.inner.kv.scan(&range, PAGE).await?;
                for row in &rows {
                    let row: wire::ReflogRow = wire::decode(&row.value, "reflog")?;
                    if !row.new_head.is_empty() {
                        self.commit(&wire::commit_id(&row.new_head)?).await?;
                    }
                }
                match rows.last() {
                    Some(last) if rows.len() == PAGE => range.start = after(&last.key),
                    _ => break,
                }
            }
        }
        // The log begins within the time: what was before it only the commits' dates say.
        match first {
            Some((1, row)) => self.walk(wire::commit_id(&row.old_head)?, since).await,
            None if state.sequence == 0 => self.walk(state.head, since).await,
            _ => Ok(()),
        }
    }

    /// The first move of a branch's head since then, with its number; they are numbered from 1 on without a gap.
    async fn first_move_since(
        &self,
        state: &BranchState,
        since: i64,
    ) -> Result<Option<(u64, wire::ReflogRow)>, CatalogError> {
        let (mut low, mut high) = (1, state.sequence + 1);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.catalog.inner.kv.get(&keys::reflog(&state.incarnation, middle)).await?;
            // One that is missing is older than those that are kept.
            let row = row.map(|row| wire::decode::<wire::ReflogRow>(&row.value, "reflog")).transpose()?;
            match row {
                Some(row) if row.at_ms >= since => {
                    high = middle;
                    found = Some((middle, row));
                }
                _ => low = middle + 1,
            }
        }
        Ok(found)
    }

    /// Notes a commit and its first ancestors back to the first that is older than then.
    async fn walk(&mut self, from: CommitId, since_ms: i64) -> Result<(), CatalogError> {
        let since = since_ms.div_euclid(1000);
        let mut next = Some(from);
        while let Some(id) = next {
            if self.walked.get(&id).is_some_and(|walked| *walked <= since) {
                return Ok(());
            }
            if self.walked.len() >= REMEMBERED {
                self.walked.clear();
            }
            self.walked.insert(id, since);
            let commit = self.catalog.inner.commit(self.repository, &id).await?;
            self.note(&commit).await?;
            next = commit.parents.first().copied().filter(|_| commit.created_secs >= since);
        }
        Ok(())
    }

    async fn commit(&mut self, id: &CommitId) -> Result<(), CatalogError> {
        let commit = self.catalog.inner.commit(self.repository, id).await?;
        self.note(&commit).await
    }

    async fn note(&mut self, commit: &Commit) -> Result<(), CatalogError> {
        self.task.advance(1);
        let line = format!("{},{}\n", commit.id, commit.meta_range_id());
        self.spool.put(Bytes::copy_from_slice(commit.id.as_bytes()), line.into()).await
    }

    /// Writes the file.
    async fn publish(self) -> Result<PreparedCommits, CatalogError> {
        let inner = &self.catalog.inner;
        let run = ObjectName::ascending(inner.clock.now(), &*inner.entropy).to_string();
        let at = |key: String| BlockAddress::in_namespace(&self.repository.storage_namespace, &key);
        let commits = at(format!("{RETENTION}/commits/run_id={run}/commits.csv"));
        let addresses = at(format!("{RETENTION}/addresses/"));
        let mut cursor = self.spool.finish().await?.cursor();
        cursor.seek(b"").await?;
        inner.blocks.put(&commits, lines(cursor), PutOptions::default()).await?;
        Ok(PreparedCommits {
            run,
            commits_location: commits.as_str().to_owned(),
            addresses_location: addresses.as_str().to_owned(),
        })
    }
}

/// The head of the list of commits.
const HEAD: &str = "commit_id,metarange_id\n";

/// The values of a run, one after another.
fn lines(cursor: Cursor) -> ByteStream {
    let body = futures::stream::try_unfold((cursor, Some(HEAD)), async |(mut cursor, head)| {
        let mut piece = Vec::with_capacity(PIECE);
        piece.extend_from_slice(head.unwrap_or_default().as_bytes());
        while piece.len() < PIECE
            && let Some(line) = cursor.value()
        {
            piece.extend_from_slice(&line);
            cursor.advance().await.map_err(|error| {
                let source = std::io::Error::other(error.to_string());
                BodyError::Store(Box::new(BlockError::Io { what: "read what was collected", source }))
            })?;
        }
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), (cursor, None))))
    });
    body.boxed()
}
