//! Parts of multipart uploads: sent, or copied from an object (`s3-gateway` §8.8).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use lakebed_blocks::{ByteRange, ByteStream};
use lakebed_catalog::UploadPart as Recorded;
use parking_lot::Mutex;

use super::put::{may_write, written};
use super::upload_target::{Agreed, named};
use crate::auth::date_time;
use crate::call::Call;
use crate::copy_source::{CopySource, Found};
use crate::error::{Code, S3Error};
use crate::metadata;
use crate::operation::{Needs, Operation};
use crate::patience;
use crate::payload::checksum::{self, Algorithm, CHECKSUM_TYPE, Hasher};
use crate::payload::{self, Incoming};
use crate::reply::Reply;
use crate::xml::Writer;

/// The `partNumber` of a request.
fn part_number(call: &Call) -> Result<u32, S3Error> {
    let text = call.query.get("partNumber").unwrap_or_default();
    text.parse().ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
        let message = "Part number must be an integer between 1 and 10000, inclusive.";
        S3Error::argument("partNumber", text, message)
    })
}

/// `PUT /bucket/key?partNumber&uploadId`
pub(crate) struct UploadPart {
    number: u32,
    /// The algorithm the request names.
    algorithm: Option<Algorithm>,
}

impl Operation for UploadPart {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        metadata::refuse_unserved(call.headers())?;
        let announced = checksum::announced(call.headers())?;
        Ok(Self { number: part_number(call)?, algorithm: announced.map(|announced| announced.algorithm) })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::one(may_write(call)?))
    }

    async fn run(self, mut call: Call) -> Reply {
        let target = named(&call).await?;
        let upload = call.catalog().begin_part(&target, self.number).await?;
        let agreed = Agreed::of(&upload).map(|agreed| agreed.algorithm);
        if let (Some(agreed), Some(sent)) = (agreed, self.algorithm)
            && agreed != sent
        {
            return Err(S3Error::new(
                Code::InvalidRequest,
                format!(
                    "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                    agreed.name().to_ascii_lowercase(),
                    sent.name().to_ascii_lowercase()
                ),
            ));
        }
        let Incoming { stream, size_hint, verdict } =
            payload::take(&mut call, agreed.unwrap_or(Algorithm::Crc64Nvme))?;
        let stored = call.catalog().store_part(&target, self.number, stream, size_hint).await?;
        let mut checksums = verdict.settle(&stored.0.md5)?;
        checksums.remove(CHECKSUM_TYPE.as_str());
        let part = call.catalog().record_part(&target, self.number, stored, checksums).await?;
        written(&part.etag, &part.checksums)
    }
}

/// `PUT /bucket/key?partNumber&uploadId` with `x-amz-copy-source`
pub(crate) struct UploadPartCopy {
    number: u32,
    source: CopySource,
    range: Option<ByteRange>,
}

/// The range of a copy: closed, and never more than one.
fn copy_range(text: &str) -> Result<ByteRange, S3Error> {
    let bound = |text: &str| {
        if text.bytes().all(|b| b.is_ascii_digit()) { text.parse::<u64>().ok() } else { None }
    };
    let range = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (bound(first)?, bound(last)?);
        (first <= last).then(|| last.checked_add(1)).flatten().map(|end| ByteRange { start: first, end })
    };
    range().ok_or_else(|| {
        S3Error::argument(
            "x-amz-copy-source-range",
            text,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
    })
}

impl Operation for UploadPartCopy {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        metadata::refuse_unserved(call.headers())?;
        let range = call.headers().get("x-amz-copy-source-range").map(metadata::text);
        Ok(Self {
            number: part_number(call)?,
            source: CopySource::parse(call.headers(), call.s3.config())?,
            range: range.map(|text| copy_range(&text)).transpose()?,
        })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::All(vec![self.source.permission(), may_write(call)?]))
    }

    async fn run(self, call: Call) -> Reply {
        patience::answer(call, |call| self.copy(call)).await
    }
}

impl UploadPartCopy {
    async fn copy(self, call: Call) -> Result<String, S3Error> {
        let target = named(&call).await?;
        let upload = call.catalog().begin_part(&target, self.number).await?;
        let Found { repository, entry: source, .. } = self.source.find(&call).await?;
        let range = self.range.unwrap_or(ByteRange { start: 0, end: source.size });
        if range.end > source.size {
            return Err(S3Error::new(
                Code::InvalidRange,
                format!("Range specified is not valid for source object of size: {}", source.size),
            )
            .with("RangeRequested", format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            .with("ActualObjectSize", source.size.to_string()));
        }
        let algorithm = Agreed::of(&upload).map_or(Algorithm::Crc64Nvme, |agreed| agreed.algorithm);
        let address = source.full_address(&repository.storage_namespace);
        let stream = call.catalog().read(&address, Some(range)).await?;
        let (stream, digest) = hashed(stream, algorithm);
        let size = Some(range.end - range.start);
        let stored = call.catalog().store_part(&target, self.number, stream, size).await?;
        let digest =
            digest.lock().take().map(|digest| (algorithm.header().to_owned(), checksum::encode(&digest)));
        let checksums: BTreeMap<String, String> = digest.into_iter().collect();
        let part = call.catalog().record_part(&target, self.number, stored, checksums).await?;
        Ok(document(&part, algorithm))
    }
}

fn document(part: &Recorded, algorithm: Algorithm) -> String {
    let mut xml = Writer::result("CopyPartResult");
    xml.text("LastModified", &date_time::iso(part.modified)).etag(&part.etag);
    if let Some(checksum) = part.checksums.get(algorithm.header()) {
        xml.text(algorithm.element(), checksum);
    }
    xml.finish("CopyPartResult")
}

/// A stream whose digest is known once it ended.
fn hashed(stream: ByteStream, algorithm: Algorithm) -> (ByteStream, Arc<Mutex<Option<Vec<u8>>>>) {
    let digest = Arc::new(Mutex::new(None));
    let begun = (stream, Hasher::new(algorithm), digest.clone());
    let stream = futures::stream::unfold(Some(begun), |state| async {
        let (mut stream, mut hasher, digest) = state?;
        match stream.next().await {
            Some(Ok(bytes)) => {
                hasher.update(&bytes);
                Some((Ok(bytes), Some((stream, hasher, digest))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => {
                *digest.lock() = Some(hasher.finish());
                None
            }
        }
    });
    (stream.boxed(), digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_copies_are_closed() {
        let read =
            |text| copy_range(text).map(|range| (range.start, range.end)).map_err(|error| error.code());
        assert_eq!(read("bytes=0-0"), Ok((0, 1)));
        assert_eq!(read("bytes=5-9"), Ok((5, 10)));
        for bad in [
            "0-2",
            "bytes=0",
            "bytes=hello-world",
            "bytes=0-2,3-5",
            "bytes=5-",
            "bytes=-5",
            "bytes=5-4",
            "bytes=+1-2",
            "bytes=0-18446744073709551615",
        ] {
            assert_eq!(read(bad), Err(Code::InvalidArgument), "{bad}");
        }
    }
}
