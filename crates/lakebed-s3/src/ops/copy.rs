//! Copying an object (`s3-gateway` §8.6): within a repository a new entry for the same bytes, from another one a copy
//! of them.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};
use lakebed_catalog::{Entry, EntryDraft, Precondition};
use lakebed_core::{BranchId, ObjectPath, Timestamp};

use super::acl;
use super::copy_checksum;
use super::put::may_write;
use crate::auth::date_time;
use crate::bucket::Key;
use crate::call::Call;
use crate::copy_source::{CopySource, Found};
use crate::error::{Code, S3Error};
use crate::metadata::{self, ENCRYPTION, REDIRECT, STORAGE_CLASS};
use crate::operation::{Needs, Operation};
use crate::ops::get::Version;
use crate::parts::PARTS;
use crate::patience;
use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};
use crate::reply::Reply;
use crate::stored::TAGGING;
use crate::write_conditions::{name_failed, of_write};
use crate::xml::Writer;

/// `PUT /bucket/key` with `x-amz-copy-source`
pub(crate) struct CopyObject {
    source: CopySource,
    /// What the request says of the copy.
    said: EntryDraft,
    replaces_metadata: bool,
    replaces_tags: bool,
    /// The request says how the copy is to be encrypted.
    encrypts: bool,
    /// The checksum the copy is asked to have.
    algorithm: Option<Algorithm>,
    precondition: Precondition,
}

/// Whether a directive asks to replace what the source has.
fn replaces(headers: &HeaderMap, of: &str, name: &'static str) -> Result<bool, S3Error> {
    match headers.get(HeaderName::from_static(name)).map(http::HeaderValue::as_bytes) {
        None | Some(b"COPY") => Ok(false),
        Some(b"REPLACE") => Ok(true),
        Some(other) => {
            let message = format!("Unknown {of} directive.");
            Err(S3Error::argument(name, &String::from_utf8_lossy(other), message))
        }
    }
}

/// Headers that belong to the bytes, whatever else is replaced.
fn of_bytes(name: &str) -> bool {
    Algorithm::of_header(name).is_some() || name == CHECKSUM_TYPE.as_str() || name == PARTS
}

/// Headers that are said of each object anew.
fn of_place(name: &str) -> bool {
    name == STORAGE_CLASS || name == REDIRECT
}

impl Operation for CopyObject {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        acl::is_canned(call)?;
        let headers = call.headers();
        Ok(Self {
            source: CopySource::parse(headers, call.s3.config())?,
            said: metadata::draft(headers)?,
            replaces_metadata: replaces(headers, "metadata", "x-amz-metadata-directive")?,
            replaces_tags: replaces(headers, "tagging", "x-amz-tagging-directive")?,
            encrypts: headers.contains_key(ENCRYPTION),
            algorithm: Algorithm::asked(headers)?,
            precondition: of_write(headers),
        })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(Needs::All(vec![self.source.permission(), may_write(call)?]))
    }

    async fn run(self, call: Call) -> Reply {
        patience::answer(call, |call| self.copy(call)).await
    }
}

impl CopyObject {
    async fn copy(self, call: Call) -> Result<String, S3Error> {
        let (repository, branch, path) = call.target().await?;
        let ticket = call
            .catalog()
            .begin_write(&repository, &branch, &path, self.precondition.clone(), false)
            .await
            .map_err(|error| name_failed(error.into(), call.headers()))?;
        let Found { repository: source_repository, key, entry: source } = self.source.find(&call).await?;
        if source_repository.id == repository && self.changes_nothing(&key, (&branch, &path), &source) {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let checksums = copy_checksum::of_copy(&call, self.algorithm, &source_repository, &source).await?;
        let draft = self.draft(&source, checksums);
        let entry = call
            .catalog()
            .link_copy(ticket, &source_repository, &source, draft)
            .await
            .map_err(|error| name_failed(error.into(), call.headers()))?;
        let mut xml = Writer::result("CopyObjectResult");
        xml.text("LastModified", &date_time::iso(Timestamp::from_secs(entry.mtime_secs)));
        xml.etag(&entry.checksum);
        write_checksums(&mut xml, &entry);
        Ok(xml.finish("CopyObjectResult"))
    }

    /// Whether source and target are one object, and it would stay as it is.
    fn changes_nothing(&self, key: &Key, (branch, path): (&BranchId, &ObjectPath), source: &Entry) -> bool {
        let is_target = self.source.version == Version::Current
            && key.reference() == branch.as_str()
            && key.path() == path.as_str();
        let placed = |headers: &BTreeMap<String, String>| {
            (headers.get(STORAGE_CLASS).cloned(), headers.get(REDIRECT).cloned())
        };
        let same_checksum = self
            .algorithm
            .is_none_or(|asked| copy_checksum::kept(source).is_some_and(|(algorithm, _)| algorithm == asked));
        is_target
            && !self.replaces_metadata
            && !self.replaces_tags
            && !self.encrypts
            && same_checksum
            && placed(&self.said.headers) == placed(&source.headers)
    }

    /// What the copy says of itself.
    fn draft(&self, source: &Entry, checksums: BTreeMap<String, String>) -> EntryDraft {
        let described = if self.replaces_metadata { self.said.clone() } else { source.to_draft() };
        let tagged = if self.replaces_tags { &self.said.headers } else { &source.headers };
        let own = |name: &str| name != TAGGING && !of_bytes(name) && !of_place(name);
        let described_headers = described.headers.into_iter().filter(|(name, _)| own(name));
        let of = |headers: &BTreeMap<String, String>, wanted: fn(&str) -> bool| {
            headers
                .iter()
                .filter(|(name, _)| wanted(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Vec<_>>()
        };
        EntryDraft {
            content_type: described.content_type,
            metadata: described.metadata,
            headers: described_headers
                .chain(of(tagged, |name| name == TAGGING))
                .chain(of(&source.headers, |name| name == PARTS))
                .chain(checksums)
                .chain(of(&self.said.headers, of_place))
                .collect(),
            ..EntryDraft::default()
        }
    }
}

/// The checksums kept with an object, as elements.
pub(crate) fn write_checksums(xml: &mut Writer, entry: &Entry) {
    for (name, value) in &entry.headers {
        if let Some(algorithm) = Algorithm::of_header(name) {
            xml.text(algorithm.element(), value);
        } else if name == CHECKSUM_TYPE.as_str() {
            xml.text("ChecksumType", value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn source_of(text: &'static str) -> CopySource {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-copy-source", http::HeaderValue::from_static(text));
        CopySource::parse(&headers, &crate::S3Config::default()).unwrap()
    }

    fn copy(said: &[(&str, &str)], replaces_metadata: bool, replaces_tags: bool) -> CopyObject {
        CopyObject {
            source: source_of("/repo/main/a"),
            said: EntryDraft {
                headers: map(said),
                content_type: "new/type".to_owned(),
                ..EntryDraft::default()
            },
            replaces_metadata,
            replaces_tags,
            encrypts: false,
            algorithm: None,
            precondition: Precondition::None,
        }
    }

    fn source() -> Entry {
        Entry {
            content_type: "old/type".to_owned(),
            metadata: map(&[("X-Amz-Meta-a", "1")]),
            headers: map(&[
                ("cache-control", "old"),
                ("x-amz-tagging", "old=1"),
                ("x-amz-checksum-crc32", "AAAAAA=="),
                ("x-lakebed-parts", "5,6"),
                ("x-amz-storage-class", "GLACIER"),
            ]),
            ..Entry::default()
        }
    }

    #[test]
    fn each_directive_decides_for_its_own_part() {
        let said = [("cache-control", "new"), ("x-amz-tagging", "new=1"), ("x-amz-storage-class", "SNOW")];
        let checksum = map(&[("x-amz-checksum-sha1", "AAAA")]);
        for (metadata, tags, content_type, kept) in [
            (false, false, "old/type", [("cache-control", "old"), ("x-amz-tagging", "old=1")]),
            (true, false, "new/type", [("cache-control", "new"), ("x-amz-tagging", "old=1")]),
            (false, true, "old/type", [("cache-control", "old"), ("x-amz-tagging", "new=1")]),
            (true, true, "new/type", [("cache-control", "new"), ("x-amz-tagging", "new=1")]),
        ] {
            let draft = copy(&said, metadata, tags).draft(&source(), checksum.clone());
            let mut expected = map(&kept);
            expected.extend(checksum.clone());
            expected.extend(map(&[("x-lakebed-parts", "5,6")]));
            expected.extend(map(&[("x-amz-storage-class", "SNOW")]));
            assert_eq!(draft.headers, expected, "{metadata} {tags}");
            assert_eq!(draft.content_type, content_type);
            assert_eq!(draft.metadata.is_empty(), metadata);
        }
    }

    #[test]
    fn a_copy_onto_itself_must_change_something() {
        let nothing = |copy: &CopyObject, branch: &str, path: &str| {
            let key = crate::bucket::Bucket::new("repo", &crate::S3Config::default()).key("main/a");
            copy.changes_nothing(&key, (&branch.parse().unwrap(), &path.parse().unwrap()), &source())
        };
        let same = copy(&[("x-amz-storage-class", "GLACIER"), ("cache-control", "new")], false, false);
        assert!(nothing(&same, "main", "a"));
        assert!(!nothing(&same, "dev", "a"));
        assert!(!nothing(&same, "main", "b"));
        assert!(!nothing(&copy(&[], false, false), "main", "a"), "the class changes");
        let class = [("x-amz-storage-class", "GLACIER")];
        assert!(!nothing(&copy(&class, true, false), "main", "a"));
        assert!(!nothing(&copy(&class, false, true), "main", "a"));
        assert!(!nothing(&CopyObject { encrypts: true, ..copy(&class, false, false) }, "main", "a"));
        let asked = |algorithm| CopyObject { algorithm: Some(algorithm), ..copy(&class, false, false) };
        assert!(nothing(&asked(Algorithm::Crc32), "main", "a"), "the source has it");
        assert!(!nothing(&asked(Algorithm::Sha256), "main", "a"));
    }
}
