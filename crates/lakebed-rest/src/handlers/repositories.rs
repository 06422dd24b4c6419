//! Repositories (`versioning-api` §4).

use http::StatusCode;
use lakebed_api::{Metadata, RepositoryCreation, RepositoryMetadataKeys, RepositoryMetadataSet};
use lakebed_catalog::{ErrorKind, NewRepository, PageRequest, Repository};
use lakebed_core::{BranchId, RepositoryId};

use super::{list, page};
use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};
use crate::sample;

const NAMESPACE_SCHEMES: [&str; 7] =
    ["s3://", "gs://", "http://", "https://", "mem://", "local://", "transient://"];

fn show(call: &Call, repository: &Repository) -> lakebed_api::Repository {
    lakebed_api::Repository {
        creation_date: repository.created.secs(),
        default_branch: repository.default_branch.clone(),
        id: repository.id.to_string(),
        read_only: Some(repository.read_only),
        storage_id: call.rest.config().store_of(repository).storage.blockstore_id.clone(),
        storage_namespace: repository.storage_namespace.as_str().to_owned(),
        metadata: None,
    }
}

pub(crate) struct Search {
    page: PageRequest,
    text: String,
}

pub(crate) fn search(call: &Call) -> Result<Search, RestError> {
    call.query().boolean("include_metadata")?;
    Ok(Search { page: page(call)?, text: call.query().text("search")? })
}

pub(crate) async fn list_all(call: Call, search: Search) -> Reply {
    let page = call.catalog().list_repositories(&search.page, &search.text).await?;
    reply::ok(&list(page, |repository| show(&call, &repository)))
}

pub(crate) struct Creation {
    pub(crate) id: RepositoryId,
    pub(crate) bare: bool,
    pub(crate) wanted: RepositoryCreation,
}

pub(crate) fn creation(call: &Call, wanted: RepositoryCreation) -> Result<Creation, RestError> {
    let id = wanted.name.parse()?;
    if !NAMESPACE_SCHEMES.iter().any(|scheme| wanted.storage_namespace.starts_with(scheme)) {
        return Err(RestError::bad_request(format!(
            "storage_namespace '{}' must begin with one of {}",
            wanted.storage_namespace,
            NAMESPACE_SCHEMES.join(", ")
        )));
    }
    Ok(Creation { id, bare: call.query().flag("bare")?, wanted })
}

pub(crate) async fn create(call: Call, creation: Creation) -> Reply {
    let Creation { id, bare, wanted } = creation;
    if !wanted.storage_id.is_empty() && call.rest.config().several.is_empty() {
        return Err(RestError::bad_request(format!(
            "storage id '{}': this server has a single block store, leave it empty: validation error",
            wanted.storage_id
        )));
    }
    let sample = wanted.sample_data && !bare;
    if sample && wanted.read_only {
        return match call.catalog().repository(&id).await {
            Ok(_) => Err(RestError::new(StatusCode::CONFLICT, "error creating repository: not unique")),
            Err(error) if error.kind() == ErrorKind::RepositoryNotFound => Err(RestError::new(
                StatusCode::FORBIDDEN,
                "read-only repository: sample data cannot be written to it",
            )),
            Err(error) => Err(error.into()),
        };
    }
    let default_branch = (!wanted.default_branch.is_empty()).then_some(wanted.default_branch);
    let sample_branch: Option<BranchId> =
        sample.then(|| default_branch.as_deref().unwrap_or("main").parse()).transpose()?;
    let new = NewRepository {
        id: id.clone(),
        storage_namespace: wanted.storage_namespace,
        storage_id: wanted.storage_id,
        default_branch,
        bare,
        read_only: wanted.read_only,
    };
    let repository = call.catalog().create_repository(new).await?;
    if let Some(branch) = sample_branch {
        sample::load_sample_data(call.catalog(), &id, &branch, &call.committer()?).await?;
    }
    let mut shown = show(&call, &repository);
    if bare {
        shown.read_only = None;
    }
    reply::json(StatusCode::CREATED, &shown)
}

pub(crate) async fn get(call: Call, (): ()) -> Reply {
    let repository = call.catalog().repository(&call.repository()?).await?;
    reply::ok(&show(&call, &repository))
}

pub(crate) fn force(call: &Call) -> Result<bool, RestError> {
    call.query().flag("force")
}

/// How a repository is deleted.
pub(crate) struct Deletion {
    force: bool,
    /// With what it wrote into its namespace.
    data: bool,
}

pub(crate) fn deletion(call: &Call) -> Result<Deletion, RestError> {
    Ok(Deletion { force: force(call)?, data: call.query().flag("delete_storage")? })
}

pub(crate) async fn delete(call: Call, deletion: Deletion) -> Reply {
    let (catalog, repository) = (call.catalog(), call.repository()?);
    if deletion.data {
        catalog.delete_repository_and_data(&repository, deletion.force).await?;
    } else {
        catalog.delete_repository(&repository, deletion.force).await?;
    }
    reply::no_content()
}

pub(crate) async fn metadata(call: Call, (): ()) -> Reply {
    let metadata: Metadata = call.catalog().repository_metadata(&call.repository()?).await?;
    reply::ok(&metadata)
}

pub(crate) async fn set_metadata(call: Call, set: RepositoryMetadataSet) -> Reply {
    call.catalog().set_repository_metadata(&call.repository()?, set.metadata).await?;
    reply::no_content()
}

pub(crate) async fn delete_metadata(call: Call, keys: RepositoryMetadataKeys) -> Reply {
    call.catalog().delete_repository_metadata(&call.repository()?, &keys.keys).await?;
    reply::no_content()
}
