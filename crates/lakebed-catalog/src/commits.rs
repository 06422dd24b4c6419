//! Making commits (`versioning-api` §8; `protocol.md`, Commit).

use std::sync::Arc;

use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, CommitId, NodeId, RepositoryId, Timestamp};
use lakebed_kv::{Check, Outcome, Transaction};
use lakebed_tree::{Cursor, EditSource, NodeStore};

use crate::branch_state::{BranchState, Sealed};
use crate::catalog::Inner;
use crate::changed_paths::{ChangedPaths, Noted};
use crate::once::Remember;
use crate::publish::{Joined, MOVE_ATTEMPTS, Publication, Published};
use crate::staged_edits::{Replaces, StagedEdits};
use crate::staging::protects;
use crate::turns::{Found, Turn};
use crate::working::{Working, busy, outcome_unknown};
use crate::{Catalog, CatalogError, Commit, CommitRequest, ErrorKind, Repository, keys, wire};

/// The version of a commit's shape that clients see.
pub(crate) const COMMIT_VERSION: u32 = 1;

impl Catalog {
    /// Commits what is staged on a branch.
    pub async fn commit(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: CommitRequest,
    ) -> Result<Commit, CatalogError> {
        self.commit_with(repository, branch, request, None).await
    }

    /// [`Catalog::commit`], together with what joins it.
    #[tracing::instrument(target = SPAN, name = "catalog commit", skip_all)]
    pub(crate) async fn commit_with(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: CommitRequest,
        joined: Option<&dyn Joined>,
    ) -> Result<Commit, CatalogError> {
        let inner = &self.inner;
        let beneath = |repository: &Repository| {
            vec![keys::branch(&repository.incarnation, branch), keys::rules(&repository.birth)]
        };
        let (repository, _, mut rows) = inner.repository_with(repository, beneath).await?;
        let rules = rows.pop().flatten();
        let state = inner.branch_in(&repository, branch, rows.pop().flatten().as_ref()).await?;
        // What has happened has happened, whatever the branch says of it by now.
        if let Some(done) = inner.done_before(&repository, request.once.as_ref()).await? {
            return Ok(inner.commit(&repository, &done.commit).await?.as_ref().clone());
        }
        Inner::check_writable(&repository, request.force)?;
        if protects(rules.as_ref(), branch)? {
            return Err(CatalogError::refused(
                ErrorKind::Protected,
                format!("cannot commit to protected branch '{branch}': merge into it instead"),
            ));
        }
        let turn = inner.turn_here(&repository, branch).await;
        // The cut of a commit before it is this one's, too: it came after this one was called, and nothing is left of it.
        let committed = turn.was_committed(state.incarnation);
        let plain = joined.is_none() && request.once.is_none() && request.source_metarange.is_none();
        if plain && !request.allow_empty && committed.is_some() {
            return Err(no_changes("commit"));
        }
        inner.turn_among_servers(&turn, &repository, branch).await?;
        if let Some(tree) = &request.source_metarange {
            return Box::pin(inner.commit_tree(&repository, branch, &request, tree, joined, &turn)).await;
        }
        if let Some(done) = inner.done_before(&repository, request.once.as_ref()).await? {
            return Ok(inner.commit(&repository, &done.commit).await?.as_ref().clone());
        }
        let remember = Remember::of(request.once.as_ref());
        let once = remember.as_ref().map(|remember| remember as &dyn Joined);
        let joined: Vec<&dyn Joined> = joined.into_iter().chain(once).collect();
        let (come, mut seen, mut run);
        if let Some(before) = committed {
            come = before;
            seen = inner.branch_and_line(&repository, branch, &state.incarnation).await?;
            run = Vec::new();
        } else {
            come = turn.come();
            seen = Box::pin(inner.seal_seen(&repository, branch, state.incarnation)).await?;
            run = seen.state.sealed.clone();
        }
        for _ in 0..MOVE_ATTEMPTS {
            let cut = seen.state.clone();
            let head = inner.commit(&repository, &cut.head).await?;
            let mut changed_paths = ChangedPaths::default();
            let tree = Box::pin(inner.lay_over(&repository, &head, &run, &mut changed_paths)).await?;
            let Some(tree) = tree else {
                // Folded and swept while it was read.
                (seen, run) = inner.cut_anew(&repository, branch, &cut, &run).await?;
                continue;
            };
            let changed = tree != head.tree.unwrap_or_else(lakebed_tree::empty_tree);
            if !changed && !request.allow_empty {
                turn.is_committed(cut.incarnation, come);
                return Err(no_changes("commit"));
            }
            let commit = inner.child(&request, &head, tree);
            let publication = Publication {
                from: &cut,
                run: &run,
                commit: Some(&commit),
                head: commit.id,
                changed_paths: changed_paths.filter(),
                operation: "commit",
                protected_refused: true,
                joined: &joined,
                turn: &turn,
                seen: Some(&seen),
            };
            match Box::pin(inner.publish(&repository, branch, &publication)).await? {
                Published::Done => {
                    turn.is_committed(cut.incarnation, come);
                    inner.commits.insert((repository.incarnation, commit.id), Arc::new(commit.clone()));
                    return Ok(commit);
                }
                Published::Superseded => {
                    let done = inner.done_meanwhile(&repository, request.once.as_ref()).await?;
                    return Ok(inner.commit(&repository, &done.commit).await?.as_ref().clone());
                }
                Published::Moved => {}
            }
            (seen, run) = inner.cut_anew(&repository, branch, &cut, &run).await?;
            if run.is_empty() && !request.allow_empty {
                turn.is_committed(cut.incarnation, come);
                return Err(no_changes("commit"));
            }
        }
        Err(busy(&format!("commit to branch '{branch}'")))
    }

    /// Stores a commit record as given (replication); its id is `commit.id`. Refused if it exists.
    pub async fn create_commit_record(
        &self,
        repository: &RepositoryId,
        commit: Commit,
        force: bool,
    ) -> Result<(), CatalogError> {
        let id = repository;
        for _ in 0..MOVE_ATTEMPTS {
            let (repository, pin) = self.inner.pinned(id).await?;
            Inner::check_writable(&repository, force)?;
            if repository.restoring.is_some() {
                return Err(busy(&format!("repository '{id}' is being restored")));
            }
            self.inner.store_commit(&repository, &commit).await?;
            let key = keys::commit(&repository.incarnation, &commit.id);
            let row = wire::encode(&wire::CommitRow::of(&commit));
            let transaction = Transaction::new()
                .check(pin.0, pin.1)
                .check(key.clone(), Check::Absent)
                .put(key.clone(), row);
            match self.inner.kv.transact(transaction).await? {
                Outcome::Done(_) => return Ok(()),
                Outcome::Refused(refused) if refused == key => {
                    return Err(CatalogError::refused(
                        ErrorKind::AlreadyExists,
                        format!("commit '{}' already exists: not unique", commit.id),
                    ));
                }
                // The repository's record changed: a restore would put another set of commits in place of this one.
                Outcome::Refused(_) => {}
                Outcome::Unknown => break,
            }
        }
        Err(outcome_unknown("create commit record"))
    }
}

/// The milliseconds of a time within its second.
pub(crate) fn millis_of(time: Timestamp) -> u32 {
    time.millis().rem_euclid(1000) as u32
}

/// Nothing to commit or merge.
pub(crate) fn no_changes(what: &str) -> CatalogError {
    CatalogError::refused(ErrorKind::NoChanges, format!("{what}: no changes"))
}

impl Inner {
    /// The head's tree with a run of layers laid over it, its nodes durable. Notes the paths that differ. `None`: a layer
    /// of the run went while it was read, which then does not count.
    pub(crate) async fn lay_over(
        &self,
        repository: &Repository,
        head: &Commit,
        run: &[Sealed],
        changed: &mut ChangedPaths,
    ) -> Result<Option<NodeId>, CatalogError> {
        let base = head.tree.unwrap_or_else(lakebed_tree::empty_tree);
        if run.is_empty() {
            return Ok(Some(base));
        }
        let nodes = self.nodes(repository);
        let edited: Result<_, CatalogError> = async {
            let mut stack = self.stack(repository, None, run);
            stack.seek(b"").await?;
            let walk = Working::new(Some(stack), Cursor::new(nodes.clone(), base));
            let source = StagedEdits { walk, replaces: Replaces::OtherContent };
            let mut changes = Noted { source, changed };
            Ok(lakebed_tree::edit(&*nodes, &base, &mut changes).await?)
        }
        .await;
        // Whether what was read was whole is asked while the nodes become durable.
        let (flushed, stands) = tokio::join!(nodes.flush(), self.run_stands(run));
        if !stands? {
            return Ok(None);
        }
        flushed?;
        Ok(Some(edited?.root))
    }

    /// What a commit that was computed in vain is computed from next. A reset since the cut: what it kept is to be cut
    /// anew. Else what is left of the run counts.
    async fn cut_anew(
        &self,
        repository: &Repository,
        branch: &BranchId,
        cut: &BranchState,
        run: &[Sealed],
    ) -> Result<(Found, Vec<Sealed>), CatalogError> {
        let now = self.branch_and_line(repository, branch, &cut.incarnation).await?;
        if now.state.incarnation != cut.incarnation {
            return Err(CatalogError::refused(
                ErrorKind::BranchNotFound,
                format!("branch '{branch}' not found: it was deleted meanwhile"),
            ));
        }
        if now.state.reset_count == cut.reset_count {
            let run = now.state.remaining_of(run);
            return Ok((now, run));
        }
        let cut = self.seal_seen(repository, branch, cut.incarnation).await?;
        let run = cut.state.sealed.clone();
        Ok((cut, run))
    }

    /// A commit on top of `head` as the request asks.
    fn child(&self, request: &CommitRequest, head: &Commit, tree: NodeId) -> Commit {
        let now = self.clock.now();
        Commit {
            id: head.id,
            parents: vec![head.id],
            tree: Some(tree),
            committer: request.committer.clone(),
            message: request.message.clone(),
            created_secs: request.date.unwrap_or_else(|| now.secs()),
            created_millis: if request.date.is_some() { 0 } else { millis_of(now) },
            metadata: request.metadata.clone(),
            generation: head.generation + 1,
            version: COMMIT_VERSION,
        }
        .seal()
    }

    /// Seals a branch and makes sure that nothing on it is uncommitted: for operations that replace the head's tree.
    /// Layers that change nothing are the run to publish with, so that they cannot hide what comes.
    pub(crate) async fn clean_cut(
        &self,
        repository: &Repository,
        branch: &BranchId,
        what: &str,
    ) -> Result<(Arc<BranchState>, Arc<Commit>), CatalogError> {
        for _ in 0..MOVE_ATTEMPTS {
            let cut = self.seal(repository, branch).await?;
            let head = self.commit(repository, &cut.head).await?;
            if cut.sealed.is_empty() {
                return Ok((cut, head));
            }
            let base = head.tree.unwrap_or_else(lakebed_tree::empty_tree);
            let dirty = async {
                let mut stack = self.stack(repository, None, &cut.sealed);
                stack.seek(b"").await?;
                let walk = Working::new(Some(stack), Cursor::new(self.nodes(repository), base));
                let mut changes = StagedEdits { walk, replaces: Replaces::OtherContent };
                Ok(changes.next().await?.is_some())
            };
            let dirty = dirty.await;
            // Folded and swept while it was read: whether it is clean is not known.
            let Some(dirty) = self.of_run(&cut.sealed, dirty).await? else { continue };
            if dirty {
                return Err(CatalogError::refused(
                    ErrorKind::Dirty,
                    format!(
                        "{what}: uncommitted changes (dirty branch): commit or reset branch '{branch}' first"
                    ),
                ));
            }
            return Ok((cut, head));
        }
        Err(busy(&format!("branch '{branch}'")))
    }

    /// A commit whose content is an existing tree instead of what is staged.
    async fn commit_tree(
        &self,
        repository: &Repository,
        branch: &BranchId,
        request: &CommitRequest,
        tree: &str,
        joined: Option<&dyn Joined>,
        turn: &Turn<'_>,
    ) -> Result<Commit, CatalogError> {
        let root = self.known_tree(repository, tree).await?;
        let remember = Remember::of(request.once.as_ref());
        let once = remember.as_ref().map(|remember| remember as &dyn Joined);
        let joined: Vec<&dyn Joined> = joined.into_iter().chain(once).collect();
        for _ in 0..MOVE_ATTEMPTS {
            if let Some(done) = self.done_before(repository, request.once.as_ref()).await? {
                return Ok(self.commit(repository, &done.commit).await?.as_ref().clone());
            }
            let cut = self.clean_cut(repository, branch, "cannot use source MetaRange").await;
            let (cut, head) = match cut {
                Err(error) if error.kind() == ErrorKind::Dirty => {
                    return Err(CatalogError::refused(
                        ErrorKind::Dirty,
                        "cannot use source MetaRange on a branch with uncommitted changes",
                    ));
                }
                other => other?,
            };
            let commit = self.child(request, &head, root);
            let publication = Publication {
                from: &cut,
                run: &cut.sealed,
                commit: Some(&commit),
                head: commit.id,
                // Nobody has gone through what this changes.
                changed_paths: None,
                operation: "commit",
                protected_refused: true,
                joined: &joined,
                turn,
                seen: None,
            };
            if let Published::Done = self.publish(repository, branch, &publication).await? {
                return Ok(commit);
            }
        }
        Err(busy(&format!("commit to branch '{branch}'")))
    }

    /// A tree named by a client: it must exist in this repository's namespace.
    pub(crate) async fn known_tree(
        &self,
        repository: &Repository,
        hex: &str,
    ) -> Result<NodeId, CatalogError> {
        let unknown = || CatalogError::refused(ErrorKind::NotFound, format!("metarange '{hex}' not found"));
        let root: NodeId = hex.parse().map_err(|_| unknown())?;
        if root == lakebed_tree::empty_tree() {
            return Ok(root);
        }
        let key = format!("_lakebed/tree/{}/{hex}", &hex[..2]);
        let address = lakebed_blocks::BlockAddress::in_namespace(&repository.storage_namespace, &key);
        match self.blocks.head(&address).await {
            Ok(_) => Ok(root),
            Err(lakebed_blocks::BlockError::NotFound(_)) => Err(unknown()),
            Err(error) => Err(error.into()),
        }
    }

    /// A commit id of a fresh root commit: the state every repository starts from.
    pub(crate) fn root_commit(&self) -> Commit {
        let now = self.clock.now();
        Commit {
            id: CommitId::from_bytes([0; 32]),
            parents: Vec::new(),
            tree: None,
            committer: String::new(),
            message: "Repository created".to_owned(),
            created_secs: now.secs(),
            created_millis: millis_of(now),
            metadata: std::collections::BTreeMap::new(),
            generation: 1,
            version: COMMIT_VERSION,
        }
        .seal()
    }
}
