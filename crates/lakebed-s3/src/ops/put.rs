//! PUT of an object (`s3-gateway` §8.5).

use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lakebed_auth::Permission;
use lakebed_catalog::{EntryDraft, Precondition};
use md5::{Digest, Md5};

use super::acl;
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::metadata;
use crate::operation::{Needs, Operation};
use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};
use crate::payload::{self, Incoming};
use crate::reply::{self, Reply};
use crate::stored;
use crate::write_conditions::{name_failed, of_write};

/// The permission to write the key's object.
pub(crate) fn may_write(call: &Call) -> Result<Permission, S3Error> {
    let bucket = call.place.repository();
    Ok(Permission::object("fs:WriteObject", bucket, call.key()?.path()))
}

/// An answer that says an ETag and the checksums kept with it.
pub(crate) fn written<'a>(etag: &str, kept: impl IntoIterator<Item = (&'a String, &'a String)>) -> Reply {
    let mut response = reply::empty(StatusCode::OK);
    let headers = response.headers_mut();
    if let Some(etag) = stored::etag(etag) {
        headers.insert(header::ETAG, etag);
    }
    checksum_headers(kept, headers);
    Ok(response)
}

fn checksum_headers<'a>(kept: impl IntoIterator<Item = (&'a String, &'a String)>, headers: &mut HeaderMap) {
    for (name, value) in kept {
        let is_checksum = Algorithm::of_header(name).is_some() || name == CHECKSUM_TYPE.as_str();
        if is_checksum
            && let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
}

/// `PUT /bucket/key`
pub(crate) struct PutObject {
    draft: EntryDraft,
    precondition: Precondition,
}

impl Operation for PutObject {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        acl::is_canned(call)?;
        Ok(Self { draft: metadata::draft(call.headers())?, precondition: of_write(call.headers()) })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(may_write(call)?))
    }

    async fn run(self, mut call: Call) -> Reply {
        if call.key()?.path().is_empty() {
            return ref_only(call).await;
        }
        let (repository, branch, path) = call.target().await?;
        // Everything that can be refused is, before the body is asked for: a client that waits for `100 Continue` keeps
        // it.
        let ticket = call
            .catalog()
            .begin_write(&repository, &branch, &path, self.precondition, false)
            .await
            .map_err(|error| name_failed(error.into(), call.headers()))?;
        let Incoming { stream, size_hint, verdict } = payload::incoming(&mut call)?;
        let stored = call.catalog().store_body(&ticket, stream, size_hint).await?;
        let checksums = verdict.settle(&stored.md5)?;
        let mut draft = self.draft;
        (draft.size, draft.checksum) = (stored.size, stored.md5);
        draft.headers.extend(checksums);
        let entry = call
            .catalog()
            .link(ticket, draft)
            .await
            .map_err(|error| name_failed(error.into(), call.headers()))?;
        written(&entry.checksum, &entry.headers)
    }
}

/// A key that names a ref only. Making the branch's root a directory is what some clients begin with: `main/` without
/// content is accepted, and nothing is stored.
async fn ref_only(mut call: Call) -> Reply {
    let (repository, branch) = (call.repository()?, call.branch());
    call.catalog().repository(&repository).await?;
    call.catalog().branch(&repository, &branch?).await?;
    let is_root = call.key()?.as_str().ends_with('/');
    let Incoming { mut stream, verdict, .. } = payload::incoming(&mut call)?;
    let mut is_empty = true;
    while let Some(bytes) = stream.next().await {
        if !bytes?.is_empty() {
            is_empty = false;
            break;
        }
    }
    if !(is_root && is_empty) {
        return Err(S3Error::new(
            Code::InvalidRequest,
            "Object path is empty: keys must look like <branch>/<path>",
        ));
    }
    let etag = hex::encode(Md5::digest([]));
    let checksums = verdict.settle(&etag)?;
    written(&etag, &checksums)
}
