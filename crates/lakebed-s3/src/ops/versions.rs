//! `ListObjectVersions`: every object in its one current version (`s3-gateway` §8.10). History is read by naming
//! commits, as refs in keys or as `versionId`.

use super::list_objects::{Shape, may_list, write_versions};
use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::reply::Reply;

/// `GET /bucket?versions`
pub(crate) struct ListObjectVersions {
    shape: Shape,
    marker: String,
}

impl Operation for ListObjectVersions {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let marker = call.query.get("key-marker").unwrap_or_default().to_owned();
        Ok(Self { shape: Shape::parse(call)?, marker })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_list(call, &self.shape.prefix))
    }

    async fn run(self, call: Call) -> Reply {
        write_versions(&call, &self.shape, &self.marker).await
    }
}
