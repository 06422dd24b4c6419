//! Pull requests (`versioning-api` §14).

use http::StatusCode;
use lakebed_api::{
    MergeResult, PullRequestBasic, PullRequestCreation, PullRequestCreationResponse, PullRequestStatus,
};
use lakebed_catalog::{NewPullRequest, PageRequest, PullFilter, PullRequest, PullRequestChange, PullStatus};
use lakebed_core::ObjectName;

use super::{date_time, list, page};
use crate::access;
use crate::call::Call;
use crate::error::RestError;
use crate::idempotency;
use crate::reply::{self, Reply};

fn id(call: &Call) -> Result<ObjectName, RestError> {
    call.param("pull_request")
        .parse()
        .map_err(|error| RestError::bad_request(format!("pull request {error}: validation error")))
}

fn show(pull: PullRequest) -> lakebed_api::PullRequest {
    lakebed_api::PullRequest {
        id: pull.id.to_string(),
        status: match pull.status {
            PullStatus::Open => PullRequestStatus::Open,
            PullStatus::Closed => PullRequestStatus::Closed,
            PullStatus::Merged => PullRequestStatus::Merged,
        },
        title: pull.title,
        description: pull.description,
        author: pull.author,
        creation_date: date_time(pull.created),
        source_branch: pull.source.to_string(),
        destination_branch: pull.destination.to_string(),
        closed_date: pull.closed.map(date_time),
        merged_commit_id: pull.merged.map(lakebed_core::CommitId::to_hex),
    }
}

pub(crate) struct Listing {
    filter: PullFilter,
    page: PageRequest,
}

pub(crate) fn listing(call: &Call) -> Result<Listing, RestError> {
    let filters = [("open", PullFilter::Open), ("closed", PullFilter::Closed), ("all", PullFilter::All)];
    Ok(Listing { filter: call.query().choice("status", &filters)?.unwrap_or_default(), page: page(call)? })
}

pub(crate) async fn list_all(call: Call, listing: Listing) -> Reply {
    let page = call.catalog().list_pull_requests(&call.repository()?, listing.filter, &listing.page).await?;
    reply::ok(&list(page, show))
}

pub(crate) fn creation(_: &Call, wanted: PullRequestCreation) -> Result<PullRequestCreation, RestError> {
    Ok(wanted)
}

pub(crate) async fn create(call: Call, wanted: PullRequestCreation) -> Reply {
    let new = NewPullRequest {
        title: wanted.title,
        description: wanted.description.unwrap_or_default(),
        author: call.principal()?.user_id.clone(),
        source: wanted.source_branch.parse()?,
        destination: wanted.destination_branch.parse()?,
    };
    let pull = call.catalog().create_pull_request(&call.repository()?, new).await?;
    reply::json(StatusCode::CREATED, &PullRequestCreationResponse { id: pull.id.to_string() })
}

pub(crate) async fn get(call: Call, (): ()) -> Reply {
    let pull = call.catalog().pull_request(&call.repository()?, &id(&call)?).await?;
    reply::ok(&show(pull))
}

pub(crate) fn change(_: &Call, wanted: PullRequestBasic) -> Result<PullRequestBasic, RestError> {
    Ok(wanted)
}

pub(crate) async fn update(call: Call, wanted: PullRequestBasic) -> Reply {
    let change = PullRequestChange {
        status: wanted.status.map(|status| match status {
            PullRequestStatus::Open => PullStatus::Open,
            PullRequestStatus::Closed => PullStatus::Closed,
            PullRequestStatus::Merged => PullStatus::Merged,
        }),
        title: wanted.title,
        description: wanted.description,
    };
    call.catalog().update_pull_request(&call.repository()?, &id(&call)?, &change).await?;
    reply::no_content()
}

/// Which branch it merges into is in the pull request: whether the caller may write that is asked here.
pub(crate) async fn merge(call: Call, (): ()) -> Reply {
    let once = idempotency::once(&call, &())?;
    let (repository, id) = (call.repository()?, id(&call)?);
    let pull = call.catalog().pull_request(&repository, &id).await?;
    let needed = access::commit_to(&call, pull.destination.as_str());
    access::decide(call.principal()?, &needed)?;
    match call.catalog().merge_pull_request(&repository, &id, &call.committer()?, once).await {
        Ok(outcome) => {
            reply::ok(&MergeResult { reference: outcome.reference.to_hex(), ..MergeResult::default() })
        }
        Err(error) => match RestError::from(error) {
            // A conflict is described as a merge's result.
            error if error.status == StatusCode::CONFLICT => {
                Err(error.into_merge_form(MergeResult::default()))
            }
            error => Err(error),
        },
    }
}
