//! Uploads in parts that the store still keeps and nobody can name any more.
//!
//! An upload has a row, and ends with it: completed, aborted or, after a week, expired (`completion`). What has none - a
//! crash between the store's answer and the row, a request that was cut off while it sent a body in parts, a client that
//! was told an address and went away - would keep its parts for ever and cost its owner money. So every day the store is
//! asked for uploads below the data of each repository, and those are aborted that are older than any row or issued
//! address can be.

use std::sync::Weak;
use std::time::Duration;

use lakebed_blocks::{BlockAddress, BlockError};
use lakebed_core::traces::WORK_SPAN;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::catalog::Inner;
use crate::multipart::UPLOAD_LIFE_MILLIS;
use crate::sweep::OUTCOME_LIFE_MILLIS;
use crate::{Catalog, CatalogError, PageRequest, Repository};

/// How often the store is asked, the first time when the server starts.
const INTERVAL: Duration = Duration::from_hours(24);

/// Repositories, and uploads of one, read at once.
const PAGE: usize = 100;

/// Runs until the catalog is dropped or the task is aborted.
pub(crate) fn spawn(catalog: Weak<Inner>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Some(inner) = catalog.upgrade() else { return };
            let span = tracing::info_span!(target: WORK_SPAN, parent: None, "looking for lost uploads");
            if let Err(error) = (Catalog { inner }).drop_lost_uploads().instrument(span).await {
                tracing::warn!(%error, "looking for lost uploads failed; trying again tomorrow");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    })
}

impl Catalog {
    /// Aborts what is lost in every repository. Answers how many uploads that were.
    pub async fn drop_lost_uploads(&self) -> Result<usize, CatalogError> {
        let mut dropped = 0;
        let mut page = PageRequest { amount: PAGE, ..PageRequest::default() };
        loop {
            let repositories = self.list_repositories(&page, "").await?;
            for repository in &repositories.items {
                match self.drop_lost_uploads_of(repository).await {
                    Ok(of_it) => dropped += of_it,
                    // Its bucket may be gone, or not let itself be listed: the others are looked at all the same.
                    Err(error) => {
                        tracing::warn!(repository = %repository.id, %error, "lost uploads cannot be looked for");
                    }
                }
            }
            if !repositories.has_more {
                return Ok(dropped);
            }
            page.after = repositories.next_offset;
        }
    }

    async fn drop_lost_uploads_of(&self, repository: &Repository) -> Result<usize, CatalogError> {
        let blocks = &self.inner.blocks;
        let data = BlockAddress::in_namespace(&repository.storage_namespace, "data/");
        // Older than a row that was never completed can be, with a day in hand for clocks that differ.
        let oldest = self.inner.clock.now().plus_millis(-(UPLOAD_LIFE_MILLIS + OUTCOME_LIFE_MILLIS)).secs();
        let mut dropped = 0;
        loop {
            let lost = blocks.waiting_uploads(&data, oldest, PAGE).await?;
            let mut of_these = 0;
            for upload in &lost {
                match blocks.abort_multipart(&upload.address, &upload.upload).await {
                    Ok(()) => of_these += 1,
                    Err(BlockError::NoSuchUpload(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if of_these > 0 {
                tracing::info!(repository = %repository.id, uploads = of_these, "lost uploads were aborted");
            }
            dropped += of_these;
            // One that cannot be taken away must not be asked for again and again.
            if lost.len() < PAGE || of_these == 0 {
                return Ok(dropped);
            }
        }
    }
}
