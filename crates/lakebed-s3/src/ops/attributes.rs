//! What is known of an object, without its bytes (`s3-gateway` §8.10).

use http::{HeaderName, StatusCode, header};
use lakebed_catalog::EntryView;
use lakebed_http::http_date;

use super::get::{Version, find, may_read, part_table, view};
use super::listing::amount;
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::operation::{Needs, Operation};
use crate::parts::PartTable;
use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};
use crate::reply::{self, Reply};
use crate::stored::STORAGE_CLASS;
use crate::xml::Writer;

const WANTED_NAME: &str = "x-amz-object-attributes";
const MAX_PARTS: &str = "x-amz-max-parts";
const PART_MARKER: &str = "x-amz-part-number-marker";

/// Parts of an answer at most.
const MOST_PARTS: usize = 1000;

/// Which attributes are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    class: bool,
    size: bool,
}

impl Wanted {
    /// From the values of the header: names, separated by commas.
    fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Result<Self, S3Error> {
        let mut wanted = Self::default();
        let names = values.flat_map(|value| value.split(',')).map(str::trim);
        for name in names.filter(|name| !name.is_empty()) {
            match name {
                "ETag" => wanted.etag = true,
                "Checksum" => wanted.checksum = true,
                "ObjectParts" => wanted.parts = true,
                "StorageClass" => wanted.class = true,
                "ObjectSize" => wanted.size = true,
                other => {
                    return Err(S3Error::argument(WANTED_NAME, other, "Invalid attribute name specified."));
                }
            }
        }
        if wanted == Self::default() {
            let message = "The x-amz-object-attributes header specifying the attributes to be retrieved is \
                           either missing or empty";
            return Err(S3Error::new(Code::InvalidRequest, message));
        }
        Ok(wanted)
    }
}

/// `GET /bucket/key?attributes`
pub(crate) struct GetObjectAttributes {
    version: Version,
    wanted: Wanted,
    most: usize,
    after: usize,
}

impl Operation for GetObjectAttributes {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let values = call.headers().get_all(WANTED_NAME).iter();
        let text = |name: &'static str| call.header(HeaderName::from_static(name));
        // Without a marker from the first part on.
        let marker = text(PART_MARKER).filter(|text| !text.is_empty()).or(Some("0"));
        Ok(Self {
            version: Version::parse(call.query.get("versionId"))?,
            wanted: Wanted::parse(values.map(|value| value.to_str().unwrap_or_default()))?,
            most: amount(text(MAX_PARTS), MAX_PARTS, "max-parts", MOST_PARTS)?,
            after: amount(marker, PART_MARKER, "part-number-marker", usize::MAX)?,
        })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        may_read(call)
    }

    async fn run(self, call: Call) -> Reply {
        let (_, entry) = find(&call, &self.version).await?;
        let entry = view(&entry)?;
        let mut xml = Writer::result("GetObjectAttributesResponse");
        if self.wanted.etag {
            xml.text("ETag", entry.checksum);
        }
        if self.wanted.checksum {
            write_checksum(&mut xml, &entry);
        }
        if self.wanted.parts
            && let Some(table) = part_table(&entry)
        {
            self.write_parts(&mut xml, &table);
        }
        if self.wanted.class {
            let class = entry.headers().find(|(name, _)| *name == STORAGE_CLASS);
            xml.text("StorageClass", class.map_or("STANDARD", |(_, class)| class));
        }
        if self.wanted.size {
            xml.value("ObjectSize", entry.size);
        }
        let mut response = reply::xml(StatusCode::OK, xml.finish("GetObjectAttributesResponse"));
        if let Some(modified) = http_date(entry.mtime_secs) {
            response.headers_mut().insert(header::LAST_MODIFIED, modified);
        }
        self.version.echo(response.headers_mut());
        Ok(response)
    }
}

impl GetObjectAttributes {
    fn write_parts(&self, xml: &mut Writer, table: &PartTable) {
        let first = self.after.saturating_add(1);
        let parts: Vec<_> = (first..=table.count()).take(self.most).filter_map(|n| table.part(n)).collect();
        let last = parts.last().map_or(self.after, |part| part.number);
        xml.open("ObjectParts");
        xml.value("PartsCount", table.count()).value("PartNumberMarker", self.after);
        xml.value("NextPartNumberMarker", last).value("MaxParts", self.most);
        xml.value("IsTruncated", !parts.is_empty() && last < table.count());
        for part in parts {
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

/// The checksum kept with an object, if there is one.
fn write_checksum(xml: &mut Writer, entry: &EntryView<'_>) {
    let found = entry.headers().find_map(|(name, value)| Some((Algorithm::of_header(name)?, value)));
    let Some((algorithm, value)) = found else { return };
    xml.open("Checksum").text(algorithm.element(), value);
    if let Some((_, kind)) = entry.headers().find(|(name, _)| *name == CHECKSUM_TYPE.as_str()) {
        xml.text("ChecksumType", kind);
    }
    xml.close("Checksum");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_named_in_one_header_or_many() {
        let of = |values: &[&str]| Wanted::parse(values.iter().copied()).map_err(|error| error.code());
        let two = Wanted { etag: true, size: true, ..Wanted::default() };
        assert_eq!(of(&["ETag, ObjectSize"]), Ok(two));
        assert_eq!(of(&["ObjectSize", "ETag"]), Ok(two));
        assert_eq!(of(&["ETag,", "", "ObjectSize"]), Ok(two));
        for none in [&[][..], &[""], &[","]] {
            assert_eq!(of(none), Err(Code::InvalidRequest), "{none:?}");
        }
        for bad in ["etag", "ETag,Everything"] {
            assert_eq!(of(&[bad]), Err(Code::InvalidArgument), "{bad}");
        }
    }

    #[test]
    fn parts_are_paged() {
        let page = |after, most| {
            let wanted = Wanted { parts: true, ..Wanted::default() };
            let mut xml = Writer::bare();
            let attributes = GetObjectAttributes { version: Version::Current, wanted, most, after };
            attributes.write_parts(&mut xml, &PartTable::parse("5*2,1;crc32=AAAAAAEBAQECAgIC").unwrap());
            let text = xml.finish("end");
            let numbers: Vec<String> =
                text.split("<PartNumber>").skip(1).map(|rest| rest[..1].to_owned()).collect();
            (
                numbers.join(""),
                text.contains("<IsTruncated>true"),
                text.contains("<Size>1</Size><ChecksumCRC32>AgICAg==</ChecksumCRC32>"),
            )
        };
        assert_eq!(page(0, 2), ("12".to_owned(), true, false));
        assert_eq!(page(2, 2), ("3".to_owned(), false, true));
        assert_eq!(page(0, 3), ("123".to_owned(), false, true));
        assert_eq!(page(3, 3), (String::new(), false, false));
        assert_eq!(page(usize::MAX, 3), (String::new(), false, false));
        assert_eq!(page(0, 0), (String::new(), false, false));
    }
}
