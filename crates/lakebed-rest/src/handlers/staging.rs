//! Client-side upload: addresses and links (`api-objects` §6).

use http::StatusCode;
use lakebed_api::{StagingLocation, StagingMetadata};
use lakebed_catalog::{CatalogError, EntryDraft};
use lakebed_core::{ObjectPath, Timestamp};

use super::object_writes::size;
use super::uploads::{Conditions, written};
use crate::call::Call;
use crate::error::RestError;
use crate::object_json::Show;
use crate::presign;
use crate::reply::{self, Reply};

pub(crate) struct Address {
    path: String,
    presign: bool,
}

impl Address {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

pub(crate) fn address_input(call: &Call) -> Result<Address, RestError> {
    let query = call.query();
    Ok(Address { path: query.required("path")?, presign: query.flag("presign")? })
}

/// An address for a client that writes the bytes itself. Only the repository is looked at: whether the branch takes
/// the object is found out when it is linked.
pub(crate) async fn get_address(call: Call, input: Address) -> Reply {
    let _: ObjectPath = input.path.parse()?;
    let repository = call.repository()?;
    let issued = call.catalog().issue_address(&repository).await?;
    let (mut url, mut until) = (None, None);
    if input.presign {
        let record = call.catalog().repository(&repository).await?;
        presign::supported(&call, &record)?;
        until = Some(presign::until(&call, &record));
        let address = call.catalog().issued_address(&repository, &issued).await?;
        let life = call.rest.config().store_of(&record).presign_life;
        let signed = call.catalog().blocks().presign_put(&address, life).await;
        url = Some(signed.map_err(CatalogError::from)?);
    }
    reply::ok(&StagingLocation {
        physical_address: Some(issued),
        presigned_url_expiry: until,
        presigned_url: url,
        token: call.is_legacy_client().then(String::new),
    })
}

pub(crate) struct Link {
    path: String,
    wanted: StagingMetadata,
    conditions: Conditions,
}

impl Link {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

pub(crate) fn link_input(call: &Call, wanted: StagingMetadata) -> Result<Link, RestError> {
    Ok(Link { path: call.query().required("path")?, wanted, conditions: Conditions::read(call)? })
}

pub(crate) async fn link(call: Call, input: Link) -> Reply {
    let Link { path, wanted, conditions } = input;
    let checksum = wanted.checksum.trim_matches([' ', '"']);
    if checksum.is_empty() {
        return Err(RestError::bad_request("checksum is required"));
    }
    let (repository, branch) = (call.repository()?, call.branch()?);
    let path: ObjectPath = path.parse()?;
    let ticket = call
        .catalog()
        .begin_write(&repository, &branch, &path, conditions.precondition(), wanted.force)
        .await?;
    conditions.check_supported()?;
    let draft = EntryDraft {
        size: size(wanted.size_bytes)?,
        checksum: checksum.to_owned(),
        content_type: if wanted.content_type.is_empty() {
            lakebed_catalog::DEFAULT_CONTENT_TYPE.to_owned()
        } else {
            wanted.content_type
        },
        metadata: wanted.user_metadata,
        mtime: wanted.mtime.map(Timestamp::from_secs),
        ..EntryDraft::default()
    };
    let address = wanted.staging.physical_address.unwrap_or_default();
    let repository = ticket.record().clone();
    let entry = call.catalog().link_address(ticket, &address, draft).await?;
    written(&repository, path.as_str(), &entry, StatusCode::OK, Show::Always)
}
