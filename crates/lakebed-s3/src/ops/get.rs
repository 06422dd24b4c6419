//! GET and HEAD of an object (`s3-gateway` §8.4).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use lakebed_auth::Permission;
use lakebed_blocks::{ByteRange, PresignedGet};
use lakebed_catalog::{EntryBytes, EntryView, Repository};
use lakebed_core::CommitId;
use lakebed_http::AnswerBody;

use crate::call::{Call, reading};
use crate::conditions::{self, Outcome};
use crate::error::{Code, S3Error};
use crate::metadata::refuse_customer_keys;
use crate::operation::{Needs, Operation};
use crate::parts::{PARTS, PartTable};
use crate::range::{self, Wanted};
use crate::reply::Reply;
use crate::stored;

/// `GET /bucket/key` and `HEAD /bucket/key`.
pub(crate) struct GetObject {
    version: Version,
    part: Option<usize>,
}

/// Which state of a key is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// The one the key's ref has.
    Current,
    /// The one a commit has, whatever ref the key names.
    Commit(CommitId),
}

impl Version {
    /// From `versionId`: `null` is the current one; a commit id is history.
    pub(crate) fn parse(id: Option<&str>) -> Result<Self, S3Error> {
        match id {
            None | Some("null") => Ok(Self::Current),
            Some(id) => id
                .parse()
                .map(Self::Commit)
                .map_err(|_| S3Error::of(Code::NoSuchVersion).with("VersionId", id)),
        }
    }

    /// Names the commit on the answer.
    pub(crate) fn echo(&self, headers: &mut HeaderMap) {
        if let Self::Commit(id) = self
            && let Ok(id) = HeaderValue::from_str(&id.to_hex())
        {
            headers.insert(VERSION_ID, id);
        }
    }
}

/// Overrides of an answer's headers, by query name.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", header::CONTENT_TYPE),
    ("response-content-language", header::CONTENT_LANGUAGE),
    ("response-expires", header::EXPIRES),
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-encoding", header::CONTENT_ENCODING),
];

const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");
const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// The permission to read the key's object.
pub(crate) fn may_read(call: &Call) -> Result<Needs, S3Error> {
    let bucket = call.place.repository();
    Ok(Needs::one(Permission::object("fs:ReadObject", bucket, call.key()?.path())))
}

/// The entry of the key in the state asked for, and its repository.
pub(crate) async fn find(call: &Call, version: &Version) -> Result<(Arc<Repository>, EntryBytes), S3Error> {
    let (repository, entry, _) = find_at(call, version).await?;
    Ok((repository, entry))
}

/// The same, and a commit that has this entry, unless it is uncommitted.
async fn find_at(
    call: &Call,
    version: &Version,
) -> Result<(Arc<Repository>, EntryBytes, Option<CommitId>), S3Error> {
    let repository = call.repository()?;
    // A repository that is not there is said before a key that cannot be.
    let (reference, path) = match (call.reference(), call.path()) {
        (Ok(reference), Ok(path)) => (reference, path),
        (reference, path) => {
            call.catalog().repository(&repository).await?;
            (reference?, path?)
        }
    };
    let found = match version {
        Version::Current => {
            let at = call.ref_at()?.unwrap_or(reference);
            call.catalog().locate_at(&repository, &at, &path).await
        }
        Version::Commit(id) => {
            let reference = id.to_hex().parse().map_err(|_| S3Error::of(Code::NoSuchVersion))?;
            call.catalog().locate_at(&repository, &reference, &path).await
        }
    };
    found.map_err(|error| match version {
        Version::Current => reading(error),
        Version::Commit(id) => match reading(error) {
            error if error.code() == Code::NoSuchKey => {
                S3Error::of(Code::NoSuchVersion).with("VersionId", id.to_hex())
            }
            error => error,
        },
    })
}

/// An entry read in place.
pub(crate) fn view(entry: &EntryBytes) -> Result<EntryView<'_>, S3Error> {
    entry.view().ok_or_else(|| {
        tracing::error!("a stored entry is damaged or from a newer version");
        S3Error::of(Code::InternalError)
    })
}

/// The part table kept with an entry.
pub(crate) fn part_table(entry: &EntryView<'_>) -> Option<PartTable> {
    entry.headers().find(|(name, _)| *name == PARTS).and_then(|(_, table)| PartTable::parse(table))
}

impl Operation for GetObject {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        refuse_customer_keys(call.headers())?;
        let version = Version::parse(call.query.get("versionId"))?;
        let part = match call.query.get("partNumber") {
            None => None,
            Some(text) => match text.parse::<usize>() {
                Ok(number) if (1..=10_000).contains(&number) => Some(number),
                _ => {
                    return Err(S3Error::argument(
                        "partNumber",
                        text,
                        "Part number must be an integer between 1 and 10000, inclusive.",
                    ));
                }
            },
        };
        if part.is_some() && call.headers().contains_key(header::RANGE) {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        Ok(Self { version, part })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        may_read(call)
    }

    async fn run(self, call: Call) -> Reply {
        let (repository, entry, commit) = find_at(&call, &self.version).await?;
        let entry = view(&entry)?;
        let request = call.headers();
        let now = call.catalog().clock().now().secs();
        match conditions::of_read(request, entry.checksum, entry.mtime_secs, now) {
            Outcome::Holds => {}
            Outcome::NotModified => {
                let mut headers = HeaderMap::new();
                stored::validators(&entry, &mut headers);
                call.name_commit(commit.as_ref(), &mut headers);
                return Err(S3Error::of(Code::NotModified).with_headers(headers));
            }
            Outcome::Failed(condition) => {
                return Err(S3Error::of(Code::PreconditionFailed).with("Condition", condition));
            }
        }
        let mut response = Response::new(AnswerBody::empty());
        let Selection { wanted, parts_count, checksums } = self.select(&call, &entry)?;
        if wanted != Wanted::Beyond
            && let Some(elsewhere) = self.redirect(&call, &repository, &entry).await?
        {
            return Ok(elsewhere);
        }
        stored::all(&entry, response.headers_mut());
        if request.get(CHECKSUM_MODE).is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"ENABLED")) {
            checksums.show(&entry, response.headers_mut());
        }
        let part = match wanted {
            Wanted::Whole => ByteRange { start: 0, end: entry.size },
            Wanted::Part(part) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                // An empty part has no first and last byte.
                if let Some(last) = part.end.checked_sub(1).filter(|last| *last >= part.start)
                    && let Ok(value) = format!("bytes {}-{last}/{}", part.start, entry.size).parse()
                {
                    response.headers_mut().insert(header::CONTENT_RANGE, value);
                }
                part
            }
            Wanted::Beyond => return Err(beyond(&call, entry.size)),
        };
        let headers = response.headers_mut();
        if let Some(count) = parts_count {
            headers.insert(PARTS_COUNT, HeaderValue::from(count));
        }
        self.version.echo(headers);
        call.name_commit(commit.as_ref(), headers);
        for (query, name) in OVERRIDES {
            if let Some(value) = call.query.get(query) {
                let value = HeaderValue::from_bytes(value.as_bytes())
                    .map_err(|_| S3Error::argument(query, value, "A header cannot have this value."))?;
                headers.insert(name, value);
            }
        }
        let length = part.end - part.start;
        if call.parts.method == Method::HEAD {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            return Ok(response);
        }
        // An empty object's bytes are asked for all the same: that they are there is part of the answer.
        let address = entry.full_address(&repository.storage_namespace);
        let stream = call.catalog().read(&address, Some(part)).await?;
        *response.body_mut() = AnswerBody::stream(stream, length);
        Ok(response)
    }
}

/// What of an object is answered.
struct Selection {
    wanted: Wanted,
    /// With `partNumber`: how many parts there are.
    parts_count: Option<usize>,
    checksums: Checksums,
}

/// Which checksums go with what is answered.
enum Checksums {
    /// Those of the object.
    Whole,
    /// That of a part: header and value.
    Part((String, String)),
    /// None is known of a range.
    None,
}

impl Checksums {
    fn show(&self, entry: &EntryView<'_>, headers: &mut HeaderMap) {
        match self {
            Self::Whole => stored::checksums(entry, headers),
            Self::Part((name, value)) => stored::send(name, value, headers),
            Self::None => {}
        }
    }
}

impl GetObject {
    /// Sends a client that is known to follow to the store for the bytes: conditions have been judged, the range it
    /// sends again. Where our answer would differ from the store's, it gets ours.
    async fn redirect(
        &self,
        call: &Call,
        repository: &Repository,
        entry: &EntryView<'_>,
    ) -> Result<Option<Response<AnswerBody>>, S3Error> {
        let rules = &call.s3.config().redirect;
        let agent = call.header(header::USER_AGENT).unwrap_or_default();
        let follows = rules.user_agents.iter().any(|known| agent.contains(known.as_str()))
            || rules.access_keys.contains(&call.access_key);
        let overrides = OVERRIDES.iter().any(|(query, _)| call.query.has(query));
        let blocks = call.catalog().blocks();
        if !follows
            || self.part.is_some()
            || overrides
            || call.parts.method != Method::GET
            || !blocks.info_of(repository.storage_namespace.store()).is_some_and(|store| store.presign)
        {
            return Ok(None);
        }
        let address = entry.full_address(&repository.storage_namespace);
        let wanted =
            PresignedGet { content_type: Some(entry.content_type().to_owned()), ..PresignedGet::default() };
        let signed = blocks.presign_get(&address, &wanted, rules.life).await;
        let url = signed.map_err(|error| S3Error::internal("presigned URL", &error))?;
        let location =
            HeaderValue::from_str(&url).map_err(|error| S3Error::internal("presigned URL", &error))?;
        let mut response = Response::new(AnswerBody::empty());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        stored::validators(entry, response.headers_mut());
        response.headers_mut().insert(header::LOCATION, location);
        self.version.echo(response.headers_mut());
        Ok(Some(response))
    }

    fn select(&self, call: &Call, entry: &EntryView<'_>) -> Result<Selection, S3Error> {
        let Some(number) = self.part else {
            let header = call.header(header::RANGE);
            let counts = conditions::range_counts(call.headers(), entry.checksum, entry.mtime_secs);
            let wanted = range::wanted(header.filter(|_| counts), entry.size);
            let checksums = if wanted == Wanted::Whole { Checksums::Whole } else { Checksums::None };
            return Ok(Selection { wanted, parts_count: None, checksums });
        };
        let Some(table) = part_table(entry) else {
            // An object that was not put in parts is its own first.
            if number != 1 {
                return Err(S3Error::of(Code::InvalidPartNumber));
            }
            let wanted = Wanted::Part(ByteRange { start: 0, end: entry.size });
            return Ok(Selection { wanted, parts_count: None, checksums: Checksums::Whole });
        };
        let part = table.part(number).ok_or_else(|| S3Error::of(Code::InvalidPartNumber))?;
        Ok(Selection {
            wanted: Wanted::Part(ByteRange { start: part.start, end: part.start + part.size }),
            parts_count: Some(table.count()),
            checksums: part.checksum.map_or(Checksums::None, Checksums::Part),
        })
    }
}

fn beyond(call: &Call, size: u64) -> S3Error {
    let asked = call.header(header::RANGE).unwrap_or_default();
    let error = S3Error::of(Code::InvalidRange)
        .with("RangeRequested", asked)
        .with("ActualObjectSize", size.to_string());
    match HeaderValue::from_str(&format!("bytes */{size}")) {
        Ok(value) => error.with_header(header::CONTENT_RANGE, value),
        Err(_) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_commits_or_null() {
        assert_eq!(Version::parse(None).ok(), Some(Version::Current));
        assert_eq!(Version::parse(Some("null")).ok(), Some(Version::Current));
        let id = CommitId::digest(b"x");
        assert_eq!(Version::parse(Some(&id.to_hex())).ok(), Some(Version::Commit(id)));
        for bad in ["", "abcd", "main"] {
            assert_eq!(Version::parse(Some(bad)).err().map(|error| error.code()), Some(Code::NoSuchVersion));
        }
    }
}
