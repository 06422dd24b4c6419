//! Walking the commit graph: the log (`versioning-api` §9) and the best common ancestor (§11).
//!
//! Generation numbers order the walks but are not trusted: records may be made by clients, so every walk keeps the set
//! of commits it has seen. Where they are vouched for, walks jump over what cannot change the answer (`jumps.rs`).

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use lakebed_core::traces::SPAN;
use lakebed_core::{CommitId, RefExpr, RepositoryId};
use lakebed_tree::Diff;

use crate::ancestry::{Ancestry, Changes, Visited};
use crate::catalog::Inner;
use crate::changed_paths::Wanted;
use crate::entry::same_content;
use crate::jumps::{Chains, Pace, Place};
use crate::log_frontier::{After, Frontier};
use crate::{Catalog, CatalogError, Commit, LogRequest, Page, Repository};

#[cfg(test)]
mod tests;

/// Something in a heap by its rank alone: the greatest comes first.
struct Ranked<K, T>(K, T);

impl<K: Ord, T> PartialEq for Ranked<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K: Ord, T> Eq for Ranked<K, T> {}
impl<K: Ord, T> PartialOrd for Ranked<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K: Ord, T> Ord for Ranked<K, T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// Commits in the order the log shows them: newest creation date first, then higher generation, then id.
type ByDate = Ranked<(i64, u32, u64, CommitId), Visited>;

fn by_date(visited: Visited) -> ByDate {
    let commit = &visited.commit;
    Ranked((commit.created_secs, commit.created_millis, commit.generation, commit.id), visited)
}

impl Catalog {
    /// Ancestors of a ref, newest creation date first.
    #[tracing::instrument(target = SPAN, name = "catalog log", skip_all)]
    pub async fn log(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        request: &LogRequest,
    ) -> Result<Page<Commit>, CatalogError> {
        self.log_at(repository, expr, request, Pace::default()).await
    }

    async fn log_at(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        request: &LogRequest,
        mut pace: Pace,
    ) -> Result<Page<Commit>, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        let start = inner.resolve(&repository, expr).await?;
        let stop_at = match &request.stop_at {
            Some(expr) => Some(inner.resolve(&repository, expr).await?),
            None => None,
        };
        let mut after = match request.after.as_str() {
            "" => None,
            text => {
                let expr: RefExpr = text.parse()?;
                Some(inner.resolve(&repository, &expr).await?)
            }
        };
        let objects = request.objects.iter().map(|path| Wanted::path(path));
        let prefixes = request.prefixes.iter().map(|prefix| Wanted::prefix(prefix));
        let wanted_paths: Vec<Wanted> = objects.chain(prefixes).collect();
        let wanted = if request.limit { request.amount } else { request.amount + 1 };
        let mut ancestry = Ancestry::new(inner, &repository, &wanted_paths);
        let page_after = |shown| After {
            repository: repository.incarnation,
            start: start.id,
            first_parent: request.first_parent,
            shown,
        };
        let stopped = after.as_ref().and_then(|shown| inner.frontiers.take(&page_after(shown.id)));
        let Frontier { before, mut seen } = stopped.map_or_else(
            || Frontier { before: vec![start.id], seen: HashSet::from([start.id]) },
            |stopped| {
                after = None;
                stopped
            },
        );
        let mut queue: BinaryHeap<ByDate> = BinaryHeap::new();
        for id in &before {
            queue.push(by_date(ancestry.visit(id, &|id| seen.contains(id)).await?));
        }
        let mut items: Vec<Commit> = Vec::new();
        // Where the walk stood when the page was full, while it looks whether there is more.
        let mut full: Option<Vec<CommitId>> = None;
        let mut seen_since = Vec::new();
        let chains = Chains { inner, repository: &repository };
        // Whether generations are known to rise up to everything that the walk has before it.
        let mut vouched = false;
        while let Some(Ranked(_, Visited { commit, changes })) = queue.pop() {
            if request.since.is_some_and(|since| commit.created_secs < since.secs()) {
                break;
            }
            let last = stop_at.as_ref().is_some_and(|stop_at| stop_at.id == commit.id);
            if let Some(shown) = &after {
                if shown.id == commit.id {
                    after = None;
                }
            } else if wanted_paths.is_empty()
                || inner.touches(&repository, &commit, &wanted_paths, &changes).await?
            {
                items.push(commit.as_ref().clone());
            }
            if last || items.len() >= wanted {
                break;
            }
            let mut jumped = None;
            // Alone: where the walk goes does not depend on dates.
            if let Some(shown) = &after
                && queue.is_empty()
            {
                if vouched && commit.generation <= shown.generation {
                    // It lies above, or elsewhere.
                    break;
                }
                // Each commit before that one may be the last to be looked at.
                if request.since.is_none() {
                    pace.step();
                    let stop_at = stop_at.as_ref().map(|stop_at| stop_at.generation);
                    let floor = stop_at.filter(|stop_at| *stop_at < commit.generation).unwrap_or(0);
                    let floor = floor.max(shown.generation);
                    if let Some((from, to)) = chains.jump(&commit, floor, &mut pace).await? {
                        vouched = true;
                        jumped = (to.commit.id != from.commit.id).then_some(to.commit.id);
                    }
                }
            }
            if jumped.is_some() {
                ancestry.jumped();
            }
            let next = jumped.as_ref().map_or(&commit.parents[..], std::slice::from_ref);
            let parents = if request.first_parent { 1 } else { usize::MAX };
            for parent in next.iter().take(parents) {
                if seen.insert(*parent) {
                    if full.is_some() {
                        seen_since.push(*parent);
                    }
                    queue.push(by_date(ancestry.visit(parent, &|id| seen.contains(id)).await?));
                }
            }
            if items.len() == request.amount && full.is_none() {
                full = Some(queue.iter().map(|Ranked(_, visited)| visited.commit.id).collect());
            }
        }
        if let Some(before) = full
            && items.len() > request.amount
            && let Some(last) = items.get(request.amount.wrapping_sub(1))
        {
            for id in &seen_since {
                seen.remove(id);
            }
            inner.frontiers.keep(page_after(last.id), Frontier { before, seen });
        }
        Ok(crate::repositories::page_of(items, request.amount, |commit| commit.id.to_string()))
    }

    /// The commits of `source` and `destination` and their best common ancestor.
    #[tracing::instrument(target = SPAN, name = "catalog merge base", skip_all)]
    pub async fn merge_base(
        &self,
        repository: &RepositoryId,
        source: &RefExpr,
        destination: &RefExpr,
    ) -> Result<(CommitId, CommitId, Option<CommitId>), CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        let source = inner.resolve(&repository, source).await?;
        let destination = inner.resolve(&repository, destination).await?;
        let base = inner.best_common_ancestor(&repository, &source, &destination).await?;
        Ok((source.id, destination.id, base.map(|base| base.id)))
    }
}

/// Commits in an order in which, with true generations, every commit comes after all its descendants.
type ByGeneration = Ranked<(u64, i64, CommitId), Arc<Commit>>;

fn by_generation(commit: Arc<Commit>) -> ByGeneration {
    Ranked((commit.generation, commit.created_secs, commit.id), commit)
}

/// What a walk to a common ancestor knows of a commit.
struct Mark {
    /// Kept for when it must be looked at again.
    commit: Arc<Commit>,
    marks: u8,
    queued: bool,
}

const FROM_LEFT: u8 = 1;
const FROM_RIGHT: u8 = 2;
/// Below a common ancestor: cannot be best.
const STALE: u8 = 4;

/// A walk to a common ancestor.
#[derive(Default)]
struct Meeting {
    known: HashMap<CommitId, Mark, foldhash::fast::RandomState>,
    queue: BinaryHeap<ByGeneration>,
    /// How many queued commits are not stale: only they can still lead to an answer.
    fresh: usize,
    candidates: Vec<Arc<Commit>>,
}

impl Meeting {
    /// The commit that comes next, and the marks it hands down, if it is looked at now.
    fn look_at(&mut self, commit: &Arc<Commit>) -> Option<u8> {
        let mark = self.known.get_mut(&commit.id)?;
        mark.queued = false;
        let marks = mark.marks;
        let common = marks & (FROM_LEFT | FROM_RIGHT) == FROM_LEFT | FROM_RIGHT;
        if marks & STALE == 0 {
            self.fresh -= 1;
            if common && !self.candidates.iter().any(|candidate| candidate.id == commit.id) {
                self.candidates.push(commit.clone());
            }
        }
        Some(if common { FROM_LEFT | FROM_RIGHT | STALE } else { marks })
    }

    /// Marks a commit that the walk has come to before; `false`: it has not.
    fn mark(&mut self, id: &CommitId, marks: u8) -> bool {
        let Some(known) = self.known.get_mut(id) else { return false };
        let old = known.marks;
        let new = old | marks;
        if old != new {
            known.marks = new;
            if known.queued {
                self.fresh -= usize::from(old & STALE == 0 && new & STALE != 0);
            } else {
                // It was looked at before (generations lie): it must hand its new marks down.
                known.queued = true;
                self.queue.push(by_generation(known.commit.clone()));
                self.fresh += usize::from(new & STALE == 0);
            }
        }
        true
    }

    /// Marks a commit.
    fn come_to(&mut self, commit: Arc<Commit>, marks: u8) {
        if !self.mark(&commit.id, marks) {
            self.known.insert(commit.id, Mark { commit: commit.clone(), marks, queued: true });
            self.queue.push(by_generation(commit));
            self.fresh += usize::from(marks & STALE == 0);
        }
    }

    /// The generation of the commit that is looked at next.
    fn next_generation(&self) -> Option<u64> {
        self.queue.peek().map(|Ranked(_, commit)| commit.generation)
    }

    /// Whether the best is among the candidates, if generations rise: then no ancestor of the others' is above the first.
    fn is_decided(&self) -> bool {
        let next = self.next_generation().unwrap_or(0);
        self.candidates.first().is_some_and(|candidate| candidate.generation > next)
    }

    fn best(self) -> Option<Arc<Commit>> {
        let Self { known, candidates, .. } = self;
        candidates
            .into_iter()
            .filter(|commit| known.get(&commit.id).is_none_or(|mark| mark.marks & STALE == 0))
            .max_by_key(|commit| (commit.generation, commit.created_secs, std::cmp::Reverse(commit.id)))
    }
}

/// A commit, and where the walk goes from there.
type Jumped = (Arc<Commit>, Arc<Commit>);

impl Chains<'_> {
    /// The place of a commit of a chain, and the lowest of the chain that is not below this generation; `None`: it is not
    /// looked for, or not known.
    async fn jump(
        &self,
        commit: &Commit,
        floor: u64,
        pace: &mut Pace,
    ) -> Result<Option<(Place, Place)>, CatalogError> {
        if commit.parents.len() != 1 || !pace.looks(commit.generation.saturating_sub(floor)) {
            return Ok(None);
        }
        let mut found = None;
        let mut passed = 0;
        if let Some(from) = self.place(&commit.id).await?
            && pace.worth(from.jump.height)
            && let Some(to) = self.lowest(from.clone(), move |_, generation| generation >= floor).await?
        {
            passed = from.jump.height - to.jump.height;
            found = Some((from, to));
        }
        pace.passed(passed);
        Ok(found)
    }

    /// Where a walk to a common ancestor goes from `commit`, which has just left its queue, and maybe from the one behind
    /// it, which then leaves it, too: over commits that nobody else comes to. All of them are vouched for.
    async fn jump_to_meeting(
        &self,
        meeting: &mut Meeting,
        commit: &Arc<Commit>,
        pace: &mut Pace,
    ) -> Result<Vec<Jumped>, CatalogError> {
        // All that others come to has no greater generation than the next in the queue.
        let floor = meeting.next_generation().unwrap_or(0);
        if let Some((from, to)) = self.jump(commit, floor, pace).await? {
            if to.commit.id != from.commit.id {
                return Ok(vec![(commit.clone(), to.commit)]);
            }
        } else if pace.looks_at_two(commit.generation)
            && commit.parents.len() == 1
            && let Some(Ranked(rank, other)) = meeting.queue.pop()
        {
            let jumped = self.jump_by_two(meeting, commit, &other, pace).await?;
            if jumped.len() < 2 {
                meeting.queue.push(Ranked(rank, other));
            }
            return Ok(jumped);
        }
        Ok(Vec::new())
    }

    /// Two chains side by side: each would keep the other from jumping.
    async fn jump_by_two(
        &self,
        meeting: &Meeting,
        left: &Arc<Commit>,
        right: &Arc<Commit>,
        pace: &mut Pace,
    ) -> Result<Vec<Jumped>, CatalogError> {
        let floor = meeting.next_generation().unwrap_or(0);
        if right.parents.len() != 1 || !pace.looks(left.generation.saturating_sub(floor)) {
            return Ok(Vec::new());
        }
        let mut jumped = Vec::new();
        let mut passed = 0;
        if let (Some(l), Some(r)) = (self.place(&left.id).await?, self.place(&right.id).await?)
            && pace.worth(l.jump.height.min(r.jump.height))
        {
            let heights = l.jump.height + r.jump.height;
            if let Some((l, r)) = self.lowest_of_two(l, r, floor).await?
                && l.commit.id != left.id
            {
                passed = heights.saturating_sub(l.jump.height + r.jump.height);
                jumped.push((left.clone(), l.commit));
                if r.commit.id != right.id {
                    jumped.push((right.clone(), r.commit));
                }
            }
        }
        pace.passed(passed);
        Ok(jumped)
    }
}

impl Inner {
    /// Whether a commit changed one of the paths asked for, against its parent. Merges never do. What the commit's
    /// filter says is checked against the trees, as far down as they differ on the way to the paths.
    async fn touches(
        &self,
        repository: &Repository,
        commit: &Commit,
        wanted: &[Wanted],
        changes: &Changes,
    ) -> Result<bool, CatalogError> {
        let [parent] = &commit.parents[..] else { return Ok(false) };
        let wanted: Vec<&Wanted> = match changes {
            Changes::Perhaps(places) => places.iter().filter_map(|place| wanted.get(*place)).collect(),
            Changes::Unknown => wanted.iter().collect(),
        };
        if wanted.is_empty() {
            return Ok(false);
        }
        let old = self.tree_of(repository, parent).await?;
        let new = commit.tree.unwrap_or_else(lakebed_tree::empty_tree);
        let nodes = self.nodes(repository);
        for paths in wanted {
            let mut diff = Diff::new(nodes.clone(), old, new).until(paths.end.clone());
            diff.seek(&paths.start);
            while let Some(item) = diff.next().await? {
                if !matches!((&item.left, &item.right), (Some(l), Some(r)) if same_content(l, r)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The best common ancestor as git-merge-base defines it: one that is no ancestor of another. Of several
    /// (criss-cross) the one with the highest generation, then the newest date, then the smallest id.
    pub(crate) async fn best_common_ancestor(
        &self,
        repository: &Repository,
        left: &Arc<Commit>,
        right: &Arc<Commit>,
    ) -> Result<Option<Arc<Commit>>, CatalogError> {
        if left.id == right.id {
            return Ok(Some(left.clone()));
        }
        self.meeting_of(repository, left, right, Pace::default()).await
    }

    async fn meeting_of(
        &self,
        repository: &Repository,
        left: &Arc<Commit>,
        right: &Arc<Commit>,
        mut pace: Pace,
    ) -> Result<Option<Arc<Commit>>, CatalogError> {
        let mut ancestry = Ancestry::new(self, repository, &[]);
        let chains = Chains { inner: self, repository };
        // Whether generations are known to rise up to both; then they do up to everything that the walk comes to.
        let mut vouched = None;
        let mut meeting = Meeting::default();
        meeting.come_to(left.clone(), FROM_LEFT);
        meeting.come_to(right.clone(), FROM_RIGHT);
        while meeting.fresh > 0
            && !(vouched == Some(true) && meeting.is_decided())
            && let Some(Ranked(_, commit)) = meeting.queue.pop()
        {
            pace.step();
            let mut jumped = Vec::new();
            if vouched != Some(false)
                && commit.parents.len() == 1
                && (pace.looks(commit.generation.saturating_sub(meeting.next_generation().unwrap_or(0)))
                    || pace.looks_at_two(commit.generation))
            {
                if vouched.is_none() {
                    let jumps = self.jumps(repository, &[left.id, right.id]).await?;
                    vouched = Some(jumps.iter().all(Option::is_some));
                }
                if vouched == Some(true) {
                    jumped = chains.jump_to_meeting(&mut meeting, &commit, &mut pace).await?;
                }
            }
            if !jumped.is_empty() {
                ancestry.jumped();
                for (from, to) in jumped {
                    let Some(hand_down) = meeting.look_at(&from) else { continue };
                    meeting.come_to(to, hand_down);
                }
                continue;
            }
            let Some(hand_down) = meeting.look_at(&commit) else { continue };
            for id in &commit.parents {
                if meeting.mark(id, hand_down) {
                    continue;
                }
                if meeting.fresh == 0 && hand_down & STALE != 0 {
                    // The walk is over: what it has not come to changes nothing.
                    continue;
                }
                let found = ancestry.find(id, &|id| meeting.known.contains_key(id)).await?;
                // A parent may be missing: a client gave the commit as it is.
                let Some(Visited { commit: parent, .. }) = found else { continue };
                meeting.come_to(parent, hand_down);
            }
        }
        Ok(meeting.best())
    }
}
