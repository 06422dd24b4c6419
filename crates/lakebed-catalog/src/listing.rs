//! Listing objects (`api-objects` §4).

use lakebed_core::{RefExpr, RepositoryId};

use crate::{Catalog, CatalogError, ListRequest, ListedObject, Page};

impl Catalog {
    /// A page of objects and common prefixes of a ref, a branch with its uncommitted changes.
    pub async fn list_objects(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        request: &ListRequest,
    ) -> Result<Page<ListedObject>, CatalogError> {
        unimplemented!()
    }
}
