//! One request on its way through: what operations are given.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use lakebed_auth::{Permission, Principal};
use lakebed_catalog::{Catalog, CatalogError, ErrorKind, Repository};
use lakebed_core::{BranchId, CommitId, ObjectPath, PathError, RefExpr, RepositoryId};
use lakebed_http::InBody;

use crate::S3;
use crate::bucket::Key;
use crate::error::{Code, S3Error};
use crate::payload::Payload;
use crate::place::Place;
use crate::query::Query;

/// Names the commit to read.
const REF_AT: &str = "x-lakefs-ref-at";

/// Asks for the commit of an answer.
const SHOW_COMMIT: HeaderName = HeaderName::from_static("x-lakefs-show-commit");

/// The commit of an answer.
const COMMIT: HeaderName = HeaderName::from_static("x-lakefs-commit");

/// An authenticated request.
pub(crate) struct Call {
    pub s3: S3,
    pub parts: Parts,
    pub place: Place,
    pub query: Query,
    pub principal: Arc<Principal>,
    /// The key that signed.
    pub access_key: String,
    /// How the signature covers the body.
    pub payload: Payload,
    /// The body, until it is taken.
    pub body: Option<InBody>,
    /// What the answer's `x-amz-request-id` says.
    pub request_id: String,
}

impl Call {
    pub(crate) fn catalog(&self) -> &Catalog {
        self.s3.catalog()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// A header as text; `None` if absent or not ASCII.
    pub(crate) fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.parts.headers.get(name.into())?.to_str().ok()
    }

    /// The bucket as a repository. A name that no repository can have does not exist.
    pub(crate) fn repository(&self) -> Result<RepositoryId, S3Error> {
        repository(self.place.repository())
    }

    /// The key; operations on objects are only chosen when there is one.
    pub(crate) fn key(&self) -> Result<&Key, S3Error> {
        self.place.key().ok_or_else(|| S3Error::of(Code::InvalidURI))
    }

    /// The ref a read names; one that cannot be resolved holds no keys.
    pub(crate) fn reference(&self) -> Result<RefExpr, S3Error> {
        self.key()?.reference().parse().map_err(|_| S3Error::of(Code::NoSuchKey))
    }

    /// The commit that reads are asked to see instead of what their refs are now (`x-lakefs-ref-at`): one state for
    /// all of a job's reads.
    pub(crate) fn ref_at(&self) -> Result<Option<RefExpr>, S3Error> {
        let Some(given) = self.parts.headers.get(REF_AT) else { return Ok(None) };
        let id = given.to_str().ok().and_then(|text| text.trim().parse::<CommitId>().ok());
        let expr = id.and_then(|id| id.to_hex().parse().ok());
        expr.map(Some).ok_or_else(|| {
            S3Error::argument(
                REF_AT,
                &String::from_utf8_lossy(given.as_bytes()),
                "It must be a whole commit id.",
            )
        })
    }

    /// Says on an answer at which commit it reads the same, if the client or the configuration asks for it
    /// (`x-lakefs-commit`). What is not committed yet is at none.
    pub(crate) fn name_commit(&self, commit: Option<&CommitId>, headers: &mut HeaderMap) {
        let asked =
            || self.header(SHOW_COMMIT).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        if let Some(commit) = commit
            && (self.s3.config().commit_header || asked())
            && let Ok(value) = HeaderValue::from_str(&commit.to_hex())
        {
            headers.insert(COMMIT, value);
        }
    }

    /// The branch a write names. What is no branch's name may be a tag or an expression: the catalog says which.
    pub(crate) fn branch(&self) -> Result<BranchId, S3Error> {
        branch(self.key()?)
    }

    /// The object's path. A key that only names a ref has none: there is no such object.
    pub(crate) fn path(&self) -> Result<ObjectPath, S3Error> {
        path(self.key()?)
    }

    /// What a write names. A repository that is not there is said before a branch or path that cannot be.
    pub(crate) async fn target(&self) -> Result<(RepositoryId, BranchId, ObjectPath), S3Error> {
        let repository = self.repository()?;
        match (self.branch(), self.path()) {
            (Ok(branch), Ok(path)) => Ok((repository, branch, path)),
            (branch, path) => {
                self.catalog().repository(&repository).await?;
                Ok((repository, branch?, path?))
            }
        }
    }

    /// A bucket whose name says a ref that is not there.
    pub(crate) fn no_such_ref(&self) -> S3Error {
        let reference = self.place.named_ref().unwrap_or_default();
        S3Error::new(
            Code::NoSuchBucket,
            format!(
                "The specified bucket does not exist: repository '{}' has no ref '{reference}'.",
                self.place.repository()
            ),
        )
    }

    /// The repository of the bucket; of a bucket that is one ref, the ref must be there, too.
    pub(crate) async fn existing(&self) -> Result<Arc<Repository>, S3Error> {
        let id = self.repository()?;
        let repository = self.catalog().repository(&id).await?;
        if let Some(reference) = self.place.named_ref() {
            let reference = reference.parse().map_err(|_| self.no_such_ref())?;
            match self.catalog().resolve(&id, &reference).await {
                Err(error) if is_no_ref(error.kind()) => return Err(self.no_such_ref()),
                result => drop(result?),
            }
        }
        Ok(repository)
    }

    /// Asks for permissions, all of them.
    pub(crate) fn authorize(&self, needed: &[Permission]) -> Result<(), S3Error> {
        for permission in needed {
            self.principal.authorize(permission)?;
        }
        Ok(())
    }
}

/// A bucket's name as a repository's.
pub(crate) fn repository(bucket: &str) -> Result<RepositoryId, S3Error> {
    bucket.parse().map_err(|_| S3Error::of(Code::NoSuchBucket))
}

/// The branch a key is written to.
pub(crate) fn branch(key: &Key) -> Result<BranchId, S3Error> {
    let reference = key.reference();
    reference.parse().map_err(|_| match reference.parse::<RefExpr>() {
        Ok(expr) if !expr.is_plain() => S3Error::new(
            Code::AccessDenied,
            format!("Ref '{reference}' is an expression and is read-only; write to a branch."),
        ),
        _ => S3Error::new(
            Code::NoSuchBucket,
            format!("The specified bucket does not exist: no branch '{reference}'."),
        ),
    })
}

/// The path of a key.
pub(crate) fn path(key: &Key) -> Result<ObjectPath, S3Error> {
    key.path().parse().map_err(|error| match error {
        PathError::TooLong(size) => {
            S3Error::of(Code::KeyTooLongError).with("Size", size.to_string()).with("MaxSizeAllowed", "1024")
        }
        _ => S3Error::of(Code::NoSuchKey),
    })
}

/// What a failed read says: a ref that is not there holds no keys.
pub(crate) fn reading(error: CatalogError) -> S3Error {
    match error.kind() {
        kind if is_no_ref(kind) || kind == ErrorKind::AmbiguousRef => S3Error::of(Code::NoSuchKey),
        _ => error.into(),
    }
}

/// Whether a read found no such ref. An expression that means nothing, as a parent a commit does not have, is none.
pub(crate) fn is_no_ref(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BranchNotFound | ErrorKind::NotABranch | ErrorKind::RefNotFound | ErrorKind::Invalid
    )
}
