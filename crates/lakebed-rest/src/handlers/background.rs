//! Commit and merge in the background (`versioning-api` §15.1).

use http::StatusCode;
use lakebed_api::{AsyncTaskStatus, Commit, Merge, MergeResult, TaskInfo};
use lakebed_catalog::{CatalogError, Task, TaskKind, TaskResult, TaskState};
use lakebed_core::ObjectName;

use super::{commits, date_time, merges};
use crate::call::Call;
use crate::error::{RestError, status_of};
use crate::reply::{self, Reply};

/// 202 with a task's id.
pub(super) fn accepted(id: ObjectName) -> Reply {
    reply::json(StatusCode::ACCEPTED, &TaskInfo { id: id.to_string() })
}

/// What a task of the wrong kind would be: a record that does not fit what it was stored for.
pub(super) fn damaged() -> RestError {
    CatalogError::Damaged { what: "task" }.into()
}

/// A task's state as it travels, `result` being what it made.
pub(super) fn status<T>(task: Task, result: Option<T>) -> AsyncTaskStatus<T> {
    let mut shown = AsyncTaskStatus {
        task_id: task.id.to_string(),
        completed: task.state != TaskState::Running,
        update_time: date_time(task.updated),
        result,
        error: None,
        status_code: None,
    };
    if let TaskState::Failed { kind, message } = task.state {
        shown.error = Some(lakebed_api::Error { message });
        shown.status_code = Some(status_of(kind).as_u16());
    }
    shown
}

pub(crate) async fn commit(call: Call, input: commits::NewCommit) -> Reply {
    let request = input.into_request(&call)?;
    accepted(call.catalog().submit_commit(&call.repository()?, &call.branch()?, request).await?)
}

pub(crate) async fn merge(call: Call, wanted: Merge) -> Reply {
    let repository = call.repository()?;
    let source = call.reference("sourceRef")?;
    let destination = call.named("destinationBranch", "branch")?;
    let request = merges::request(&call, wanted)?;
    accepted(call.catalog().submit_merge(&repository, &source, &destination, request).await?)
}

/// The task in the path; one of another branch is unknown here, for the caller was asked about this one.
async fn task(call: &Call, kind: TaskKind, branch: &str) -> Result<Task, RestError> {
    let task = call.catalog().task(&call.repository()?, kind, call.param("id")).await?;
    if task.branch == call.param(branch) {
        return Ok(task);
    }
    Err(RestError::not_found("task not found: it belongs to another branch"))
}

pub(crate) async fn commit_status(call: Call, (): ()) -> Reply {
    let task = task(&call, TaskKind::Commit, "branch").await?;
    let mut made: Option<Commit> = None;
    if let TaskState::Done(result) = &task.state {
        let TaskResult::Commit(id) = result else { return Err(damaged()) };
        made = Some(commits::by_id(&call, id).await?);
    }
    reply::ok(&status(task, made))
}

pub(crate) async fn merge_status(call: Call, (): ()) -> Reply {
    let task = task(&call, TaskKind::Merge, "destinationBranch").await?;
    let mut made = None;
    if let TaskState::Done(result) = &task.state {
        let TaskResult::Commit(id) = result else { return Err(damaged()) };
        made = Some(MergeResult { reference: id.to_hex(), ..MergeResult::default() });
    }
    reply::ok(&status(task, made))
}
