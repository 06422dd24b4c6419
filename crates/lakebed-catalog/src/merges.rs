//! Merge, revert, cherry-pick (`versioning-api` §11, §12; `protocol.md`, Operations): a three-way merge of trees,
//! published on a branch without uncommitted changes.

use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, NodeId, RefExpr, RepositoryId};
use lakebed_tree::{Identity, NodeStore, ThreeWay};

use crate::branch_state::BranchState;
use crate::catalog::Inner;
use crate::changed_paths::ChangedPaths;
use crate::commits::{COMMIT_VERSION, millis_of, no_changes};
use crate::entry::same_content;
use crate::once::Remember;
use crate::publish::{Joined, MOVE_ATTEMPTS, Publication, Published};
use crate::resolutions::Resolutions;
use crate::turns::Turn;
use crate::working::busy;
use crate::{
    Catalog, CatalogError, Commit, ErrorKind, MergeOutcome, MergeRequest, MergeStrategy, MergeSummary,
    PickRequest, Repository, RevertRequest,
};

/// The metadata key that records the strategy of a merge.
pub(crate) const STRATEGY_KEY: &str = ".lakefs.merge.strategy";

/// Entries count as the same by checksum, content type and user metadata.
struct ByContent;

impl Identity for ByContent {
    fn same(&self, a: &[u8], b: &[u8]) -> bool {
        same_content(a, b)
    }
}

/// A commit to be published.
struct Made<'a> {
    commit: &'a Commit,
    changed_paths: Option<Bytes>,
    operation: &'static str,
}

fn tree(commit: &Commit) -> NodeId {
    commit.tree.unwrap_or_else(lakebed_tree::empty_tree)
}

/// Which parent of a commit an undo or pick refers to.
fn parent_index(commit: &Commit, number: i64) -> Option<usize> {
    let index = usize::try_from(number.max(1) - 1).ok()?;
    (number >= 0 && index < commit.parents.len()).then_some(index)
}

impl Catalog {
    /// Merges the committed state of `source` into a branch.
    pub async fn merge(
        &self,
        repository: &RepositoryId,
        source: &RefExpr,
        destination: &BranchId,
        request: MergeRequest,
    ) -> Result<MergeOutcome, CatalogError> {
        let (repository, _) = self.inner.repository(repository).await?;
        self.inner.merge(&repository, source, destination, &request, None).await
    }

    /// Undoes a commit on a branch.
    #[tracing::instrument(target = SPAN, name = "catalog revert", skip_all)]
    pub async fn revert(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: RevertRequest,
    ) -> Result<Commit, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        inner.branch(&repository, branch).await?;
        // Before the ref is resolved: it may mean something else by now.
        if let Some(done) = inner.done_before(&repository, request.once.as_ref()).await? {
            return Ok(inner.commit(&repository, &done.commit).await?.as_ref().clone());
        }
        let undone = inner.resolve(&repository, &request.commit).await.map_err(|error| {
            if error.kind() == ErrorKind::RefNotFound {
                return CatalogError::refused(
                    ErrorKind::RefNotFound,
                    format!("get commit from ref {}: not found", request.commit),
                );
            }
            error
        })?;
        Inner::check_writable(&repository, request.force)?;
        if undone.parents.len() > 1 && request.parent_number == 0 {
            return Err(CatalogError::refused(
                ErrorKind::Conflict,
                "must specify 1-based parent number for reverting merge commit",
            ));
        }
        let parent = match parent_index(&undone, request.parent_number) {
            Some(index) => Some(undone.parents[index]),
            None if request.parent_number == 0 => None,
            None => return Err(no_such_parent(request.parent_number)),
        };
        let turn = inner.turn(&repository, branch).await?;
        let context = format!("update branch {branch}");
        for _ in 0..MOVE_ATTEMPTS {
            if let Some(done) = inner.done_before(&repository, request.once.as_ref()).await? {
                return Ok(inner.commit(&repository, &done.commit).await?.as_ref().clone());
            }
            let (cut, head) = inner.clean_cut(&repository, branch, &format!("revert on {branch}")).await?;
            let Some(parent) = parent else { return Err(no_changes(&context)) };
            let parent = inner.commit(&repository, &parent).await?;
            let trees = ThreeWay { base: tree(&undone), source: tree(&parent), destination: tree(&head) };
            let mut resolutions = Resolutions::by(MergeStrategy::None);
            let mut changed = ChangedPaths::default();
            let (root, summary) =
                inner.merge_trees(&repository, trees, &mut resolutions, &context, &mut changed).await?;
            if root == tree(&head) && !request.allow_empty {
                return Err(no_changes(&context));
            }
            let message = match request.message.as_str() {
                "" => format!("Revert {}", request.commit),
                message => message.to_owned(),
            };
            // Back at the root commit's state: that it has no tree stays visible.
            let tree = if root == tree(&parent) { parent.tree } else { Some(root) };
            let commit = inner.undo_commit(
                &head,
                tree,
                &request.committer,
                message,
                request.metadata.clone().unwrap_or_default(),
            );
            let remember = Remember::of(request.once.as_ref()).map(|remember| remember.with(summary));
            let joined: Vec<&dyn Joined> = remember.iter().map(|remember| remember as &dyn Joined).collect();
            let made = Made { commit: &commit, changed_paths: changed.filter(), operation: "revert" };
            match inner.publish_clean(&repository, branch, &cut, made, &joined, &turn).await? {
                Published::Done => return Ok(commit),
                Published::Moved | Published::Superseded => {}
            }
        }
        Err(busy(&format!("revert on branch '{branch}'")))
    }

    /// Applies a commit's change to a branch.
    #[tracing::instrument(target = SPAN, name = "catalog cherry-pick", skip_all)]
    pub async fn cherry_pick(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        request: PickRequest,
    ) -> Result<Commit, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        inner.branch(&repository, branch).await?;
        // Before the ref is resolved: it may mean something else by now.
        if let Some(done) = inner.done_before(&repository, request.once.as_ref()).await? {
            return Ok(inner.commit(&repository, &done.commit).await?.as_ref().clone());
        }
        let picked = inner.resolve(&repository, &request.commit).await?;
        Inner::check_writable(&repository, request.force)?;
        let parent = match (picked.parents.len(), request.parent_number) {
            (0, _) => {
                return Err(CatalogError::refused(
                    ErrorKind::Invalid,
                    "cherry-pick of the root commit: it has no parent to compare with: validation error",
                ));
            }
            (2.., None) => {
                return Err(CatalogError::refused(
                    ErrorKind::Invalid,
                    "must specify 1-based parent number for cherry-picking merge commit",
                ));
            }
            (_, None) => picked.parents[0],
            (_, Some(number)) if number >= 1 => match parent_index(&picked, number) {
                Some(index) => picked.parents[index],
                None => return Err(no_such_parent(number)),
            },
            (_, Some(number)) => return Err(no_such_parent(number)),
        };
        let turn = inner.turn(&repository, branch).await?;
        let context = format!("update branch {branch}");
        for _ in 0..MOVE_ATTEMPTS {
            if let Some(done) = inner.done_before(&repository, request.once.as_ref()).await? {
                return Ok(inner.commit(&repository, &done.commit).await?.as_ref().clone());
            }
            let (cut, head) =
                inner.clean_cut(&repository, branch, &format!("cherry-pick on {branch}")).await?;
            let base = inner.tree_of(&repository, &parent).await?;
            if base == tree(&picked) {
                return Err(no_changes(&context));
            }
            let trees = ThreeWay { base, source: tree(&picked), destination: tree(&head) };
            let mut resolutions = Resolutions::by(MergeStrategy::None);
            let mut changed = ChangedPaths::default();
            let (root, summary) =
                inner.merge_trees(&repository, trees, &mut resolutions, &context, &mut changed).await?;
            let message = match request.message.as_str() {
                "" => picked.message.clone(),
                message => message.to_owned(),
            };
            let mut metadata = request.metadata.clone().unwrap_or_else(|| picked.metadata.clone());
            metadata.insert("cherry-pick-origin".to_owned(), picked.id.to_string());
            metadata.insert("cherry-pick-committer".to_owned(), picked.committer.clone());
            let commit = inner.undo_commit(&head, Some(root), &request.committer, message, metadata);
            let remember = Remember::of(request.once.as_ref()).map(|remember| remember.with(summary));
            let joined: Vec<&dyn Joined> = remember.iter().map(|remember| remember as &dyn Joined).collect();
            let made = Made { commit: &commit, changed_paths: changed.filter(), operation: "cherry-pick" };
            match inner.publish_clean(&repository, branch, &cut, made, &joined, &turn).await? {
                Published::Done => return Ok(commit),
                Published::Moved | Published::Superseded => {}
            }
        }
        Err(busy(&format!("cherry-pick on branch '{branch}'")))
    }
}

fn no_such_parent(number: i64) -> CatalogError {
    CatalogError::refused(
        ErrorKind::Invalid,
        format!("given commit does not have the given parent number: parent {number}: validation error"),
    )
}

impl Inner {
    /// Merges the committed state of `source` into a branch, together with what joins it.
    #[tracing::instrument(target = SPAN, name = "catalog merge", skip_all)]
    pub(crate) async fn merge(
        &self,
        repository: &Repository,
        source: &RefExpr,
        destination: &BranchId,
        request: &MergeRequest,
        joined: Option<&dyn Joined>,
    ) -> Result<MergeOutcome, CatalogError> {
        self.branch(repository, destination).await?;
        let again = async || {
            let done = self.done_before(repository, request.once.as_ref()).await?;
            Ok::<_, CatalogError>(
                done.map(|done| MergeOutcome { reference: done.commit, summary: done.summary }),
            )
        };
        // Before the source is resolved: clients delete it once it is merged.
        if let Some(outcome) = again().await? {
            return Ok(outcome);
        }
        let source_commit = self.resolve(repository, source).await?;
        Self::check_writable(repository, request.force)?;
        let mut resolutions = self.resolutions(repository, request).await?;
        let turn = self.turn(repository, destination).await?;
        for _ in 0..MOVE_ATTEMPTS {
            if let Some(outcome) = again().await? {
                return Ok(outcome);
            }
            let (cut, head) =
                self.clean_cut(repository, destination, &format!("merge into {destination}")).await?;
            let base = self.best_common_ancestor(repository, &source_commit, &head).await?;
            let base_tree = base.as_deref().map_or_else(lakebed_tree::empty_tree, tree);
            let is_ancestor = base.as_ref().is_some_and(|base| base.id == source_commit.id);
            let nothing = is_ancestor || base.is_some() && base_tree == tree(&source_commit);
            if nothing && !request.allow_empty {
                return Err(no_changes(&format!("update branch {destination}")));
            }
            let trees = ThreeWay { base: base_tree, source: tree(&source_commit), destination: tree(&head) };
            let context = format!("update branch {destination}");
            let mut changed = ChangedPaths::default();
            let (root, summary) =
                self.merge_trees(repository, trees, &mut resolutions, &context, &mut changed).await?;
            let message = if request.message.is_empty() {
                format!("Merge '{source}' into '{destination}'")
            } else {
                request.message.clone()
            };
            let mut metadata = request.metadata.clone();
            let strategy = match request.strategy {
                MergeStrategy::None => "default",
                MergeStrategy::SourceWins => "source-wins",
                MergeStrategy::DestinationWins => "dest-wins",
            };
            metadata.insert(STRATEGY_KEY.to_owned(), strategy.to_owned());
            let mut parents = vec![head.id];
            if !request.squash {
                parents.push(source_commit.id);
            }
            let now = self.clock.now();
            let commit = Commit {
                id: head.id,
                parents,
                tree: Some(root),
                committer: request.committer.clone(),
                message,
                created_secs: now.secs(),
                created_millis: millis_of(now),
                metadata,
                generation: head.generation.max(source_commit.generation) + 1,
                version: COMMIT_VERSION,
            }
            .seal();
            let remember = Remember::of(request.once.as_ref()).map(|remember| remember.with(summary));
            let once = remember.as_ref().map(|remember| remember as &dyn Joined);
            let joined: Vec<&dyn Joined> = joined.into_iter().chain(once).collect();
            // The log by path never shows a commit of two parents.
            let changed_paths = if request.squash { changed.filter() } else { None };
            let made = Made { commit: &commit, changed_paths, operation: "merge" };
            match self.publish_clean(repository, destination, &cut, made, &joined, &turn).await? {
                Published::Done => return Ok(MergeOutcome { reference: commit.id, summary }),
                Published::Moved | Published::Superseded => {}
            }
        }
        Err(busy(&format!("merge into branch '{destination}'")))
    }

    /// The three-way merge of trees, its nodes durable. Notes the paths it changes in the destination.
    async fn merge_trees(
        &self,
        repository: &Repository,
        trees: ThreeWay<NodeId>,
        resolutions: &mut Resolutions,
        context: &str,
        changed: &mut ChangedPaths,
    ) -> Result<(NodeId, MergeSummary), CatalogError> {
        let nodes = self.nodes(repository);
        resolutions.start();
        let mut resolve = |path: &[u8], sides: ThreeWay<Option<&[u8]>>| resolutions.decide(path, sides);
        let mut note = |path: &[u8]| changed.note(path);
        let merged = lakebed_tree::merge(nodes.clone(), trees, &ByContent, &mut resolve, &mut note).await?;
        resolutions.judge(merged.conflicts, context)?;
        nodes.flush().await?;
        let summary = MergeSummary {
            added: merged.added,
            removed: merged.removed,
            changed: merged.changed,
            conflicts: merged.resolved,
        };
        Ok((merged.root, summary))
    }

    /// A commit by revert or cherry-pick.
    fn undo_commit(
        &self,
        head: &Arc<Commit>,
        tree: Option<NodeId>,
        committer: &str,
        message: String,
        metadata: std::collections::BTreeMap<String, String>,
    ) -> Commit {
        let now = self.clock.now();
        Commit {
            id: head.id,
            parents: vec![head.id],
            tree,
            committer: committer.to_owned(),
            message,
            created_secs: now.secs(),
            created_millis: millis_of(now),
            metadata,
            generation: head.generation + 1,
            version: COMMIT_VERSION,
        }
        .seal()
    }

    /// Publishes on a branch that was clean at the cut. False: moved, compute again.
    async fn publish_clean(
        &self,
        repository: &Repository,
        branch: &BranchId,
        cut: &BranchState,
        made: Made<'_>,
        joined: &[&dyn Joined],
        turn: &Turn<'_>,
    ) -> Result<Published, CatalogError> {
        let publication = Publication {
            from: cut,
            run: &cut.sealed,
            commit: Some(made.commit),
            head: made.commit.id,
            changed_paths: made.changed_paths,
            operation: made.operation,
            // Merges, reverts and picks are how a protected branch is changed.
            protected_refused: false,
            joined,
            turn,
            seen: None,
        };
        self.publish(repository, branch, &publication).await
    }
}
