//! Staged writes: one transaction that checks that the branch's gate is open and writes the row
//! (`protocol.md`, Staged write).

use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, CommitId, Incarnation, LayerId, ObjectPath, RepositoryId, Timestamp};
use lakebed_kv::{Check, Outcome, Transaction, Versioned, Write};

use crate::branch_state::BranchState;
use crate::catalog::{Inner, repository_not_found};
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
    /// Repository and branch must still be these: a name taken again is another's.
    pub(crate) of: Option<(Incarnation, Incarnation)>,
    pub(crate) checks: Vec<(Raw, Check)>,
    pub(crate) writes: Vec<(Raw, Write)>,
}

/// How a change is staged.
pub(crate) struct StagedWrite<'a> {
    pub(crate) precondition: &'a Precondition,
    /// Write although the repository is read-only.
    pub(crate) force: bool,
    pub(crate) along: &'a Along,
    /// What was read a moment ago: the first try goes on from it.
    pub(crate) begun: Option<Writable>,
}

impl<'a> StagedWrite<'a> {
    pub(crate) fn of(precondition: &'a Precondition, along: &'a Along) -> Self {
        Self { precondition, force: false, along, begun: None }
    }
}

/// A branch that may be written: its record, and at the same instant the rules, as the protocol asks for. A write staged
/// from it is refused if the branch's gate was replaced since, as everybody does who changes what was read.
#[derive(Clone, Debug)]
pub(crate) struct Writable {
    pub(crate) repository: Arc<Repository>,
    pub(crate) state: Arc<BranchState>,
    read: Timestamp,
}

/// How long a write goes on from what it read when it began. A deleted repository's gates are open until they are swept:
/// a body that takes longer to arrive shall not meet one that is long gone.
const FRESH_MILLIS: i64 = 1000;

impl Writable {
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        (0..FRESH_MILLIS).contains(&(now.millis() - self.read.millis()))
    }
}

impl Inner {
    /// Reads a branch for writing; refuses if it is gone, protected or its repository read-only.
    pub(crate) async fn writable(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        force: bool,
    ) -> Result<Writable, CatalogError> {
        let read = self.clock.now();
        let beneath = |repository: &Repository| {
            vec![keys::branch(&repository.incarnation, branch), keys::rules(&repository.birth)]
        };
        let (repository, _, mut rows) = self.repository_with(repository, beneath).await?;
        let rules = rows.pop().flatten();
        let state = self.branch_in(&repository, branch, rows.pop().flatten().as_ref()).await?;
        Self::check_writable(&repository, force)?;
        self.check_open(&repository, &state).await?;
        if protects(rules.as_ref(), branch)? {
            return Err(CatalogError::refused(
                ErrorKind::Protected,
                format!("cannot write to protected branch '{branch}': merge into it instead"),
            ));
        }
        Ok(Writable { repository, state, read })
    }

    /// Whether a protection rule matches the branch.
    pub(crate) async fn is_protected(
        &self,
        repository: &Repository,
        branch: &BranchId,
    ) -> Result<bool, CatalogError> {
        protects(self.kv.get(&keys::rules(&repository.birth)).await?.as_ref(), branch)
    }

    /// Stages one change. With a precondition, or `read_modify`, the record's and the row's versions are checked too,
    /// so that nothing else happened to the path in between.
    ///
    /// `make` is given the path's entry in the working state when the write is conditional, and may be called again.
    #[tracing::instrument(target = SPAN, name = "catalog stage", skip_all)]
    pub(crate) async fn stage(
        &self,
        target: (&RepositoryId, &BranchId, &ObjectPath),
        write: StagedWrite<'_>,
        make: &(dyn Fn(Option<EntryBytes>) -> Result<Change, CatalogError> + Sync),
        read_modify: bool,
    ) -> Result<(), CatalogError> {
        let (named, branch, path) = target;
        let StagedWrite { precondition, force, along, mut begun } = write;
        for _ in 0..WRITE_ATTEMPTS {
            let Writable { repository, state, .. } = match begun.take() {
                Some(begun) => begun,
                None => self.writable(named, branch, force).await?,
            };
            match along.of {
                Some((expected, _)) if expected != repository.incarnation => {
                    return Err(repository_not_found(named));
                }
                Some((_, expected)) if expected != state.incarnation => {
                    return Err(CatalogError::refused(
                        ErrorKind::BranchNotFound,
                        format!("branch '{branch}' not found: it was deleted meanwhile"),
                    ));
                }
                _ => {}
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
                    self.note_staged(&state.current);
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

    /// Remembers that a layer has rows: who seals it need not look.
    fn note_staged(&self, layer: &LayerId) {
        if self.has_rows.get(layer).is_none() {
            self.has_rows.insert(*layer, ());
        }
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
        mut begun: Option<Writable>,
    ) -> Result<(), CatalogError> {
        for _ in 0..WRITE_ATTEMPTS {
            let Writable { state, .. } = match begun.take() {
                Some(begun) => begun,
                None => self.writable(repository, branch, force).await?,
            };
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
                    self.note_staged(&state.current);
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

/// Whether protection rules, as stored, match the branch.
pub(crate) fn protects(rules: Option<&Versioned>, branch: &BranchId) -> Result<bool, CatalogError> {
    rules.map_or(Ok(false), |rules| settings::matches_any(&rules.value, branch))
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
