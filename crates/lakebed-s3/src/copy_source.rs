//! What a copy reads (`s3-gateway` §8.6): `[/]<repository>/<ref>/<path>[?versionId=...]`, decoded once.
//! A plus is a space, as it is to S3 and lakeFS: some clients write the source as forms are written (s5cmd), and all others
//! escape a plus for that reason.

use std::sync::Arc;

use http::HeaderMap;
use lakebed_auth::Permission;
use lakebed_catalog::{Entry, Repository};
use percent_encoding::percent_decode_str;

use crate::S3Config;
use crate::bucket::{Bucket, Key};
use crate::call::{self, Call, reading};
use crate::conditions::{self, Outcome};
use crate::error::{Code, S3Error};
use crate::metadata::text;
use crate::ops::get::{Version, view};

/// The header that makes a put a copy.
pub(crate) const COPY_SOURCE: &str = "x-amz-copy-source";

/// A source, as named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopySource {
    bucket: Bucket,
    /// The key as sent, decoded.
    key: String,
    pub version: Version,
}

/// A source, as found.
pub(crate) struct Found {
    pub repository: Arc<Repository>,
    pub key: Key,
    pub entry: Entry,
}

const NO_OBJECT: &str = "Copy Source must mention the source bucket, ref and path.";

fn refused(value: &str, message: &'static str) -> S3Error {
    S3Error::argument(COPY_SOURCE, value, message)
}

impl CopySource {
    /// Reads the header.
    pub(crate) fn parse(headers: &HeaderMap, config: &S3Config) -> Result<Self, S3Error> {
        let header = headers.get(COPY_SOURCE).map(text).unwrap_or_default();
        // A question mark of the key itself is escaped.
        let (source, version) = match header.rsplit_once("?versionId=") {
            Some((source, version)) => (source, Version::parse(Some(version))?),
            None => (&*header, Version::Current),
        };
        let source = source.replace('+', " ");
        let decoded = percent_decode_str(&source)
            .decode_utf8()
            .map_err(|_| refused(&header, "The copy source is not UTF-8."))?;
        if decoded.starts_with("arn:") {
            return Err(refused(&header, "Copy sources are named <repository>/<ref>/<path>, not by ARN."));
        }
        match decoded.trim_start_matches('/').split_once('/') {
            Some((bucket, key)) => {
                let bucket = Bucket::new(bucket, config);
                if bucket.path_of(key).is_empty() {
                    return Err(refused(&header, NO_OBJECT));
                }
                Ok(Self { bucket, key: key.to_owned(), version })
            }
            None => Err(refused(&header, NO_OBJECT)),
        }
    }

    /// The permission to read it.
    pub(crate) fn permission(&self) -> Permission {
        Permission::object("fs:ReadObject", self.bucket.repository(), self.bucket.path_of(&self.key))
    }

    /// Finds the source; refuses if the conditions on it do not hold.
    pub(crate) async fn find(&self, call: &Call) -> Result<Found, S3Error> {
        let bucket = self.bucket.clone().settle(call.catalog()).await?;
        let (repository, key) = (call::repository(bucket.repository())?, bucket.key(&self.key));
        call.catalog().repository(&repository).await?;
        let no_key = |_| S3Error::of(Code::NoSuchKey);
        let path = call::path(&key)?;
        let reference = match &self.version {
            Version::Current => key.reference().parse().map_err(no_key)?,
            Version::Commit(id) => id.to_hex().parse().map_err(no_key)?,
        };
        let found = call.catalog().locate(&repository, &reference, &path).await;
        let (repository, entry) = found.map_err(|error| match (reading(error), &self.version) {
            (error, Version::Commit(id)) if error.code() == Code::NoSuchKey => {
                S3Error::of(Code::NoSuchVersion).with("VersionId", id.to_hex())
            }
            (error, _) => error.with("Key", key.as_str()),
        })?;
        let entry = view(&entry)?;
        match conditions::of_copy_source(call.headers(), entry.checksum, entry.mtime_secs) {
            Outcome::Failed(condition) => {
                Err(S3Error::of(Code::PreconditionFailed).with("Condition", condition))
            }
            _ => Ok(Found { repository, key, entry: entry.to_entry() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str) -> Result<(String, String, Version), Code> {
        let mut headers = HeaderMap::new();
        headers.insert(COPY_SOURCE, header.parse().unwrap());
        let source = CopySource::parse(&headers, &S3Config::default()).map_err(|error| error.code())?;
        Ok((source.bucket.name().to_owned(), source.key, source.version))
    }

    #[test]
    fn sources_are_decoded_once() {
        let of = |key: &str| Ok(("repo".to_owned(), key.to_owned(), Version::Current));
        assert_eq!(parse("/repo/main/a"), of("main/a"));
        assert_eq!(parse("repo/main~1/a//b/"), of("main~1/a//b/"));
        assert_eq!(parse("repo/main/a%20b+c%2Bd%2525e"), of("main/a b c+d%25e"));
        assert_eq!(parse("repo%2Fmain%2Fa"), of("main/a"));
        assert_eq!(parse("repo/main/a%3FversionId=x"), of("main/a?versionId=x"));
        assert_eq!(parse("repo/main/ü"), of("main/ü"));
        assert_eq!(parse("repo/main/a?versionId=null"), of("main/a"));
    }

    #[test]
    fn a_version_is_a_commit() {
        let id = lakebed_core::CommitId::digest(b"x");
        let expected = Ok(("repo".to_owned(), "main/a".to_owned(), Version::Commit(id)));
        assert_eq!(parse(&format!("repo/main/a?versionId={}", id.to_hex())), expected);
        assert_eq!(parse("repo/main/a?versionId=x"), Err(Code::NoSuchVersion));
    }

    #[test]
    fn what_names_no_object_is_refused() {
        for bad in ["", "/", "repo", "repo/main", "repo/main/", "arn:aws:s3:::repo/main/a", "repo/main/%ff"] {
            assert_eq!(parse(bad), Err(Code::InvalidArgument), "{bad}");
        }
    }
}
