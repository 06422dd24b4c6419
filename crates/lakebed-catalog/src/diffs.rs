//! Diffs (`versioning-api` §7, §10).

use lakebed_core::{BranchId, RefExpr, RepositoryId};

use crate::{Catalog, CatalogError, DiffEntry, DiffMode, DiffRequest, Page};

impl Catalog {
    /// What differs between two refs.
    pub async fn diff_refs(
        &self,
        repository: &RepositoryId,
        left: &RefExpr,
        right: &RefExpr,
        mode: DiffMode,
        request: &DiffRequest,
    ) -> Result<Page<DiffEntry>, CatalogError> {
        unimplemented!()
    }
    /// What is uncommitted on a branch.
    pub async fn diff_branch(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: &DiffRequest,
    ) -> Result<Page<DiffEntry>, CatalogError> {
        unimplemented!()
    }
}
