//! Walking the commit graph: the log (`versioning-api` §9) and the best common ancestor (§11).
//!
//! Generation numbers order the walks but are not trusted: records may be made by clients, so every walk keeps the set
//! of commits it has seen.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use lakebed_core::traces::SPAN;
use lakebed_core::{CommitId, RefExpr, RepositoryId};
use lakebed_tree::Diff;

use crate::ancestry::{Ancestry, Changes, Visited};
use crate::catalog::Inner;
use crate::changed_paths::Wanted;
use crate::entry::same_content;
use crate::log_frontier::{After, Frontier};
use crate::{Catalog, CatalogError, Commit, LogRequest, Page, Repository};

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
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        let start = inner.resolve(&repository, expr).await?;
        let stop_at = match &request.stop_at {
            Some(expr) => Some(inner.resolve(&repository, expr).await?.id),
            None => None,
        };
        let mut after = match request.after.as_str() {
            "" => None,
            text => {
                let expr: RefExpr = text.parse()?;
                Some(inner.resolve(&repository, &expr).await?.id)
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
        let stopped = after.and_then(|shown| inner.frontiers.take(&page_after(shown)));
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
        while let Some(Ranked(_, Visited { commit, changes })) = queue.pop() {
            if request.since.is_some_and(|since| commit.created_secs < since.secs()) {
                break;
            }
            let last = stop_at == Some(commit.id);
            if let Some(id) = after {
                if id == commit.id {
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
            let parents = if request.first_parent { 1 } else { usize::MAX };
            for parent in commit.parents.iter().take(parents) {
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
        let mut ancestry = Ancestry::new(self, repository, &[]);
        let mut known: HashMap<CommitId, Mark, foldhash::fast::RandomState> = HashMap::default();
        let mut queue: BinaryHeap<ByGeneration> = BinaryHeap::new();
        // How many queued commits are not stale: only they can still lead to an answer.
        let mut fresh = 0usize;
        for (commit, marks) in [(left, FROM_LEFT), (right, FROM_RIGHT)] {
            known.insert(commit.id, Mark { commit: commit.clone(), marks, queued: true });
            queue.push(by_generation(commit.clone()));
            fresh += 1;
        }
        let mut candidates: Vec<Arc<Commit>> = Vec::new();
        while fresh > 0
            && let Some(Ranked(_, commit)) = queue.pop()
        {
            let Some(mark) = known.get_mut(&commit.id) else { continue };
            mark.queued = false;
            let marks = mark.marks;
            let common = marks & (FROM_LEFT | FROM_RIGHT) == FROM_LEFT | FROM_RIGHT;
            if marks & STALE == 0 {
                fresh -= 1;
                if common && !candidates.iter().any(|candidate| candidate.id == commit.id) {
                    candidates.push(commit.clone());
                }
            }
            let hand_down = if common { FROM_LEFT | FROM_RIGHT | STALE } else { marks };
            for id in &commit.parents {
                let Some(parent) = known.get_mut(id) else {
                    let found = ancestry.find(id, &|id| known.contains_key(id)).await?;
                    // A parent may be missing: a client gave the commit as it is.
                    let Some(Visited { commit: parent, .. }) = found else { continue };
                    known.insert(*id, Mark { commit: parent.clone(), marks: hand_down, queued: true });
                    queue.push(by_generation(parent));
                    fresh += usize::from(hand_down & STALE == 0);
                    continue;
                };
                let old = parent.marks;
                let new = old | hand_down;
                if old == new {
                    continue;
                }
                parent.marks = new;
                if parent.queued {
                    fresh -= usize::from(old & STALE == 0 && new & STALE != 0);
                } else {
                    // It was looked at before (generations lie): it must hand its new marks down.
                    parent.queued = true;
                    queue.push(by_generation(parent.commit.clone()));
                    fresh += usize::from(new & STALE == 0);
                }
            }
        }
        let best = candidates
            .into_iter()
            .filter(|commit| known.get(&commit.id).is_none_or(|mark| mark.marks & STALE == 0))
            .max_by_key(|commit| (commit.generation, commit.created_secs, std::cmp::Reverse(commit.id)));
        Ok(best)
    }
}
