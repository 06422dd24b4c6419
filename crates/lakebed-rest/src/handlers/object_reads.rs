//! Reading objects: bytes, stat, listings (`api-objects` §3, §4).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use lakebed_api::UnderlyingObjectProperties;
use lakebed_blocks::{BlockError, ByteRange};
use lakebed_catalog::{
    CatalogError, EntryBytes, EntryView, ErrorKind, ListRequest, Listed, ListedObject, Repository,
};
use lakebed_core::{ObjectPath, RefExpr};

use crate::call::Call;
use crate::disposition;
use crate::error::RestError;
use crate::object_json::{self, Place, Show};
use crate::presign;
use crate::range::{self, Wanted};
use crate::reply::{self, Reply};
use lakebed_http::{AnswerBody, http_date};

/// Which object, and how it is wanted.
pub(crate) struct Input {
    path: String,
    range: Option<String>,
    /// The ETag the client knows.
    known: Option<HeaderValue>,
    presign: bool,
    /// Look whether the bytes are still those that were imported.
    verify: bool,
}

impl Input {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

pub(crate) fn input(call: &Call) -> Result<Input, RestError> {
    let input = head_input(call)?;
    let known = call.header(&header::IF_NONE_MATCH).cloned();
    let query = call.query();
    Ok(Input { presign: query.flag("presign")?, verify: query.flag("verify")?, known, ..input })
}

/// A HEAD does not look at `presign`.
pub(crate) fn head_input(call: &Call) -> Result<Input, RestError> {
    let range = match call.header(&header::RANGE) {
        None => None,
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            range::check(text)?;
            Some(text.to_owned())
        }
    };
    Ok(Input { path: call.query().required("path")?, range, known: None, presign: false, verify: false })
}

async fn find(call: &Call, path: &str) -> Result<(Arc<Repository>, ObjectPath, EntryBytes), RestError> {
    let repository = call.repository()?;
    let reference: RefExpr = call.reference("ref")?;
    let path = path.parse()?;
    let (repository, entry) = call.catalog().locate(&repository, &reference, &path).await?;
    Ok((repository, path, entry))
}

fn view(entry: &EntryBytes) -> Result<EntryView<'_>, RestError> {
    entry.view().ok_or_else(|| RestError::from(CatalogError::Damaged { what: "entry" }))
}

/// What GET and HEAD say alike, also of an object whose bytes or range they cannot give.
fn common_headers(entry: &EntryView<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, must-revalidate"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", entry.checksum)) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(modified) = http_date(entry.mtime_secs) {
        headers.insert(header::LAST_MODIFIED, modified);
    }
    headers
}

fn content_range(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("bytes */*"))
}

fn content_type(entry: &EntryView<'_>) -> HeaderValue {
    HeaderValue::from_str(entry.content_type())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

pub(crate) async fn get(call: Call, input: Input) -> Reply {
    let (repository, path, entry) = find(&call, &input.path).await?;
    let entry = view(&entry)?;
    if input.presign {
        presign::supported(&call, &repository)?;
        let url = presign::read(&call, &repository, path.as_str(), &entry).await?;
        let location =
            HeaderValue::from_str(&url).map_err(|error| RestError::internal("presigning", &error))?;
        let mut response = reply::empty(StatusCode::FOUND);
        response.headers_mut().insert(header::LOCATION, location);
        return Ok(response);
    }
    let mut headers = common_headers(&entry);
    if input.known.is_some() && input.known.as_ref() == headers.get(header::ETAG) {
        return Ok(reply::empty(StatusCode::NOT_MODIFIED));
    }
    headers.insert(header::CONTENT_DISPOSITION, disposition::header(entry.content_type(), path.as_str()));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    let part = match input.range.as_deref().map(|range| range::wanted(range, entry.size)) {
        None => None,
        Some(Wanted::Part(part)) => Some(part),
        Some(outside) => return Err(with_headers(not_satisfiable(outside, entry.size), headers)),
    };
    if input.verify {
        call.catalog().verify(&repository, &entry).await?;
    }
    let address = entry.full_address(&repository.storage_namespace);
    // Never more or less than was said: an imported file may have become shorter.
    let whole = ByteRange { start: 0, end: entry.size };
    let stream = match call.catalog().read(&address, Some(part.unwrap_or(whole))).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ObjectGone => {
            return Err(with_headers(RestError::new(StatusCode::GONE, "No data"), headers));
        }
        Err(error) => return Err(error.into()),
    };
    let length = part.map_or(entry.size, |part| part.end - part.start);
    let mut response = Response::new(AnswerBody::stream(stream, length));
    if let Some(part) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), entry.size);
        headers.insert(header::CONTENT_RANGE, content_range(&text));
    }
    headers.insert(header::CONTENT_TYPE, content_type(&entry));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *response.headers_mut() = headers;
    Ok(response)
}

fn not_satisfiable(outside: Wanted, size: u64) -> RestError {
    let error = RestError::new(StatusCode::RANGE_NOT_SATISFIABLE, "Requested Range Not Satisfiable");
    match outside {
        Wanted::Beyond => error.with_header(header::CONTENT_RANGE, content_range(&format!("bytes */{size}"))),
        Wanted::Part(_) | Wanted::Senseless => error,
    }
}

fn with_headers(error: RestError, headers: HeaderMap) -> RestError {
    headers.into_iter().fold(error, |error, (name, value)| match name {
        Some(name) => error.with_header(name, value),
        None => error,
    })
}

/// Answers from the entry alone: whether the bytes are there is found out by a GET.
pub(crate) async fn head(call: Call, input: Input) -> Reply {
    let (_, _, entry) = match find(&call, &input.path).await {
        // Nothing to say, and so nothing of a kind.
        Err(error) if error.status == StatusCode::NOT_FOUND => {
            return Err(RestError::bare(StatusCode::NOT_FOUND));
        }
        found => found?,
    };
    let entry = view(&entry)?;
    let mut response = Response::new(AnswerBody::empty());
    let mut headers = common_headers(&entry);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, content_type(&entry));
    let length = match input.range.as_deref().map(|range| range::wanted(range, entry.size)) {
        None => entry.size,
        Some(Wanted::Part(part)) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), entry.size);
            headers.insert(header::CONTENT_RANGE, content_range(&text));
            part.end - part.start
        }
        Some(Wanted::Beyond | Wanted::Senseless) => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            *response.headers_mut() = headers;
            return Ok(response);
        }
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *response.headers_mut() = headers;
    Ok(response)
}

pub(crate) struct Stat {
    path: String,
    user_metadata: bool,
    presign: bool,
    verify: bool,
}

impl Stat {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

pub(crate) fn stat_input(call: &Call) -> Result<Stat, RestError> {
    let query = call.query();
    Ok(Stat {
        path: query.required("path")?,
        user_metadata: query.boolean("user_metadata")?.unwrap_or(true),
        presign: query.flag("presign")?,
        verify: query.flag("verify")?,
    })
}

pub(crate) async fn stat(call: Call, input: Stat) -> Reply {
    let (repository, path, entry) = find(&call, &input.path).await?;
    if input.presign {
        presign::supported(&call, &repository)?;
    }
    if input.verify {
        call.catalog().verify(&repository, &view(&entry)?).await?;
    }
    let show = if input.user_metadata { Show::Always } else { Show::Emptied };
    let mut out = Vec::with_capacity(384 + path.as_bytes().len());
    let view = view(&entry)?;
    if input.presign {
        let until = presign::until(&call, &repository);
        let url = presign::read(&call, &repository, path.as_str(), &view).await?;
        object_json::object(&mut out, path.as_str(), &view, Place::Url(&url, until), show)?;
    } else {
        let place = Place::In(repository.storage_namespace.as_str());
        object_json::object(&mut out, path.as_str(), &view, place, show)?;
    }
    Ok(reply::raw_json(StatusCode::OK, out))
}

/// No store here has storage classes; but the object must be there.
pub(crate) async fn underlying_properties(call: Call, path: String) -> Reply {
    let (repository, _, entry) = find(&call, &path).await?;
    let address = view(&entry)?.full_address(&repository.storage_namespace);
    match call.catalog().blocks().head(&address).await {
        Ok(_) => reply::ok(&UnderlyingObjectProperties::default()),
        // Also an address that a client registered and this store has no place for.
        Err(BlockError::NotFound(_) | BlockError::Refused { .. }) => {
            Err(RestError::new(StatusCode::GONE, "No data"))
        }
        Err(error) => Err(RestError::internal("underlying properties", &error)),
    }
}

/// The object's path alone.
pub(crate) fn path(call: &Call) -> Result<String, RestError> {
    call.query().required("path")
}

pub(crate) struct Listing {
    request: ListRequest,
    user_metadata: bool,
    presign: bool,
}

pub(crate) fn listing(call: &Call) -> Result<Listing, RestError> {
    let query = call.query();
    Ok(Listing {
        request: ListRequest {
            prefix: query.text("prefix")?,
            after: query.text("after")?,
            delimiter: query.text("delimiter")?,
            amount: query.amount()?,
        },
        user_metadata: query.boolean("user_metadata")?.unwrap_or(true),
        presign: query.flag("presign")?,
    })
}

pub(crate) async fn list(call: Call, input: Listing) -> Reply {
    let repository = call.repository()?;
    let reference = call.reference("ref")?;
    let listed = call.catalog().list_objects_at(&repository, &reference, &input.request).await?;
    let Listed { repository, page, .. } = listed;
    if input.presign && !page.items.is_empty() {
        presign::supported(&call, &repository)?;
    }
    let show = if input.user_metadata { Show::IfAny } else { Show::Never };
    let mut out = Vec::with_capacity(128 + page.items.len() * 320);
    out.extend_from_slice(b"{\"results\":[");
    let until = presign::until(&call, &repository);
    for (index, item) in page.items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match item {
            ListedObject::Object { path, entry } if input.presign => {
                let entry = view(entry)?;
                let url = presign::read(&call, &repository, path, &entry).await?;
                object_json::object(&mut out, path, &entry, Place::Url(&url, until), show)?;
            }
            ListedObject::Object { path, entry } => {
                let place = Place::In(repository.storage_namespace.as_str());
                object_json::object(&mut out, path, &view(entry)?, place, show)?;
            }
            ListedObject::Prefix(prefix) => object_json::prefix(&mut out, prefix)?,
        }
    }
    object_json::end_of_page(&mut out, page.has_more, &page.next_offset, page.items.len())?;
    Ok(reply::raw_json(StatusCode::OK, out))
}

/// A request header whose absence, emptiness and other values all differ.
pub(crate) fn precondition_header<'a>(
    call: &'a Call,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, RestError> {
    match call.header(name) {
        Some(value) if value.is_empty() => Err(RestError::bad_request(format!(
            "parameter \"{name}\" in header has an error: empty value is not allowed"
        ))),
        value => Ok(value),
    }
}
