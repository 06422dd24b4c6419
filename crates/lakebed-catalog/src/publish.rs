//! Seal and publish: the two transactions by which a branch moves (`protocol.md`).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_blocks::{BlockAddress, Namespace, PutOptions};
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, CommitId, Incarnation, LayerId};
use lakebed_kv::{Check, Outcome, Transaction};

use crate::branch_state::{BranchState, Content, Mask, Sealed};
use crate::catalog::Inner;
use crate::staging::Along;
use crate::turns::{Found, Turn};
use crate::working::{busy, outcome_unknown};
use crate::{CatalogError, Commit, ErrorKind, Repository, keys, wire};

/// How often a head-moving operation computes again because something else moved the branch.
pub(crate) const MOVE_ATTEMPTS: usize = 50;

/// More sealed layers than this are folded before another is added.
pub(crate) const MOST_SEALED: usize = 8;

/// What a publish was computed from, and what it brings.
pub(crate) struct Publication<'a> {
    /// The state the result was computed on: head and reset count must still be these.
    pub(crate) from: &'a BranchState,
    /// The run of oldest sealed layers the result contains.
    pub(crate) run: &'a [Sealed],
    /// The new head, made durable here; `None` moves to `head` which exists already.
    pub(crate) commit: Option<&'a Commit>,
    /// The new head's id.
    pub(crate) head: CommitId,
    /// The filter of the paths the commit changed against its only parent, if there is one (`changed_paths.rs`).
    pub(crate) changed_paths: Option<Bytes>,
    /// For the reflog.
    pub(crate) operation: &'static str,
    /// Refuse if the branch is protected by then.
    pub(crate) protected_refused: bool,
    /// What else becomes true at the same instant.
    pub(crate) joined: &'a [&'a dyn Joined],
    /// Whose turn it is.
    pub(crate) turn: &'a Turn<'a>,
    /// What the first try looks at, if it was read with what `from` was made of: it is checked that the record still is the
    /// same, so nothing that it asks of rules and line has been missed.
    pub(crate) seen: Option<&'a Found>,
}

/// Something that becomes true in the very transaction that moves a head: a pull request merged, a task done
/// (`protocol.md`, Publish step 3).
#[async_trait]
pub(crate) trait Joined: Send + Sync {
    /// The checks and writes for a publish of `head`. Asked again before every try, so it must look at its rows anew.
    /// `None`: what the publish is for has happened already. That and an error end the publish, and the head stays.
    async fn along(
        &self,
        inner: &Inner,
        repository: &Repository,
        head: &CommitId,
    ) -> Result<Option<Along>, CatalogError>;
}

/// How a publish ended.
pub(crate) enum Published {
    /// The head is the new commit.
    Done,
    /// Head, reset count or layers are not those computed from: compute again.
    Moved,
    /// What the publish was for has happened already: one that joined it said so.
    Superseded,
}

impl Inner {
    /// Closes the current layer: a fresh gate and a fresh layer, in one transaction (the cut). A layer without rows
    /// stays. Answers the state with everything staged before the call among the sealed layers.
    pub(crate) async fn seal(
        &self,
        repository: &Repository,
        branch: &BranchId,
    ) -> Result<Arc<BranchState>, CatalogError> {
        for _ in 0..MOVE_ATTEMPTS {
            let state = self.branch(repository, branch).await?;
            if let Some(sealed) = self.seal_of(repository, &state).await? {
                return Ok(sealed);
            }
        }
        Err(busy(&format!("branch '{branch}'")))
    }

    /// [`Inner::seal`], with what a publish looks at, read with the record that was sealed. `incarnation` is that of the
    /// branch as it was read last.
    pub(crate) async fn seal_seen(
        &self,
        repository: &Repository,
        branch: &BranchId,
        mut incarnation: Incarnation,
    ) -> Result<Found, CatalogError> {
        for _ in 0..MOVE_ATTEMPTS {
            let found = self.branch_and_line(repository, branch, &incarnation).await?;
            if found.state.incarnation != incarnation {
                // That was another's line.
                incarnation = found.state.incarnation;
                continue;
            }
            if let Some(state) = self.seal_of(repository, &found.state).await? {
                return Ok(found.sealed(state));
            }
        }
        Err(busy(&format!("branch '{branch}'")))
    }

    /// Seals a branch as read, if it still is so and has a place for one more layer; else `None`.
    async fn seal_of(
        &self,
        repository: &Repository,
        state: &Arc<BranchState>,
    ) -> Result<Option<Arc<BranchState>>, CatalogError> {
        if self.has_rows.get(&state.current).is_none() {
            let rows = lakebed_kv::KeyRange::prefix(&keys::row(&state.current, b""));
            if self.kv.scan(&rows, 1).await?.is_empty() {
                // Without rows from the start, or sealed, folded and swept since the record was read?
                let stands = self.kv.get(&keys::layer(&state.current)).await?.is_some();
                return Ok(stands.then(|| state.clone()));
            }
        }
        if state.sealed.len() >= MOST_SEALED {
            self.fold(repository, state).await?;
            return Ok(None);
        }
        let mut next = state.as_ref().clone();
        next.sealed.push(Sealed::rows(state.current));
        self.renew(state, next, Vec::new()).await
    }

    /// Replaces gate and current layer of `old` by fresh ones in `next` and writes it, if the record is still `old`.
    /// `dead` layers go to the sweeper. `None`: the record changed, or the outcome is unknown; read it again (sealing
    /// twice is harmless).
    pub(crate) async fn renew(
        &self,
        old: &BranchState,
        mut next: BranchState,
        dead: Vec<(Bytes, Bytes)>,
    ) -> Result<Option<Arc<BranchState>>, CatalogError> {
        next.gate = Incarnation::random(&*self.entropy);
        next.current = LayerId::random(&*self.entropy);
        let mut transaction = Transaction::new()
            .check(old.key.clone(), Check::Version(old.version))
            .put(old.key.clone(), next.encode())
            .put(keys::layer(&next.current), "");
        for i in 0..self.kv.limits().gate_spread.max(1) {
            transaction = transaction.delete(keys::gate(&old.gate, i)).put(keys::gate(&next.gate, i), "");
        }
        for (key, value) in dead {
            transaction = transaction.put(key, value);
        }
        match self.kv.transact(transaction).await? {
            Outcome::Done(version) => {
                next.version = version;
                Ok(Some(Arc::new(next)))
            }
            Outcome::Refused(_) | Outcome::Unknown => Ok(None),
        }
    }

    /// A barrier: a fresh gate, layers stay. Whoever lands a write afterwards has read the rules after it, and whether the
    /// branch is closed.
    pub(crate) async fn barrier(
        &self,
        repository: &Repository,
        branch: &BranchId,
        closing: Option<Incarnation>,
    ) -> Result<(), CatalogError> {
        for _ in 0..MOVE_ATTEMPTS {
            let Some(state) = self.find_branch(repository, branch.as_str()).await? else {
                return Ok(());
            };
            let mut next = state.as_ref().clone();
            if closing.is_some() {
                if state.closing == closing {
                    return Ok(());
                }
                next.closing = closing;
            }
            next.gate = Incarnation::random(&*self.entropy);
            let mut transaction = Transaction::new()
                .check(state.key.clone(), Check::Version(state.version))
                .put(state.key.clone(), next.encode());
            for i in 0..self.kv.limits().gate_spread.max(1) {
                transaction =
                    transaction.delete(keys::gate(&state.gate, i)).put(keys::gate(&next.gate, i), "");
            }
            if let Outcome::Done(_) = self.kv.transact(transaction).await? {
                return Ok(());
            }
        }
        Err(busy(&format!("branch '{branch}'")))
    }

    /// Drops uncommitted changes: everything, or what a mask covers. One transaction, one instant.
    pub(crate) async fn reset_layers(
        &self,
        repository: &Repository,
        branch: &BranchId,
        mask: Option<Mask>,
    ) -> Result<(), CatalogError> {
        for _ in 0..MOVE_ATTEMPTS {
            let state = self.branch(repository, branch).await?;
            // What was staged as deleted would come back.
            self.check_open(repository, &state).await?;
            if mask.is_some() && state.sealed.len() + 2 > MOST_SEALED {
                self.fold(repository, &state).await?;
                continue;
            }
            let mut next = state.as_ref().clone();
            next.closing = None;
            next.reset_count += 1;
            let dead = match &mask {
                None => {
                    next.sealed.clear();
                    let current = (keys::dead_layer(&state.current), Bytes::new());
                    dead_rows(&repository.storage_namespace, &state.sealed).chain([current]).collect()
                }
                Some(mask) => {
                    next.sealed.push(Sealed::rows(state.current));
                    next.sealed.push(Sealed {
                        id: LayerId::random(&*self.entropy),
                        content: Content::Mask(mask.clone()),
                        inputs: Vec::new(),
                        over: None,
                    });
                    Vec::new()
                }
            };
            if self.renew(&state, next, dead).await?.is_some() {
                self.sweep.notify_one();
                return Ok(());
            }
        }
        Err(busy(&format!("branch '{branch}'")))
    }

    /// Writes a commit as an object, so that the bucket alone is enough to rebuild the repository. Durable when it
    /// answers; must come before the publish and after the commit's nodes.
    pub(crate) async fn store_commit(
        &self,
        repository: &Repository,
        commit: &Commit,
    ) -> Result<(), CatalogError> {
        let key = format!("_lakebed/commits/{}", commit.id);
        let address = BlockAddress::in_namespace(&repository.storage_namespace, &key);
        let bytes = wire::encode(&wire::CommitRow::of(commit));
        self.blocks.put_bytes(&address, bytes, PutOptions::default()).await?;
        Ok(())
    }

    /// Moves the head: the only way it moves. The commit's nodes must be durable.
    #[tracing::instrument(target = SPAN, name = "catalog publish", skip_all)]
    pub(crate) async fn publish(
        &self,
        repository: &Repository,
        branch: &BranchId,
        publication: &Publication<'_>,
    ) -> Result<Published, CatalogError> {
        let Publication {
            from,
            run,
            commit,
            head,
            changed_paths,
            operation,
            protected_refused,
            joined,
            turn,
            seen,
        } = publication;
        let mut seen = seen.cloned();
        let mut jump = None;
        if let Some(commit) = commit {
            // What it is made of is mostly known. Else it is read while the object is written.
            ((), jump) =
                tokio::try_join!(self.store_commit(repository, commit), self.jump_of(repository, commit))?;
        }
        for _ in 0..MOVE_ATTEMPTS {
            let found = match seen.take() {
                Some(found) => found,
                None => self.branch_and_line(repository, branch, &from.incarnation).await?,
            };
            let state = &found.state;
            if state.incarnation != from.incarnation {
                return Err(CatalogError::refused(
                    ErrorKind::BranchNotFound,
                    format!("branch '{branch}' not found: it was deleted meanwhile"),
                ));
            }
            if *protected_refused && found.protected {
                return Err(CatalogError::refused(
                    ErrorKind::Protected,
                    format!("cannot commit to protected branch '{branch}': merge into it instead"),
                ));
            }
            self.check_open(repository, state).await?;
            let sealed = (state.head == from.head && state.reset_count == from.reset_count)
                .then(|| state.without_run(run))
                .flatten();
            let Some(sealed) = sealed else {
                self.overtaken(turn, &state.incarnation).await?;
                return Ok(Published::Moved);
            };
            let gone = &state.sealed[..state.sealed.len() - sealed.len()];
            let mut next = state.as_ref().clone();
            next.closing = None;
            next.head = *head;
            next.sealed = sealed;
            next.sequence += 1;
            let id = Incarnation::random(&*self.entropy);
            let reflog = wire::ReflogRow {
                old_head: state.head.as_bytes().to_vec(),
                new_head: head.as_bytes().to_vec(),
                operation: (*operation).to_owned(),
                at_ms: self.clock.now().millis(),
                ..wire::ReflogRow::default()
            };
            let mut transaction = Transaction::new()
                .check(state.key.clone(), Check::Version(state.version))
                .check(keys::operation(&id), Check::Absent)
                .put(keys::operation(&id), Self::outcome(true))
                .put(keys::expiry(self.clock.now(), &keys::operation(&id)), "")
                .put(state.key.clone(), next.encode())
                .put(keys::reflog(&state.incarnation, next.sequence), wire::encode(&reflog));
            if let Some(commit) = commit {
                let key = keys::commit(&repository.incarnation, &commit.id);
                let trace = wire::TraceRow {
                    changed_paths: changed_paths.as_deref().unwrap_or_default().to_vec(),
                    branch: state.incarnation.as_bytes().to_vec(),
                    sequence: next.sequence,
                };
                transaction = transaction
                    .put(key, wire::encode(&wire::CommitRow::of(commit)))
                    .put(keys::trace(&repository.incarnation, &commit.id), wire::encode(&trace));
                if let Some(jump) = &jump {
                    let key = keys::jump(&repository.incarnation, &commit.id);
                    transaction = transaction.put(key, wire::encode(&jump.to_row()));
                }
            }
            for (key, value) in dead_rows(&repository.storage_namespace, gone) {
                transaction = transaction.put(key, value);
            }
            for joined in *joined {
                let Some(along) = joined.along(self, repository, head).await? else {
                    return Ok(Published::Superseded);
                };
                transaction.checks.extend(along.checks);
                transaction.writes.extend(along.writes);
            }
            let Some(transaction) = turn.end_with(&found, transaction) else {
                self.line_up(turn, &state.incarnation).await?;
                continue;
            };
            let swept = !gone.is_empty();
            let happened = match self.kv.transact(transaction).await? {
                Outcome::Done(_) => true,
                Outcome::Refused(_) => false,
                Outcome::Unknown => self.settle(&id).await?,
            };
            if happened {
                if let Some(commit) = commit {
                    self.jumps.insert((repository.incarnation, commit.id), jump);
                }
                turn.done(&found).await;
                if swept {
                    self.sweep.notify_one();
                }
                self.exports.mark(&repository.id);
                return Ok(Published::Done);
            }
        }
        Err(busy(&format!("branch '{branch}'")))
    }

    /// The value of an `op` row: whether it happened.
    fn outcome(happened: bool) -> Bytes {
        Bytes::from_static(if happened { b"1" } else { b"0" })
    }

    /// Finds out whether a publish of unknown outcome happened; makes sure that it never will if it did not yet.
    async fn settle(&self, id: &Incarnation) -> Result<bool, CatalogError> {
        let key = keys::operation(id);
        for _ in 0..MOVE_ATTEMPTS {
            if let Some(row) = self.kv.get(&key).await? {
                return Ok(row.value.first() == Some(&b'1'));
            }
            let void = Transaction::new()
                .check(key.clone(), Check::Absent)
                .put(key.clone(), Self::outcome(false))
                .put(keys::expiry(self.clock.now(), &key), "");
            if let Outcome::Done(_) = self.kv.transact(void).await? {
                return Ok(false);
            }
        }
        Err(outcome_unknown("publish"))
    }
}

/// The `dead` rows of layers that leave. A layer's tree is found again by the namespace its row remembers.
pub(crate) fn dead_rows<'a>(
    namespace: &'a Namespace,
    layers: &'a [Sealed],
) -> impl Iterator<Item = (Bytes, Bytes)> + use<'a> {
    layers.iter().filter_map(move |layer| match layer.content {
        Content::Rows => Some((keys::dead_layer(&layer.id), Bytes::new())),
        Content::Tree(_) => Some((keys::dead_layer(&layer.id), namespace.encode().into())),
        Content::Mask(_) => None,
    })
}
