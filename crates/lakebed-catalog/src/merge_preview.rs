//! What a merge would stop at, with all three sides of each conflict. Nothing is written.

use bytes::Bytes;
use lakebed_core::{BranchId, RefExpr, RepositoryId};
use lakebed_tree::{Cursor, Diff};

use crate::entry::same_content;
use crate::paging::Folding;
use crate::repositories::page_of;
use crate::{Catalog, CatalogError, DiffRequest, EntryBytes, MergeConflict, Page};

fn same(a: Option<&Bytes>, b: Option<&Bytes>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same_content(a, b),
        _ => false,
    }
}

impl Catalog {
    /// The conflicts of merging `source` into a branch, by path: those of the committed states, as a merge sees them.
    /// Folding by a delimiter is not asked for here; `prefix`, `after` and `amount` are.
    ///
    /// Cost: the source's change since the merge base, from `after` on until the page is full.
    pub async fn merge_conflicts(
        &self,
        repository: &RepositoryId,
        source: &RefExpr,
        destination: &BranchId,
        request: &DiffRequest,
    ) -> Result<Page<MergeConflict>, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        let state = inner.branch(&repository, destination).await?;
        let destination = inner.commit(&repository, &state.head).await?;
        let source = inner.resolve(&repository, source).await?;
        let base = inner.best_common_ancestor(&repository, &source, &destination).await?;
        let tree = |commit: &crate::Commit| commit.tree.unwrap_or_else(lakebed_tree::empty_tree);
        let base = base.map_or_else(lakebed_tree::empty_tree, |base| tree(&base));
        let nodes = inner.nodes(&repository);
        let mut theirs = Diff::new(nodes.clone(), base, tree(&source));
        let mut ours = Cursor::new(nodes, tree(&destination));
        let covered = Folding { prefix: &request.prefix, delimiter: "" };
        let mut items = Vec::with_capacity((request.amount + 1).min(1001));
        if let Some(start) = covered.start_behind(&request.after) {
            theirs.seek(&start).await?;
            while items.len() <= request.amount
                && let Some(item) = theirs.next().await?
            {
                if !covered.covers(&item.key) {
                    break;
                }
                let (base, source) = (item.left, item.right);
                if same(base.as_ref(), source.as_ref()) {
                    continue;
                }
                ours.seek(&item.key).await?;
                let here = if ours.key() == Some(&item.key) { ours.value() } else { None };
                if same(source.as_ref(), here.as_ref()) || same(base.as_ref(), here.as_ref()) {
                    continue;
                }
                let path =
                    String::from_utf8(item.key).map_err(|_| CatalogError::Damaged { what: "object path" })?;
                items.push(MergeConflict {
                    path,
                    base: base.map(EntryBytes::from_bytes),
                    source: source.map(EntryBytes::from_bytes),
                    destination: here.map(EntryBytes::from_bytes),
                });
            }
        }
        Ok(page_of(items, request.amount, |conflict| conflict.path.clone()))
    }
}
