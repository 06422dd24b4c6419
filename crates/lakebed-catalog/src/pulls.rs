//! Pull requests (`versioning-api` §14): a wish to merge one branch into another. It always means the branches' heads
//! of now; only merging it looks at them.

use async_trait::async_trait;
use lakebed_core::{BranchId, CommitId, Entropy, ObjectName, RefExpr, RepositoryId, Timestamp};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction, Versioned, Write};

use crate::catalog::Inner;
use crate::publish::{Joined, MOVE_ATTEMPTS};
use crate::repositories::page_of;
use crate::staging::Along;
use crate::working::busy;
use crate::{
    Catalog, CatalogError, ErrorKind, MergeOutcome, MergeRequest, NewPullRequest, Once, Page, PageRequest,
    PullFilter, PullRequest, PullRequestChange, PullStatus, Repository, keys, wire,
};

/// Rows read at once when a list goes on because some went elsewhere meanwhile.
const SCAN: usize = 1001;

/// The second of the newest name, and how many names it had before. Keeps their order within a second, and when the
/// clock is set back.
#[derive(Default)]
pub(crate) struct PullNames {
    second: i64,
    named: u32,
}

impl PullNames {
    fn fresh(&mut self, now: Timestamp, entropy: &dyn Entropy) -> ObjectName {
        if now.secs() > self.second {
            *self = Self { second: now.secs(), named: 0 };
        }
        let name = ObjectName::descending_nth(Timestamp::from_secs(self.second), self.named, entropy);
        self.named = self.named.wrapping_add(1);
        name
    }
}

fn not_found(id: &ObjectName) -> CatalogError {
    CatalogError::refused(ErrorKind::NotFound, format!("pull request '{id}' not found"))
}

/// Which of the two lists besides "all" a pull request is in.
fn list_of(status: PullStatus) -> keys::PullList {
    match status {
        PullStatus::Open => keys::PullList::Open,
        PullStatus::Closed | PullStatus::Merged => keys::PullList::Closed,
    }
}

impl Catalog {
    /// Opens a pull request; both branches must exist and differ.
    pub async fn create_pull_request(
        &self,
        repository: &RepositoryId,
        new: NewPullRequest,
    ) -> Result<PullRequest, CatalogError> {
        let inner = &self.inner;
        for _ in 0..MOVE_ATTEMPTS {
            let (repository, still_it) = inner.pinned(repository).await?;
            for branch in [&new.source, &new.destination] {
                inner.branch(&repository, branch).await?;
            }
            if new.source == new.destination {
                return Err(CatalogError::refused(
                    ErrorKind::Invalid,
                    "source and destination branches are the same: same branch validation error",
                ));
            }
            let now = inner.clock.now();
            let pull = PullRequest {
                id: inner.pull_names.lock().fresh(now, &*inner.entropy),
                status: PullStatus::Open,
                title: new.title.clone(),
                description: new.description.clone(),
                author: new.author.clone(),
                source: new.source.clone(),
                destination: new.destination.clone(),
                created: now,
                closed: None,
                merged: None,
            };
            let r = &repository.incarnation;
            let key = keys::pull_request(r, &pull.id);
            let transaction = Transaction::new()
                .check(still_it.0, still_it.1)
                .check(key.clone(), Check::Absent)
                .put(key, wire::encode(&wire::PullRow::of(&pull)))
                .put(keys::pull_list(r, keys::PullList::Open, &pull.id.to_string()), "");
            match inner.kv.transact(transaction).await? {
                Outcome::Done(_) => return Ok(pull),
                Outcome::Refused(_) => {}
                Outcome::Unknown => break,
            }
        }
        Err(busy("create pull request"))
    }

    /// A pull request.
    pub async fn pull_request(
        &self,
        repository: &RepositoryId,
        id: &ObjectName,
    ) -> Result<PullRequest, CatalogError> {
        let (repository, _) = self.inner.repository(repository).await?;
        Ok(self.inner.pull_request(&repository, id).await?.0)
    }

    /// Pull requests in the order of their ids: the later second first, within a second as they were opened.
    pub async fn list_pull_requests(
        &self,
        repository: &RepositoryId,
        filter: PullFilter,
        page: &PageRequest,
    ) -> Result<Page<PullRequest>, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        let r = &repository.incarnation;
        let list = match filter {
            PullFilter::All => None,
            PullFilter::Open => Some(keys::PullList::Open),
            PullFilter::Closed => Some(keys::PullList::Closed),
        };
        let (in_list, id_at) = match list {
            None => (keys::pull_requests(r, &page.prefix), keys::NAME_AT),
            Some(list) => (keys::pull_list(r, list, &page.prefix), keys::NAME_AT + 1),
        };
        let mut range = KeyRange::prefix(&in_list);
        if !page.after.is_empty() {
            let behind = match list {
                None => keys::pull_requests(r, &page.after),
                Some(list) => keys::pull_list(r, list, &page.after),
            };
            range.start = range.start.max([&behind[..], &[0]].concat().into());
        }
        let mut items = Vec::new();
        loop {
            let wanted = (page.amount + 1 - items.len()).min(SCAN);
            let rows = inner.kv.scan(&range, wanted).await?;
            let exhausted = rows.len() < wanted;
            let Some(last) = rows.last() else { break };
            range.start = [&last.key[..], &[0]].concat().into();
            let mut ids = Vec::with_capacity(rows.len());
            for row in &rows {
                ids.push(
                    keys::name_of(&row.key, id_at)
                        .and_then(|id| id.parse::<ObjectName>().ok())
                        .ok_or(CatalogError::Damaged { what: "list of pull requests" })?,
                );
            }
            let found: Vec<Option<Versioned>> = if list.is_none() {
                rows.into_iter()
                    .map(|row| Some(Versioned { value: row.value, version: row.version }))
                    .collect()
            } else {
                let wanted: Vec<_> = ids.iter().map(|id| keys::pull_request(r, id)).collect();
                inner.kv.get_many(&wanted).await?
            };
            for (id, row) in ids.iter().zip(found) {
                let Some(row) = row else { continue };
                let pull = wire::decode::<wire::PullRow>(&row.value, "pull request")?.to_pull(*id)?;
                // It may have left the list since the list was read.
                if list.is_none_or(|list| list == list_of(pull.status)) {
                    items.push(pull);
                }
            }
            if exhausted || items.len() > page.amount {
                break;
            }
        }
        Ok(page_of(items, page.amount, |pull| pull.id.to_string()))
    }

    /// Changes title, description or status. Any status may follow any other; a merge is not done here.
    pub async fn update_pull_request(
        &self,
        repository: &RepositoryId,
        id: &ObjectName,
        change: &PullRequestChange,
    ) -> Result<(), CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        for _ in 0..MOVE_ATTEMPTS {
            let (mut pull, row) = inner.pull_request(&repository, id).await?;
            let was = pull.status;
            if let Some(title) = &change.title {
                pull.title.clone_from(title);
            }
            if let Some(description) = &change.description {
                pull.description.clone_from(description);
            }
            if let Some(status) = change.status {
                pull.status = status;
                if status != PullStatus::Open && status != was {
                    pull.closed = Some(inner.clock.now());
                }
            }
            let along = turned(&repository, was, &pull, &row);
            let transaction = Transaction { checks: along.checks, writes: along.writes };
            // Unknown: setting the same again is harmless.
            if let Outcome::Done(_) = inner.kv.transact(transaction).await? {
                return Ok(());
            }
        }
        Err(busy(&format!("pull request '{id}'")))
    }

    /// Merges an open pull request: head and pull request move at one instant.
    pub async fn merge_pull_request(
        &self,
        repository: &RepositoryId,
        id: &ObjectName,
        committer: &str,
        once: Option<Once>,
    ) -> Result<MergeOutcome, CatalogError> {
        let inner = &self.inner;
        let (repository, _) = inner.repository(repository).await?;
        // Before its state is looked at, which was changed by it.
        if let Some(done) = inner.done_before(&repository, once.as_ref()).await? {
            return Ok(MergeOutcome { reference: done.commit, summary: done.summary });
        }
        let (pull, _) = inner.pull_request(&repository, id).await?;
        check_open(&pull)?;
        inner.branch(&repository, &pull.source).await?;
        let source: RefExpr = pull.source.as_str().parse()?;
        let request = MergeRequest { committer: committer.to_owned(), once, ..MergeRequest::default() };
        let turn = MergePull { id };
        inner.merge(&repository, &source, &pull.destination, &request, Some(&turn)).await
    }
}

fn check_open(pull: &PullRequest) -> Result<(), CatalogError> {
    if pull.status == PullStatus::Open {
        return Ok(());
    }
    let status = match pull.status {
        PullStatus::Merged => "merged",
        _ => "closed",
    };
    Err(CatalogError::refused(
        ErrorKind::Invalid,
        format!(
            "pull request '{}' is {status}, only an open one can be merged: bad pull request status",
            pull.id
        ),
    ))
}

/// Writes a pull request that was `was` when `row` was read.
fn turned(repository: &Repository, was: PullStatus, pull: &PullRequest, row: &Versioned) -> Along {
    let r = &repository.incarnation;
    let id = pull.id.to_string();
    let key = keys::pull_request(r, &pull.id);
    let mut along = Along {
        checks: vec![(key.clone(), Check::Version(row.version))],
        writes: vec![(key, Write::Put(wire::encode(&wire::PullRow::of(pull))))],
        ..Along::default()
    };
    let (old, new) = (list_of(was), list_of(pull.status));
    if old != new {
        along.writes.push((keys::pull_list(r, old, &id), Write::Delete));
        along.writes.push((keys::pull_list(r, new, &id), Write::Put("".into())));
    }
    along
}

/// Turns a pull request to merged when its merge is published.
struct MergePull<'a> {
    id: &'a ObjectName,
}

#[async_trait]
impl Joined for MergePull<'_> {
    async fn along(
        &self,
        inner: &Inner,
        repository: &Repository,
        head: &CommitId,
    ) -> Result<Option<Along>, CatalogError> {
        let (mut pull, row) = inner.pull_request(repository, self.id).await?;
        check_open(&pull)?;
        pull.status = PullStatus::Merged;
        pull.closed = Some(inner.clock.now());
        pull.merged = Some(*head);
        Ok(Some(turned(repository, PullStatus::Open, &pull, &row)))
    }
}

impl Inner {
    async fn pull_request(
        &self,
        repository: &Repository,
        id: &ObjectName,
    ) -> Result<(PullRequest, Versioned), CatalogError> {
        let key = keys::pull_request(&repository.incarnation, id);
        let row = self.kv.get(&key).await?.ok_or_else(|| not_found(id))?;
        let pull = wire::decode::<wire::PullRow>(&row.value, "pull request")?.to_pull(*id)?;
        Ok((pull, row))
    }
}

impl wire::PullRow {
    fn of(pull: &PullRequest) -> Self {
        Self {
            status: match pull.status {
                PullStatus::Open => 0,
                PullStatus::Closed => 1,
                PullStatus::Merged => 2,
            },
            title: pull.title.clone(),
            description: pull.description.clone(),
            author: pull.author.clone(),
            source: pull.source.to_string(),
            destination: pull.destination.to_string(),
            created_ms: pull.created.millis(),
            closed_ms: pull.closed.map(Timestamp::millis),
            merged: pull.merged.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        }
    }

    fn to_pull(&self, id: ObjectName) -> Result<PullRequest, CatalogError> {
        let branch = |name: &str| name.parse::<BranchId>();
        Ok(PullRequest {
            id,
            status: match self.status {
                0 => PullStatus::Open,
                1 => PullStatus::Closed,
                2 => PullStatus::Merged,
                _ => return Err(CatalogError::Damaged { what: "pull request" }),
            },
            title: self.title.clone(),
            description: self.description.clone(),
            author: self.author.clone(),
            source: branch(&self.source)?,
            destination: branch(&self.destination)?,
            created: Timestamp::from_millis(self.created_ms),
            closed: self.closed_ms.map(Timestamp::from_millis),
            merged: if self.merged.is_empty() { None } else { Some(wire::commit_id(&self.merged)?) },
        })
    }
}
