//! The log (`versioning-api` §9) and the merge base.

use lakebed_core::{CommitId, RefExpr, RepositoryId};

use crate::{Catalog, CatalogError, Commit, LogRequest, Page};

impl Catalog {
    /// Ancestors of a ref, newest creation date first.
    pub async fn log(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        request: &LogRequest,
    ) -> Result<Page<Commit>, CatalogError> {
        unimplemented!()
    }
    /// The commits of `source` and `destination` and their best common ancestor.
    pub async fn merge_base(
        &self,
        repository: &RepositoryId,
        source: &RefExpr,
        destination: &RefExpr,
    ) -> Result<(CommitId, CommitId, Option<CommitId>), CatalogError> {
        unimplemented!()
    }
}
