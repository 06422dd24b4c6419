//! What the listings of a bucket share: their parameters, finding a page of keys, writing it (`s3-gateway` §8.3).
//!
//! A bucket's first level is its refs ([`ref_level`]); below a ref, keys are paths of the catalog with the ref as the
//! client typed it before them. The catalog pages, so no listing holds more than one page.

use std::borrow::Cow;

use http::StatusCode;
use lakebed_auth::Permission;
use lakebed_catalog::{EntryBytes, ErrorKind, ListRequest, Listed, ListedObject};
use lakebed_core::{CommitId, RefExpr, RepositoryId, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::get::view;
use super::ref_level::{self, Level};
use crate::ListedRefs;
use crate::auth::date_time;
use crate::call::{Call, is_no_ref};
use crate::error::{Code, S3Error};
use crate::operation::Needs;
use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};
use crate::reply::{self, Reply};
use crate::stored::STORAGE_CLASS;
use crate::xml::Writer;

/// Objects and prefixes of a page at most.
const MOST_KEYS: usize = 1000;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What all listings read of their query.
pub(crate) struct Shape {
    pub prefix: String,
    pub delimiter: String,
    pub amount: usize,
    encoded: bool,
    /// What stands before every key of the bucket and is not shown ([`crate::bucket::Bucket::hidden`]).
    hidden: String,
}

impl Shape {
    pub(crate) fn parse(call: &Call) -> Result<Self, S3Error> {
        let query = &call.query;
        let hidden = call.place.hidden();
        let encoded = match query.get("encoding-type") {
            None | Some("") => false,
            Some("url") => true,
            Some(other) => {
                let message = "Invalid Encoding Method specified in Request";
                return Err(S3Error::argument("encoding-type", other, message));
            }
        };
        Ok(Self {
            prefix: hidden.clone() + query.get("prefix").unwrap_or_default(),
            delimiter: query.get("delimiter").unwrap_or_default().to_owned(),
            amount: amount(query.get("max-keys"), "max-keys", "maxKeys", MOST_KEYS)?,
            encoded,
            hidden,
        })
    }

    /// A key or prefix of the catalog as the client knows it.
    pub(crate) fn known<'a>(&self, text: &'a str) -> &'a str {
        text.strip_prefix(self.hidden.as_str()).unwrap_or_default()
    }

    /// The key of the catalog that a text of the client's means.
    pub(crate) fn meant(&self, text: &str) -> String {
        format!("{}{text}", self.hidden)
    }

    /// A key or prefix of the catalog as the client wants it written.
    pub(crate) fn show<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.encode(self.known(text))
    }

    /// A text of the client's as it wants it written.
    pub(crate) fn encode<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.encoded { utf8_percent_encode(text, PLAIN).into() } else { text.into() }
    }

    /// What every listing says between its own parameters and its keys.
    pub(crate) fn write_tail(&self, more: bool, xml: &mut Writer) {
        xml.value("MaxKeys", self.amount);
        if !self.delimiter.is_empty() {
            xml.text("Delimiter", &self.encode(&self.delimiter));
        }
        xml.value("IsTruncated", more);
        self.write_encoding(xml);
    }

    /// How keys are written, if the client asked for it.
    pub(crate) fn write_encoding(&self, xml: &mut Writer) {
        if self.encoded {
            xml.text("EncodingType", "url");
        }
    }
}

/// How many items a page may have: absent or too many is `most`.
pub(crate) fn amount(
    given: Option<&str>,
    name: &'static str,
    argument: &str,
    most: usize,
) -> Result<usize, S3Error> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(most) };
    match text.parse::<i64>() {
        Ok(number) if (0..=i64::from(i32::MAX)).contains(&number) => {
            Ok(usize::try_from(number).unwrap_or(most).min(most))
        }
        Ok(_) => Err(S3Error::argument(
            name,
            text,
            format!("Argument {argument} must be an integer between 0 and 2147483647"),
        )),
        Err(_) => Err(S3Error::argument(
            name,
            text,
            format!("Provided {name} not an integer or within integer range"),
        )),
    }
}

/// One line of a page, with its full key.
pub(crate) enum Line {
    Key(String, EntryBytes),
    Prefix(String),
}

/// A page of keys and common prefixes.
pub(crate) struct Found {
    pub lines: Vec<Line>,
    pub more: bool,
    /// The lines are refs, not keys of one.
    pub at_ref_level: bool,
    /// A commit of which the page is the same.
    pub commit: Option<CommitId>,
}

impl Found {
    /// Where the next page starts, if there is one: behind the last line.
    pub(crate) fn next(&self) -> Option<&str> {
        let last = self.lines.last().filter(|_| self.more)?;
        Some(match last {
            Line::Key(text, _) | Line::Prefix(text) => text,
        })
    }
}

/// The permission a listing needs: of refs, or of objects.
pub(crate) fn may_list(call: &Call, prefix: &str) -> Needs {
    let actions: &[&'static str] = match (prefix.contains('/'), call.s3.config().list_refs) {
        (true, _) => &["fs:ListObjects"],
        (false, ListedRefs::Branches) => &["fs:ListBranches"],
        (false, ListedRefs::BranchesAndTags) => &["fs:ListBranches", "fs:ListTags"],
    };
    let bucket = call.place.repository();
    Needs::All(actions.iter().map(|&action| Permission::repository(action, bucket)).collect())
}

/// Keys and prefixes behind `after`.
pub(crate) async fn find(call: &Call, shape: &Shape, after: &str) -> Result<Found, S3Error> {
    let repository = call.repository()?;
    match shape.prefix.split_once('/') {
        None => at_ref_level(call, &repository, shape, after).await,
        Some((reference, rest)) => in_ref(call, &repository, shape, (reference, rest), after).await,
    }
}

async fn at_ref_level(
    call: &Call,
    repository: &RepositoryId,
    shape: &Shape,
    after: &str,
) -> Result<Found, S3Error> {
    let catalog = call.catalog();
    let prefix = shape.prefix.as_str();
    let level = Level { catalog, repository, listed: call.s3.config().list_refs };
    let (names, more) = ref_level::names(&level, prefix, after, shape.amount).await?;
    let mut lines: Vec<Line> = names.into_iter().map(|name| Line::Prefix(name + "/")).collect();
    if lines.is_empty() && shape.amount > 0 {
        let alone = format!("{prefix}/");
        if alone.as_str() > after && ref_level::is_unlisted(catalog, repository, prefix).await? {
            lines.push(Line::Prefix(alone));
        }
    }
    Ok(Found { lines, more: more && shape.amount > 0, at_ref_level: true, commit: None })
}

async fn in_ref(
    call: &Call,
    repository: &RepositoryId,
    shape: &Shape,
    (reference, rest): (&str, &str),
    after: &str,
) -> Result<Found, S3Error> {
    let nothing = || Found { lines: Vec::new(), more: false, at_ref_level: false, commit: None };
    let level = format!("{reference}/");
    let below = match after.strip_prefix(&level) {
        Some(path) => Some(path),
        // Either all of this ref comes after it, or nothing does.
        None => (after < level.as_str()).then_some(""),
    };
    let (Ok(expr), Some(below)) = (reference.parse::<RefExpr>(), below) else {
        call.catalog().repository(repository).await?;
        return Ok(nothing());
    };
    let expr = call.ref_at()?.unwrap_or(expr);
    let request = ListRequest {
        prefix: rest.to_owned(),
        after: below.to_owned(),
        delimiter: shape.delimiter.clone(),
        amount: shape.amount,
    };
    let Listed { page, commit, .. } = match call.catalog().list_objects_at(repository, &expr, &request).await
    {
        Ok(found) => found,
        // A ref that is not there has no keys.
        Err(error) if is_no_ref(error.kind()) && call.place.named_ref().is_none() => return Ok(nothing()),
        Err(error) if is_no_ref(error.kind()) => return Err(call.no_such_ref()),
        Err(error) if error.kind() == ErrorKind::AmbiguousRef => {
            return Err(S3Error::new(Code::InvalidRequest, error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let lines = page.items.into_iter().map(|item| match item {
        ListedObject::Object { path, entry } => Line::Key(level.clone() + &path, entry),
        ListedObject::Prefix(prefix) => Line::Prefix(level.clone() + &prefix),
    });
    Ok(Found { lines: lines.collect(), more: page.has_more && shape.amount > 0, at_ref_level: false, commit })
}

/// How a listing shows its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// As `Contents`, with or without their owner.
    Objects { with_owner: bool },
    /// As `Version`: every object has one, the current.
    Versions,
}

/// Writes the keys, then `CommonPrefixes`.
pub(crate) fn write_lines(
    xml: &mut Writer,
    call: &Call,
    shape: &Shape,
    lines: &[Line],
    keys: Keys,
) -> Result<(), S3Error> {
    let element = if keys == Keys::Versions { "Version" } else { "Contents" };
    for line in lines {
        let Line::Key(key, entry) = line else { continue };
        let entry = view(entry)?;
        xml.open(element).text("Key", &shape.show(key));
        if keys == Keys::Versions {
            xml.text("VersionId", "null").text("IsLatest", "true");
        }
        xml.text("LastModified", &date_time::iso(Timestamp::from_secs(entry.mtime_secs)));
        xml.etag(entry.checksum);
        let mut class = "STANDARD";
        for (name, value) in entry.headers() {
            if let Some(algorithm) = Algorithm::of_header(name) {
                xml.text("ChecksumAlgorithm", algorithm.name());
            } else if name == CHECKSUM_TYPE.as_str() {
                xml.text("ChecksumType", value);
            } else if name == STORAGE_CLASS {
                class = value;
            }
        }
        xml.value("Size", entry.size).text("StorageClass", class);
        if keys != (Keys::Objects { with_owner: false }) {
            write_owner(xml, call, "Owner");
        }
        xml.close(element);
    }
    for line in lines {
        if let Line::Prefix(prefix) = line {
            xml.open("CommonPrefixes").text("Prefix", &shape.show(prefix)).close("CommonPrefixes");
        }
    }
    Ok(())
}

/// Whoever asks owns what they see.
pub(crate) fn write_owner(xml: &mut Writer, call: &Call, element: &str) {
    let principal = &call.principal;
    let name = principal.friendly_name.as_deref().unwrap_or(&principal.user_id);
    xml.open(element).text("ID", &principal.user_id).text("DisplayName", name).close(element);
}

/// An answer about a bucket.
pub(crate) fn of_bucket(call: &Call, document: String) -> Reply {
    let mut response = reply::xml(StatusCode::OK, document);
    reply::name_region(&mut response, &call.s3.config().region);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes() {
        let of = |text: &str| amount(Some(text), "max-keys", "maxKeys", 1000).ok();
        assert_eq!([of("0"), of("7"), of("1000")], [Some(0), Some(7), Some(1000)]);
        assert_eq!([of("1001"), of("2147483647"), of("")], [Some(1000); 3]);
        assert_eq!([of("-1"), of("2147483648"), of("abc"), of("1.5")], [None; 4]);
    }

    #[test]
    fn keys_are_written_as_clients_decode_them() {
        let shape = |encoded| Shape {
            prefix: String::new(),
            delimiter: String::new(),
            amount: 1,
            encoded,
            hidden: "main/".to_owned(),
        };
        assert_eq!(shape(true).show("main/quux ab/a+b~ü"), "quux%20ab/a%2Bb~%C3%BC");
        assert_eq!(shape(false).show("main/quux ab/a+b~ü"), "quux ab/a+b~ü");
    }
}
