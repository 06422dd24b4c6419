//! Whether the engines below answer, for who decides if this server is to be sent requests.

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction};

use crate::namespaces::MARKER;
use crate::working::busy;
use crate::{Catalog, CatalogError, keys, wire};

/// How many repositories' namespaces are asked before the store counts as out of reach.
const NAMESPACES: usize = 3;

impl Catalog {
    /// Asks the key-value engine for a read and a conditional write of a row that means nothing. That another server's
    /// probe came between is an answer, too.
    ///
    /// # Errors
    ///
    /// The engine failed, or cannot tell whether the write happened. It is asked without a time limit: the caller has
    /// one.
    pub async fn probe_database(&self) -> Result<(), CatalogError> {
        let key = keys::probe();
        let found = self.inner.kv.get(&key).await?;
        let check = found.map_or(Check::Absent, |row| Check::Version(row.version));
        let write = Transaction::new().check(key.clone(), check).put(key, Bytes::new());
        match self.inner.kv.transact(write).await? {
            Outcome::Done(_) | Outcome::Refused(_) => Ok(()),
            Outcome::Unknown => Err(busy("probe of the key-value engine: outcome unknown")),
        }
    }

    /// Asks the object store for the head of a small object in the namespace of a repository. It answers if it says
    /// anything of one of the first few namespaces, be it that nothing is there or that this server may not look: a bucket
    /// that was deleted or closed is the affair of its repository. Without repositories there is nothing to be asked.
    ///
    /// # Errors
    ///
    /// The store is out of reach, or the key-value engine failed. It is asked without a time limit: the caller has one.
    pub async fn probe_store(&self) -> Result<(), CatalogError> {
        let repositories = KeyRange::prefix(&keys::repositories(""));
        let mut result = Ok(());
        for row in self.inner.kv.scan(&repositories, NAMESPACES).await? {
            let row: wire::RepositoryRow = wire::decode(&row.value, "repository")?;
            let namespace = row.namespace()?;
            let is_local =
                self.inner.blocks.info_of(namespace.store()).is_some_and(|store| store.kind == "local");
            match self.inner.blocks.head(&BlockAddress::in_namespace(&namespace, MARKER)).await {
                Err(error @ BlockError::Unavailable { .. }) => result = Err(error.into()),
                // Of a remote store this is a refusal, of the local one a disk that fails.
                Err(error @ BlockError::Io { .. }) if is_local => {
                    result = Err(error.into());
                }
                Ok(_) | Err(_) => return Ok(()),
            }
        }
        result
    }
}
