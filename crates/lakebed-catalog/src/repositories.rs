//! Repositories: create, look up, list, delete, metadata (`versioning-api` §4).

use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_core::RepositoryId;

use crate::{Catalog, CatalogError, NewRepository, Page, PageRequest, Repository};

impl Catalog {
    /// Makes a repository with its marker, root commit and default branch (unless bare).
    pub async fn create_repository(&self, new: NewRepository) -> Result<Repository, CatalogError> {
        unimplemented!()
    }
    /// The repository; [`ErrorKind::RepositoryNotFound`](crate::ErrorKind) if there is none.
    pub async fn repository(&self, id: &RepositoryId) -> Result<Arc<Repository>, CatalogError> {
        unimplemented!()
    }
    /// Repositories by id; `search` keeps those whose id contains it.
    pub async fn list_repositories(
        &self,
        page: &PageRequest,
        search: &str,
    ) -> Result<Page<Repository>, CatalogError> {
        unimplemented!()
    }
    /// Removes all metadata; the name is free at once, the bytes stay.
    pub async fn delete_repository(&self, id: &RepositoryId, force: bool) -> Result<(), CatalogError> {
        unimplemented!()
    }
    /// The free metadata.
    pub async fn repository_metadata(
        &self,
        id: &RepositoryId,
    ) -> Result<BTreeMap<String, String>, CatalogError> {
        unimplemented!()
    }
    /// Adds or overwrites keys.
    pub async fn set_repository_metadata(
        &self,
        id: &RepositoryId,
        set: BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
    /// Removes keys; unknown ones are ignored.
    pub async fn delete_repository_metadata(
        &self,
        id: &RepositoryId,
        keys: &[String],
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
}
