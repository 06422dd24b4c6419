//! Uploading an object (`api-objects` §2): a raw body or a form, streamed into the store either way.

use std::collections::BTreeMap;

use futures::StreamExt;
use http::{HeaderMap, StatusCode, header};
use http_body::Body;
use lakebed_blocks::{BodyError, ByteStream};
use lakebed_catalog::{
    DEFAULT_CONTENT_TYPE, Entry, EntryDraft, Precondition, Repository, StoredBody, WriteTicket,
};

use super::object_reads::precondition_header;
use crate::call::Call;
use crate::error::RestError;
use crate::object_json::{self, Show};
use crate::reply::{self, Reply};
use lakebed_http::{InBody, byte_stream};

/// User metadata travels in headers with this prefix.
const META_PREFIX: &str = "x-lakefs-meta-";

/// The form field that holds the object.
const CONTENT_FIELD: &str = "content";

pub(crate) struct Upload {
    path: String,
    force: bool,
    precondition: Conditions,
}

impl Upload {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// The conditional headers of a write.
#[derive(Clone, Copy)]
pub(crate) struct Conditions {
    absent: bool,
    unsupported: bool,
}

impl Conditions {
    /// `If-None-Match: *` is served; any other condition is 501, but only once the branch is known to be there.
    pub(crate) fn read(call: &Call) -> Result<Self, RestError> {
        let none_match = precondition_header(call, &header::IF_NONE_MATCH)?;
        let matches = precondition_header(call, &header::IF_MATCH)?;
        let absent = none_match.is_some_and(|value| value == "*");
        Ok(Self { absent, unsupported: (none_match.is_some() && !absent) || matches.is_some() })
    }

    pub(crate) fn precondition(self) -> Precondition {
        if self.absent { Precondition::Absent } else { Precondition::None }
    }

    pub(crate) fn check_supported(self) -> Result<(), RestError> {
        if self.unsupported {
            return Err(RestError::not_implemented(
                "of If-Match and If-None-Match only If-None-Match: * is supported",
            ));
        }
        Ok(())
    }
}

pub(crate) fn input(call: &Call) -> Result<Upload, RestError> {
    let query = call.query();
    query.text("storageClass")?;
    Ok(Upload {
        path: query.required("path")?,
        force: query.flag("force")?,
        precondition: Conditions::read(call)?,
    })
}

pub(crate) async fn upload(mut call: Call, input: Upload) -> Reply {
    let repository = call.repository()?;
    let (branch, path) = (call.branch()?, input.path.parse()?);
    let ticket = call
        .catalog()
        .begin_write(&repository, &branch, &path, input.precondition.precondition(), input.force)
        .await?;
    input.precondition.check_supported()?;
    let Some(body) = call.body.take() else {
        return Err(RestError::bad_request("request body is missing"));
    };
    let (stored, content_type) = store(&call, &ticket, body).await?;
    let draft = EntryDraft {
        size: stored.size,
        checksum: stored.md5,
        content_type,
        metadata: user_metadata(call.headers()),
        ..EntryDraft::default()
    };
    let repository = ticket.record().clone();
    let entry = call.catalog().link(ticket, draft).await?;
    written(&repository, path.as_str(), &entry, StatusCode::CREATED, Show::Always)
}

/// The answer to a write into this repository.
pub(crate) fn written(
    repository: &Repository,
    path: &str,
    entry: &Entry,
    status: StatusCode,
    show: Show,
) -> Reply {
    let body = object_json::written(path, entry, repository.storage_namespace.as_str(), show)?;
    Ok(reply::raw_json(status, body))
}

/// Streams the body into the store; answers what was stored and its content type.
async fn store(call: &Call, ticket: &WriteTicket, body: InBody) -> Result<(StoredBody, String), RestError> {
    let Some(content_type) = call.headers().get(header::CONTENT_TYPE) else {
        return Ok((raw(call, ticket, body).await?, DEFAULT_CONTENT_TYPE.to_owned()));
    };
    let content_type = String::from_utf8_lossy(content_type.as_bytes()).into_owned();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !is_media_type(media) {
        return Err(RestError::bad_request(format!("Content-Type '{content_type}' is no media type")));
    }
    if media.eq_ignore_ascii_case("multipart/form-data") {
        form(call, ticket, body, &content_type).await
    } else {
        Ok((raw(call, ticket, body).await?, content_type))
    }
}

fn is_media_type(media: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    };
    media.split_once('/').map_or_else(|| is_token(media), |(kind, sub)| is_token(kind) && is_token(sub))
}

async fn raw(call: &Call, ticket: &WriteTicket, body: InBody) -> Result<StoredBody, RestError> {
    let length = body.size_hint().exact();
    Ok(call.catalog().store_body(ticket, byte_stream(body), length).await?)
}

async fn form(
    call: &Call,
    ticket: &WriteTicket,
    body: InBody,
    content_type: &str,
) -> Result<(StoredBody, String), RestError> {
    let boundary = multer::parse_boundary(content_type)
        .map_err(|_| RestError::bad_request("no multipart boundary parameter in Content-Type"))?;
    let mut form = multer::Multipart::new(byte_stream(body), boundary);
    let broken = |error: multer::Error| RestError::broken_body(&error, format!("request body: {error}"));
    let field = loop {
        match form.next_field().await.map_err(broken)? {
            Some(field) if field.name() == Some(CONTENT_FIELD) => break field,
            Some(_) => {}
            None => {
                return Err(RestError::bad_request(format!("the form has no part named '{CONTENT_FIELD}'")));
            }
        }
    };
    let content_type = field
        .headers()
        .get(header::CONTENT_TYPE)
        .map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let part: ByteStream =
        field.map(|chunk| chunk.map_err(|error| BodyError::Client(Box::new(error)))).boxed();
    let stored = call.catalog().store_body(ticket, part, None).await?;
    // What follows the part is not looked at, but read, so that the connection can be used again.
    while let Ok(Some(_)) = form.next_field().await {}
    Ok((stored, content_type))
}

/// Header names arrive in lower case, and values are taken byte for byte.
fn user_metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(META_PREFIX)?;
            Some((key.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for good in ["text/plain", "text", "application/vnd.x+json", "IMAGE/JPEG"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in ["not a type", "", "a/", "/b", "a/b/c"] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }

    #[test]
    fn metadata_keys_may_be_empty_and_values_are_bytes() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-lakefs-meta-city", "Zürich"),
            ("x-lakefs-meta-", "nokey"),
            ("x-amz-meta-two", "2"),
            ("x-lakefs-meta-e", ""),
        ] {
            headers.insert(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let expected =
            [("", "nokey"), ("city", "Zürich"), ("e", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(user_metadata(&headers), BTreeMap::from(expected));
    }
}
