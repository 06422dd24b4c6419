//! Renaming an object (`s3-gateway` §15.4): a new entry for the same bytes, then the old one goes. No byte moves.
//!
//! Two transactions: a failure in between leaves the object under both names, never under none, and the same request
//! finishes it.

use http::{HeaderMap, HeaderName, StatusCode, header};
use lakebed_auth::Permission;
use lakebed_catalog::Precondition;
use percent_encoding::percent_decode_str;

use super::delete::may_delete;
use super::get::view;
use super::put::may_write;
use crate::bucket::Key;
use crate::call::{self, Call, reading};
use crate::conditions::{self, Outcome};
use crate::error::{Code, S3Error};
use crate::metadata::text;
use crate::operation::{Needs, Operation};
use crate::reply::{self, Reply};
use crate::write_conditions::{name_failed, of_write};

const SOURCE: &str = "x-amz-rename-source";

/// `PUT /bucket/key?renameObject`
pub(crate) struct RenameObject {
    source: Key,
    precondition: Precondition,
}

/// The key of the same bucket that the header names, with or without the bucket before it.
fn source(call: &Call) -> Result<Key, S3Error> {
    let given = call.headers().get(SOURCE).map(text).unwrap_or_default();
    let refused = |why: &'static str| S3Error::argument(SOURCE, &given, why);
    let decoded = percent_decode_str(&given)
        .decode_utf8()
        .map_err(|_| refused("The source of a rename must be UTF-8."))?;
    let bucket = call.place.bucket().unwrap_or_default();
    let within = decoded.strip_prefix('/').and_then(|rest| rest.strip_prefix(bucket)?.strip_prefix('/'));
    let key = call.place.key_of(within.unwrap_or(decoded.strip_prefix('/').unwrap_or(&decoded)))?;
    if key.path().is_empty() {
        return Err(refused("The source of a rename must name an object of the bucket."));
    }
    Ok(key)
}

impl Operation for RenameObject {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        Ok(Self { source: source(call)?, precondition: of_write(call.headers()) })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        let (repository, path) = (call.place.repository(), self.source.path());
        Ok(Needs::All(vec![
            Permission::object("fs:ReadObject", repository, path),
            may_delete(repository, path),
            may_write(call)?,
        ]))
    }

    async fn run(self, call: Call) -> Reply {
        let (repository, branch, path) = call.target().await?;
        let (from_branch, from) = (call::branch(&self.source)?, call::path(&self.source)?);
        if (&from_branch, &from) == (&branch, &path) {
            return Err(S3Error::new(Code::InvalidRequest, "An object cannot be renamed to its own name."));
        }
        let ticket = call
            .catalog()
            .begin_write(&repository, &branch, &path, self.precondition, false)
            .await
            .map_err(|error| name_failed(error.into(), call.headers()))?;
        let reference = from_branch.as_str().parse().map_err(|_| S3Error::of(Code::NoSuchKey))?;
        let found = call.catalog().locate(&repository, &reference, &from).await;
        let (source_repository, entry) = found.map_err(reading)?;
        let source = view(&entry)?.to_entry();
        let conditions = source_conditions(call.headers());
        if let Outcome::Failed(_) | Outcome::NotModified =
            conditions::of_read(&conditions, &source.checksum, source.mtime_secs, i64::MAX)
        {
            return Err(S3Error::of(Code::PreconditionFailed));
        }
        call.catalog()
            .link_copy(ticket, &source_repository, &source, source.to_draft())
            .await
            .map_err(|error| name_failed(error.into(), call.headers()))?;
        // What was written there meanwhile is not what was renamed.
        let same = Precondition::Matches(source.checksum);
        call.catalog().delete_object(&repository, &from_branch, &from, same, false).await?;
        Ok(reply::empty(StatusCode::OK))
    }
}

/// The conditions on the source under the names that reads have.
fn source_conditions(headers: &HeaderMap) -> HeaderMap {
    let mut conditions = HeaderMap::new();
    for name in
        [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE]
    {
        let of_source = HeaderName::try_from(format!("{SOURCE}-{name}"));
        if let Some(value) = of_source.ok().and_then(|of_source| headers.get(of_source)) {
            conditions.insert(name, value.clone());
        }
    }
    conditions
}
