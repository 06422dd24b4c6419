//! Import (`api-objects` §7).

use http::StatusCode;
use lakebed_api::{Error, ImportCreation, ImportLocationType, ImportStatus};
use lakebed_catalog::{ImportRequest, ImportSource, TaskKind, TaskResult, TaskState};

use super::background::{accepted, damaged};
use super::{commits, date_time};
use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

pub(crate) fn input(_: &Call, import: ImportCreation) -> Result<ImportCreation, RestError> {
    Ok(import)
}

pub(crate) async fn start(call: Call, wanted: ImportCreation) -> Reply {
    let config = call.rest.config();
    // With several stores it is the repository's that counts: it is asked where the import begins.
    if config.several.is_empty() && !config.store.storage.import_support {
        return Err(RestError::new(StatusCode::FORBIDDEN, "import is not supported for this storage"));
    }
    let sources = wanted.paths.into_iter().map(|location| match location.kind {
        ImportLocationType::CommonPrefix => {
            ImportSource::Prefix { address: location.path, under: location.destination }
        }
        ImportLocationType::Object => {
            ImportSource::Object { address: location.path, path: location.destination }
        }
    });
    // The commit is made now, whatever date was asked for (recorded).
    let request = ImportRequest {
        sources: sources.collect(),
        message: wanted.commit.message,
        committer: call.committer()?,
        metadata: wanted.commit.metadata,
        force: wanted.force || wanted.commit.force,
    };
    accepted(call.catalog().submit_import(&call.repository()?, &call.branch()?, request).await?)
}

pub(crate) fn task_id(call: &Call) -> Result<String, RestError> {
    call.query().required("id")
}

/// The branch in the path is not looked at: an id is known to whoever was given it.
pub(crate) async fn status(call: Call, id: String) -> Reply {
    let task = call.catalog().task(&call.repository()?, TaskKind::Import, &id).await?;
    let mut shown = ImportStatus {
        completed: task.state != TaskState::Running,
        update_time: date_time(task.updated),
        ingested_objects: task.progress,
        ..ImportStatus::default()
    };
    match task.state {
        TaskState::Running => {}
        TaskState::Done(TaskResult::Commit(id)) => {
            let commit = commits::by_id(&call, &id).await?;
            shown.metarange_id = Some(commit.meta_range_id.clone());
            shown.commit = Some(commit);
        }
        TaskState::Done(_) => return Err(damaged()),
        TaskState::Failed { message, .. } => shown.error = Some(Error { message }),
    }
    reply::ok(&shown)
}

pub(crate) async fn cancel(call: Call, id: String) -> Reply {
    call.catalog().cancel_import(&call.repository()?, &id).await?;
    reply::no_content()
}
