//! Walking from commits to their ancestors without asking the engine for them one by one.
//!
//! A commit does not say who its grandparents are, but its trace says where in a branch's reflog it became head, and the
//! rows before that one name the heads before it: mostly its ancestors. They, and what was merged into them, are read
//! together and kept for the walk. This is a guess about what will be asked for next, never about what is true: a commit
//! the reflog does not lead to is read when its turn comes.

use std::collections::HashMap;
use std::sync::Arc;

use lakebed_core::{CommitId, Incarnation};
use lakebed_kv::KeyRange;

use crate::catalog::Inner;
use crate::changed_paths::Wanted;
use crate::{CatalogError, Commit, ErrorKind, Repository, keys, wire};

/// How many reflog rows are read at once: none at the first commit, which may be all that is asked for, then few, and more
/// while they lead to commits that are asked for.
const FIRST_WINDOW: u64 = 8;
const GREATEST_WINDOW: u64 = 256;

/// Commits kept for a walk that has not come to them; beyond this they are forgotten.
const MOST_AHEAD: usize = 2048;

/// A commit, as a walk needs it.
pub(crate) struct Visited {
    pub(crate) commit: Arc<Commit>,
    pub(crate) changes: Changes,
}

/// What a commit's filter says of the paths asked for.
pub(crate) enum Changes {
    /// The trees must be asked, for all of them.
    Unknown,
    /// Only these may have been changed, by their place among the paths asked for. Empty: none was.
    Perhaps(Vec<usize>),
}

/// A repository's commits as one walk reads them.
pub(crate) struct Ancestry<'a> {
    inner: &'a Inner,
    repository: &'a Repository,
    /// The paths whose changes are asked for; none: filters are not read.
    wanted: &'a [Wanted],
    ahead: HashMap<CommitId, Visited>,
    window: u64,
    /// Commits last read ahead, and how many of them the walk came to.
    read: usize,
    used: usize,
}

impl<'a> Ancestry<'a> {
    pub(crate) fn new(inner: &'a Inner, repository: &'a Repository, wanted: &'a [Wanted]) -> Self {
        Self { inner, repository, wanted, ahead: HashMap::new(), window: 0, read: 0, used: 0 }
    }

    /// The commit with this id, which the walk comes to for the first time. `seen` knows those it came to before.
    pub(crate) async fn visit(
        &mut self,
        id: &CommitId,
        seen: &(impl Fn(&CommitId) -> bool + Sync),
    ) -> Result<Visited, CatalogError> {
        let found = self.find(id, seen).await?;
        found.ok_or_else(|| CatalogError::refused(ErrorKind::RefNotFound, format!("commit '{id}' not found")))
    }

    /// [`Ancestry::visit`] of a commit that may not exist.
    pub(crate) async fn find(
        &mut self,
        id: &CommitId,
        seen: &(impl Fn(&CommitId) -> bool + Sync),
    ) -> Result<Option<Visited>, CatalogError> {
        if let Some(visited) = self.ahead.remove(id) {
            self.used += 1;
            return Ok(Some(visited));
        }
        if self.wanted.is_empty()
            && let Some(commit) = self.inner.commits.get(&(self.repository.incarnation, *id))
        {
            return Ok(Some(Visited { commit, changes: Changes::Unknown }));
        }
        let Some((visited, place)) = self.fetch(&[*id], true).await?.pop() else { return Ok(None) };
        if self.window == 0 {
            self.window = FIRST_WINDOW;
        } else if let Some((branch, sequence)) = place
            && sequence > 1
        {
            self.read_ahead(branch, sequence, seen).await?;
        }
        Ok(Some(visited))
    }

    /// The walk jumped: what it asks for next is elsewhere.
    pub(crate) fn jumped(&mut self) {
        (self.window, self.read, self.used) = (0, 0, 0);
    }

    /// Reads the commits that were heads of a branch before this place in its reflog, and what was merged into them.
    async fn read_ahead(
        &mut self,
        branch: Incarnation,
        sequence: u64,
        seen: &(impl Fn(&CommitId) -> bool + Sync),
    ) -> Result<(), CatalogError> {
        self.window = if self.used * 2 >= self.read {
            (self.window * 2).min(GREATEST_WINDOW)
        } else {
            (self.window / 2).max(1)
        };
        (self.read, self.used) = (0, 0);
        if self.ahead.len() >= MOST_AHEAD {
            self.ahead.clear();
        }
        let range = KeyRange {
            start: keys::reflog(&branch, sequence.saturating_sub(self.window)),
            end: Some(keys::reflog(&branch, sequence)),
        };
        let mut heads = Vec::new();
        for row in self.inner.kv.scan(&range, self.window as usize).await? {
            let row: wire::ReflogRow = wire::decode(&row.value, "reflog")?;
            heads.extend([row.old_head, row.new_head].iter().filter_map(|id| wire::commit_id(id).ok()));
        }
        let parents = self.keep(heads, seen).await?;
        self.keep(parents, seen).await?;
        Ok(())
    }

    /// Reads those of these commits that the walk has not come to yet. Answers their parents.
    async fn keep(
        &mut self,
        mut ids: Vec<CommitId>,
        seen: &(impl Fn(&CommitId) -> bool + Sync),
    ) -> Result<Vec<CommitId>, CatalogError> {
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !seen(id) && !self.ahead.contains_key(id));
        ids.truncate(2 * GREATEST_WINDOW as usize);
        let mut parents = Vec::new();
        if ids.is_empty() {
            return Ok(parents);
        }
        for (visited, _) in self.fetch(&ids, !self.wanted.is_empty()).await? {
            parents.extend_from_slice(&visited.commit.parents);
            self.ahead.insert(visited.commit.id, visited);
            self.read += 1;
        }
        Ok(parents)
    }

    /// Reads commits, and their traces if asked for, in one round trip, leaving out what does not exist. The place is
    /// where in which branch's reflog a commit stands.
    async fn fetch(
        &self,
        ids: &[CommitId],
        traces: bool,
    ) -> Result<Vec<(Visited, Option<(Incarnation, u64)>)>, CatalogError> {
        let r = &self.repository.incarnation;
        let cached: Vec<_> = ids.iter().map(|id| self.inner.commits.get(&(*r, *id))).collect();
        let mut wanted: Vec<_> = ids.iter().filter(|_| traces).map(|id| keys::trace(r, id)).collect();
        let missing = ids.iter().zip(&cached).filter(|(_, cached)| cached.is_none());
        wanted.extend(missing.map(|(id, _)| keys::commit(r, id)));
        let rows = self.inner.kv.get_many(&wanted).await?;
        let (traces, commits) = rows.split_at(if traces { ids.len() } else { 0 });
        let mut commits = commits.iter();
        let mut all = Vec::with_capacity(ids.len());
        for (n, (id, cached)) in ids.iter().zip(cached).enumerate() {
            let commit = if let Some(commit) = cached {
                commit
            } else {
                let Some(Some(row)) = commits.next() else { continue };
                let row: wire::CommitRow = wire::decode(&row.value, "commit")?;
                let commit = Arc::new(row.to_commit()?);
                self.inner.commits.insert((*r, *id), commit.clone());
                commit
            };
            let (changes, place) = match traces.get(n) {
                Some(Some(row)) => self.read_trace(&wire::decode(&row.value, "trace of a commit")?)?,
                _ => (Changes::Unknown, None),
            };
            all.push((Visited { commit, changes }, place));
        }
        Ok(all)
    }

    fn read_trace(
        &self,
        trace: &wire::TraceRow,
    ) -> Result<(Changes, Option<(Incarnation, u64)>), CatalogError> {
        let place = Some((wire::id16(&trace.branch, "trace of a commit")?, trace.sequence));
        if trace.changed_paths.is_empty() {
            return Ok((Changes::Unknown, place));
        }
        let may_be = |n: &usize| self.wanted[*n].may_be_in(&trace.changed_paths);
        Ok((Changes::Perhaps((0..self.wanted.len()).filter(may_be).collect()), place))
    }
}
