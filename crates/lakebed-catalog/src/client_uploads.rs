//! Bytes that clients write into the store themselves, in parts (`api-objects` §6.1).
//!
//! The upload lives in the store alone; what names it is the issued address, whose signature and age are verified on
//! every step. One that is never completed shows nothing, and is aborted when it is old (`lost_uploads`).

use lakebed_blocks::{BlockAddress, BlockError, ByteRange, StoredPart};
use lakebed_core::{BranchId, RepositoryId, Timestamp};

use crate::{Catalog, CatalogError, Entry, EntryDraft, ErrorKind, Repository, WriteTicket};

/// An upload a client was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientUpload {
    /// The signed address, to be given back verbatim.
    pub issued: String,
    /// Where the bytes go.
    pub address: BlockAddress,
    /// The store's name of it.
    pub upload: String,
}

fn of_upload(error: BlockError) -> CatalogError {
    match error {
        BlockError::NoSuchUpload(upload) => {
            CatalogError::refused(ErrorKind::UploadNotFound, format!("upload '{upload}' not found"))
        }
        error => error.into(),
    }
}

impl Catalog {
    /// Begins an upload. The branch must exist; whether it takes the object is found out at the end.
    pub async fn begin_client_upload(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
    ) -> Result<ClientUpload, CatalogError> {
        self.branch(repository, branch).await?;
        let issued = self.issue_address(repository).await?;
        let address = self.issued_address(repository, &issued).await?;
        let upload = self.inner.blocks.create_multipart(&address).await?;
        Ok(ClientUpload { issued, address, upload })
    }

    /// Copies bytes of an object into a part, inside the store where it can. Answers the part's tag.
    pub async fn copy_client_part(
        &self,
        (source_repository, source): (&Repository, &Entry),
        range: Option<ByteRange>,
        address: &BlockAddress,
        upload: &str,
        number: u32,
    ) -> Result<String, CatalogError> {
        let from = source.full_address(&source_repository.storage_namespace);
        let range = range.unwrap_or(ByteRange { start: 0, end: source.size });
        self.inner.blocks.copy_part(&from, range, address, upload, number).await.map_err(of_upload)
    }

    /// Joins the parts and stages the object. Size, checksum and time are the store's.
    pub async fn complete_client_upload(
        &self,
        ticket: WriteTicket,
        issued: &str,
        upload: &str,
        parts: &[StoredPart],
        draft: EntryDraft,
    ) -> Result<Entry, CatalogError> {
        let address = self.issued_address(&ticket.repository, issued).await?;
        let blocks = &self.inner.blocks;
        blocks.complete_multipart(&address, upload, parts).await.map_err(of_upload)?;
        let stored = blocks.head(&address).await?;
        let draft = EntryDraft {
            size: stored.size,
            checksum: stored.etag.unwrap_or_default(),
            mtime: Some(Timestamp::from_secs(stored.mtime_secs)),
            ..draft
        };
        self.link_address(ticket, issued, draft).await
    }

    /// Drops an upload and its parts.
    pub async fn abort_client_upload(
        &self,
        repository: &RepositoryId,
        issued: &str,
        upload: &str,
    ) -> Result<(), CatalogError> {
        let address = self.issued_address(repository, issued).await?;
        self.inner.blocks.abort_multipart(&address, upload).await.map_err(of_upload)
    }
}
