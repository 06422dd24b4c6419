//! Listing objects, in both versions (`s3-gateway` §8.3).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode};
use lakebed_auth::Permission;
use lakebed_catalog::{ErrorKind, ListRequest, ListedObject};
use lakebed_core::{RefExpr, RepositoryId, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::get::view;
use super::ref_level;
use crate::auth::date_time;
use crate::call::Call;
use crate::error::S3Error;
use crate::operation::{Needs, Operation};
use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};
use crate::reply::{self, BUCKET_REGION, Reply};
use crate::xml::Writer;

/// Objects and prefixes of a page at most.
const MOST_KEYS: usize = 1000;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The first byte of a continuation token: its format.
const TOKEN_VERSION: u8 = 1;

/// What all listings read of their query.
pub(crate) struct Shape {
    pub prefix: String,
    pub delimiter: String,
    pub amount: usize,
    encoded: bool,
}

impl Shape {
    pub(crate) fn parse(call: &Call) -> Result<Self, S3Error> {
        let query = &call.query;
        let encoded = match query.get("encoding-type") {
            None | Some("") => false,
            Some("url") => true,
            Some(other) => {
                let message = "Invalid Encoding Method specified in Request";
                return Err(S3Error::argument("encoding-type", other, message));
            }
        };
        Ok(Self {
            prefix: query.get("prefix").unwrap_or_default().to_owned(),
            delimiter: query.get("delimiter").unwrap_or_default().to_owned(),
            amount: amount(query.get("max-keys"), "max-keys", "maxKeys", MOST_KEYS)?,
            encoded,
        })
    }

    /// A key, prefix or marker as the client wants it written.
    pub(crate) fn show(&self, text: &str) -> String {
        if self.encoded { utf8_percent_encode(text, PLAIN).to_string() } else { text.to_owned() }
    }

    /// The parameters that every answer repeats after its keys.
    pub(crate) fn echo_encoding(&self, xml: &mut Writer) {
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
enum Line {
    Key(String, lakebed_catalog::EntryBytes),
    Prefix(String),
}

impl Line {
    fn text(&self) -> &str {
        match self {
            Self::Key(key, _) => key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// A page of keys and common prefixes.
struct Found {
    lines: Vec<Line>,
    more: bool,
    at_ref_level: bool,
}

/// The permission a listing needs: of branches, or of objects.
pub(crate) fn may_list(call: &Call, prefix: &str) -> Needs {
    let bucket = call.place.bucket().unwrap_or_default();
    let action = if prefix.contains('/') { "fs:ListObjects" } else { "fs:ListBranches" };
    Needs::one(Permission::repository(action, bucket))
}

/// Keys and prefixes behind `after`.
async fn find(call: &Call, shape: &Shape, after: &str) -> Result<Found, S3Error> {
    let repository = call.repository()?;
    call.catalog().repository(&repository).await?;
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
    let (names, more) =
        ref_level::branches(call.catalog(), repository, &shape.prefix, after, shape.amount).await?;
    let mut lines: Vec<Line> = names.into_iter().map(|name| Line::Prefix(name + "/")).collect();
    let alone = format!("{}/", shape.prefix);
    // A tag, commit or expression typed whole is a level of its own, though it is not listed.
    if lines.is_empty()
        && !more
        && shape.amount > 0
        && alone.as_str() > after
        && let Ok(expr) = shape.prefix.parse::<RefExpr>()
        && call.catalog().resolve(repository, &expr).await.is_ok()
        && !call.catalog().is_branch(repository, &shape.prefix).await?
    {
        lines.push(Line::Prefix(alone));
    }
    Ok(Found { lines, more: more && shape.amount > 0, at_ref_level: true })
}

async fn in_ref(
    call: &Call,
    repository: &RepositoryId,
    shape: &Shape,
    (reference, rest): (&str, &str),
    after: &str,
) -> Result<Found, S3Error> {
    let mut found = Found { lines: Vec::new(), more: false, at_ref_level: false };
    let Ok(expr) = reference.parse::<RefExpr>() else { return Ok(found) };
    let level = format!("{reference}/");
    let after = match after.strip_prefix(&level) {
        Some(path) => path,
        None if after > level.as_str() => return Ok(found),
        None => "",
    };
    let request = ListRequest {
        prefix: rest.to_owned(),
        after: after.to_owned(),
        delimiter: shape.delimiter.clone(),
        amount: shape.amount,
    };
    let page = match call.catalog().list_objects(repository, &expr, &request).await {
        Ok(page) => page,
        // A ref that is not there has no keys.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::RefNotFound | ErrorKind::BranchNotFound | ErrorKind::Invalid
            ) =>
        {
            return Ok(found);
        }
        Err(error) => return Err(error.into()),
    };
    found.more = page.has_more && shape.amount > 0;
    found.lines = page
        .items
        .into_iter()
        .map(|item| match item {
            ListedObject::Object { path, entry } => Line::Key(level.clone() + &path, entry),
            ListedObject::Prefix(prefix) => Line::Prefix(level.clone() + &prefix),
        })
        .collect();
    Ok(found)
}

/// Writes `Contents`, then `CommonPrefixes`.
fn write_lines(
    xml: &mut Writer,
    call: &Call,
    shape: &Shape,
    lines: &[Line],
    owner: bool,
) -> Result<(), S3Error> {
    for line in lines {
        let Line::Key(key, entry) = line else { continue };
        let entry = view(entry)?;
        xml.open("Contents").text("Key", &shape.show(key));
        xml.text("LastModified", &date_time::iso(Timestamp::from_secs(entry.mtime_secs)));
        xml.etag(entry.checksum);
        let mut class = "STANDARD";
        for (name, value) in entry.headers() {
            if let Some(algorithm) = Algorithm::of_header(name) {
                xml.text("ChecksumAlgorithm", algorithm.name());
            } else if name == CHECKSUM_TYPE.as_str() {
                xml.text("ChecksumType", value);
            } else if name == "x-amz-storage-class" {
                class = value;
            }
        }
        xml.value("Size", entry.size).text("StorageClass", class);
        if owner {
            write_owner(xml, call, "Owner");
        }
        xml.close("Contents");
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
    if let Ok(region) = HeaderValue::from_str(&call.s3.config().region) {
        response.headers_mut().insert(BUCKET_REGION, region);
    }
    Ok(response)
}

/// `GET /bucket`
pub(crate) struct ListObjects {
    shape: Shape,
    marker: String,
}

impl Operation for ListObjects {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let marker = call.query.get("marker").unwrap_or_default().to_owned();
        Ok(Self { shape: Shape::parse(call)?, marker })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_list(call, &self.shape.prefix))
    }

    async fn run(self, call: Call) -> Reply {
        let Self { shape, marker } = &self;
        let found = find(&call, shape, marker).await?;
        let mut xml = Writer::result("ListBucketResult");
        xml.text("Name", call.place.bucket().unwrap_or_default());
        xml.text("Prefix", &shape.show(&shape.prefix)).text("Marker", &shape.show(marker));
        if found.more
            && !shape.delimiter.is_empty()
            && let Some(last) = found.lines.last()
        {
            xml.text("NextMarker", &shape.show(last.text()));
        }
        xml.value("KeyCount", if found.at_ref_level { 0 } else { found.lines.len() });
        xml.value("MaxKeys", shape.amount);
        if !shape.delimiter.is_empty() {
            xml.text("Delimiter", &shape.show(&shape.delimiter));
        }
        xml.value("IsTruncated", found.more);
        shape.echo_encoding(&mut xml);
        write_lines(&mut xml, &call, shape, &found.lines, true)?;
        of_bucket(&call, xml.finish("ListBucketResult"))
    }
}

/// `GET /bucket?list-type=2`
pub(crate) struct ListObjectsV2 {
    shape: Shape,
    token: Option<String>,
    start_after: Option<String>,
    fetch_owner: bool,
}

impl Operation for ListObjectsV2 {
    fn parse(call: &Call) -> Result<Self, S3Error> {
        let query = &call.query;
        Ok(Self {
            shape: Shape::parse(call)?,
            token: query.get("continuation-token").map(str::to_owned),
            start_after: query.get("start-after").map(str::to_owned),
            fetch_owner: query.get("fetch-owner").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    fn needs(&self, call: &Call) -> Result<Needs, S3Error> {
        Ok(may_list(call, &self.shape.prefix))
    }

    async fn run(self, call: Call) -> Reply {
        let Self { shape, token, start_after, fetch_owner } = &self;
        let after = match token.as_deref() {
            None | Some("") => start_after.clone().unwrap_or_default(),
            Some(token) => read_token(token)?,
        };
        let found = find(&call, shape, &after).await?;
        let mut xml = Writer::result("ListBucketResult");
        xml.text("Name", call.place.bucket().unwrap_or_default());
        xml.text("Prefix", &shape.show(&shape.prefix));
        if let Some(start_after) = start_after {
            xml.text("StartAfter", &shape.show(start_after));
        }
        if let Some(token) = token {
            xml.text("ContinuationToken", token);
        }
        if found.more
            && let Some(last) = found.lines.last()
        {
            xml.text("NextContinuationToken", &write_token(last.text()));
        }
        xml.value("KeyCount", found.lines.len()).value("MaxKeys", shape.amount);
        if !shape.delimiter.is_empty() {
            xml.text("Delimiter", &shape.show(&shape.delimiter));
        }
        xml.value("IsTruncated", found.more);
        shape.echo_encoding(&mut xml);
        write_lines(&mut xml, &call, shape, &found.lines, *fetch_owner)?;
        of_bucket(&call, xml.finish("ListBucketResult"))
    }
}

/// The answer to `GET /bucket?versions`: every key is its one version.
pub(crate) async fn write_versions(call: &Call, shape: &Shape, marker: &str) -> Reply {
    let found = find(call, shape, marker).await?;
    let mut xml = Writer::result("ListVersionsResult");
    xml.text("Name", call.place.bucket().unwrap_or_default());
    xml.text("Prefix", &shape.show(&shape.prefix)).text("KeyMarker", &shape.show(marker));
    xml.text("VersionIdMarker", call.query.get("version-id-marker").unwrap_or_default());
    if found.more
        && let Some(last) = found.lines.last()
    {
        xml.text("NextKeyMarker", &shape.show(last.text())).text("NextVersionIdMarker", "null");
    }
    xml.value("MaxKeys", shape.amount);
    if !shape.delimiter.is_empty() {
        xml.text("Delimiter", &shape.show(&shape.delimiter));
    }
    xml.value("IsTruncated", found.more);
    shape.echo_encoding(&mut xml);
    for line in &found.lines {
        let Line::Key(key, entry) = line else { continue };
        let entry = view(entry)?;
        xml.open("Version").text("Key", &shape.show(key)).text("VersionId", "null").value("IsLatest", true);
        xml.text("LastModified", &date_time::iso(Timestamp::from_secs(entry.mtime_secs)));
        xml.etag(entry.checksum).value("Size", entry.size).text("StorageClass", "STANDARD");
        write_owner(&mut xml, call, "Owner");
        xml.close("Version");
    }
    for line in &found.lines {
        if let Line::Prefix(prefix) = line {
            xml.open("CommonPrefixes").text("Prefix", &shape.show(prefix)).close("CommonPrefixes");
        }
    }
    of_bucket(call, xml.finish("ListVersionsResult"))
}

/// A token holds the last key or prefix shown: it is good on every server and after restarts.
fn write_token(last: &str) -> String {
    let mut bytes = vec![TOKEN_VERSION];
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_token(token: &str) -> Result<String, S3Error> {
    let wrong =
        || S3Error::argument("continuation-token", token, "The continuation token provided is incorrect");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    match bytes.split_first() {
        Some((&TOKEN_VERSION, last)) => String::from_utf8(last.to_vec()).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_garbage_is_refused() {
        for key in ["main/a b", "ü", ""] {
            assert_eq!(read_token(&write_token(key)).ok().as_deref(), Some(key));
        }
        for bad in ["no token", "x", "AAAA", "____"] {
            assert!(read_token(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn page_sizes() {
        let of = |text: &str| amount(Some(text), "max-keys", "maxKeys", 1000).ok();
        assert_eq!(
            (of("0"), of("7"), of("1001"), of("2147483647"), of("")),
            (Some(0), Some(7), Some(1000), Some(1000), Some(1000))
        );
        assert_eq!((of("-1"), of("2147483648"), of("abc"), of("1.5")), (None, None, None, None));
    }
}
