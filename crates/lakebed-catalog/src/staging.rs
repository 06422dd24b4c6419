//! Staged writes: one transaction that checks that the branch's gate is open and writes the row
//! (`protocol.md`, Staged write).

use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, CommitId, Incarnation, ObjectPath, RepositoryId};
use lakebed_kv::{Check, Outcome, Transaction, Write};

use crate::branch_state::BranchState;
use crate::catalog::Inner;
use crate::entry::EntryView;
use crate::layers::{row_value, row_write};
use crate::requests::Raw;
use crate::working::{busy, outcome_unknown};
use crate::{CatalogError, EntryBytes, ErrorKind, Precondition, Repository, keys, settings};

/// How often a write is tried again because the branch was sealed or changed between its read and its transaction.
const WRITE_ATTEMPTS: usize = 100;

/// What a staged write does to its path.
pub(crate) enum Change {
    /// The path gets this entry.
    Put(EntryBytes),
    /// The path is deleted.
    Delete,
}

/// Further checks and writes that happen in the transaction of a staged write.
#[derive(Default)]
pub(crate) struct Along {
    /// The branch must still be this one: a name taken again is another branch.
    pub(crate) branch: Option<Incarnation>,
    pub(crate) checks: Vec<(Raw, Check)>,
    pub(crate) writes: Vec<(Raw, Write)>,
}

/// A branch that may be written, as read in the order the protocol asks for: record first, then rules.
pub(crate) struct Writable {
    pub(crate) repository: Arc<Repository>,
    pub(crate) state: Arc<BranchState>,
}

impl Inner {
    /// Reads a branch for writing; refuses if it is gone, protected or its repository read-only.
    pub(crate) async fn writable(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        force: bool,
    ) -> Result<Writable, CatalogError> {
        let (repository, _) = self.repository(repository).await?;
        let state = self.branch(&repository, branch).await?;
        Self::check_writable(&repository, force)?;
        self.check_open(&repository, &state).await?;
        if self.is_protected(&repository, branch).await? {
            return Err(CatalogError::refused(
                ErrorKind::Protected,
                format!("cannot write to protected branch '{branch}': merge into it instead"),
            ));
        }
        Ok(Writable { repository, state })
    }

    /// Whether a protection rule matches the branch.
    pub(crate) async fn is_protected(
        &self,
        repository: &Repository,
        branch: &BranchId,
    ) -> Result<bool, CatalogError> {
        let rules = self.kv.get(&keys::rules(&repository.birth)).await?;
        match rules {
            Some(rules) => settings::matches_any(&rules.value, branch),
            None => Ok(false),
        }
    }

    /// Stages one change. With a precondition, or `read_modify`, the record's and the row's versions are checked too,
    /// so that nothing else happened to the path in between.
    ///
    /// `make` is given the path's entry in the working state when the write is conditional, and may be called again.
    #[tracing::instrument(target = SPAN, name = "catalog stage", skip_all)]
    pub(crate) async fn stage(
        &self,
        target: (&RepositoryId, &BranchId, &ObjectPath),
        precondition: &Precondition,
        force: bool,
        along: &Along,
        make: &(dyn Fn(Option<EntryBytes>) -> Result<Change, CatalogError> + Sync),
        read_modify: bool,
    ) -> Result<(), CatalogError> {
        let (repository, branch, path) = target;
        for _ in 0..WRITE_ATTEMPTS {
            let Writable { repository, state } = self.writable(repository, branch, force).await?;
            if along.branch.is_some_and(|expected| expected != state.incarnation) {
                return Err(CatalogError::refused(
                    ErrorKind::BranchNotFound,
                    format!("branch '{branch}' not found: it was deleted meanwhile"),
                ));
            }
            let row = keys::row(&state.current, path.as_bytes());
            let mut transaction = Transaction::new();
            let change = if read_modify || *precondition != Precondition::None {
                let Some((entry, version, _)) =
                    self.working_entry(&repository, &state, path.as_bytes()).await?
                else {
                    continue;
                };
                let entry = entry.map(EntryBytes::from_bytes);
                check_precondition(precondition, entry.as_ref(), path)?;
                // The gate alone is not enough here: a merge changes what exists without touching it.
                transaction = transaction.check(state.key.clone(), Check::Version(state.version));
                transaction = transaction.check(row.clone(), version.map_or(Check::Absent, Check::Version));
                make(entry)?
            } else {
                make(None)?
            };
            let write = self.entropy.next_u64();
            let value = match &change {
                Change::Put(entry) => row_value(write, Some(entry.as_bytes())),
                Change::Delete => row_value(write, None),
            };
            let gate = keys::gate(&state.gate, self.gate_of(path.as_bytes()));
            let mut transaction = transaction.check(gate, Check::Exists).put(row.clone(), value);
            transaction.checks.extend(along.checks.iter().cloned());
            transaction.writes.extend(along.writes.iter().cloned());
            match self.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    if let Change::Delete = change {
                        self.tidy.deleted(&repository.id, branch, &state, 1);
                    }
                    return Ok(());
                }
                Outcome::Refused(key) if along.checks.iter().any(|(checked, _)| *checked == key) => {
                    return Err(CatalogError::refused(
                        ErrorKind::Conflict,
                        format!("'{path}': the upload was changed by another request, try again"),
                    ));
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => return self.find_out(&row, write, path).await,
            }
        }
        Err(busy(&format!("write '{path}'")))
    }

    /// The gate a path's writes check.
    pub(crate) fn gate_of(&self, path: &[u8]) -> u8 {
        let spread = self.kv.limits().gate_spread.max(1);
        if spread == 1 { 0 } else { blake3::hash(path).as_bytes()[0] % spread }
    }

    /// Whether a write whose transaction had an unknown outcome happened: its write id is in the row, or not.
    /// Never sent again (`protocol.md`).
    async fn find_out(&self, row: &Bytes, write: u64, path: &ObjectPath) -> Result<(), CatalogError> {
        let found = self.kv.get(row).await?;
        if found.is_some_and(|row| row_write(&row.value) == Some(write)) {
            return Ok(());
        }
        Err(outcome_unknown(&format!("write '{path}'")))
    }

    /// Stages tombstones for many paths in one transaction, without looking anything up.
    #[tracing::instrument(target = SPAN, name = "catalog stage deletes", skip_all)]
    pub(crate) async fn stage_deletes(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        paths: &[&ObjectPath],
        force: bool,
    ) -> Result<(), CatalogError> {
        for _ in 0..WRITE_ATTEMPTS {
            let Writable { state, .. } = self.writable(repository, branch, force).await?;
            let write = self.entropy.next_u64();
            let mut gates: Vec<u8> = paths.iter().map(|path| self.gate_of(path.as_bytes())).collect();
            gates.sort_unstable();
            gates.dedup();
            let mut transaction = Transaction::new();
            for gate in gates {
                transaction = transaction.check(keys::gate(&state.gate, gate), Check::Exists);
            }
            for path in paths {
                transaction =
                    transaction.put(keys::row(&state.current, path.as_bytes()), row_value(write, None));
            }
            match self.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    self.tidy.deleted(repository, branch, &state, paths.len() as u64);
                    return Ok(());
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => {
                    let Some(path) = paths.first() else { return Ok(()) };
                    let row = keys::row(&state.current, path.as_bytes());
                    return self.find_out(&row, write, path).await;
                }
            }
        }
        Err(busy("delete objects"))
    }

    /// Reads the working state of one path of a branch, restarting when a layer was dropped meanwhile.
    pub(crate) async fn working_entry_of(
        &self,
        repository: &Repository,
        branch: &str,
        path: &ObjectPath,
        state: Arc<BranchState>,
    ) -> Result<Option<EntryBytes>, CatalogError> {
        Ok(self.working_entry_at(repository, branch, path, state).await?.0)
    }

    /// [`Inner::working_entry_of`], and the head it is the same at; `None` of what is staged.
    pub(crate) async fn working_entry_at(
        &self,
        repository: &Repository,
        branch: &str,
        path: &ObjectPath,
        mut state: Arc<BranchState>,
    ) -> Result<(Option<EntryBytes>, Option<CommitId>), CatalogError> {
        for _ in 0..crate::working::READ_ATTEMPTS {
            let found = self.working_entry(repository, &state, path.as_bytes()).await?;
            if let Some((entry, _, of_head)) = found {
                return Ok((entry.map(EntryBytes::from_bytes), of_head.then_some(state.head)));
            }
            let Some(again) = self.find_branch(repository, branch).await? else {
                return Err(CatalogError::refused(
                    ErrorKind::BranchNotFound,
                    format!("branch '{branch}' not found"),
                ));
            };
            state = again;
        }
        Err(busy(&format!("read '{path}'")))
    }
}

/// Whether a precondition holds of what is there.
pub(crate) fn check_precondition(
    precondition: &Precondition,
    entry: Option<&EntryBytes>,
    path: &ObjectPath,
) -> Result<(), CatalogError> {
    let failed = |why: &str| {
        Err(CatalogError::refused(
            ErrorKind::PreconditionFailed,
            format!("'{path}': {why}: precondition failed"),
        ))
    };
    let view: Option<EntryView<'_>> = entry.and_then(EntryBytes::view);
    match (precondition, view) {
        (Precondition::Absent, Some(_)) => failed("an object exists"),
        (Precondition::Differs(etag), Some(view)) if view.checksum == etag => failed("the ETag matches"),
        (Precondition::Matches(etag), Some(view)) if view.checksum != etag => failed("the ETag differs"),
        (Precondition::Size(size), Some(view)) if view.size != *size => failed("the size differs"),
        (Precondition::ModifiedAt(secs), Some(view)) if view.mtime_secs != *secs => {
            failed("the modification time differs")
        }
        (
            Precondition::Matches(_)
            | Precondition::Exists
            | Precondition::Size(_)
            | Precondition::ModifiedAt(_),
            None,
        ) => Err(CatalogError::refused(ErrorKind::ObjectNotFound, format!("object '{path}' not found"))),
        (Precondition::All(all), _) => all.iter().try_for_each(|each| check_precondition(each, entry, path)),
        (Precondition::Any(any), _) => {
            let mut refusal = Ok(());
            for each in any {
                match check_precondition(each, entry, path) {
                    Ok(()) => return Ok(()),
                    Err(error) => refusal = Err(error),
                }
            }
            refusal
        }
        _ => Ok(()),
    }
}
