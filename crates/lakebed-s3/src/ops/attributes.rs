//! `GetObjectAttributes` (`s3-gateway` §8.10).

use http::{HeaderName, StatusCode, header};
use lakebed_catalog::EntryView;
use lakebed_http::http_date;

use super::get::{Version, find, may_read, part_table, view};
use super::list_objects::amount;
use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};
use crate::reply::{self, Reply};
use crate::xml::Writer;

/// What may be asked for.
const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

const ASKED: HeaderName = HeaderName::from_static("x-amz-object-attributes");

/// `GET /bucket/key?attributes`
pub(crate) struct GetObjectAttributes {
    version: Version,
    wanted: Vec<String>,
    most_parts: usize,
    after_part: usize,
}

impl Operation for GetObjectAttributes {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let mut wanted = Vec::new();
        for value in call.headers().get_all(ASKED) {
            for name in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                if !KNOWN.contains(&name) {
                    return Err(S3Error::argument(
                        "x-amz-object-attributes",
                        name,
                        "Invalid attribute name specified. Use ETag, Checksum, ObjectParts, StorageClass, ObjectSize.",
                    ));
                }
                wanted.push(name.to_owned());
            }
        }
        if wanted.is_empty() {
            let message = "The x-amz-object-attributes header specifying the attributes is missing.";
            return Err(S3Error::argument("x-amz-object-attributes", "", message));
        }
        let text = |name: &'static str| call.header(HeaderName::from_static(name));
        Ok(Self {
            version: Version::parse(call.query.get("versionId"))?,
            wanted,
            most_parts: amount(text("x-amz-max-parts"), "max-parts", "max-parts", 1000)?,
            after_part: amount(
                text("x-amz-part-number-marker").or(Some("0")),
                "part-number-marker",
                "part-number-marker",
                10_000,
            )?,
        })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        may_read(call)
    }

    async fn run(self, call: Call) -> Reply {
        let (_, entry) = find(&call, &self.version).await?;
        let entry = view(&entry)?;
        let wants = |name: &str| self.wanted.iter().any(|wanted| wanted == name);
        let mut xml = Writer::result("GetObjectAttributesResponse");
        if wants("ETag") {
            xml.text("ETag", entry.checksum);
        }
        if wants("Checksum") {
            write_checksum(&mut xml, &entry);
        }
        if wants("ObjectParts") {
            self.write_parts(&mut xml, &entry);
        }
        if wants("StorageClass") {
            let class = entry.headers().find(|(name, _)| *name == "x-amz-storage-class");
            xml.text("StorageClass", class.map_or("STANDARD", |(_, class)| class));
        }
        if wants("ObjectSize") {
            xml.value("ObjectSize", entry.size);
        }
        let mut response = reply::xml(StatusCode::OK, xml.finish("GetObjectAttributesResponse"));
        if let Some(modified) = http_date(entry.mtime_secs) {
            response.headers_mut().insert(header::LAST_MODIFIED, modified);
        }
        Ok(response)
    }
}

fn write_checksum(xml: &mut Writer, entry: &EntryView<'_>) {
    let mut kind = None;
    let mut any = false;
    for (name, value) in entry.headers() {
        if let Some(algorithm) = Algorithm::of_header(name) {
            if !any {
                xml.open("Checksum");
                any = true;
            }
            xml.text(algorithm.element(), value);
        } else if name == CHECKSUM_TYPE.as_str() {
            kind = Some(value);
        }
    }
    if any {
        if let Some(kind) = kind {
            xml.text("ChecksumType", kind);
        }
        xml.close("Checksum");
    }
}

impl GetObjectAttributes {
    fn write_parts(&self, xml: &mut Writer, entry: &EntryView<'_>) {
        let Some(table) = part_table(entry) else { return };
        let count = table.count();
        let last = count.min(self.after_part.saturating_add(self.most_parts));
        xml.open("ObjectParts").value("TotalPartsCount", count).value("PartsCount", count);
        xml.value("PartNumberMarker", self.after_part);
        if last < count {
            xml.value("NextPartNumberMarker", last);
        }
        xml.value("MaxParts", self.most_parts).value("IsTruncated", last < count);
        for part in (self.after_part + 1..=last).filter_map(|number| table.part(number)) {
            xml.open("Part").value("PartNumber", part.number).value("Size", part.size);
            if let Some((name, value)) = &part.checksum
                && let Some(algorithm) = Algorithm::of_header(name)
            {
                xml.text(algorithm.element(), value);
            }
            xml.close("Part");
        }
        xml.close("ObjectParts");
    }
}
