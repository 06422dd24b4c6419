//! Settings: branch protection, collection rules (`versioning-api` §4, §5.1).

use lakebed_core::RepositoryId;

use crate::{Catalog, CatalogError};

impl Catalog {
    /// The protection patterns and their ETag (empty if never set).
    pub async fn branch_protection(
        &self,
        repository: &RepositoryId,
    ) -> Result<(Vec<String>, String), CatalogError> {
        unimplemented!()
    }
    /// Replaces the patterns; `if_match` must equal the ETag if given.
    pub async fn set_branch_protection(
        &self,
        repository: &RepositoryId,
        patterns: &[String],
        if_match: Option<&str>,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
    /// The collection rules as the JSON the client sent; `None` if not set.
    pub async fn gc_rules(&self, repository: &RepositoryId) -> Result<Option<String>, CatalogError> {
        unimplemented!()
    }
    /// Replaces the collection rules; `None` removes them.
    pub async fn set_gc_rules(
        &self,
        repository: &RepositoryId,
        rules: Option<&str>,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
}
