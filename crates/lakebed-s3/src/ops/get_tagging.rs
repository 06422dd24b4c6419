//! Reading an object's tags (`s3-gateway` §8.10).

use http::StatusCode;

use super::get::{Version, find, may_read, view};
use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::reply::{self, Reply};
use crate::stored::TAGGING;
use crate::xml::Writer;

/// `GET /bucket/key?tagging`
pub(crate) struct GetObjectTagging(Version);

impl Operation for GetObjectTagging {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        Ok(Self(Version::parse(call.query.get("versionId"))?))
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        may_read(call)
    }

    async fn run(self, call: Call) -> Reply {
        let (_, entry) = find(&call, &self.0).await?;
        let entry = view(&entry)?;
        let mut xml = Writer::result("Tagging");
        xml.open("TagSet");
        let tags = entry.headers().find(|(name, _)| *name == TAGGING).map_or("", |(_, tags)| tags);
        for (key, value) in form_urlencoded::parse(tags.as_bytes()) {
            xml.open("Tag").text("Key", &key).text("Value", &value).close("Tag");
        }
        xml.close("TagSet");
        Ok(reply::xml(StatusCode::OK, xml.finish("Tagging")))
    }
}
