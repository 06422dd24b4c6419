//! Preparing garbage collection by a job outside the server (`operations.md` §6.2).

use http::StatusCode;
use lakebed_api::{
    GarbageCollectionPrepareResponse, GarbageCollectionRules, PrepareGCUncommittedRequest,
    PrepareGCUncommittedResponse,
};
use lakebed_blocks::{BlockAddress, PresignedGet};
use lakebed_catalog::{CatalogError, PreparedCommits, RetentionRules, TaskKind, TaskResult, TaskState};

use super::background::{accepted, damaged, status};
use super::settings;
use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

/// The repository's rules; without them there is nothing to prepare.
async fn rules(call: &Call) -> Result<RetentionRules, RestError> {
    let repository = call.repository()?;
    // A read-only repository says so first (recorded).
    call.catalog().check_collectable(&repository).await?;
    let stored = settings::rules_of(call, &repository).await?;
    let rules: GarbageCollectionRules =
        serde_json::from_str(&stored).map_err(|error| RestError::internal("reading rules", &error))?;
    Ok(RetentionRules {
        default_days: rules.default_retention_days,
        branches: rules.branches.into_iter().map(|rule| (rule.branch_id, rule.retention_days)).collect(),
    })
}

async fn show(call: &Call, prepared: PreparedCommits) -> Result<GarbageCollectionPrepareResponse, RestError> {
    let repository = call.catalog().repository(&call.repository()?).await?;
    let store = call.rest.config().store_of(&repository);
    let gc_commits_presigned_url = if store.storage.pre_sign_support {
        let id = repository.storage_namespace.store().clone();
        let address = BlockAddress::in_store(id, prepared.commits_location.clone());
        let life = store.presign_life;
        let signed = call.catalog().blocks().presign_get(&address, &PresignedGet::default(), life).await;
        Some(signed.map_err(|error| RestError::from(CatalogError::from(error)))?)
    } else {
        None
    };
    Ok(GarbageCollectionPrepareResponse {
        run_id: prepared.run,
        gc_commits_location: prepared.commits_location,
        gc_addresses_location: prepared.addresses_location,
        gc_commits_presigned_url,
    })
}

pub(crate) async fn prepare_commits(call: Call, (): ()) -> Reply {
    let rules = rules(&call).await?;
    let prepared = call.catalog().prepare_commits(&call.repository()?, rules).await?;
    reply::json(StatusCode::CREATED, &show(&call, prepared).await?)
}

pub(crate) async fn submit_prepare_commits(call: Call, (): ()) -> Reply {
    let rules = rules(&call).await?;
    accepted(call.catalog().submit_prepare_commits(&call.repository()?, rules).await?)
}

pub(crate) fn task_id(call: &Call) -> Result<String, RestError> {
    call.query().required("id")
}

pub(crate) async fn prepare_commits_status(call: Call, id: String) -> Reply {
    let task = call.catalog().task(&call.repository()?, TaskKind::PrepareCommits, &id).await?;
    let result = match &task.state {
        TaskState::Done(TaskResult::Prepared(prepared)) => Some(show(&call, prepared.clone()).await?),
        TaskState::Done(_) => return Err(damaged()),
        TaskState::Running | TaskState::Failed { .. } => None,
    };
    let mut shown = status(task, result);
    // No part of this status in the description.
    shown.status_code = None;
    reply::ok(&shown)
}

pub(crate) fn uncommitted_input(
    _: &Call,
    wanted: Option<PrepareGCUncommittedRequest>,
) -> Result<Option<String>, RestError> {
    Ok(wanted.and_then(|wanted| wanted.continuation_token).filter(|token| !token.is_empty()))
}

pub(crate) async fn prepare_uncommitted(call: Call, token: Option<String>) -> Reply {
    let page = call.catalog().prepare_staged(&call.repository()?, token.as_deref()).await?;
    reply::json(
        StatusCode::CREATED,
        &PrepareGCUncommittedResponse {
            run_id: page.run,
            gc_uncommitted_location: page.location,
            continuation_token: page.next,
        },
    )
}
