//! Tags (`versioning-api` §13).

use lakebed_core::{RefExpr, RepositoryId, TagId};

use crate::{Catalog, CatalogError, Page, PageRequest, Tag};

impl Catalog {
    /// Makes a tag at the commit of `target`.
    pub async fn create_tag(
        &self,
        repository: &RepositoryId,
        tag: &TagId,
        target: &RefExpr,
        force: bool,
    ) -> Result<Tag, CatalogError> {
        unimplemented!()
    }
    /// The tag.
    pub async fn tag(&self, repository: &RepositoryId, tag: &TagId) -> Result<Tag, CatalogError> {
        unimplemented!()
    }
    /// Tags by id.
    pub async fn list_tags(
        &self,
        repository: &RepositoryId,
        page: &PageRequest,
    ) -> Result<Page<Tag>, CatalogError> {
        unimplemented!()
    }
    /// Removes a tag.
    pub async fn delete_tag(
        &self,
        repository: &RepositoryId,
        tag: &TagId,
        force: bool,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
}
