//! Merge, revert, cherry-pick (`versioning-api` §11, §12; `protocol.md`).

use lakebed_core::{BranchId, RefExpr, RepositoryId};

use crate::{Catalog, CatalogError, Commit, MergeOutcome, MergeRequest, PickRequest, RevertRequest};

impl Catalog {
    /// Merges the committed state of `source` into a branch.
    pub async fn merge(
        &self,
        repository: &RepositoryId,
        source: &RefExpr,
        destination: &BranchId,
        request: MergeRequest,
    ) -> Result<MergeOutcome, CatalogError> {
        unimplemented!()
    }
    /// Undoes a commit on a branch.
    pub async fn revert(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: RevertRequest,
    ) -> Result<Commit, CatalogError> {
        unimplemented!()
    }
    /// Applies a commit's change to a branch.
    pub async fn cherry_pick(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: PickRequest,
    ) -> Result<Commit, CatalogError> {
        unimplemented!()
    }
}
