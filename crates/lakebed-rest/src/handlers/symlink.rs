//! Symlink manifests (`api-objects` §8): for each directory of a ref one file that lists where its objects' bytes are,
//! for readers that know no versions.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::StatusCode;
use lakebed_api::StorageUri;
use lakebed_blocks::{BlockAddress, BlockError, BodyError, Namespace, PutOptions};
use lakebed_catalog::{Catalog, CatalogError, ListRequest, ListedObject};
use lakebed_core::{RefExpr, RepositoryId};

use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

/// Objects listed at a time.
const PAGE: usize = 1000;

pub(crate) fn location(call: &Call) -> Result<String, RestError> {
    call.query().text("location")
}

/// One directory on its way into a manifest.
struct Directory {
    catalog: Catalog,
    repository: RepositoryId,
    reference: RefExpr,
    namespace: Namespace,
    request: ListRequest,
    done: bool,
    /// Directories found inside it.
    found: Arc<Mutex<Vec<String>>>,
}

impl Directory {
    /// The lines of the next page that has any.
    async fn next_lines(&mut self) -> Result<Option<Bytes>, CatalogError> {
        while !self.done {
            let page = self.catalog.list_objects(&self.repository, &self.reference, &self.request).await?;
            self.done = !page.has_more;
            self.request.after = page.next_offset;
            let mut lines = String::new();
            for item in page.items {
                match item {
                    ListedObject::Prefix(prefix) => {
                        self.found.lock().unwrap_or_else(PoisonError::into_inner).push(prefix);
                    }
                    ListedObject::Object { entry, .. } => {
                        let view = entry.view().ok_or(CatalogError::Damaged { what: "entry" })?;
                        lines.push_str(view.full_address(&self.namespace).as_str());
                        lines.push('\n');
                    }
                }
            }
            if !lines.is_empty() {
                return Ok(Some(lines.into()));
            }
        }
        Ok(None)
    }
}

pub(crate) async fn create(call: Call, location: String) -> Reply {
    let id = call.repository()?;
    let reference = call.reference("branch")?;
    let repository = call.catalog().repository(&id).await?;
    let root = BlockAddress::in_namespace(&repository.storage_namespace, "symlinks");
    // A ref that is not there is found out by the first page.
    let found = Arc::new(Mutex::new(vec![location]));
    loop {
        let next = found.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(prefix) = next else { break };
        let directory = Directory {
            catalog: call.catalog().clone(),
            repository: id.clone(),
            reference: reference.clone(),
            namespace: repository.storage_namespace.clone(),
            request: ListRequest {
                prefix: prefix.clone(),
                after: String::new(),
                delimiter: "/".to_owned(),
                amount: PAGE,
            },
            done: false,
            found: found.clone(),
        };
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let slash = if folder.is_empty() { "" } else { "/" };
        let key = format!("symlinks/{id}/{}/{folder}{slash}symlink.txt", reference.as_str());
        write(directory, &BlockAddress::in_namespace(&repository.storage_namespace, &key)).await?;
    }
    reply::json(StatusCode::CREATED, &StorageUri { location: root.as_str().to_owned() })
}

/// Writes a directory's manifest page by page; a directory without objects of its own gets none.
async fn write(mut directory: Directory, address: &BlockAddress) -> Result<(), RestError> {
    let Some(first) = directory.next_lines().await? else { return Ok(()) };
    let catalog = directory.catalog.clone();
    let rest = stream::unfold(directory, |mut directory| async move {
        match directory.next_lines().await {
            Ok(Some(lines)) => Some((Ok(lines), directory)),
            Ok(None) => None,
            Err(error) => {
                directory.done = true;
                Some((Err(BodyError::Client(Box::new(error))), directory))
            }
        }
    });
    let body = stream::once(async move { Ok(first) }).chain(rest).boxed();
    match catalog.blocks().put(address, body, PutOptions::default()).await {
        Ok(_) => Ok(()),
        Err(BlockError::Body(BodyError::Client(source))) => match source.downcast::<CatalogError>() {
            Ok(error) => Err((*error).into()),
            Err(source) => Err(RestError::internal("symlink manifest", &*source)),
        },
        // Objects may have names that no file can have.
        Err(BlockError::Refused { address, why }) => Err(RestError::bad_request(format!(
            "no manifest can be written to '{}': {why}: name another location: validation error",
            address.as_str()
        ))),
        Err(error) => Err(RestError::internal("symlink manifest", &error)),
    }
}
