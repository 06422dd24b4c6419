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
        Version::parse(call.query.get("versionId")).map(Self)
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        may_read(call)
    }

    async fn run(self, call: Call) -> Reply {
        let (_, entry) = find(&call, &self.0).await?;
        let entry = view(&entry)?;
        let tags = entry.headers().find(|(name, _)| *name == TAGGING).map_or("", |(_, tags)| tags);
        let mut response = reply::xml(StatusCode::OK, tag_set(form_urlencoded::parse(tags.as_bytes())));
        self.0.echo(response.headers_mut());
        Ok(response)
    }
}

/// The document with these tags.
pub(crate) fn tag_set<K: AsRef<str>, V: AsRef<str>>(tags: impl Iterator<Item = (K, V)>) -> String {
    let mut xml = Writer::result("Tagging");
    xml.open("TagSet");
    for (key, value) in tags {
        xml.open("Tag").text("Key", key.as_ref()).text("Value", value.as_ref()).close("Tag");
    }
    xml.close("TagSet");
    xml.finish("Tagging")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_tags_are_written_unescaped() {
        let document = tag_set(form_urlencoded::parse(b"a%26b=c+d&e="));
        let tags = "<TagSet><Tag><Key>a&amp;b</Key><Value>c d</Value></Tag>\
                    <Tag><Key>e</Key><Value></Value></Tag></TagSet>";
        assert!(document.ends_with(&format!("{tags}</Tagging>")), "{document}");
    }
}
