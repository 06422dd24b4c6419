//! Dumping refs and commits into the namespace (`versioning-api` §15), so that a bare repository can be made from them.

use lakebed_core::{ObjectName, RepositoryId};
use lakebed_tree::NodeStore;

use crate::catalog::{Inner, repository_not_found};
use crate::ref_trees::{Listed, RefNodes};
use crate::task_runner::NewTask;
use crate::{Catalog, CatalogError, DumpedRefs, Repository, TaskKind, TaskResult};

/// Where the nodes of dumps lie. They are never deleted: a client may have written their ids down anywhere.
pub(crate) const DUMPS: &str = "_lakebed/dump";

impl Catalog {
    /// Begins a dump.
    pub async fn submit_dump(&self, repository: &RepositoryId) -> Result<ObjectName, CatalogError> {
        let id = repository.clone();
        let new = |_: &_| Ok(NewTask::of(TaskKind::Dump));
        let submitted = self.submit(repository, new, async move |catalog: Self, task| {
            let (record, _) = catalog.inner.repository(&id).await?;
            let dumped = catalog.inner.dump(&record, &|rows| task.advance(rows)).await?;
            Ok(TaskResult::Dump(dumped))
        });
        Ok(submitted.await?.id)
    }

    /// Dumps all commits, tags and branches (not what is staged, no settings, no pull requests). The same refs and
    /// commits give the same ids.
    pub async fn dump(&self, repository: &RepositoryId) -> Result<DumpedRefs, CatalogError> {
        let (record, _) = self.inner.repository(repository).await?;
        self.inner.dump(&record, &|_| {}).await
    }
}

impl Inner {
    async fn dump(
        &self,
        repository: &Repository,
        counted: &(dyn Fn(u64) + Sync),
    ) -> Result<DumpedRefs, CatalogError> {
        let nodes = RefNodes::new(self, repository, DUMPS);
        let empty = lakebed_tree::empty_tree();
        let tree = async |listed| self.write_ref_tree(repository, &nodes, listed, empty, counted).await;
        // Refs before commits: so each ref's commit is in the dump (`protocol.md`, Restore).
        let branches = tree(Listed::Branches).await?;
        let tags = tree(Listed::Tags).await?;
        let commits = tree(Listed::Commits).await?;
        nodes.flush().await?;
        // Rows of a repository that is deleted vanish one by one: only one that still stands was read whole.
        let (now, _) = self.repository(&repository.id).await?;
        if now.incarnation != repository.incarnation {
            return Err(repository_not_found(&repository.id));
        }
        Ok(DumpedRefs { commits, tags, branches })
    }
}
