//! Deleting, copying, registering objects and their metadata (`api-objects` §5, §6).

use http::StatusCode;
use lakebed_api::{
    ObjectCopyCreation, ObjectError, ObjectErrorList, ObjectStageCreation, PathList, UpdateObjectUserMetadata,
};
use lakebed_auth::AuthError;
use lakebed_catalog::{CatalogError, CopyRequest, EntryDraft, ErrorKind, Precondition};
use lakebed_core::{ObjectPath, Timestamp};

use super::reference;
use super::uploads::written;
use crate::access;
use crate::call::Call;
use crate::error::{RestError, status_of};
use crate::object_json::Show;
use crate::reply::{self, Reply};

/// The most paths of one bulk delete.
const MAX_PATHS: usize = 1000;

pub(crate) struct Delete {
    path: String,
    force: bool,
}

impl Delete {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// `no_tombstone` only says how; what results is the same.
pub(crate) fn delete_input(call: &Call) -> Result<Delete, RestError> {
    let query = call.query();
    query.flag("no_tombstone")?;
    Ok(Delete { path: query.required("path")?, force: query.flag("force")? })
}

pub(crate) async fn delete(call: Call, input: Delete) -> Reply {
    let (repository, branch) = (call.repository()?, call.branch()?);
    let path: ObjectPath = input.path.parse()?;
    call.catalog().delete_object(&repository, &branch, &path, Precondition::None, input.force).await?;
    reply::no_content()
}

pub(crate) struct BulkDelete {
    paths: Vec<String>,
    force: bool,
}

pub(crate) fn bulk_delete_input(call: &Call, list: PathList) -> Result<BulkDelete, RestError> {
    let query = call.query();
    query.flag("no_tombstone")?;
    Ok(BulkDelete { paths: list.paths, force: query.flag("force")? })
}

/// Deletes what may be deleted. Each path that fails is named, in the order of the request; an empty path, and a
/// branch or repository that is not there, have nothing to delete and so nothing to fail.
pub(crate) async fn bulk_delete(call: Call, input: BulkDelete) -> Reply {
    if input.paths.len() > MAX_PATHS {
        return Err(RestError::bad_request(format!(
            "request size exceeded, max paths is set to {MAX_PATHS}"
        )));
    }
    let repository = call.repository()?;
    let branch = call.branch()?;
    let mut failures: Vec<(usize, StatusCode, String)> = Vec::new();
    let mut wanted: Vec<(usize, ObjectPath)> = Vec::with_capacity(input.paths.len());
    for (index, text) in input.paths.iter().enumerate() {
        match call.principal()?.authorize(&access::delete_object(&call, text)) {
            Ok(()) => {}
            Err(denied @ AuthError::Denied { .. }) => {
                failures.push((index, StatusCode::UNAUTHORIZED, denied.to_string()));
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        if text.is_empty() {
            continue;
        }
        match text.parse() {
            Ok(path) => wanted.push((index, path)),
            Err(error) => failures.push((index, StatusCode::BAD_REQUEST, error.to_string())),
        }
    }
    let (indexes, paths): (Vec<usize>, Vec<ObjectPath>) = wanted.into_iter().unzip();
    match call.catalog().delete_objects(&repository, &branch, &paths, input.force).await {
        Ok(results) => {
            for (index, result) in indexes.into_iter().zip(results) {
                if let Err(error) = result {
                    failures.push(failure(index, error));
                }
            }
        }
        Err(error) => match error.kind() {
            ErrorKind::RepositoryNotFound | ErrorKind::BranchNotFound | ErrorKind::NotABranch => {}
            ErrorKind::Protected | ErrorKind::ReadOnly => {
                failures.extend(
                    indexes.into_iter().map(|index| failure(index, CatalogError::refused(error.kind(), ""))),
                );
            }
            _ => return Err(error.into()),
        },
    }
    failures.sort_by_key(|(index, ..)| *index);
    let errors = failures
        .into_iter()
        .map(|(index, status, message)| ObjectError {
            message,
            path: input.paths.get(index).cloned(),
            status_code: status.as_u16(),
        })
        .collect();
    reply::ok(&ObjectErrorList { errors })
}

/// One path's failure. Clients compare these two texts, which the single operations only paraphrase.
fn failure(index: usize, error: CatalogError) -> (usize, StatusCode, String) {
    match error.kind() {
        kind @ ErrorKind::Protected => {
            return (index, status_of(kind), "cannot write to protected branch".to_owned());
        }
        kind @ ErrorKind::ReadOnly => return (index, status_of(kind), "read-only repository".to_owned()),
        _ => {}
    }
    let RestError { status, message, .. } = RestError::from(error);
    (index, status, message)
}

pub(crate) struct Copy {
    pub(crate) destination: String,
    pub(crate) wanted: ObjectCopyCreation,
}

pub(crate) fn copy_input(call: &Call, wanted: ObjectCopyCreation) -> Result<Copy, RestError> {
    Ok(Copy { destination: call.query().required("dest_path")?, wanted })
}

pub(crate) async fn copy(call: Call, input: Copy) -> Reply {
    let Copy { destination, wanted } = input;
    let repository = call.repository()?;
    let source = if wanted.src_ref.is_empty() { call.param("branch") } else { &wanted.src_ref };
    let path: ObjectPath = destination.parse()?;
    let request = CopyRequest {
        source_repository: repository.clone(),
        source_ref: reference(source)?,
        source_path: wanted.src_path.parse()?,
        repository,
        branch: call.branch()?,
        path: path.clone(),
        shallow: wanted.shallow,
        precondition: Precondition::None,
        force: wanted.force,
    };
    let entry = call.catalog().copy_object(request).await?;
    let repository = call.catalog().repository(&call.repository()?).await?;
    written(&repository, path.as_str(), &entry, StatusCode::CREATED, Show::Always)
}

pub(crate) struct MetadataUpdate {
    path: String,
    set: lakebed_api::Metadata,
}

impl MetadataUpdate {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

pub(crate) fn metadata_input(
    call: &Call,
    update: UpdateObjectUserMetadata,
) -> Result<MetadataUpdate, RestError> {
    Ok(MetadataUpdate { path: call.query().required("path")?, set: update.set })
}

pub(crate) async fn set_metadata(call: Call, input: MetadataUpdate) -> Reply {
    let (repository, branch) = (call.repository()?, call.branch()?);
    let path: ObjectPath = input.path.parse()?;
    call.catalog().set_user_metadata(&repository, &branch, &path, input.set, false).await?;
    reply::no_content()
}

/// Whether the caller may write at all; what the branch says is not asked.
pub(crate) async fn stage_allowed(_: Call, _: String) -> Reply {
    reply::no_content()
}

pub(crate) struct Stage {
    pub(crate) path: String,
    pub(crate) wanted: ObjectStageCreation,
}

pub(crate) fn stage_input(call: &Call, wanted: ObjectStageCreation) -> Result<Stage, RestError> {
    Ok(Stage { path: call.query().required("path")?, wanted })
}

pub(crate) async fn stage(call: Call, input: Stage) -> Reply {
    let Stage { path, wanted } = input;
    let repository = call.repository()?;
    let (branch, path): (_, ObjectPath) = (call.branch()?, path.parse()?);
    let ticket =
        call.catalog().begin_write(&repository, &branch, &path, Precondition::None, wanted.force).await?;
    let draft = EntryDraft {
        size: size(wanted.size_bytes)?,
        checksum: wanted.checksum,
        content_type: wanted.content_type,
        metadata: wanted.metadata,
        mtime: wanted.mtime.map(Timestamp::from_secs),
        ..EntryDraft::default()
    };
    let repository = ticket.record().clone();
    let entry = call.catalog().stage_address(ticket, &wanted.physical_address, draft).await?;
    written(&repository, path.as_str(), &entry, StatusCode::CREATED, Show::Never)
}

/// A size as clients send it.
pub(crate) fn size(bytes: i64) -> Result<u64, RestError> {
    u64::try_from(bytes)
        .map_err(|_| RestError::bad_request("size_bytes must not be negative: validation error"))
}
