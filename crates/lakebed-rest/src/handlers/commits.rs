//! Commits, their log, and undoing them (`versioning-api` §8, §9, §12).

use http::{HeaderName, HeaderValue, StatusCode};
use lakebed_api::{CherryPickCreation, CommitCreation, CommitRecordCreation, RevertCreation};
use lakebed_catalog::{Commit, CommitRequest, LogRequest, PickRequest, RevertRequest};
use lakebed_core::{CommitId, NodeId, Timestamp};

use super::{list, reference};
use crate::call::Call;
use crate::error::RestError;
use crate::idempotency;
use crate::reply::{self, Reply};
use crate::service;

/// Names the commit that a revert made, whose answer has no body (ours).
const COMMIT_ID: HeaderName = HeaderName::from_static("x-lakebed-commit-id");

fn show(commit: Commit) -> lakebed_api::Commit {
    lakebed_api::Commit {
        meta_range_id: commit.meta_range_id(),
        committer: commit.committer,
        creation_date: commit.created_secs,
        generation: commit.generation,
        id: commit.id.to_hex(),
        message: commit.message,
        metadata: commit.metadata,
        parents: commit.parents.into_iter().map(CommitId::to_hex).collect(),
        version: commit.version,
    }
}

/// The commit that a task made.
pub(super) async fn by_id(call: &Call, id: &CommitId) -> Result<lakebed_api::Commit, RestError> {
    let commit = call.catalog().resolve(&call.repository()?, &id.to_hex().parse()?).await?;
    Ok(show(commit))
}

pub(crate) struct NewCommit {
    wanted: CommitCreation,
    source_metarange: Option<String>,
}

pub(crate) fn new_commit(call: &Call, wanted: CommitCreation) -> Result<NewCommit, RestError> {
    Ok(NewCommit { wanted, source_metarange: call.query().not_empty("source_metarange")? })
}

impl NewCommit {
    /// As the catalog is asked for it.
    pub(super) fn into_request(self, call: &Call) -> Result<CommitRequest, RestError> {
        let once = idempotency::once(call, &(&self.wanted, &self.source_metarange))?;
        let Self { wanted, source_metarange } = self;
        Ok(CommitRequest {
            message: wanted.message,
            committer: call.committer()?,
            metadata: wanted.metadata,
            date: wanted.date,
            allow_empty: wanted.allow_empty,
            source_metarange,
            force: wanted.force,
            once,
        })
    }
}

pub(crate) async fn commit(call: Call, input: NewCommit) -> Reply {
    let request = input.into_request(&call)?;
    let commit = call.catalog().commit(&call.repository()?, &call.branch()?, request).await?;
    reply::json(StatusCode::CREATED, &show(commit))
}

/// Any ref may be asked for, not only ids.
pub(crate) async fn get(call: Call, (): ()) -> Reply {
    let repository = call.repository()?;
    let text = call.param("commitId");
    // What no name or expression can hold names nothing.
    if text.contains(['/', ':', '?', '*', '[', '\\']) {
        return Err(RestError::not_found("commit not found"));
    }
    let commit = call.catalog().resolve(&repository, &reference(text)?).await?;
    reply::ok(&show(commit))
}

/// A record made elsewhere (replication).
pub(crate) fn record_input(
    _: &Call,
    record: CommitRecordCreation,
) -> Result<CommitRecordCreation, RestError> {
    if !(0..=1).contains(&record.version) {
        return Err(RestError::bad_request("request body has an error: version must be 0 or 1"));
    }
    Ok(record)
}

pub(crate) async fn create_record(call: Call, record: CommitRecordCreation) -> Reply {
    let id = |text: &str| -> Result<CommitId, RestError> {
        text.parse().map_err(|error| RestError::bad_request(format!("commit id: {error}: validation error")))
    };
    let tree =
        match record.metarange_id.as_str() {
            "" => None,
            text => Some(text.parse::<NodeId>().map_err(|error| {
                RestError::bad_request(format!("metarange id: {error}: validation error"))
            })?),
        };
    let commit = Commit {
        id: id(&record.commit_id)?,
        parents: record.parents.iter().map(|parent| id(parent)).collect::<Result<_, _>>()?,
        tree,
        committer: record.committer,
        message: record.message,
        created_secs: record.creation_date,
        created_millis: 0,
        metadata: record.metadata,
        generation: u64::try_from(record.generation)
            .map_err(|_| RestError::bad_request("generation must not be negative: validation error"))?,
        version: record.version as u32,
    };
    call.catalog().create_commit_record(&call.repository()?, commit, record.force).await?;
    reply::no_content()
}

pub(crate) struct Log {
    request: LogRequest,
    stop_at: String,
}

pub(crate) fn log_input(call: &Call) -> Result<Log, RestError> {
    let query = call.query();
    let since = query.text("since")?;
    let since = match since.as_str() {
        "" => None,
        text => Some(text.parse::<jiff::Timestamp>().map_err(|_| {
            RestError::bad_request(format!(
                "parameter \"since\" in query has an error: '{}' is no date and time like 2006-01-02T15:04:05Z",
                text.chars().take(80).collect::<String>()
            ))
        })?),
    };
    Ok(Log {
        request: LogRequest {
            after: query.text("after")?,
            amount: query.amount()?,
            objects: query.list("objects")?,
            prefixes: query.list("prefixes")?,
            first_parent: query.flag("first_parent")?,
            since: since.map(|time| Timestamp::from_millis(time.as_millisecond())),
            stop_at: None,
            limit: query.flag("limit")?,
        },
        stop_at: query.text("stop_at")?,
    })
}

pub(crate) async fn log(call: Call, input: Log) -> Reply {
    log_of(&call, "ref", input).await
}

/// The log of a branch as clients before 0.110 ask for it. To everybody else the path is unknown.
pub(crate) async fn branch_log(call: Call, input: Log) -> Reply {
    if !call.is_legacy_client() {
        return service::unknown_endpoint();
    }
    log_of(&call, "branch", input).await
}

async fn log_of(call: &Call, param: &str, mut input: Log) -> Reply {
    let repository = call.repository()?;
    let reference = call.reference(param)?;
    if !input.stop_at.is_empty() {
        input.request.stop_at = Some(input.stop_at.parse()?);
    }
    let page = call.catalog().log(&repository, &reference, &input.request).await?;
    reply::ok(&list(page, show))
}

pub(crate) async fn revert(call: Call, wanted: RevertCreation) -> Reply {
    let once = idempotency::once(&call, &wanted)?;
    let overrides = wanted.commit_overrides.unwrap_or_default();
    let request = RevertRequest {
        commit: wanted.reference.parse()?,
        parent_number: wanted.parent_number,
        committer: call.committer()?,
        message: overrides.message,
        metadata: overrides.metadata,
        allow_empty: wanted.allow_empty,
        force: wanted.force,
        once,
    };
    let commit = call.catalog().revert(&call.repository()?, &call.branch()?, request).await?;
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    if let Ok(id) = HeaderValue::from_str(&commit.id.to_hex()) {
        response.headers_mut().insert(COMMIT_ID, id);
    }
    Ok(response)
}

pub(crate) async fn cherry_pick(call: Call, wanted: CherryPickCreation) -> Reply {
    let once = idempotency::once(&call, &wanted)?;
    let overrides = wanted.commit_overrides.unwrap_or_default();
    let request = PickRequest {
        commit: wanted.reference.parse()?,
        parent_number: wanted.parent_number,
        committer: call.committer()?,
        message: overrides.message,
        metadata: overrides.metadata,
        force: wanted.force,
        once,
    };
    let commit = call.catalog().cherry_pick(&call.repository()?, &call.branch()?, request).await?;
    reply::json(StatusCode::CREATED, &show(commit))
}
