//! Lists of multipart uploads and of their parts (`s3-gateway` §8.8).

use http::StatusCode;
use lakebed_auth::Permission;
use lakebed_catalog::{Upload, UploadsRequest};

use super::listing::{Shape, amount, of_bucket, write_owner};
use super::put::may_write;
use super::upload_target::{Agreed, initiator, named};
use crate::auth::date_time;
use crate::call::Call;
use crate::error::S3Error;
use crate::metadata::STORAGE_CLASS;
use crate::operation::{Needs, Operation};
use crate::payload::checksum::Algorithm;
use crate::reply::{self, Reply};
use crate::xml::Writer;

/// Lines of a page at most.
const MOST: usize = 1000;

fn write_initiator(xml: &mut Writer, upload: &Upload) {
    let (id, name) = initiator(upload);
    xml.open("Initiator").text("ID", id).text("DisplayName", name).close("Initiator");
}

fn write_agreed(xml: &mut Writer, upload: &Upload) {
    if let Some(Agreed { algorithm, kind }) = Agreed::of(upload) {
        xml.text("ChecksumAlgorithm", algorithm.name()).text("ChecksumType", kind.name());
    }
}

fn storage_class(upload: &Upload) -> &str {
    upload.draft.headers.get(STORAGE_CLASS).map_or("STANDARD", String::as_str)
}

/// `GET /bucket/key?uploadId`
pub(crate) struct ListParts {
    shape: Shape,
    after: usize,
    most: usize,
}

impl Operation for ListParts {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let marker = call.query.get("part-number-marker").filter(|text| !text.is_empty());
        Ok(Self {
            shape: Shape::parse(call)?,
            after: amount(marker.or(Some("0")), "part-number-marker", "partNumberMarker", 10_000)?,
            most: amount(call.query.get("max-parts"), "max-parts", "maxParts", MOST)?,
        })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(may_write(call)?))
    }

    async fn run(self, call: Call) -> Reply {
        let target = named(&call).await?;
        let upload = call.catalog().upload(&target).await?;
        let after = u32::try_from(self.after).unwrap_or(u32::MAX);
        let (parts, more) = call.catalog().list_parts(&target, after, self.most).await?;
        // An empty page says nothing of where to go on.
        let more = more && !parts.is_empty();
        let mut xml = Writer::result("ListPartsResult");
        xml.text("Bucket", call.place.bucket().unwrap_or_default());
        xml.text("Key", &self.shape.encode(call.key()?.as_str()));
        xml.text("UploadId", &upload.id);
        write_initiator(&mut xml, &upload);
        write_owner(&mut xml, &call, "Owner");
        xml.text("StorageClass", storage_class(&upload));
        xml.value("PartNumberMarker", self.after);
        if let Some(last) = parts.last().filter(|_| more) {
            xml.value("NextPartNumberMarker", last.number);
        }
        xml.value("MaxParts", self.most).value("IsTruncated", more);
        self.shape.write_encoding(&mut xml);
        write_agreed(&mut xml, &upload);
        for part in &parts {
            xml.open("Part").value("PartNumber", part.number);
            xml.text("LastModified", &date_time::iso(part.modified))
                .etag(&part.etag)
                .value("Size", part.size);
            for (name, value) in &part.checksums {
                if let Some(algorithm) = Algorithm::of_header(name) {
                    xml.text(algorithm.element(), value);
                }
            }
            xml.close("Part");
        }
        Ok(reply::xml(StatusCode::OK, xml.finish("ListPartsResult")))
    }
}

/// `GET /bucket?uploads`
pub(crate) struct ListMultipartUploads {
    shape: Shape,
    key_marker: String,
    upload_marker: String,
    most: usize,
}

/// One line of a page.
enum Line {
    Upload(Box<Upload>),
    /// With the id of the first upload below it.
    Prefix(String, String),
}

fn key_of(upload: &Upload) -> String {
    format!("{}/{}", upload.branch, upload.path)
}

impl Operation for ListMultipartUploads {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let text = |name: &str| call.query.get(name).unwrap_or_default().to_owned();
        Ok(Self {
            shape: Shape::parse(call)?,
            key_marker: call.place.hidden() + &text("key-marker"),
            upload_marker: text("upload-id-marker"),
            most: amount(call.query.get("max-uploads"), "max-uploads", "maxUploads", MOST)?,
        })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(Permission::repository("fs:ListObjects", call.place.repository())))
    }

    async fn run(self, call: Call) -> Reply {
        let (lines, more) = self.find(&call).await?;
        let show = |text: &str| self.shape.show(text).into_owned();
        let mut xml = Writer::result("ListMultipartUploadsResult");
        xml.text("Bucket", call.place.bucket().unwrap_or_default());
        xml.text("KeyMarker", &show(&self.key_marker)).text("UploadIdMarker", &self.upload_marker);
        if let Some(last) = lines.last().filter(|_| more) {
            let (key, id) = match last {
                Line::Upload(upload) => (key_of(upload), upload.id.as_str()),
                Line::Prefix(prefix, id) => (prefix.clone(), id.as_str()),
            };
            xml.text("NextKeyMarker", &show(&key)).text("NextUploadIdMarker", id);
        }
        xml.text("Prefix", &show(&self.shape.prefix));
        if !self.shape.delimiter.is_empty() {
            xml.text("Delimiter", &self.shape.encode(&self.shape.delimiter));
        }
        xml.value("MaxUploads", self.most).value("IsTruncated", more);
        self.shape.write_encoding(&mut xml);
        for line in &lines {
            let Line::Upload(upload) = line else { continue };
            xml.open("Upload").text("Key", &show(&key_of(upload))).text("UploadId", &upload.id);
            write_initiator(&mut xml, upload);
            write_owner(&mut xml, &call, "Owner");
            xml.text("StorageClass", storage_class(upload));
            xml.text("Initiated", &date_time::iso(upload.initiated));
            write_agreed(&mut xml, upload);
            xml.close("Upload");
        }
        for line in &lines {
            if let Line::Prefix(prefix, _) = line {
                xml.open("CommonPrefixes").text("Prefix", &show(prefix)).close("CommonPrefixes");
            }
        }
        of_bucket(&call, xml.finish("ListMultipartUploadsResult"))
    }
}

impl ListMultipartUploads {
    /// The part of a key up to the delimiter behind the prefix, if there is one.
    fn folded(&self, key: &str) -> Option<String> {
        if self.shape.delimiter.is_empty() {
            return None;
        }
        let rest = key.get(self.shape.prefix.len()..)?;
        let end = rest.find(&self.shape.delimiter)? + self.shape.delimiter.len();
        Some(key[..self.shape.prefix.len() + end].to_owned())
    }

    async fn find(&self, call: &Call) -> Result<(Vec<Line>, bool), S3Error> {
        let repository = call.repository()?;
        let mut lines = Vec::new();
        if self.most == 0 {
            call.catalog().repository(&repository).await?;
            return Ok((lines, false));
        }
        let mut request = UploadsRequest {
            prefix: self.shape.prefix.clone(),
            after: self.key_marker.clone(),
            after_id: Some(self.upload_marker.clone()).filter(|id| !id.is_empty()),
            amount: self.most + 1,
        };
        if self.folded(&self.key_marker).as_deref() == Some(&self.key_marker) {
            request = behind(request, &self.key_marker);
        }
        loop {
            let (uploads, more) = call.catalog().list_uploads(&repository, &request).await?;
            let mut folded_into = None;
            for upload in uploads {
                let key = key_of(&upload);
                let prefix = self.folded(&key);
                if prefix.is_some() && prefix == folded_into {
                    continue;
                }
                if lines.len() == self.most {
                    return Ok((lines, true));
                }
                request.after = key;
                request.after_id = Some(upload.id.clone());
                lines.push(match &prefix {
                    Some(prefix) => Line::Prefix(prefix.clone(), upload.id),
                    None => Line::Upload(Box::new(upload)),
                });
                folded_into = prefix;
            }
            if !more {
                return Ok((lines, false));
            }
            if let Some(prefix) = folded_into {
                request = behind(request, &prefix);
            }
        }
    }
}

/// Goes on behind everything that starts with `prefix`.
fn behind(mut request: UploadsRequest, prefix: &str) -> UploadsRequest {
    request.after = format!("{prefix}{}", char::MAX);
    request.after_id = None;
    request
}
