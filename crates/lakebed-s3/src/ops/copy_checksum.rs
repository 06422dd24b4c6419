//! The checksum of a copy: of the whole object, whatever the source's was made of (`s3-gateway` §4, §8.6).

use std::collections::BTreeMap;

use futures::StreamExt;
use lakebed_catalog::{Entry, Repository};

use super::upload_target::Kind;
use crate::call::Call;
use crate::error::S3Error;
use crate::parts::{PARTS, PartTable};
use crate::payload::checksum::{self, Algorithm, CHECKSUM_TYPE, Hasher};
use crate::payload::combine::{PartDigest, full_object};

/// The checksum to keep with a copy of `source`, by header name. Nothing is read if the source has it, or if it can be
/// joined from those of the source's parts. A source without a checksum whose copy is asked for none stays without.
pub(super) async fn of_copy(
    call: &Call,
    wanted: Option<Algorithm>,
    repository: &Repository,
    source: &Entry,
) -> Result<BTreeMap<String, String>, S3Error> {
    let kept = kept(source);
    let Some(algorithm) = wanted.or(kept.map(|(algorithm, _)| algorithm)) else {
        return Ok(BTreeMap::new());
    };
    let value = match known(source, algorithm) {
        Some(value) => value,
        None => read(call, repository, source, algorithm).await?,
    };
    Ok(BTreeMap::from([
        (algorithm.header().to_owned(), value),
        (CHECKSUM_TYPE.as_str().to_owned(), Kind::FullObject.name().to_owned()),
    ]))
}

/// The algorithm and value of the checksum kept with an entry.
pub(super) fn kept(entry: &Entry) -> Option<(Algorithm, &str)> {
    entry.headers.iter().find_map(|(name, value)| Some((Algorithm::of_header(name)?, value.as_str())))
}

/// The checksum of the whole, as far as it is known without the bytes.
fn known(source: &Entry, algorithm: Algorithm) -> Option<String> {
    let is_composite =
        source.headers.get(CHECKSUM_TYPE.as_str()).is_some_and(|kind| kind == Kind::Composite.name());
    match kept(source) {
        Some((same, value)) if same == algorithm && !is_composite => Some(value.to_owned()),
        _ => joined(source, algorithm),
    }
}

/// Joins the checksums of the parts that the source was uploaded in.
fn joined(source: &Entry, algorithm: Algorithm) -> Option<String> {
    let table = PartTable::parse(source.headers.get(PARTS)?)?;
    let digests: Vec<PartDigest> = (1..=table.count())
        .map(|number| {
            let part = table.part(number)?;
            let (name, value) = part.checksum?;
            let digest = (name == algorithm.header()).then(|| algorithm.decode(&value).ok()).flatten()?;
            Some(PartDigest { digest, size: part.size })
        })
        .collect::<Option<_>>()?;
    full_object(algorithm, &digests)
}

/// Reads the source's bytes for their checksum, piece by piece.
async fn read(
    call: &Call,
    repository: &Repository,
    source: &Entry,
    algorithm: Algorithm,
) -> Result<String, S3Error> {
    let address = source.full_address(&repository.storage_namespace);
    let mut stream = call.catalog().read(&address, None).await?;
    let mut hasher = Hasher::new(algorithm);
    while let Some(bytes) = stream.next().await {
        hasher.update(&bytes?);
    }
    Ok(checksum::encode(&hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(algorithm: Algorithm, content: &str) -> String {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content.as_bytes());
        checksum::encode(&hasher.finish())
    }

    fn source(headers: &[(&str, &str)]) -> Entry {
        Entry {
            headers: headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Entry::default()
        }
    }

    #[test]
    fn what_is_known_of_the_whole_is_not_read_again() {
        let whole = digest(Algorithm::Crc32, "hello world");
        let single = source(&[("x-amz-checksum-crc32", &whole), ("x-amz-checksum-type", "FULL_OBJECT")]);
        assert_eq!(known(&single, Algorithm::Crc32), Some(whole.clone()));
        assert_eq!(known(&single, Algorithm::Sha256), None);
        let parts = [
            ("x-amz-checksum-crc32", digest(Algorithm::Crc32, "hello ")),
            ("x-amz-checksum-crc32", digest(Algorithm::Crc32, "world")),
        ]
        .map(|(name, value)| BTreeMap::from([(name.to_owned(), value)]));
        let table = PartTable::of([6, 5].into_iter().zip(&parts)).unwrap().format().unwrap();
        let composite = source(&[
            ("x-amz-checksum-crc32", "AAAAAA==-2"),
            ("x-amz-checksum-type", "COMPOSITE"),
            (PARTS, &table),
        ]);
        assert_eq!(known(&composite, Algorithm::Crc32), Some(whole));
        assert_eq!(known(&composite, Algorithm::Crc32c), None);
        let bare = source(&[("x-amz-checksum-crc32", "AAAAAA==-2"), ("x-amz-checksum-type", "COMPOSITE")]);
        assert_eq!(known(&bare, Algorithm::Crc32), None, "the table had no room for them");
        let hashes = source(&[("x-amz-checksum-sha256", "AAAA-2"), ("x-amz-checksum-type", "COMPOSITE")]);
        assert_eq!(known(&hashes, Algorithm::Sha256), None, "hashes cannot be joined");
    }
}
