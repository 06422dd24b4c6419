//! Diffs (`versioning-api` §7, §10): tree against tree, and staged layers against the head. Cost follows the
//! difference; pages continue by seeking.

use bytes::Bytes;
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, RefExpr, RefModifier, RepositoryId};
use lakebed_kv::successor;
use lakebed_tree::{Cursor, Diff};

use crate::catalog::Inner;
use crate::entry::same_content;
use crate::layers::Decision;
use crate::paging::Folding;
use crate::refs::Target;
use crate::repositories::page_of;
use crate::three_way::{Sides, ThreeWayWalk};
use crate::working::{READ_ATTEMPTS, Working, busy};
use crate::{
    Catalog, CatalogError, DiffEntry, DiffKind, DiffMode, DiffRequest, EntryBytes, ErrorKind, Page,
    Repository,
};

/// One differing path, before folding.
struct Difference {
    path: Vec<u8>,
    kind: DiffKind,
    entry: Bytes,
}

/// A stream of differences in path order that can skip ahead.
enum Differences {
    /// Left against right.
    TwoDot(Diff),
    /// What right changed since the base, as left sees it.
    ThreeDot(ThreeWayWalk),
    /// Staged layers against the head.
    Staged(Working),
    /// A commit's tree on the left, a branch's working state on the right.
    WorkingState { left: Cursor, right: Working, next: Option<(Vec<u8>, Bytes)>, started: bool },
}

fn kind_of(left: Option<Bytes>, right: Option<Bytes>) -> Option<(DiffKind, Bytes)> {
    match (left, right) {
        (None, Some(new)) => Some((DiffKind::Added, new)),
        (Some(old), None) => Some((DiffKind::Removed, old)),
        (Some(old), Some(new)) if !same_content(&old, &new) => Some((DiffKind::Changed, new)),
        _ => None,
    }
}

impl Differences {
    async fn seek(&mut self, path: &[u8]) -> Result<(), CatalogError> {
        match self {
            Self::TwoDot(diff) => diff.seek(path),
            Self::ThreeDot(walk) => walk.seek(path),
            Self::Staged(walk) => walk.seek(path).await?,
            Self::WorkingState { left, right, next, started } => {
                left.seek(path).await?;
                right.seek(path).await?;
                (*next, *started) = (None, false);
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Difference>, CatalogError> {
        match self {
            Self::TwoDot(diff) => {
                while let Some(item) = diff.next().await? {
                    if let Some((kind, entry)) = kind_of(item.left, item.right) {
                        return Ok(Some(Difference { path: item.key, kind, entry }));
                    }
                }
                Ok(None)
            }
            Self::ThreeDot(walk) => {
                let Some(sides) = walk.next().await? else { return Ok(None) };
                let conflict = sides.conflict();
                let Sides { path, base, source, destination } = sides;
                if conflict {
                    // Of a path that right removed and left changed, left's entry is what there is to show.
                    let entry =
                        source.or(destination).or(base).ok_or(CatalogError::Damaged { what: "diff" })?;
                    return Ok(Some(Difference { path, kind: DiffKind::Conflict, entry }));
                }
                let (kind, entry) = kind_of(base, source).ok_or(CatalogError::Damaged { what: "diff" })?;
                Ok(Some(Difference { path, kind, entry }))
            }
            Self::Staged(walk) => {
                while let Some(item) = walk.next_staged().await? {
                    let right = match item.staged {
                        Some(Decision::Entry(entry)) => Some(entry),
                        Some(Decision::Tombstone) => None,
                        None => continue,
                    };
                    if let Some((kind, entry)) = kind_of(item.head, right) {
                        return Ok(Some(Difference { path: item.path.into(), kind, entry }));
                    }
                }
                Ok(None)
            }
            Self::WorkingState { left, right, next, started } => loop {
                if !*started {
                    *next = next_live(right).await?;
                    *started = true;
                }
                let take_left = match (left.key(), &*next) {
                    (None, None) => return Ok(None),
                    (Some(l), Some((r, _))) => l.cmp(r.as_slice()),
                    (Some(_), None) => std::cmp::Ordering::Less,
                    (None, Some(_)) => std::cmp::Ordering::Greater,
                };
                let path = match (take_left, &*next) {
                    (std::cmp::Ordering::Greater, Some((path, _))) => path.clone(),
                    _ => left.key().unwrap_or_default().to_vec(),
                };
                let mut old = None;
                if take_left.is_le() {
                    old = left.value();
                    left.advance().await?;
                }
                let mut new = None;
                if take_left.is_ge() {
                    new = next.take().map(|(_, entry)| entry);
                    *started = false;
                }
                if let Some((kind, entry)) = kind_of(old, new) {
                    return Ok(Some(Difference { path, kind, entry }));
                }
            },
        }
    }

    async fn page(mut self, request: &DiffRequest) -> Result<Page<DiffEntry>, CatalogError> {
        let folding = Folding { prefix: &request.prefix, delimiter: &request.delimiter };
        let mut items = Vec::with_capacity((request.amount + 1).min(1001));
        if let Some(start) = folding.start_behind(&request.after) {
            self.seek(&start).await?;
            while items.len() <= request.amount
                && let Some(difference) = self.next().await?
            {
                if !folding.covers(&difference.path) {
                    break;
                }
                let path = String::from_utf8(difference.path)
                    .map_err(|_| CatalogError::Damaged { what: "object path" })?;
                if let Some(prefix) = folding.fold(&path) {
                    let kind = DiffKind::PrefixChanged;
                    items.push(DiffEntry { path: prefix.to_owned(), kind, entry: None });
                    match successor(prefix.as_bytes()) {
                        Some(next) => self.seek(&next).await?,
                        None => break,
                    }
                } else {
                    let entry = Some(EntryBytes::from_bytes(difference.entry));
                    items.push(DiffEntry { path, kind: difference.kind, entry });
                }
            }
        }
        Ok(page_of(items, request.amount, |entry| entry.path.clone()))
    }
}

async fn next_live(walk: &mut Working) -> Result<Option<(Vec<u8>, Bytes)>, CatalogError> {
    while let Some(item) = walk.next().await? {
        if let (path, Some(entry)) = item.shown() {
            return Ok(Some((path, entry)));
        }
    }
    Ok(None)
}

impl Catalog {
    /// What differs between two refs.
    #[tracing::instrument(target = SPAN, name = "catalog diff", skip_all)]
    pub async fn diff_refs(
        &self,
        repository: &RepositoryId,
        left: &RefExpr,
        right: &RefExpr,
        mode: DiffMode,
        request: &DiffRequest,
    ) -> Result<Page<DiffEntry>, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        if right.modifier() == RefModifier::Staged && mode == DiffMode::TwoDot {
            return inner.diff_working_state(&repository, left, right, request).await;
        }
        let left = inner.resolve(&repository, left).await?;
        let right = inner.resolve(&repository, right).await?;
        let differences = match mode {
            DiffMode::TwoDot => {
                let tree = |commit: &crate::Commit| commit.tree.unwrap_or_else(lakebed_tree::empty_tree);
                let diff = Diff::new(inner.nodes(&repository), tree(&left), tree(&right));
                Differences::TwoDot(diff.until(successor(request.prefix.as_bytes())))
            }
            DiffMode::ThreeDot => Differences::ThreeDot(
                inner.three_way_walk(&repository, &right, &left, &request.prefix).await?,
            ),
        };
        differences.page(request).await
    }

    /// What is uncommitted on a branch.
    #[tracing::instrument(target = SPAN, name = "catalog diff", skip_all)]
    pub async fn diff_branch(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: &DiffRequest,
    ) -> Result<Page<DiffEntry>, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        for _ in 0..READ_ATTEMPTS {
            let state = inner.branch(&repository, branch).await?;
            let read = async {
                let walk = inner.walk_branch(&repository, &state, true).await?;
                Differences::Staged(walk).page(request).await
            };
            let read = read.await;
            if let Some(page) = inner.of_layers(&state, read).await? {
                return Ok(page);
            }
        }
        Err(busy(&format!("diff of branch '{branch}'")))
    }
}

impl Inner {
    /// `left..branch$`: a commit against a branch's working state.
    async fn diff_working_state(
        &self,
        repository: &Repository,
        left: &RefExpr,
        right: &RefExpr,
        request: &DiffRequest,
    ) -> Result<Page<DiffEntry>, CatalogError> {
        let left = self.resolve(repository, left).await?;
        let left_tree = left.tree.unwrap_or_else(lakebed_tree::empty_tree);
        for _ in 0..READ_ATTEMPTS {
            let Target::Branch(state) = self.target(repository, right).await? else {
                return Err(CatalogError::refused(
                    ErrorKind::Invalid,
                    format!("ref '{right}': '$' stands behind a branch name: validation error"),
                ));
            };
            let read = async {
                let differences = Differences::WorkingState {
                    left: Cursor::new(self.nodes(repository), left_tree),
                    right: self.walk_branch(repository, &state, true).await?,
                    next: None,
                    started: false,
                };
                differences.page(request).await
            };
            let read = read.await;
            if let Some(page) = self.of_layers(&state, read).await? {
                return Ok(page);
            }
        }
        Err(busy(&format!("diff of '{right}'")))
    }
}
