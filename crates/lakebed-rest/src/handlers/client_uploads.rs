//! Presigned multipart: clients write an object's parts into the store themselves (`api-objects` §6.1).

use http::{HeaderValue, StatusCode, header};
use lakebed_api::{
    AbortPresignMultipartUpload, CompletePresignMultipartUpload, PresignMultipartUpload, UploadPartCopyFrom,
    UploadPartFrom, UploadTo,
};
use lakebed_blocks::StoredPart;
use lakebed_catalog::{CatalogError, EntryDraft, Precondition};
use lakebed_core::ObjectPath;

use super::uploads::written;
use crate::call::Call;
use crate::error::RestError;
use crate::object_json::Show;
use crate::range::{self, Wanted};
use crate::reply::{self, Reply};

/// Characters of the signature at the end of an issued address.
const SIGNATURE_CHARS: usize = 43;

/// The most parts of an upload.
const MAX_PARTS: i64 = 10_000;

/// A store that cannot presign parts refuses all of it.
async fn supported(call: &Call) -> Result<(), RestError> {
    let repository = call.catalog().repository(&call.repository()?).await?;
    if call.rest.config().store_of(&repository).storage.pre_sign_multipart_upload {
        return Ok(());
    }
    Err(RestError::not_implemented("presigned multipart uploads are not supported by this block store"))
}

/// An address that cannot have been issued is refused before the store is asked what it can do.
async fn supported_at(call: &Call, address: &str) -> Result<(), RestError> {
    call.catalog().repository(&call.repository()?).await?;
    match address.rsplit_once(',') {
        Some((_, signature)) if signature.len() == SIGNATURE_CHARS => supported(call).await,
        _ => Err(RestError::bad_request("address is not signed: link address invalid")),
    }
}

async fn part_url(
    call: &Call,
    address: &lakebed_blocks::BlockAddress,
    upload: &str,
    number: u32,
) -> Result<String, RestError> {
    let repository = call.catalog().repository(&call.repository()?).await?;
    let life = call.rest.config().store_of(&repository).presign_life;
    let signed = call.catalog().blocks().presign_part(address, upload, number, life).await;
    Ok(signed.map_err(CatalogError::from)?)
}

pub(crate) struct Creation {
    path: String,
    parts: i64,
}

impl Creation {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

pub(crate) fn create_input(call: &Call) -> Result<Creation, RestError> {
    let parts = call.query().integer("parts")?.unwrap_or(0);
    Ok(Creation { path: call.query().required("path")?, parts })
}

pub(crate) async fn create(call: Call, input: Creation) -> Reply {
    supported(&call).await?;
    let _: ObjectPath = input.path.parse()?;
    if !(0..=MAX_PARTS).contains(&input.parts) {
        return Err(RestError::bad_request(format!(
            "parameter \"parts\" in query has an error: it must be from 0 to {MAX_PARTS}"
        )));
    }
    let begun = call.catalog().begin_client_upload(&call.repository()?, &call.branch()?).await?;
    let mut presigned_urls = Vec::new();
    for number in 1..=input.parts {
        presigned_urls.push(part_url(&call, &begun.address, &begun.upload, number as u32).await?);
    }
    let upload =
        PresignMultipartUpload { upload_id: begun.upload, physical_address: begun.issued, presigned_urls };
    reply::json(StatusCode::CREATED, &upload)
}

pub(crate) struct End<T> {
    path: String,
    body: Option<T>,
}

impl<T> End<T> {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn body(self) -> Result<T, RestError> {
        self.body
            .ok_or_else(|| RestError::bad_request("request body has an error: value is required but missing"))
    }
}

pub(crate) fn end_input<T>(call: &Call, body: Option<T>) -> Result<End<T>, RestError> {
    Ok(End { path: call.query().required("path")?, body })
}

pub(crate) async fn complete(call: Call, input: End<CompletePresignMultipartUpload>) -> Reply {
    supported(&call).await?;
    let path: ObjectPath = input.path.parse()?;
    let wanted = input.body()?;
    let parts = wanted.parts.iter().map(stored_part).collect::<Result<Vec<_>, _>>()?;
    if parts.is_empty() || !parts.is_sorted_by_key(|part| part.number) {
        return Err(RestError::bad_request(
            "parts: name every part once, by ascending part_number: validation error",
        ));
    }
    let ticket = call
        .catalog()
        .begin_write(&call.repository()?, &call.branch()?, &path, Precondition::None, false)
        .await?;
    let content_type = if wanted.content_type.is_empty() {
        lakebed_catalog::DEFAULT_CONTENT_TYPE.to_owned()
    } else {
        wanted.content_type
    };
    let draft = EntryDraft { content_type, metadata: wanted.user_metadata, ..EntryDraft::default() };
    let upload = call.param("uploadId").to_owned();
    let repository = ticket.record().clone();
    let entry = call
        .catalog()
        .complete_client_upload(ticket, &wanted.physical_address, &upload, &parts, draft)
        .await?;
    written(&repository, path.as_str(), &entry, StatusCode::OK, Show::Always)
}

fn stored_part(part: &lakebed_api::UploadPart) -> Result<StoredPart, RestError> {
    match u32::try_from(part.part_number) {
        Ok(number) if (1..=MAX_PARTS).contains(&part.part_number) => {
            // Its size is the store's to know.
            Ok(StoredPart { number, tag: part.etag.trim_matches('"').to_owned(), size: 0 })
        }
        _ => Err(RestError::bad_request(format!(
            "parts: part_number {} must be from 1 to {MAX_PARTS}: validation error",
            part.part_number
        ))),
    }
}

pub(crate) async fn abort(call: Call, input: End<AbortPresignMultipartUpload>) -> Reply {
    supported(&call).await?;
    let address = input.body()?.physical_address;
    call.catalog().abort_client_upload(&call.repository()?, &address, call.param("uploadId")).await?;
    reply::no_content()
}

pub(crate) struct Part<T> {
    pub(crate) path: String,
    number: u32,
    pub(crate) from: T,
}

fn part<T>(call: &Call, from: T) -> Result<Part<T>, RestError> {
    match call.param("partNumber").parse::<i64>() {
        Ok(number @ 1..=MAX_PARTS) => {
            Ok(Part { path: call.query().required("path")?, number: number as u32, from })
        }
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
        range::check(range)?;
    }
    part(call, from)
}

pub(crate) async fn upload_part(call: Call, input: Part<UploadPartFrom>) -> Reply {
    let issued = &input.from.physical_address;
    supported_at(&call, issued).await?;
    let address = call.catalog().issued_address(&call.repository()?, issued).await?;
    let presigned_url = part_url(&call, &address, call.param("uploadId"), input.number).await?;
    reply::ok(&UploadTo { presigned_url })
}

pub(crate) async fn copy_part(call: Call, input: Part<UploadPartCopyFrom>) -> Reply {
    let issued = &input.from.physical_address;
    supported_at(&call, issued).await?;
    let address = call.catalog().issued_address(&call.repository()?, issued).await?;
    let source = &input.from.copy_source;
    let (repository, entry) = call
        .catalog()
        .locate(&source.repository.parse()?, &source.reference.parse()?, &source.path.parse()?)
        .await?;
    let entry = entry.view().ok_or(CatalogError::Damaged { what: "entry" })?.to_entry();
    let range = match source.range.as_deref().map(|range| range::wanted(range, entry.size)) {
        None => None,
        Some(Wanted::Part(part)) => Some(part),
        Some(Wanted::Beyond | Wanted::Senseless) => {
            return Err(RestError::new(StatusCode::RANGE_NOT_SATISFIABLE, "Requested Range Not Satisfiable"));
        }
    };
    let upload = call.param("uploadId");
    let tag =
        call.catalog().copy_client_part((&repository, &entry), range, &address, upload, input.number).await?;
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}
