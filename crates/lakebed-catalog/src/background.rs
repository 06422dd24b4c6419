//! Commit and merge as tasks (`versioning-api` §15.1): the same checks and results as when they are waited for.

use lakebed_core::{BranchId, Incarnation, ObjectName, RefExpr, RepositoryId};

use crate::task_runner::NewTask;
use crate::{Catalog, CatalogError, CommitRequest, ErrorKind, MergeRequest, TaskKind, TaskResult};

impl Catalog {
    /// Begins a commit. What [`Catalog::commit`] would refuse becomes the task's error, but for a branch that is not
    /// there.
    pub async fn submit_commit(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: CommitRequest,
    ) -> Result<ObjectName, CatalogError> {
        let life = self.life_of(repository, branch).await?;
        let (id, on) = (repository.clone(), branch.clone());
        let new = |_: &_| Ok(NewTask { branch: branch.to_string(), ..NewTask::of(TaskKind::Commit) });
        let submitted = self.submit(repository, new, async move |catalog: Self, task| {
            catalog.check_life(&id, &on, life).await?;
            let commit = catalog.commit_with(&id, &on, request, Some(&task.finish())).await?;
            Ok(TaskResult::Commit(commit.id))
        });
        Ok(submitted.await?.id)
    }

    /// Begins a merge, as [`Catalog::submit_commit`] begins a commit.
    pub async fn submit_merge(
        &self,
        repository: &RepositoryId,
        source: &RefExpr,
        destination: &BranchId,
        request: MergeRequest,
    ) -> Result<ObjectName, CatalogError> {
        let life = self.life_of(repository, destination).await?;
        let (id, source, on) = (repository.clone(), source.clone(), destination.clone());
        let new = |_: &_| Ok(NewTask { branch: destination.to_string(), ..NewTask::of(TaskKind::Merge) });
        let submitted = self.submit(repository, new, async move |catalog: Self, task| {
            catalog.check_life(&id, &on, life).await?;
            let (record, _) = catalog.inner.repository(&id).await?;
            let merged = catalog.inner.merge(&record, &source, &on, &request, Some(&task.finish())).await?;
            Ok(TaskResult::Commit(merged.reference))
        });
        Ok(submitted.await?.id)
    }

    /// Which life of its name a branch is.
    pub(crate) async fn life_of(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
    ) -> Result<Incarnation, CatalogError> {
        let (repository, _) = self.inner.repository(repository).await?;
        Ok(self.inner.branch(&repository, branch).await?.incarnation)
    }

    /// Refuses a branch whose name was given to another one since the task was submitted.
    pub(crate) async fn check_life(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        life: Incarnation,
    ) -> Result<(), CatalogError> {
        if self.life_of(repository, branch).await? == life {
            return Ok(());
        }
        Err(CatalogError::refused(
            ErrorKind::BranchNotFound,
            format!("branch '{branch}' not found: it was deleted meanwhile"),
        ))
    }
}
