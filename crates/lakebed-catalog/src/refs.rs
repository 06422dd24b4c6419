//! Resolving ref expressions (`versioning-api` §3).

use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::{CommitId, RefExpr, RefModifier, RefStep, RepositoryId};
use lakebed_kv::{KeyRange, Versioned};

use crate::branch_state::BranchState;
use crate::catalog::Inner;
use crate::jumps::{Chains, Pace};
use crate::{Catalog, CatalogError, Commit, ErrorKind, Repository, keys, wire};

/// What the base of a ref expression is.
pub(crate) enum Base {
    /// A branch, as read.
    Branch(Arc<BranchState>),
    /// A tag, a commit id or a prefix of one.
    Commit(CommitId),
}

/// What a ref expression means to an operation that reads objects.
pub(crate) enum Target {
    /// A branch with its staged layers.
    Branch(Arc<BranchState>),
    /// A commit.
    Commit(Arc<Commit>),
}

impl Catalog {
    /// The commit a ref expression means, the committed head for a branch; `$` is refused.
    pub async fn resolve(&self, repository: &RepositoryId, expr: &RefExpr) -> Result<Commit, CatalogError> {
        let inner = &self.inner;
        let base = |repository: &Repository| vec![keys::reference(&repository.incarnation, expr.base())];
        let (repository, _, rows) = inner.repository_with(repository, base).await?;
        let row = rows.first().and_then(Option::as_ref);
        Ok(inner.resolve_in(&repository, expr, row).await?.as_ref().clone())
    }

    /// Whether a name is a branch: for doors that must tell a branch from a tag or commit before writing.
    pub async fn is_branch(&self, repository: &RepositoryId, name: &str) -> Result<bool, CatalogError> {
        let inner = &self.inner;
        let beneath = |repository: &Repository| vec![keys::reference(&repository.incarnation, name)];
        let (repository, _, rows) = inner.repository_with(repository, beneath).await?;
        let Some(row) = rows.into_iter().next().flatten() else { return Ok(false) };
        Ok(inner.decode_branch(keys::reference(&repository.incarnation, name), &row)?.is_some())
    }
}

fn not_found(expr: &str) -> CatalogError {
    CatalogError::refused(ErrorKind::RefNotFound, format!("ref '{expr}': not found"))
}

/// Whether an expression means, of a branch, its working state.
pub(crate) fn is_working_state(expr: &RefExpr) -> bool {
    expr.modifier() == RefModifier::Staged
        || (expr.modifier() == RefModifier::None && expr.steps().is_empty())
}

fn invalid(expr: &RefExpr, why: &str) -> CatalogError {
    CatalogError::refused(ErrorKind::Invalid, format!("ref '{expr}': {why}: validation error"))
}

impl Inner {
    /// The commit with this id.
    pub(crate) async fn commit(
        &self,
        repository: &Repository,
        id: &CommitId,
    ) -> Result<Arc<Commit>, CatalogError> {
        self.find_commit(repository, id)
            .await?
            .ok_or_else(|| CatalogError::refused(ErrorKind::RefNotFound, format!("commit '{id}' not found")))
    }

    pub(crate) async fn find_commit(
        &self,
        repository: &Repository,
        id: &CommitId,
    ) -> Result<Option<Arc<Commit>>, CatalogError> {
        let key = (repository.incarnation, *id);
        if let Some(commit) = self.commits.get(&key) {
            return Ok(Some(commit));
        }
        let Some(row) = self.kv.get(&keys::commit(&repository.incarnation, id)).await? else {
            return Ok(None);
        };
        self.decode_commit(repository, id, &row).map(Some)
    }

    /// A commit's row, decoded and kept.
    pub(crate) fn decode_commit(
        &self,
        repository: &Repository,
        id: &CommitId,
        row: &Versioned,
    ) -> Result<Arc<Commit>, CatalogError> {
        let row: wire::CommitRow = wire::decode(&row.value, "commit")?;
        let commit = Arc::new(row.to_commit()?);
        self.commits.insert((repository.incarnation, *id), commit.clone());
        Ok(commit)
    }

    /// Resolution order: exact commit id, branch, tag, unique commit-id prefix.
    pub(crate) async fn find_base(
        &self,
        repository: &Repository,
        name: &str,
    ) -> Result<Option<Base>, CatalogError> {
        if let Some(id) = self.whole_id(repository, name).await? {
            return Ok(Some(Base::Commit(id)));
        }
        let row = self.kv.get(&keys::reference(&repository.incarnation, name)).await?;
        self.base_in(repository, name, row.as_ref()).await
    }

    /// [`Inner::find_base`], of a name that is no whole commit id, and the row of the ref of this name.
    async fn base_in(
        &self,
        repository: &Repository,
        name: &str,
        row: Option<&Versioned>,
    ) -> Result<Option<Base>, CatalogError> {
        if let Some(row) = row {
            if let Some(branch) = self.decode_branch(keys::reference(&repository.incarnation, name), row)? {
                return Ok(Some(Base::Branch(branch)));
            }
            let row: wire::RefRow = wire::decode(&row.value, "ref")?;
            return Ok(Some(Base::Commit(wire::commit_id(&row.tag)?)));
        }
        Ok(self.commit_by_prefix(repository, name).await?.map(Base::Commit))
    }

    /// The base of an expression that must mean something; `row` is the ref of that name.
    async fn base_of(
        &self,
        repository: &Repository,
        expr: &RefExpr,
        row: Option<&Versioned>,
    ) -> Result<Base, CatalogError> {
        if let Some(id) = self.whole_id(repository, expr.base()).await? {
            return Ok(Base::Commit(id));
        }
        self.base_in(repository, expr.base(), row).await?.ok_or_else(|| not_found(expr.as_str()))
    }

    /// The commit that a name is the whole id of.
    async fn whole_id(&self, repository: &Repository, name: &str) -> Result<Option<CommitId>, CatalogError> {
        let Ok(id) = name.parse::<CommitId>() else { return Ok(None) };
        Ok(self.find_commit(repository, &id).await?.map(|_| id))
    }

    /// The one commit whose id starts with these hex digits; [`ErrorKind::AmbiguousRef`] if there are several.
    async fn commit_by_prefix(
        &self,
        repository: &Repository,
        hex_prefix: &str,
    ) -> Result<Option<CommitId>, CatalogError> {
        let is_prefix = !hex_prefix.is_empty()
            && hex_prefix.len() < 64
            && hex_prefix.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !is_prefix {
            return Ok(None);
        }
        let even = hex_prefix.len() / 2 * 2;
        let mut start = Vec::with_capacity(32);
        for pair in hex_prefix.as_bytes()[..even].chunks(2) {
            start.push(nibble(pair[0]) << 4 | nibble(pair[1]));
        }
        let mut range = KeyRange::prefix(&keys::commits(&repository.incarnation, &start));
        if let Some(odd) = hex_prefix.as_bytes().get(even) {
            let mut first = start.clone();
            first.push(nibble(*odd) << 4);
            range.start = keys::commits(&repository.incarnation, &first);
            if nibble(*odd) < 15 {
                let mut end = start;
                end.push((nibble(*odd) + 1) << 4);
                range.end = Some(keys::commits(&repository.incarnation, &end));
            }
        }
        let found = self.kv.scan(&range, 2).await?;
        match &found[..] {
            [only] => Ok(Some(wire::commit_id(&only.key[keys::NAME_AT..])?)),
            [] => Ok(None),
            _ => Err(CatalogError::refused(
                ErrorKind::AmbiguousRef,
                format!("ref '{hex_prefix}': several commits begin so, it is ambiguous: not found"),
            )),
        }
    }

    /// The commit an expression means; of a branch the committed head.
    pub(crate) async fn resolve(
        &self,
        repository: &Repository,
        expr: &RefExpr,
    ) -> Result<Arc<Commit>, CatalogError> {
        let row = self.kv.get(&keys::reference(&repository.incarnation, expr.base())).await?;
        self.resolve_in(repository, expr, row.as_ref()).await
    }

    /// [`Inner::resolve`], with the row of the ref that has the base's name.
    pub(crate) async fn resolve_in(
        &self,
        repository: &Repository,
        expr: &RefExpr,
        row: Option<&Versioned>,
    ) -> Result<Arc<Commit>, CatalogError> {
        if expr.modifier() == RefModifier::Staged {
            return Err(invalid(expr, "reference to staging area with $ is not a commit"));
        }
        let id = match self.base_of(repository, expr, row).await? {
            Base::Branch(branch) => branch.head,
            Base::Commit(_) if expr.modifier() == RefModifier::Committed => {
                return Err(invalid(expr, "'@' stands behind a branch name"));
            }
            Base::Commit(id) => id,
        };
        self.walk(repository, expr, id).await
    }

    /// [`Inner::target_in`], of the ref as it is now.
    pub(crate) async fn target(
        &self,
        repository: &Repository,
        expr: &RefExpr,
    ) -> Result<Target, CatalogError> {
        let row = self.kv.get(&keys::reference(&repository.incarnation, expr.base())).await?;
        self.target_in(repository, expr, row.as_ref()).await
    }

    /// What an expression means where objects are read: a bare branch name is its working state. `row` is the ref of the
    /// base's name.
    pub(crate) async fn target_in(
        &self,
        repository: &Repository,
        expr: &RefExpr,
        row: Option<&Versioned>,
    ) -> Result<Target, CatalogError> {
        match (self.base_of(repository, expr, row).await?, expr.modifier()) {
            (Base::Branch(branch), _) if is_working_state(expr) => Ok(Target::Branch(branch)),
            (Base::Branch(branch), _) => Ok(Target::Commit(self.walk(repository, expr, branch.head).await?)),
            (Base::Commit(_), RefModifier::Staged | RefModifier::Committed) => {
                Err(invalid(expr, "'@' and '$' stand behind a branch name"))
            }
            (Base::Commit(id), RefModifier::None) => {
                Ok(Target::Commit(self.walk(repository, expr, id).await?))
            }
        }
    }

    /// Follows the expression's steps from a commit.
    async fn walk(
        &self,
        repository: &Repository,
        expr: &RefExpr,
        from: CommitId,
    ) -> Result<Arc<Commit>, CatalogError> {
        let mut commit = self.commit(repository, &from).await?;
        for step in expr.steps() {
            match *step {
                RefStep::Ancestor(generations) => {
                    let (chains, mut pace) = (Chains { inner: self, repository }, Pace::default());
                    let mut left = u64::from(generations);
                    while left > 0 {
                        pace.step();
                        if pace.looks(left) {
                            let (to, passed) = chains.down(&commit, left).await?;
                            pace.passed(passed);
                            if passed > 0 {
                                (commit, left) = (to, left - passed);
                                continue;
                            }
                        }
                        left -= 1;
                        let Some(parent) = commit.parents.first().copied() else {
                            return Err(not_found(expr.as_str()));
                        };
                        commit = self.commit(repository, &parent).await?;
                    }
                }
                RefStep::Parent(0) => {}
                RefStep::Parent(number) => {
                    let parent = usize::try_from(number - 1).ok().and_then(|n| commit.parents.get(n));
                    let Some(parent) = parent.copied() else {
                        return Err(invalid(expr, "the commit has no such parent"));
                    };
                    commit = self.commit(repository, &parent).await?;
                }
            }
        }
        Ok(commit)
    }

    /// Whether a name is the full id of an existing commit: such a name may not become a branch or tag.
    pub(crate) async fn names_commit(
        &self,
        repository: &Repository,
        name: &str,
    ) -> Result<bool, CatalogError> {
        match name.parse::<CommitId>() {
            Ok(id) => Ok(self.find_commit(repository, &id).await?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// The page of names in an index, and whether more follow.
    pub(crate) async fn page_of_names(
        &self,
        index: impl Fn(&str) -> Bytes,
        prefix: &str,
        after: &str,
        amount: usize,
    ) -> Result<Vec<String>, CatalogError> {
        let mut range = KeyRange::prefix(&index(prefix));
        if !after.is_empty() {
            let mut start = index(after).to_vec();
            start.push(0);
            range.start = range.start.max(start.into());
        }
        let rows = self.kv.scan(&range, amount).await?;
        rows.iter()
            .map(|row| {
                keys::name_of(&row.key, keys::NAME_AT)
                    .map(str::to_owned)
                    .ok_or(CatalogError::Damaged { what: "ref index" })
            })
            .collect()
    }
}

fn nibble(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 }
}
