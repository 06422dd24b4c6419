//! Presigned URLs: clients read and write the store's bytes themselves (`api-objects` §3, §6).

use lakebed_blocks::PresignedGet;
use lakebed_catalog::{CatalogError, EntryView, Repository};

use crate::call::Call;
use crate::disposition;
use crate::error::RestError;

/// Whether the repository's store presigns; clients are told beforehand, in the configuration.
pub(crate) fn supported(call: &Call, repository: &Repository) -> Result<(), RestError> {
    if call.rest.config().store_of(repository).storage.pre_sign_support {
        return Ok(());
    }
    Err(RestError::bad_request("presigned URLs are not supported by this block store"))
}

/// When a URL signed now ends, Unix seconds.
pub(crate) fn until(call: &Call, repository: &Repository) -> i64 {
    let life =
        i64::try_from(call.rest.config().store_of(repository).presign_life.as_secs()).unwrap_or(i64::MAX);
    call.catalog().clock().now().secs().saturating_add(life)
}

/// A URL of an object's bytes; a browser saves them under the object's name.
pub(crate) async fn read(
    call: &Call,
    repository: &Repository,
    path: &str,
    entry: &EntryView<'_>,
) -> Result<String, RestError> {
    let wanted = PresignedGet {
        disposition: disposition::header(entry.content_type(), path).to_str().ok().map(str::to_owned),
        content_type: Some(entry.content_type().to_owned()),
    };
    let address = entry.full_address(&repository.storage_namespace);
    let life = call.rest.config().store_of(repository).presign_life;
    let signed = call.catalog().blocks().presign_get(&address, &wanted, life).await;
    signed.map_err(|error| RestError::from(CatalogError::from(error)))
}
