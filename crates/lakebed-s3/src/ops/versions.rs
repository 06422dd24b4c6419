//! Versions of objects (`s3-gateway` §8.10): buckets are not versioned the way of S3, so every object has one version,
//! `null`. What was before is read by commit.

use super::listing::{Keys, Shape, find, may_list, of_bucket, write_lines};
use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::reply::Reply;
use crate::xml::Writer;

/// `GET /bucket?versions`
pub(crate) struct ListObjectVersions {
    shape: Shape,
    key_marker: String,
    version_marker: String,
}

impl Operation for ListObjectVersions {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let of = |name: &str| call.query.get(name).unwrap_or_default().to_owned();
        let (key_marker, version_marker) = (of("key-marker"), of("version-id-marker"));
        if key_marker.is_empty() && !version_marker.is_empty() {
            return Err(S3Error::argument(
                "version-id-marker",
                &version_marker,
                "A version-id marker cannot be specified without a key marker.",
            ));
        }
        Ok(Self { shape: Shape::parse(call)?, key_marker, version_marker })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_list(call, &self.shape.prefix))
    }

    async fn run(self, call: Call) -> Reply {
        let Self { shape, key_marker, version_marker } = &self;
        let found = find(&call, shape, &shape.meant(key_marker)).await?;
        let mut xml = Writer::result("ListVersionsResult");
        xml.text("Name", call.place.bucket().unwrap_or_default());
        xml.text("Prefix", &shape.show(&shape.prefix)).text("KeyMarker", &shape.encode(key_marker));
        xml.text("VersionIdMarker", version_marker);
        if let Some(next) = found.next() {
            xml.text("NextKeyMarker", &shape.show(next)).text("NextVersionIdMarker", "null");
        }
        shape.write_tail(found.more, &mut xml);
        write_lines(&mut xml, &call, shape, &found.lines, Keys::Versions)?;
        of_bucket(&call, xml.finish("ListVersionsResult"))
    }
}
