//! Multipart uploads (`s3-gateway` §8; `protocol.md`, Multipart).

use std::collections::BTreeMap;

use lakebed_blocks::ByteStream;
use lakebed_core::{BranchId, ObjectPath, RepositoryId};

use crate::{
    Catalog, CatalogError, CompletedPart, Entry, EntryDraft, Precondition, StoredBody, Upload, UploadPart,
};

impl Catalog {
    /// Begins an upload; the branch must be writable.
    pub async fn create_upload(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        draft: EntryDraft,
    ) -> Result<Upload, CatalogError> {
        unimplemented!()
    }
    /// The upload; [`ErrorKind::UploadNotFound`](crate::ErrorKind) if it is unknown, done or aborted.
    pub async fn upload(&self, repository: &RepositoryId, id: &str) -> Result<Upload, CatalogError> {
        unimplemented!()
    }
    /// Streams a part into the store, durably, but does not record it yet.
    pub async fn store_part(
        &self,
        repository: &RepositoryId,
        id: &str,
        number: u32,
        body: ByteStream,
    ) -> Result<(StoredBody, String), CatalogError> {
        unimplemented!()
    }
    /// Records a stored part (its body and the store's tag from [`Catalog::store_part`]); replaces one of the same number.
    pub async fn record_part(
        &self,
        repository: &RepositoryId,
        id: &str,
        number: u32,
        stored: (StoredBody, String),
        checksums: BTreeMap<String, String>,
    ) -> Result<UploadPart, CatalogError> {
        unimplemented!()
    }
    /// Parts by number, after `after`, at most `amount`.
    pub async fn list_parts(
        &self,
        repository: &RepositoryId,
        id: &str,
        after: u32,
        amount: usize,
    ) -> Result<(Vec<UploadPart>, bool), CatalogError> {
        unimplemented!()
    }
    /// Open uploads of a repository in order of (branch, path, id), after the given triple's text, at most `amount`.
    pub async fn list_uploads(
        &self,
        repository: &RepositoryId,
        after: Option<&str>,
        amount: usize,
    ) -> Result<(Vec<Upload>, bool), CatalogError> {
        unimplemented!()
    }
    /// Joins parts and links the object. Repeating a successful completion within a day answers the same. Headers in
    /// `headers` are added to those of the upload's draft.
    pub async fn complete_upload(
        &self,
        repository: &RepositoryId,
        id: &str,
        parts: &[CompletedPart],
        headers: BTreeMap<String, String>,
        precondition: Precondition,
    ) -> Result<Entry, CatalogError> {
        unimplemented!()
    }
    /// Drops an upload.
    pub async fn abort_upload(&self, repository: &RepositoryId, id: &str) -> Result<(), CatalogError> {
        unimplemented!()
    }
}
