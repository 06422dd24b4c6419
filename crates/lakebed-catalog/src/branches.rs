//! Branches: create, look up, list, delete, reset, hard reset (`versioning-api` §5, §12.3, §12.4).

use bytes::Bytes;
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, CommitId, Incarnation, RefExpr, RepositoryId};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction, Versioned};

use crate::branch_state::{BranchLife, Mask};
use crate::catalog::Inner;
use crate::neighbours::rows_at;
use crate::publish::{MOVE_ATTEMPTS, Publication, Published, dead_rows};
use crate::working::busy;
use crate::{
    Branch, BranchCreation, Catalog, CatalogError, ErrorKind, Page, PageRequest, Repository, ResetTarget,
    keys, wire,
};

impl Catalog {
    /// Makes a branch at the commit of `source`; answers that commit.
    #[tracing::instrument(target = SPAN, name = "catalog create branch", skip_all)]
    pub async fn create_branch(
        &self,
        repository: &RepositoryId,
        new: BranchCreation,
    ) -> Result<CommitId, CatalogError> {
        let inner = &self.inner;
        let life = BranchLife::fresh(&*inner.entropy);
        let mut unsure = false;
        for _ in 0..MOVE_ATTEMPTS {
            let refs = |repository: &Repository| {
                let reference = |name| keys::reference(&repository.incarnation, name);
                vec![reference(new.source.base()), reference(new.name.as_str())]
            };
            let (repository, version, refs) = inner.repository_with(repository, refs).await?;
            let pin = (keys::repository(&repository.id), Check::Version(version));
            let [source, taken] = &refs[..] else {
                return Err(CatalogError::Damaged { what: "answer of the key-value engine" });
            };
            Inner::check_writable(&repository, new.force)?;
            // The first row of its reflog says for ever that this branch was made, and is never written twice: an
            // attempt whose outcome is unknown is sent again, even if it was made and somebody has deleted it since.
            let made = keys::reflog(&life.incarnation, 0);
            if unsure && let Some(row) = inner.kv.get(&made).await? {
                let row: wire::ReflogRow = wire::decode(&row.value, "reflog")?;
                return wire::commit_id(&row.new_head);
            }
            inner.check_not_closing(&repository, &pin).await?;
            let source = inner.resolve_in(&repository, &new.source, source.as_ref()).await;
            let source = source.map_err(|error| match error.kind() {
                ErrorKind::RefNotFound => CatalogError::refused(
                    ErrorKind::RefNotFound,
                    format!("source reference '{}': not found", new.source),
                ),
                _ => error,
            })?;
            inner.name_is_free(&repository, new.name.as_str(), "branch", taken.as_ref()).await?;
            let reflog = wire::ReflogRow {
                new_head: source.id.as_bytes().to_vec(),
                operation: "create branch".to_owned(),
                at_ms: inner.clock.now().millis(),
                ..wire::ReflogRow::default()
            };
            let transaction = Transaction::new()
                .check(pin.0, pin.1)
                .check(made.clone(), Check::Absent)
                .put(made, wire::encode(&reflog));
            let transaction =
                inner.new_branch(transaction, &repository, &new.name, source.id, new.hidden, life);
            match inner.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    inner.exports.mark(&repository.id);
                    return Ok(source.id);
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => unsure = true,
            }
        }
        Err(busy(&format!("create branch '{}'", new.name)))
    }

    /// The branch and its committed head.
    pub async fn branch(&self, repository: &RepositoryId, branch: &BranchId) -> Result<Branch, CatalogError> {
        let inner = &self.inner;
        let beneath = |repository: &Repository| vec![keys::branch(&repository.incarnation, branch)];
        let (repository, _, rows) = inner.repository_with(repository, beneath).await?;
        let state = inner.branch_in(&repository, branch, rows.first().and_then(Option::as_ref)).await?;
        Ok(Branch { id: branch.clone(), head: state.head, hidden: state.hidden })
    }

    /// Branches by id.
    pub async fn list_branches(
        &self,
        repository: &RepositoryId,
        page: &PageRequest,
        show_hidden: bool,
    ) -> Result<Page<Branch>, CatalogError> {
        let (repository, _) = self.inner.repository(repository).await?;
        let r = &repository.incarnation;
        let mut range = KeyRange::prefix(&keys::branch_index(r, &page.prefix));
        if !page.after.is_empty() {
            let mut start = keys::branch_index(r, &page.after).to_vec();
            start.push(0);
            range.start = range.start.max(start.into());
        }
        let mut items = Vec::new();
        loop {
            let batch = page.amount + 1;
            let rows = self.inner.kv.scan(&range, batch).await?;
            let exhausted = rows.len() < batch;
            let shown = rows.iter().filter(|row| show_hidden || row.value.first() != Some(&1));
            let names: Vec<&str> = shown.filter_map(|row| keys::name_of(&row.key, keys::NAME_AT)).collect();
            let wanted: Vec<_> = names.iter().map(|name| keys::reference(r, name)).collect();
            let found = rows_at(&*self.inner.kv, &wanted).await?;
            for ((name, key), row) in names.iter().zip(wanted).zip(found) {
                // A branch deleted since the index was read is simply not there.
                let Some(row) = row else { continue };
                if let Some(state) = self.inner.decode_branch(key, &row)? {
                    items.push(Branch { id: name.parse()?, head: state.head, hidden: state.hidden });
                }
            }
            match rows.last() {
                Some(last) if !exhausted && items.len() <= page.amount => {
                    let mut start = last.key.to_vec();
                    start.push(0);
                    range.start = start.into();
                }
                _ => break,
            }
        }
        Ok(crate::repositories::page_of(items, page.amount, |branch| branch.id.to_string()))
    }

    /// Removes a branch with its uncommitted changes.
    #[tracing::instrument(target = SPAN, name = "catalog delete branch", skip_all)]
    pub async fn delete_branch(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        force: bool,
    ) -> Result<(), CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        Inner::check_writable(&repository, force)?;
        if branch.as_str() == repository.default_branch {
            return Err(CatalogError::refused(
                ErrorKind::Forbidden,
                format!("cannot delete repository default branch '{branch}'"),
            ));
        }
        let call = Incarnation::random(&*inner.entropy);
        // The row that an attempt of unknown outcome was to write.
        let mut unsure: Option<Bytes> = None;
        for _ in 0..MOVE_ATTEMPTS {
            if let Some(written) = &unsure
                && let Some(row) = inner.kv.get(written).await?
                && wire::decode::<wire::ReflogRow>(&row.value, "reflog")?.call == call.as_bytes()
            {
                return Ok(());
            }
            let state = inner.branch(&repository, branch).await?;
            let reflog = wire::ReflogRow {
                old_head: state.head.as_bytes().to_vec(),
                operation: "delete branch".to_owned(),
                at_ms: inner.clock.now().millis(),
                call: call.as_bytes().to_vec(),
                ..wire::ReflogRow::default()
            };
            let written = keys::reflog(&state.incarnation, state.sequence + 1);
            let mut transaction = Transaction::new()
                .check(state.key.clone(), Check::Version(state.version))
                .delete(state.key.clone())
                .delete(keys::branch_index(&repository.incarnation, branch.as_str()))
                .put(written.clone(), wire::encode(&reflog));
            for i in 0..inner.kv.limits().gate_spread.max(1) {
                transaction = transaction.delete(keys::gate(&state.gate, i));
            }
            transaction = transaction.put(keys::dead_layer(&state.current), "");
            for (key, value) in dead_rows(&repository.storage_namespace, &state.sealed) {
                transaction = transaction.put(key, value);
            }
            match inner.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    inner.sweep.notify_one();
                    inner.exports.mark(&repository.id);
                    // Left behind it means nothing: the branch's next life has another incarnation.
                    let _ = inner.delete_range(keys::turns(&state.incarnation)).await;
                    return Ok(());
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => unsure = Some(written),
            }
        }
        Err(busy(&format!("delete branch '{branch}'")))
    }

    /// Drops uncommitted changes.
    #[tracing::instrument(target = SPAN, name = "catalog reset branch", skip_all)]
    pub async fn reset_branch(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        target: ResetTarget,
        force: bool,
    ) -> Result<(), CatalogError> {
        let writable = self.inner.writable(repository, branch, force).await?;
        let mask = match target {
            ResetTarget::All => None,
            ResetTarget::Prefix(prefix) if prefix.is_empty() => None,
            ResetTarget::Prefix(prefix) => Some(Mask::Prefix(prefix)),
            ResetTarget::Object(path) => Some(Mask::Path(path.as_str().to_owned())),
        };
        self.inner.reset_layers(&writable.repository, branch, mask).await
    }

    /// Moves the head; uncommitted changes stay.
    #[tracing::instrument(target = SPAN, name = "catalog hard reset", skip_all)]
    pub async fn hard_reset(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        to: &RefExpr,
        force: bool,
    ) -> Result<(), CatalogError> {
        let inner = &self.inner;
        let (named, _) = inner.repository(repository).await?;
        let turn = inner.turn(&named, branch).await?;
        for _ in 0..MOVE_ATTEMPTS {
            let writable = inner.writable(repository, branch, force).await?;
            let target = inner.resolve(&writable.repository, to).await?;
            let publication = Publication {
                from: &writable.state,
                run: &[],
                commit: None,
                changed_paths: None,
                head: target.id,
                operation: "hard reset",
                protected_refused: true,
                joined: &[],
                turn: &turn,
                seen: None,
            };
            if let Published::Done = inner.publish(&writable.repository, branch, &publication).await? {
                return Ok(());
            }
        }
        Err(busy(&format!("hard reset of branch '{branch}'")))
    }
}

impl Inner {
    /// Refuses a name for a new branch or tag that is taken by either, or is the full id of a commit.
    pub(crate) async fn name_is_free(
        &self,
        repository: &Repository,
        name: &str,
        new: &str,
        row: Option<&Versioned>,
    ) -> Result<(), CatalogError> {
        let taken = |message| Err(CatalogError::refused(ErrorKind::AlreadyExists, message));
        if let Some(row) = row {
            let row: wire::RefRow = wire::decode(&row.value, "ref")?;
            return taken(match (row.branch.is_some(), new) {
                (true, "branch") => format!("branch '{name}' already exists: not unique"),
                (true, _) => format!("branch name {name}: conflict found"),
                (false, "tag") => "tag already exists: not unique".to_owned(),
                (false, _) => format!("tag ID {name}: conflict found"),
            });
        }
        if self.names_commit(repository, name).await? {
            return taken(format!("commit ID {name}: conflict found"));
        }
        Ok(())
    }
}
