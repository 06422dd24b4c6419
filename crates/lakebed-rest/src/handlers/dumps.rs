//! Dump and restore of refs (`versioning-api` §15), and their deprecated forms that are waited for.

use http::StatusCode;
use lakebed_api::{RefsDump, RefsRestore, RepositoryDumpStatus, RepositoryRestoreStatus};
use lakebed_catalog::{DumpedRefs, RestoreRequest, RestoreSource, Task, TaskKind, TaskResult, TaskState};

use super::background::{accepted, damaged};
use super::date_time;
use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

fn show(refs: DumpedRefs) -> RefsDump {
    RefsDump {
        commits_meta_range_id: refs.commits.to_hex(),
        tags_meta_range_id: refs.tags.to_hex(),
        branches_meta_range_id: refs.branches.to_hex(),
    }
}

pub(crate) async fn dump(call: Call, (): ()) -> Reply {
    let dumped = call.catalog().dump(&call.repository()?).await?;
    reply::json(StatusCode::CREATED, &show(dumped))
}

pub(crate) async fn submit_dump(call: Call, (): ()) -> Reply {
    accepted(call.catalog().submit_dump(&call.repository()?).await?)
}

pub(crate) fn restore_input(_: &Call, wanted: RefsRestore) -> Result<RestoreRequest, RestError> {
    let source = match wanted.source.as_deref() {
        None => RestoreSource::Dump {
            commits: wanted.commits_meta_range_id,
            tags: wanted.tags_meta_range_id,
            branches: wanted.branches_meta_range_id,
        },
        Some("bucket") => RestoreSource::Bucket { repository: wanted.repository },
        Some(_) => {
            return Err(RestError::bad_request("source: it must be bucket, or left out: validation error"));
        }
    };
    Ok(RestoreRequest { source, force: wanted.force })
}

pub(crate) async fn restore(call: Call, request: RestoreRequest) -> Reply {
    call.catalog().restore(&call.repository()?, request).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub(crate) async fn submit_restore(call: Call, request: RestoreRequest) -> Reply {
    accepted(call.catalog().submit_restore(&call.repository()?, request).await?)
}

pub(crate) fn task_id(call: &Call) -> Result<String, RestError> {
    call.query().required("task_id")
}

fn error(task: &Task) -> Option<String> {
    match &task.state {
        TaskState::Failed { message, .. } => Some(message.clone()),
        _ => None,
    }
}

pub(crate) async fn dump_status(call: Call, id: String) -> Reply {
    let task = call.catalog().task(&call.repository()?, TaskKind::Dump, &id).await?;
    let refs = match &task.state {
        TaskState::Done(TaskResult::Dump(refs)) => Some(show(*refs)),
        TaskState::Done(_) => return Err(damaged()),
        _ => None,
    };
    reply::ok(&RepositoryDumpStatus {
        id: task.id.to_string(),
        done: task.state != TaskState::Running,
        update_time: date_time(task.updated),
        error: error(&task),
        refs,
    })
}

pub(crate) async fn restore_status(call: Call, id: String) -> Reply {
    let task = call.catalog().task(&call.repository()?, TaskKind::Restore, &id).await?;
    reply::ok(&RepositoryRestoreStatus {
        id: task.id.to_string(),
        done: task.state != TaskState::Running,
        update_time: date_time(task.updated),
        error: error(&task),
    })
}
