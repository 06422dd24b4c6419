//! Completing a multipart upload (`s3-gateway` §8.8): parts become one object.

use std::collections::BTreeMap;

use http::header;
use lakebed_catalog::{CompletedPart, Completion, Entry, Upload, UploadPart};

use super::copy::write_checksums;
use super::put::may_write;
use super::upload_target::{Agreed, Kind, named};
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::operation::{Needs, Operation};
use crate::parts::{PARTS, PartTable};
use crate::patience;
use crate::payload;
use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};
use crate::payload::combine::{PartDigest, composite, full_object};
use crate::reply::Reply;
use crate::write_conditions::{name_failed, of_write, unquoted};
use crate::xml::{Element, Writer};

/// The longest document: 10,000 parts with every checksum there is.
const LONGEST: usize = 4 << 20;

/// Parts of an upload at most.
const MOST_PARTS: usize = 10_000;

const OBJECT_SIZE: &str = "x-amz-mp-object-size";

/// `POST /bucket/key?uploadId`
pub(crate) struct CompleteMultipartUpload {
    expected: Expected,
}

/// What the client says the object will be.
#[derive(Debug, Default)]
struct Expected {
    size: Option<u64>,
    kind: Option<Kind>,
    /// As sent: a composite has the number of parts behind it.
    checksum: Option<(Algorithm, String)>,
    /// Of each part, in the order of the document.
    parts: Vec<Claimed>,
}

impl Operation for CompleteMultipartUpload {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let text = |name: &str| call.headers().get(name).map(|value| value.to_str().unwrap_or_default());
        let size = text(OBJECT_SIZE)
            .map(|size| {
                size.parse().map_err(|_| {
                    let is_negative = size.parse::<i64>().is_ok();
                    let what = if is_negative { "less than zero" } else { "invalid" };
                    S3Error::new(
                        Code::InvalidRequest,
                        format!("Value for x-amz-mp-object-size header is {what}: '{size}'"),
                    )
                })
            })
            .transpose()?;
        let kind = text(CHECKSUM_TYPE.as_str())
            .map(|name| {
                Kind::named(name).ok_or_else(|| {
                    S3Error::new(Code::InvalidRequest, "Value for x-amz-checksum-type header is invalid.")
                })
            })
            .transpose()?;
        let mut checksum = None;
        for (name, value) in call.headers() {
            if let Some(algorithm) = Algorithm::of_header(name.as_str())
                && checksum.replace((algorithm, value.to_str().unwrap_or_default().to_owned())).is_some()
            {
                return Err(S3Error::new(
                    Code::InvalidRequest,
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
        }
        Ok(Self { expected: Expected { size, kind, checksum, parts: Vec::new() } })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(may_write(call)?))
    }

    async fn run(mut self, mut call: Call) -> Reply {
        // They speak of the object, not of the document that is the body.
        let of_object: Vec<_> = call
            .parts
            .headers
            .keys()
            .filter(|name| Algorithm::of_header(name.as_str()).is_some())
            .cloned()
            .collect();
        for name in of_object {
            call.parts.headers.remove(name);
        }
        let body = payload::document(&mut call, LONGEST).await?;
        let (parts, checksums) = read_parts(&body)?;
        self.expected.parts = checksums;
        patience::answer(call, |call| self.complete(call, parts)).await
    }
}

/// The checksums that a document says a part has, by header name.
type Claimed = BTreeMap<&'static str, String>;

/// The parts a document names, and the checksums it says they have.
fn read_parts(document: &[u8]) -> Result<(Vec<CompletedPart>, Vec<Claimed>), S3Error> {
    let malformed = || S3Error::of(Code::MalformedXML);
    let root = Element::parse(document, "CompleteMultipartUpload")?;
    let (mut parts, mut checksums) = (Vec::new(), Vec::new());
    for part in root.all("Part") {
        if parts.len() == MOST_PARTS {
            return Err(malformed());
        }
        let number = part_number(part.required("PartNumber")?.value()?)?;
        let etag = unquoted(part.required("ETag")?.text()).to_owned();
        parts.push(CompletedPart { number, etag });
        let said = part.texts().filter_map(|(name, value)| {
            Algorithm::of_element(name).map(|algorithm| (algorithm.header(), value.trim().to_owned()))
        });
        let said: Claimed = said.collect();
        check_claimed(&said)?;
        checksums.push(said);
    }
    if parts.is_empty() { Err(malformed()) } else { Ok((parts, checksums)) }
}

fn part_number(number: i64) -> Result<u32, S3Error> {
    u32::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| S3Error::argument("PartNumber", &number.to_string(), "PartNumber must be >= 1"))
}

/// A part has one checksum at most, in the shape of its algorithm.
fn check_claimed(said: &Claimed) -> Result<(), S3Error> {
    let well_formed = said.iter().all(|(name, value)| {
        Algorithm::of_header(name).is_some_and(|algorithm| algorithm.decode(value).is_ok())
    });
    if well_formed && said.len() <= 1 {
        return Ok(());
    }
    let values: Vec<&str> = said.values().map(String::as_str).collect();
    Err(S3Error::argument(
        "Checksum",
        &values.join(";"),
        "Invalid Base64 or multiple checksums present in request",
    ))
}

impl CompleteMultipartUpload {
    async fn complete(self, call: Call, parts: Vec<CompletedPart>) -> Result<String, S3Error> {
        let target = named(&call).await?;
        let completion = Completion {
            parts,
            least_part_bytes: call.s3.config().min_part_bytes,
            precondition: of_write(call.headers()),
        };
        let expected = &self.expected;
        let entry = call
            .catalog()
            .complete_upload(&target, &completion, |upload, parts| expected.check(upload, parts))
            .await
            .map_err(|error: S3Error| name_failed(error, call.headers()))?;
        document(&call, &entry)
    }
}

fn document(call: &Call, entry: &Entry) -> Result<String, S3Error> {
    let mut xml = Writer::result("CompleteMultipartUploadResult");
    xml.text("Location", &location(call));
    xml.text("Bucket", call.place.bucket().unwrap_or_default()).text("Key", call.key()?.as_str());
    xml.etag(&entry.checksum);
    write_checksums(&mut xml, entry);
    Ok(xml.finish("CompleteMultipartUploadResult"))
}

/// Where the object is, as this client reaches it.
pub(crate) fn location(call: &Call) -> String {
    let uri = &call.parts.uri;
    let forwarded = call.header(http::HeaderName::from_static("x-forwarded-proto"));
    let scheme = uri.scheme_str().or(forwarded).filter(|scheme| *scheme == "https").unwrap_or("http");
    let host = uri.authority().map(http::uri::Authority::as_str).or(call.header(header::HOST));
    format!("{scheme}://{}{}", host.unwrap_or("localhost"), uri.path())
}

impl Expected {
    /// Compares what the client says with what was uploaded; answers what is kept with the object besides.
    fn check(&self, upload: &Upload, parts: &[UploadPart]) -> Result<BTreeMap<String, String>, S3Error> {
        let size: u64 = parts.iter().map(|part| part.size).sum();
        if let Some(expected) = self.size
            && expected != size
        {
            return Err(S3Error::new(
                Code::InvalidRequest,
                format!(
                    "The provided 'x-amz-mp-object-size' header value {expected} does not match what was computed: \
                     {size}"
                ),
            ));
        }
        self.check_parts(upload, parts)?;
        let mut kept = BTreeMap::new();
        let agreed = agreed(upload, parts);
        if let (Some(agreed), Some(kind)) = (agreed, self.kind)
            && agreed.kind != kind
        {
            return Err(S3Error::new(
                Code::InvalidRequest,
                format!(
                    "The upload was created using the {} checksum mode. The complete request must use the same \
                     checksum mode.",
                    agreed.kind.name()
                ),
            ));
        }
        let whole = agreed.and_then(|agreed| Some((agreed, whole(agreed, parts)?)));
        if let Some((algorithm, value)) = &self.checksum {
            if algorithm.decode(value.rsplit_once('-').map_or(value, |(digest, _)| digest)).is_err() {
                let message = format!("Value for {} header is invalid.", algorithm.header());
                return Err(S3Error::new(Code::InvalidRequest, message));
            }
            match &whole {
                Some((agreed, computed)) if agreed.algorithm == *algorithm => {
                    if !says(value, computed) {
                        return Err(algorithm.mismatch());
                    }
                }
                _ => {
                    return Err(S3Error::new(
                        Code::InvalidRequest,
                        format!(
                            "The {} of the object cannot be verified: its parts were uploaded with another checksum.",
                            algorithm.name()
                        ),
                    ));
                }
            }
        }
        if let Some((agreed, computed)) = whole {
            kept.insert(agreed.algorithm.header().to_owned(), computed);
            kept.insert(CHECKSUM_TYPE.as_str().to_owned(), agreed.kind.name().to_owned());
        }
        let table = PartTable::of(parts.iter().map(|part| (part.size, &part.checksums)));
        if let Some(table) = table.and_then(|table| table.format()) {
            kept.insert(PARTS.to_owned(), table);
        }
        Ok(kept)
    }

    fn check_parts(&self, upload: &Upload, parts: &[UploadPart]) -> Result<(), S3Error> {
        for (said, part) in self.parts.iter().zip(parts) {
            if let Some((name, _)) = said.iter().find(|(name, _)| !part.checksums.contains_key(**name))
                && let Some(algorithm) = Algorithm::of_header(name)
            {
                // The part came with another: nobody knows whether this one is right.
                return Err(S3Error::new(
                    Code::BadDigest,
                    format!(
                        "The {} you specified for part {} did not match what we received.",
                        algorithm.name().to_ascii_lowercase(),
                        part.number
                    ),
                ));
            }
            if said.iter().any(|(name, value)| part.checksums.get(*name) != Some(value)) {
                return Err(S3Error::of(Code::InvalidPart)
                    .with("UploadId", &upload.id)
                    .with("PartNumber", part.number.to_string())
                    .with("ETag", &part.etag));
            }
        }
        Ok(())
    }
}

/// Whether the client's value is the computed one; of a composite the number of parts may be left out.
fn says(value: &str, computed: &str) -> bool {
    value == computed || computed.rsplit_once('-').is_some_and(|(digest, _)| digest == value)
}

/// What the object's checksum is to be: as agreed when the upload was begun, else what all its parts brought.
fn agreed(upload: &Upload, parts: &[UploadPart]) -> Option<Agreed> {
    if let Some(agreed) = Agreed::of(upload) {
        return Some(agreed);
    }
    let (name, _) = parts.first()?.checksums.first_key_value()?;
    let algorithm = Algorithm::of_header(name)?;
    let kind = if algorithm.crc().is_some() { Kind::FullObject } else { Kind::Composite };
    Some(Agreed { algorithm, kind })
}

/// The checksum of the whole; `None` if a part has none of this algorithm.
fn whole(agreed: Agreed, parts: &[UploadPart]) -> Option<String> {
    let Agreed { algorithm, kind } = agreed;
    let digests: Vec<PartDigest> = parts
        .iter()
        .map(|part| {
            let digest = algorithm.decode(part.checksums.get(algorithm.header())?).ok()?;
            Some(PartDigest { digest, size: part.size })
        })
        .collect::<Option<_>>()?;
    match kind {
        Kind::FullObject => full_object(algorithm, &digests),
        Kind::Composite => Some(composite(algorithm, &digests)),
    }
}

#[cfg(test)]
mod tests {
    use lakebed_core::Timestamp;

    use super::*;
    use crate::payload::checksum::{Hasher, encode};

    fn digest(algorithm: Algorithm, content: &str) -> String {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content.as_bytes());
        encode(&hasher.finish())
    }

    fn part(number: u32, content: &str, algorithm: Algorithm) -> UploadPart {
        UploadPart {
            number,
            size: content.len() as u64,
            etag: "e".to_owned(),
            modified: Timestamp::from_secs(0),
            checksums: BTreeMap::from([(algorithm.header().to_owned(), digest(algorithm, content))]),
        }
    }

    fn upload(options: &[(&str, &str)]) -> Upload {
        Upload {
            id: "u".to_owned(),
            branch: "main".parse().unwrap(),
            path: "m".parse().unwrap(),
            initiated: Timestamp::from_secs(0),
            draft: lakebed_catalog::EntryDraft::default(),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    fn check(
        expected: &Expected,
        options: &[(&str, &str)],
        parts: &[UploadPart],
    ) -> Result<BTreeMap<String, String>, Code> {
        expected.check(&upload(options), parts).map_err(|error| error.code())
    }

    #[test]
    fn documents_name_parts_with_their_checksums() {
        let (parts, checksums) = read_parts(
            b"<CompleteMultipartUpload><Part><ETag>&quot;a&quot;</ETag><PartNumber> 1 </PartNumber>\
              <ChecksumCRC32>DUoRhQ==</ChecksumCRC32></Part><Part><PartNumber>7</PartNumber><ETag>b</ETag></Part>\
              </CompleteMultipartUpload>",
        )
        .unwrap();
        let part = |number, etag: &str| CompletedPart { number, etag: etag.to_owned() };
        assert_eq!(parts, [part(1, "a"), part(7, "b")]);
        assert_eq!(checksums[0], BTreeMap::from([("x-amz-checksum-crc32", "DUoRhQ==".to_owned())]));
        assert!(checksums[1].is_empty());
        for bad in [
            "<CompleteMultipartUpload></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
            "",
        ] {
            let code = read_parts(bad.as_bytes()).err().map(|error| error.code());
            assert_eq!(code, Some(Code::MalformedXML), "{bad}");
        }
        for bad in [
            "<PartNumber>-1</PartNumber>",
            "<PartNumber>0</PartNumber>",
            "<PartNumber>1</PartNumber><ChecksumCRC32>DUoRhQ</ChecksumCRC32>",
            "<PartNumber>1</PartNumber><ChecksumCRC32>DUoRhQ==</ChecksumCRC32><ChecksumCRC32C>yZRlqg==</ChecksumCRC32C>",
        ] {
            let whole = format!(
                "<CompleteMultipartUpload><Part><ETag>a</ETag>{bad}</Part></CompleteMultipartUpload>"
            );
            let code = read_parts(whole.as_bytes()).err().map(|error| error.code());
            assert_eq!(code, Some(Code::InvalidArgument), "{bad}");
        }
    }

    #[test]
    fn the_checksum_of_the_whole_is_made_of_those_of_the_parts() {
        let crc = [part(1, "hello ", Algorithm::Crc32), part(2, "world", Algorithm::Crc32)];
        let kept = check(&Expected::default(), &[], &crc).unwrap();
        assert_eq!(kept["x-amz-checksum-crc32"], "DUoRhQ==");
        assert_eq!(kept["x-amz-checksum-type"], "FULL_OBJECT");
        assert!(kept[PARTS].starts_with("6,5;crc32="));
        let composite = [("checksum-algorithm", "CRC32"), ("checksum-type", "COMPOSITE")];
        let kept = check(&Expected::default(), &composite, &crc).unwrap();
        assert!(kept["x-amz-checksum-crc32"].ends_with("-2"));
        assert_eq!(kept["x-amz-checksum-type"], "COMPOSITE");
        let sha = [part(1, "hello ", Algorithm::Sha256), part(2, "world", Algorithm::Sha256)];
        let kept = check(&Expected::default(), &[], &sha).unwrap();
        assert!(kept["x-amz-checksum-sha256"].ends_with("-2"));
        let mixed = [part(1, "hello ", Algorithm::Crc32), part(2, "world", Algorithm::Sha1)];
        let kept = check(&Expected::default(), &[], &mixed).unwrap();
        assert_eq!(kept.keys().collect::<Vec<_>>(), [PARTS]);
    }

    #[test]
    fn what_the_client_says_is_compared() {
        let parts = [part(1, "hello ", Algorithm::Crc32), part(2, "world", Algorithm::Crc32)];
        let of = |expected: Expected| check(&expected, &[], &parts).map(drop);
        let says = |algorithm, value: &str| Expected {
            checksum: Some((algorithm, value.to_owned())),
            ..Expected::default()
        };
        assert_eq!(of(says(Algorithm::Crc32, "DUoRhQ==")), Ok(()));
        assert_eq!(of(says(Algorithm::Crc32, "AAAAAA==")), Err(Code::BadDigest));
        assert_eq!(of(says(Algorithm::Crc32, "AAAAAA==-2")), Err(Code::BadDigest));
        assert_eq!(of(says(Algorithm::Crc32, "bad")), Err(Code::InvalidRequest));
        assert_eq!(of(says(Algorithm::Sha1, "DUoRhQ==")), Err(Code::InvalidRequest));
        assert_eq!(of(Expected { size: Some(11), ..Expected::default() }), Ok(()));
        assert_eq!(of(Expected { size: Some(12), ..Expected::default() }), Err(Code::InvalidRequest));
        let kind = |kind| Expected { kind: Some(kind), ..Expected::default() };
        assert_eq!(of(kind(Kind::FullObject)), Ok(()));
        assert_eq!(of(kind(Kind::Composite)), Err(Code::InvalidRequest));
        let second = |value: String| Expected {
            parts: vec![BTreeMap::new(), BTreeMap::from([("x-amz-checksum-crc32", value)])],
            ..Expected::default()
        };
        assert_eq!(of(second(digest(Algorithm::Crc32, "world"))), Ok(()));
        assert_eq!(of(second("AAAAAA==".to_owned())), Err(Code::InvalidPart));
        let other = BTreeMap::from([("x-amz-checksum-crc32c", "AAAAAA==".to_owned())]);
        assert_eq!(of(Expected { parts: vec![other], ..Expected::default() }), Err(Code::BadDigest));
    }
}
