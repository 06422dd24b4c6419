//! Listing objects (`api-objects` §4).

use std::sync::Arc;

use lakebed_core::traces::SPAN;
use lakebed_core::{CommitId, RefExpr, RepositoryId};
use lakebed_kv::successor;
use lakebed_tree::Cursor;

use crate::catalog::Inner;
use crate::paging::Folding;
use crate::refs::Target;
use crate::repositories::page_of;
use crate::working::{READ_ATTEMPTS, Working, busy};
use crate::{Catalog, CatalogError, EntryBytes, ListRequest, ListedObject, Page, Repository, keys};

/// A page of objects.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The repository, whose namespace the entries' addresses belong to.
    pub repository: Arc<Repository>,
    /// The page.
    pub page: Page<ListedObject>,
    /// A commit of which the page is the same: the one listed, or the branch's head where the page met nothing staged.
    /// `None` if it may be none's.
    pub commit: Option<CommitId>,
}

impl Catalog {
    /// A page of objects and common prefixes of a ref, a branch with its uncommitted changes.
    pub async fn list_objects(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        request: &ListRequest,
    ) -> Result<Page<ListedObject>, CatalogError> {
        Ok(self.list_objects_at(repository, expr, request).await?.page)
    }

    /// [`Catalog::list_objects`], with what else was found on the way.
    #[tracing::instrument(target = SPAN, name = "catalog list objects", skip_all)]
    pub async fn list_objects_at(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        request: &ListRequest,
    ) -> Result<Listed, CatalogError> {
        let inner = &self.inner;
        let base = |repository: &Repository| vec![keys::reference(&repository.incarnation, expr.base())];
        let (repository, _, rows) = inner.repository_with(repository, base).await?;
        let mut target = inner.target_in(&repository, expr, rows.first().and_then(Option::as_ref)).await?;
        for _ in 0..READ_ATTEMPTS {
            match target {
                Target::Commit(commit) => {
                    let tree = commit.tree.unwrap_or_else(lakebed_tree::empty_tree);
                    let walk = Working::new(None, Cursor::new(inner.nodes(&repository), tree));
                    let page = page(walk, request).await?.page;
                    return Ok(Listed { repository, page, commit: Some(commit.id) });
                }
                Target::Branch(state) => {
                    let read = async {
                        let walk = inner.walk_shown(&repository, &state).await?;
                        page(walk, request).await
                    };
                    // Paths were decided below the layers: they count only if the layers still stand.
                    let read = read.await;
                    if let Some(read) = inner.of_layers(&state, read).await? {
                        inner.tidy.stepped_over(&repository, expr.base(), &state, read.stepped_over);
                        // A folded branch does not tell what was staged before it was folded.
                        let of_head = !read.met_staged && state.over().is_none();
                        let commit = of_head.then_some(state.head);
                        return Ok(Listed { repository, page: read.page, commit });
                    }
                }
            }
            target = inner.target(&repository, expr).await?;
        }
        Err(busy("list objects"))
    }
}

impl Inner {
    /// A walk over what a branch shows: like its working state, but what the head says of a path is not to be known.
    /// Of a folded branch it costs what is shown, whatever was deleted.
    async fn walk_shown(
        &self,
        repository: &Repository,
        state: &crate::branch_state::BranchState,
    ) -> Result<Working, CatalogError> {
        let Some((layer, tree)) = state.over() else {
            return self.walk_branch(repository, state, true).await;
        };
        let stack = self.stack(repository, Some(state.current), &state.sealed[1..]);
        Ok(Working::new(Some(stack), Cursor::new(self.nodes_over(repository, layer), tree)))
    }

    /// A walk over a branch's working state.
    pub(crate) async fn walk_branch(
        &self,
        repository: &Repository,
        state: &crate::branch_state::BranchState,
        with_current: bool,
    ) -> Result<Working, CatalogError> {
        let current = with_current.then_some(state.current);
        let tree = self.tree_of(repository, &state.head).await?;
        let stack = self.stack(repository, current, &state.sealed);
        Ok(Working::new(Some(stack), Cursor::new(self.nodes(repository), tree)))
    }
}

fn text(path: Vec<u8>) -> Result<String, CatalogError> {
    String::from_utf8(path).map_err(|_| CatalogError::Damaged { what: "object path" })
}

/// What came of walking through a page.
struct Walked {
    page: Page<ListedObject>,
    /// Deleted paths.
    stepped_over: u64,
    /// Whether the layers said something of a path on the way. What lies in a folded prefix is not looked at: its first
    /// path alone puts it on the page.
    met_staged: bool,
}

async fn page(mut walk: Working, request: &ListRequest) -> Result<Walked, CatalogError> {
    let (mut stepped_over, mut met_staged) = (0, false);
    let folding = Folding { prefix: &request.prefix, delimiter: &request.delimiter };
    let mut items = Vec::with_capacity((request.amount + 1).min(1001));
    if let Some(start) = folding.start(&request.after) {
        walk.seek(&start).await?;
        while items.len() <= request.amount
            && let Some(item) = walk.next().await?
        {
            if !folding.covers(&item.path) {
                break;
            }
            met_staged |= item.staged.is_some();
            let (path, entry) = item.shown();
            let Some(entry) = entry else {
                stepped_over += 1;
                continue;
            };
            let path = text(path)?;
            if let Some(prefix) = folding.fold(&path) {
                items.push(ListedObject::Prefix(prefix.to_owned()));
                match successor(prefix.as_bytes()) {
                    Some(next) => walk.seek(&next).await?,
                    None => break,
                }
            } else {
                items.push(ListedObject::Object { path, entry: EntryBytes::from_bytes(entry) });
            }
        }
    }
    let page = page_of(items, request.amount, |item| match item {
        ListedObject::Object { path, .. } | ListedObject::Prefix(path) => path.clone(),
    });
    Ok(Walked { page, stepped_over, met_staged })
}
