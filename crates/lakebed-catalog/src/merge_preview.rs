//! What a merge would stop at, with all three sides of each conflict. Nothing is written.

use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, RefExpr, RepositoryId};

use crate::paging::Folding;
use crate::repositories::page_of;
use crate::{Catalog, CatalogError, DiffRequest, EntryBytes, MergeConflict, Page};

impl Catalog {
    /// The conflicts of merging `source` into a branch, by path: those of the committed states, as a merge sees them.
    /// Folding by a delimiter is not asked for here; `prefix`, `after` and `amount` are.
    ///
    /// Cost: the source's change since the merge base, from `after` on until the page is full.
    #[tracing::instrument(target = SPAN, name = "catalog merge conflicts", skip_all)]
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
        let mut walk = inner.three_way_walk(&repository, &source, &destination, &request.prefix).await?;
        let covered = Folding { prefix: &request.prefix, delimiter: "" };
        let mut items = Vec::with_capacity((request.amount + 1).min(1001));
        if let Some(start) = covered.start_behind(&request.after) {
            walk.seek(&start);
            while items.len() <= request.amount
                && let Some(sides) = walk.next().await?
            {
                if !covered.covers(&sides.path) {
                    break;
                }
                if !sides.conflict() {
                    continue;
                }
                let path = String::from_utf8(sides.path)
                    .map_err(|_| CatalogError::Damaged { what: "object path" })?;
                items.push(MergeConflict {
                    path,
                    base: sides.base.map(EntryBytes::from_bytes),
                    source: sides.source.map(EntryBytes::from_bytes),
                    destination: sides.destination.map(EntryBytes::from_bytes),
                });
            }
        }
        Ok(page_of(items, request.amount, |conflict| conflict.path.clone()))
    }
}
