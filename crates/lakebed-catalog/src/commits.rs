//! Making commits (`versioning-api` §8; `protocol.md`, Commit).

use lakebed_core::{BranchId, RepositoryId};

use crate::{Catalog, CatalogError, Commit, CommitRequest};

impl Catalog {
    /// Commits what is staged on a branch.
    pub async fn commit(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: CommitRequest,
    ) -> Result<Commit, CatalogError> {
        unimplemented!()
    }
    /// Stores a commit record as given (replication); its id is `commit.id`. Refused if it exists.
    pub async fn create_commit_record(
        &self,
        repository: &RepositoryId,
        commit: Commit,
        force: bool,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
}
