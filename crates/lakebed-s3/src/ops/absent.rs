//! What there is none of: torrents, legal holds and retentions of objects, and operations of S3 that are not served
//! (`s3-gateway` §7).

use super::buckets::may_know;
use super::get::{Version, find, may_read};
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::operation::{Needs, Operation};
use crate::reply::Reply;

/// `GET /bucket/key?torrent`, `?legal-hold`, `?retention`
pub(crate) struct GetAbsent {
    version: Version,
    torrent: bool,
}

impl Operation for GetAbsent {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let version = Version::parse(call.query.get("versionId"))?;
        Ok(Self { version, torrent: call.query.has("torrent") })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        may_read(call)
    }

    async fn run(self, call: Call) -> Reply {
        find(&call, &self.version).await?;
        Err(if self.torrent {
            S3Error::new(Code::NoSuchKey, "The object has no torrent.")
        } else {
            S3Error::new(Code::InvalidRequest, "Bucket is missing Object Lock Configuration")
        })
    }
}

/// Any operation that is known and not served, once it is sure that the bucket is there.
pub(crate) struct Unsupported;

impl Operation for Unsupported {
    fn parse(_call: &Call) -> Result<Self, S3Error> {
        Ok(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_know(call))
    }

    async fn run(self, call: Call) -> Reply {
        call.catalog().repository(&call.repository()?).await?;
        Err(S3Error::of(Code::ERRLakeFSNotSupported))
    }
}
