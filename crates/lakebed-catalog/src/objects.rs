//! Objects: look up, read, write, delete, copy (`api-objects`).

use std::collections::BTreeMap;

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, ByteRange, ByteStream};
use lakebed_core::{BranchId, ObjectPath, RefExpr, RepositoryId};

use crate::{
    Catalog, CatalogError, CopyRequest, Entry, EntryBytes, EntryDraft, Precondition, StoredBody, WriteTicket,
};

impl Catalog {
    /// The entry of an object, in a branch's working state or a commit.
    pub async fn stat(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        path: &ObjectPath,
    ) -> Result<EntryBytes, CatalogError> {
        unimplemented!()
    }
    /// The bytes at an entry's full address. [`ErrorKind::ObjectGone`](crate::ErrorKind) if the store has none.
    pub async fn read(
        &self,
        address: &BlockAddress,
        range: Option<ByteRange>,
    ) -> Result<ByteStream, CatalogError> {
        unimplemented!()
    }
    /// May this path be written? Checks repository, branch, protection, read-only and the precondition, and gives a
    /// fresh address. Nothing is promised until [`Catalog::link`].
    pub async fn begin_write(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        precondition: Precondition,
        force: bool,
    ) -> Result<WriteTicket, CatalogError> {
        unimplemented!()
    }
    /// Streams the bytes to the ticket's address, durably. `size_hint` is the length if known.
    pub async fn store_body(
        &self,
        ticket: &WriteTicket,
        body: ByteStream,
        size_hint: Option<u64>,
    ) -> Result<StoredBody, CatalogError> {
        unimplemented!()
    }
    /// Stages an entry for the bytes at the ticket's address: one atomic, durable step.
    pub async fn link(&self, ticket: WriteTicket, draft: EntryDraft) -> Result<Entry, CatalogError> {
        unimplemented!()
    }
    /// Stages an entry for an address given by the client: issued by [`Catalog::issue_address`] (signature and age are
    /// verified) or outside the namespace.
    pub async fn link_address(
        &self,
        ticket: WriteTicket,
        address: &str,
        draft: EntryDraft,
    ) -> Result<Entry, CatalogError> {
        unimplemented!()
    }
    /// A signed address inside the namespace for a client that writes the bytes itself.
    pub async fn issue_address(&self, repository: &RepositoryId) -> Result<String, CatalogError> {
        unimplemented!()
    }
    /// Registers any address of this store without checking it (`stageObject`).
    pub async fn stage_address(
        &self,
        ticket: WriteTicket,
        address: &str,
        draft: EntryDraft,
    ) -> Result<Entry, CatalogError> {
        unimplemented!()
    }
    /// Deletes an object from a branch's working state; an absent one is fine.
    pub async fn delete_object(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        precondition: Precondition,
        force: bool,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
    /// Deletes many, each with its own result, in order.
    pub async fn delete_objects(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        paths: &[ObjectPath],
        force: bool,
    ) -> Result<Vec<Result<(), CatalogError>>, CatalogError> {
        unimplemented!()
    }
    /// Copies an object; the bytes get an address of their own.
    pub async fn copy_object(&self, request: CopyRequest) -> Result<Entry, CatalogError> {
        unimplemented!()
    }
    /// Replaces the user metadata of an object, atomically against other writes to the path.
    pub async fn set_user_metadata(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        metadata: BTreeMap<String, String>,
        force: bool,
    ) -> Result<Entry, CatalogError> {
        unimplemented!()
    }
    /// Stores small content and stages it: for sample data and tests.
    pub async fn put_bytes(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<Entry, CatalogError> {
        unimplemented!()
    }
}
