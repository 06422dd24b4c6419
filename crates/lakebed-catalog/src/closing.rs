//! Deleting a repository if it is empty, and only then: no write that was acknowledged is lost (`namespaces.md`).
//!
//! 1. The repository's record gets a mark: from here nobody makes a branch.
//! 2. Every branch is closed: the mark goes into its record and its gate is replaced, so whatever lands a write or moves
//!    the head afterwards has read a record with the mark.
//! 3. No branch shows an object: the repository goes, if its record is still that of step 1. Else the mark goes.
//!
//! Whoever meets a mark in a branch's record looks whether the repository still has the same: if not, it means nothing.
//! So taking the mark back is one transaction, however many branches there are. Several may close one repository with the
//! same mark. One left behind by a crash is taken back by whoever meets it after a while; then the other, if it is alive
//! after all, finds the record changed and begins anew.

use bytes::Bytes;
use lakebed_core::{Incarnation, RefExpr, RepositoryId};
use lakebed_kv::{Check, Outcome, Transaction};

use crate::branch_state::BranchState;
use crate::catalog::Inner;
use crate::publish::MOVE_ATTEMPTS;
use crate::working::busy;
use crate::{Catalog, CatalogError, Closing, ErrorKind, ListRequest, PageRequest, Repository, keys, wire};

/// Branches looked at together.
const BRANCHES: usize = 256;

/// A mark older than this was left behind.
const LEFT_BEHIND_MILLIS: i64 = 30_000;

impl Catalog {
    /// Deletes a repository if none of its branches, hidden ones included, shows an object; whether it did. Until it
    /// answers, writes are refused as [`ErrorKind::Busy`], but only if there was nothing when it began.
    pub async fn delete_repository_if_empty(&self, id: &RepositoryId) -> Result<bool, CatalogError> {
        let inner = &self.inner;
        // What an attempt of unknown outcome was to delete.
        let mut unsure: Option<Incarnation> = None;
        for _ in 0..MOVE_ATTEMPTS {
            let (repository, version) = match inner.repository(id).await {
                Ok((repository, _)) if unsure.is_some_and(|birth| birth != repository.birth) => {
                    return Ok(true);
                }
                Err(error) if unsure.is_some() && error.kind() == ErrorKind::RepositoryNotFound => {
                    return Ok(true);
                }
                found => found?,
            };
            Inner::check_writable(&repository, false)?;
            // Nobody is kept waiting for the sake of one that stays anyway. What is being restored is not empty for long.
            if repository.restoring.is_some() || self.shows_objects(id).await? {
                if repository.closing.is_none()
                    || inner.mark_closing(&repository, Check::Version(version), None).await?
                {
                    return Ok(false);
                }
                continue;
            }
            let Some(closing) = repository.closing else {
                let id = Incarnation::random(&*inner.entropy);
                let closing = Closing { id, since: inner.clock.now() };
                inner.mark_closing(&repository, Check::Version(version), Some(closing)).await?;
                continue;
            };
            self.close_branches(&repository, closing.id).await?;
            if self.shows_objects(id).await? {
                continue;
            }
            match inner.kv.transact(repository.deletion(version)).await? {
                Outcome::Done(_) => {
                    inner.sweep.notify_one();
                    return Ok(true);
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => unsure = Some(repository.birth),
            }
        }
        Err(busy(&format!("delete repository '{id}'")))
    }

    /// Puts the mark into every branch that does not have it.
    async fn close_branches(&self, repository: &Repository, mark: Incarnation) -> Result<(), CatalogError> {
        let mut page = PageRequest { amount: BRANCHES, ..PageRequest::default() };
        loop {
            let branches = self.list_branches(&repository.id, &page, true).await?;
            for branch in &branches.items {
                self.inner.barrier(repository, &branch.id, Some(mark)).await?;
            }
            if !branches.has_more {
                return Ok(());
            }
            page.after = branches.next_offset;
        }
    }

    /// Whether any branch, hidden ones included, shows an object.
    async fn shows_objects(&self, id: &RepositoryId) -> Result<bool, CatalogError> {
        let mut page = PageRequest { amount: BRANCHES, ..PageRequest::default() };
        let first = ListRequest { amount: 1, ..ListRequest::default() };
        loop {
            let branches = self.list_branches(id, &page, true).await?;
            for branch in &branches.items {
                let at: RefExpr = branch.id.as_str().parse()?;
                match self.list_objects(id, &at, &first).await {
                    Ok(objects) if !objects.items.is_empty() => return Ok(true),
                    Ok(_) => {}
                    // Deleted since it was listed.
                    Err(error)
                        if matches!(error.kind(), ErrorKind::BranchNotFound | ErrorKind::RefNotFound) => {}
                    Err(error) => return Err(error),
                }
            }
            if !branches.has_more {
                return Ok(false);
            }
            page.after = branches.next_offset;
        }
    }
}

impl Inner {
    /// Refuses what would change what a branch shows, while it is closed. `state` is the record that the write depends on.
    pub(crate) async fn check_open(
        &self,
        repository: &Repository,
        state: &BranchState,
    ) -> Result<(), CatalogError> {
        if state.closing.is_none() {
            return Ok(());
        }
        // Only the repository as it is now tells whether the mark still counts.
        let (repository, version) = self.repository(&repository.id).await?;
        if repository.closing.map(|closing| closing.id) != state.closing {
            return Ok(());
        }
        self.open_again(&repository, Check::Version(version)).await
    }

    /// Refuses what would add a branch while the repository is closed; `pin` is what the addition depends on.
    pub(crate) async fn check_not_closing(
        &self,
        repository: &Repository,
        pin: &(Bytes, Check),
    ) -> Result<(), CatalogError> {
        if repository.closing.is_none() {
            return Ok(());
        }
        self.open_again(repository, pin.1).await
    }

    /// Takes back a mark that was left behind; [`ErrorKind::Busy`] if somebody may still be at it.
    async fn open_again(&self, repository: &Repository, version: Check) -> Result<(), CatalogError> {
        let age = repository.closing.map(|closing| self.clock.now().millis() - closing.since.millis());
        let left_behind = age.is_some_and(|age| age > LEFT_BEHIND_MILLIS);
        if left_behind && self.mark_closing(repository, version, None).await? {
            return Ok(());
        }
        Err(CatalogError::refused(
            ErrorKind::Busy,
            format!("repository '{}' is being deleted if it is empty: try again", repository.id),
        ))
    }

    /// Sets or takes back the mark, if the record still is the one read; whether it did for certain.
    async fn mark_closing(
        &self,
        repository: &Repository,
        version: Check,
        closing: Option<Closing>,
    ) -> Result<bool, CatalogError> {
        let marked = Repository { closing, ..repository.clone() };
        let key = keys::repository(&repository.id);
        let row = wire::encode(&wire::RepositoryRow::from(&marked));
        let transaction = Transaction::new().check(key.clone(), version).put(key, row);
        Ok(matches!(self.kv.transact(transaction).await?, Outcome::Done(_)))
    }
}
