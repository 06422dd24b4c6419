//! Access control lists: there are none, policies decide (`s3-gateway` §8.10). Reading shows the owner; setting one of
//! the canned lists changes nothing.

use http::StatusCode;

use super::get::{Version, find, may_read};
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::operation::{Needs, Operation};
use crate::payload::document;
use crate::reply::{self, Reply};
use crate::xml::Element;

/// The longest document read.
const LONGEST_DOCUMENT: usize = 64 << 10;

/// The lists that clients know by name.
const CANNED: [&str; 8] = [
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
];

/// Whether a request names a canned list; one that nobody knows is refused.
pub(crate) fn is_canned(call: &Call) -> Result<bool, S3Error> {
    match call.headers().get("x-amz-acl") {
        None => Ok(false),
        Some(name) => match name.to_str() {
            Ok(name) if CANNED.contains(&name) => Ok(true),
            name => Err(S3Error::argument("x-amz-acl", name.unwrap_or_default(), "Unknown canned ACL.")),
        },
    }
}

/// `GET /bucket/key?acl`
pub(crate) struct GetObjectAcl(Version);

impl Operation for GetObjectAcl {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        Ok(Self(Version::parse(call.query.get("versionId"))?))
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        may_read(call)
    }

    async fn run(self, call: Call) -> Reply {
        find(&call, &self.0).await?;
        Ok(reply::xml(StatusCode::OK, super::bucket_config::acl(&call)))
    }
}

/// `PUT /bucket/key?acl`
pub(crate) struct PutObjectAcl;

impl Operation for PutObjectAcl {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        let bucket = call.place.repository();
        let path = call.key()?.path();
        Ok(Needs::one(lakebed_auth::Permission::object("fs:WriteObject", bucket, path)))
    }

    async fn run(self, mut call: Call) -> Reply {
        find(&call, &Version::Current).await?;
        if is_canned(&call)? {
            return Ok(reply::empty(StatusCode::OK));
        }
        let body = document(&mut call, LONGEST_DOCUMENT).await?;
        Element::parse(&body, "AccessControlPolicy")?;
        Err(no_grants())
    }
}

/// The refusal of a list that is not canned.
pub(crate) fn no_grants() -> S3Error {
    S3Error::new(
        Code::NotImplemented,
        "Grants are not kept: who may do what is decided by policies. Only canned ACLs are accepted, without effect.",
    )
}
