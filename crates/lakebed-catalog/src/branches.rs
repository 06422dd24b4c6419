//! Branches: create, look up, list, delete, reset, hard reset (`versioning-api` §5, §12.3, §12.4).

use lakebed_core::{BranchId, CommitId, RefExpr, RepositoryId};

use crate::{Branch, BranchCreation, Catalog, CatalogError, Page, PageRequest, ResetTarget};

impl Catalog {
    /// Makes a branch at the commit of `source`; answers that commit.
    pub async fn create_branch(
        &self,
        repository: &RepositoryId,
        new: BranchCreation,
    ) -> Result<CommitId, CatalogError> {
        unimplemented!()
    }
    /// The branch and its committed head.
    pub async fn branch(&self, repository: &RepositoryId, branch: &BranchId) -> Result<Branch, CatalogError> {
        unimplemented!()
    }
    /// Branches by id.
    pub async fn list_branches(
        &self,
        repository: &RepositoryId,
        page: &PageRequest,
        show_hidden: bool,
    ) -> Result<Page<Branch>, CatalogError> {
        unimplemented!()
    }
    /// Removes a branch with its uncommitted changes.
    pub async fn delete_branch(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        force: bool,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
    /// Drops uncommitted changes.
    pub async fn reset_branch(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        target: ResetTarget,
        force: bool,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
    /// Moves the head; uncommitted changes stay.
    pub async fn hard_reset(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        to: &RefExpr,
        force: bool,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
}
