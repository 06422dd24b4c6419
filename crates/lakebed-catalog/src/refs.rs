//! Resolving ref expressions (`versioning-api` §3).

use lakebed_core::{RefExpr, RepositoryId};

use crate::{Catalog, CatalogError, Commit};

impl Catalog {
    /// The commit a ref expression means, the committed head for a branch; `$` is refused.
    pub async fn resolve(&self, repository: &RepositoryId, expr: &RefExpr) -> Result<Commit, CatalogError> {
        unimplemented!()
    }
}
