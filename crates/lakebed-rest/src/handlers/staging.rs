//! Client-side upload: addresses and links, presigned multipart (`api-objects` §6).

use http::StatusCode;
use lakebed_api::{
    AbortPresignMultipartUpload, CompletePresignMultipartUpload, StagingLocation, StagingMetadata,
    UploadPartCopyFrom, UploadPartFrom,
};
use lakebed_catalog::EntryDraft;
use lakebed_core::{ObjectPath, Timestamp};

use super::object_writes::size;
use super::uploads::{Conditions, written};
use crate::call::Call;
use crate::error::RestError;
use crate::object_json::Show;
use crate::reply::{self, Reply};

/// Characters of the signature at the end of an issued address.
const SIGNATURE_CHARS: usize = 43;

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
    let address = call.catalog().issue_address(&call.repository()?).await?;
    if input.presign {
        // Clients are told beforehand, in the configuration.
        return Err(RestError::bad_request("presigned URLs are not supported by this block store"));
    }
    reply::ok(&StagingLocation {
        physical_address: Some(address),
        presigned_url: None,
        presigned_url_expiry: None,
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
    let entry = call.catalog().link_address(ticket, &address, draft).await?;
    written(&call, path.as_str(), &entry, StatusCode::OK, Show::Always).await
}

/// The object's path, and where in the API the refusal is made: a store that cannot presign parts refuses all of it.
async fn refuse(call: &Call) -> Reply {
    call.catalog().repository(&call.repository()?).await?;
    Err(RestError::not_implemented("presigned multipart uploads are not supported by this block store"))
}

pub(crate) fn create_upload_input(call: &Call) -> Result<String, RestError> {
    call.query().integer("parts")?;
    call.query().required("path")
}

pub(crate) async fn create_upload(call: Call, _: String) -> Reply {
    refuse(&call).await
}

pub(crate) fn complete_upload_input(
    call: &Call,
    _: Option<CompletePresignMultipartUpload>,
) -> Result<String, RestError> {
    call.query().required("path")
}

pub(crate) fn abort_upload_input(
    call: &Call,
    _: Option<AbortPresignMultipartUpload>,
) -> Result<String, RestError> {
    call.query().required("path")
}

pub(crate) struct Part<T> {
    pub(crate) path: String,
    pub(crate) from: T,
}

fn part<T>(call: &Call, from: T) -> Result<Part<T>, RestError> {
    match call.param("partNumber").parse::<i64>() {
        Ok(1..=10_000) => Ok(Part { path: call.query().required("path")?, from }),
        _ => Err(RestError::bad_request(
            "parameter \"partNumber\" in path has an error: it must be a number from 1 to 10000",
        )),
    }
}

pub(crate) fn part_input(call: &Call, from: UploadPartFrom) -> Result<Part<UploadPartFrom>, RestError> {
    part(call, from)
}

pub(crate) fn part_copy_input(
    call: &Call,
    from: UploadPartCopyFrom,
) -> Result<Part<UploadPartCopyFrom>, RestError> {
    if let Some(range) = &from.copy_source.range {
        crate::range::check(range)?;
    }
    part(call, from)
}

/// An address that cannot have been issued is refused before the store is asked what it can do.
async fn refuse_part(call: &Call, address: &str) -> Reply {
    call.catalog().repository(&call.repository()?).await?;
    match address.rsplit_once(',') {
        Some((_, signature)) if signature.len() == SIGNATURE_CHARS => refuse(call).await,
        _ => Err(RestError::bad_request("address is not signed: link address invalid")),
    }
}

pub(crate) async fn upload_part(call: Call, input: Part<UploadPartFrom>) -> Reply {
    refuse_part(&call, &input.from.physical_address).await
}

pub(crate) async fn copy_part(call: Call, input: Part<UploadPartCopyFrom>) -> Reply {
    refuse_part(&call, &input.from.physical_address).await
}
