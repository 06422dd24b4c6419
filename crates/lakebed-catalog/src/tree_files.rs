//! Trees as files: where a node lies in the namespace, and its bytes as stored (`versioning-api` §16).

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError};
use lakebed_core::{NodeId, RepositoryId};

use crate::nodes::MAX_STORED_NODE;
use crate::{Catalog, CatalogError, ErrorKind};

fn not_found(id: &NodeId) -> CatalogError {
    CatalogError::refused(ErrorKind::NotFound, format!("tree '{id}' not found"))
}

fn location(id: &NodeId) -> String {
    let hex = id.to_hex();
    format!("_lakebed/tree/{}/{hex}", &hex[..2])
}

impl Catalog {
    /// Where a tree's node lies, relative to the repository's namespace. [`ErrorKind::NotFound`] if there is none.
    pub async fn tree_location(
        &self,
        repository: &RepositoryId,
        id: &NodeId,
    ) -> Result<String, CatalogError> {
        let (address, location) = self.tree_address(repository, id).await?;
        match self.blocks().head(&address).await {
            Ok(_) => Ok(location),
            Err(BlockError::NotFound(_)) => Err(not_found(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// A node's bytes as they are stored: `formats.md`, Node, compressed with zstd.
    pub async fn tree_file(&self, repository: &RepositoryId, id: &NodeId) -> Result<Bytes, CatalogError> {
        let (address, _) = self.tree_address(repository, id).await?;
        match self.blocks().get_bytes(&address, MAX_STORED_NODE).await {
            Ok(bytes) => Ok(bytes),
            Err(BlockError::NotFound(_)) => Err(not_found(id)),
            Err(error) => Err(error.into()),
        }
    }

    async fn tree_address(
        &self,
        repository: &RepositoryId,
        id: &NodeId,
    ) -> Result<(BlockAddress, String), CatalogError> {
        let repository = self.repository(repository).await?;
        let location = location(id);
        Ok((BlockAddress::in_namespace(&repository.storage_namespace, &location), location))
    }
}
