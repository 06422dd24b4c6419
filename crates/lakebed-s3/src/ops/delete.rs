//! DELETE of an object (`s3-gateway` §8.7).

use http::StatusCode;
use lakebed_auth::Permission;
use lakebed_catalog::{ErrorKind, Precondition};

use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::operation::{Needs, Operation};
use crate::reply::{self, Reply};
use crate::write_conditions::{name_failed, of_delete};

/// The permission to delete an object.
pub(crate) fn may_delete(bucket: &str, path: &str) -> Permission {
    Permission::object("fs:DeleteObject", bucket, path)
}

/// Only the current state of a key can be changed; history stays.
pub(crate) fn only_current(version: Option<&str>) -> Result<(), S3Error> {
    match version {
        None | Some("" | "null") => Ok(()),
        Some(other) => Err(S3Error::argument("versionId", other, "Invalid version id specified")),
    }
}

/// `DELETE /bucket/key`
pub(crate) struct DeleteObject(Precondition);

impl Operation for DeleteObject {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        only_current(call.query.get("versionId"))?;
        Ok(Self(of_delete(call.headers())?))
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(may_delete(call.place.repository(), call.key()?.path())))
    }

    async fn run(self, call: Call) -> Reply {
        let repository = call.repository()?;
        call.catalog().repository(&repository).await?;
        let done = reply::empty(StatusCode::NO_CONTENT);
        // Cleaners delete blindly: the branch's root, keys of branches that are gone. A branch is never deleted here.
        if call.key()?.path().is_empty() {
            return Ok(done);
        }
        let branch = match call.branch() {
            Err(error) if error.code() == Code::NoSuchBucket => return Ok(done),
            other => other?,
        };
        match call.catalog().delete_object(&repository, &branch, &call.path()?, self.0, false).await {
            Ok(()) => Ok(done),
            Err(error) if error.kind() == ErrorKind::BranchNotFound => Ok(done),
            Err(error) => Err(name_failed(error.into(), call.headers())),
        }
    }
}
