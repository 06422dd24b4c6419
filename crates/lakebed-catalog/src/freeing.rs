//! Deleting the bytes of repositories that were deleted together with their data (`operations.md` §6.5).
//!
//! Everything was decided in the transaction that deleted the repository ([`Inner::give_up`]): nobody needs the
//! namespace and nobody ever will. What remains may stop anywhere, be begun again, and be done by several servers. The
//! namespace is passed through at once, and once more when every upload that was on its way has ended.

use std::sync::Weak;
use std::time::Duration;

use futures::FutureExt;
use lakebed_blocks::{BlockAddress, BlockError, BlockInfo, Namespace};
use lakebed_kv::{KeyRange, Transaction};
use tokio::task::JoinHandle;

use crate::catalog::Inner;
use crate::namespaces::is_ours;
use crate::objects::ADDRESS_LIFE_SECS;
use crate::sweep::{after, rounds};
use crate::{Catalog, CatalogError, keys, wire};

/// Namespaces looked at in one round.
const PAGE: usize = 256;

/// How often is looked without being called.
const INTERVAL: Duration = Duration::from_mins(1);

/// Where a namespace holds what is ours.
const DIRECTORIES: [&str; 3] = ["data/", "symlinks/", "_lakebed/"];

/// Runs until the catalog is dropped or the task is aborted.
pub(crate) fn spawn(catalog: Weak<Inner>) -> JoinHandle<()> {
    let what = "deleting the data of a deleted repository";
    rounds(catalog, what, INTERVAL, |inner| &inner.freeing, |inner| inner.free_once().boxed())
}

impl Catalog {
    /// One round of deleting what was given up, for tests that run without the background task.
    pub async fn free_once(&self) -> Result<(), CatalogError> {
        self.inner.free_once().await
    }
}

impl Inner {
    async fn free_once(&self) -> Result<(), CatalogError> {
        let mut range = KeyRange::prefix(&keys::freeing(""));
        loop {
            let rows = self.kv.scan(&range, PAGE).await?;
            for row in &rows {
                let freeing: wire::FreeingRow = wire::decode(&row.value, "namespace given up")?;
                let uploads_ended = self.clock.now().secs() - freeing.given_up_ms / 1000 > ADDRESS_LIFE_SECS;
                if freeing.passed && !uploads_ended {
                    continue;
                }
                let name = keys::name_of(&row.key, 1).unwrap_or_default();
                let namespace = Namespace::decode(name);
                // One that cannot be reached does not hold up the others.
                if let Err(error) = self.free(&namespace).await {
                    tracing::warn!(namespace = name, %error, "its data could not all be deleted; trying again later");
                    continue;
                }
                let transaction = if uploads_ended {
                    Transaction::new().delete(row.key.clone())
                } else {
                    let passed = wire::FreeingRow { passed: true, ..freeing };
                    Transaction::new().put(row.key.clone(), wire::encode(&passed))
                };
                self.kv.transact(transaction).await?;
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE => range.start = after(&last.key),
                _ => return Ok(()),
            }
        }
    }

    /// Deletes what is ours in a namespace that was given up.
    async fn free(&self, namespace: &Namespace) -> Result<(), CatalogError> {
        if !self.may_free(namespace).await? {
            tracing::error!(
                namespace = namespace.as_str(),
                "the register or the marker does not say that its data may go: it stays"
            );
            return Ok(());
        }
        let mut deleted = 0_usize;
        for directory in DIRECTORIES {
            let prefix = BlockAddress::in_namespace(namespace, directory);
            let ours = |found: &BlockInfo| namespace.key_of(&found.address).is_some_and(is_ours);
            match self.delete_objects(&prefix, ours).await {
                // Of a store with directories that has not this one.
                Err(CatalogError::Blocks(BlockError::NotFound(_))) => {}
                freed => deleted += freed?,
            }
        }
        tracing::info!(
            namespace = namespace.as_str(),
            deleted,
            "the data of a deleted repository was deleted"
        );
        Ok(())
    }
}
