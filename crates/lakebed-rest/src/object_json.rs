//! `ObjectStats` as JSON, written straight from the stored entry: no value is built and nothing is copied twice.
//!
//! This is what stat, listings and every write answer. The shape is `lakebed_api::ObjectStats`; a test reads it back
//! through that type.

use lakebed_catalog::{Entry, EntryView};

use crate::error::RestError;

/// What a listing or stat shows of user metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// Always a map, empty if there is none: stat and writes.
    Always,
    /// A map if there is any: listings.
    IfAny,
    /// `{}` whatever there is: stat with `user_metadata=false`.
    Emptied,
    /// Nothing: listings with `user_metadata=false`, and staging.
    Never,
}

/// Where an object is said to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// At its address in this namespace.
    In(&'a str),
    /// Behind a presigned URL that holds until then, Unix seconds.
    Url(&'a str, i64),
}

/// Writes an object.
pub(crate) fn object(
    out: &mut Vec<u8>,
    path: &str,
    entry: &EntryView<'_>,
    place: Place<'_>,
    show: Show,
) -> Result<(), RestError> {
    out.extend_from_slice(b"{\"checksum\":");
    text(out, entry.checksum)?;
    out.extend_from_slice(b",\"content_type\":");
    text(out, entry.content_type())?;
    metadata(out, entry.metadata(), show)?;
    tail(out, path, entry.address, place, entry.size, entry.mtime_secs)
}

/// The answer to a write. Its content type is shown as stored: empty for a form's part without one, though every
/// later read shows the default.
pub(crate) fn written(path: &str, entry: &Entry, namespace: &str, show: Show) -> Result<Vec<u8>, RestError> {
    let mut out = Vec::with_capacity(320 + path.len());
    out.extend_from_slice(b"{\"checksum\":");
    text(&mut out, &entry.checksum)?;
    out.extend_from_slice(b",\"content_type\":");
    text(&mut out, &entry.content_type)?;
    metadata(&mut out, entry.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())), show)?;
    tail(&mut out, path, &entry.address, Place::In(namespace), entry.size, entry.mtime_secs)?;
    Ok(out)
}

/// Writes a folded prefix.
pub(crate) fn prefix(out: &mut Vec<u8>, path: &str) -> Result<(), RestError> {
    out.extend_from_slice(b"{\"checksum\":\"\",\"mtime\":0,\"path\":");
    text(out, path)?;
    out.extend_from_slice(b",\"path_type\":\"common_prefix\",\"physical_address\":\"\"}");
    Ok(())
}

/// Closes a list whose items were written: `{"results":[` … is already there.
pub(crate) fn end_of_page(
    out: &mut Vec<u8>,
    has_more: bool,
    next_offset: &str,
    results: usize,
) -> Result<(), RestError> {
    out.extend_from_slice(b"],\"pagination\":");
    let pagination = lakebed_api::Pagination {
        has_more,
        max_per_page: lakebed_api::MAX_PER_PAGE,
        next_offset: next_offset.to_owned(),
        results,
    };
    serde_json::to_writer(&mut *out, &pagination)
        .map_err(|error| RestError::internal("writing a page", &error))?;
    out.push(b'}');
    Ok(())
}

fn metadata<'a>(
    out: &mut Vec<u8>,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    show: Show,
) -> Result<(), RestError> {
    let mut pairs = match show {
        Show::Never => return Ok(()),
        Show::Emptied => {
            out.extend_from_slice(b",\"metadata\":{}");
            return Ok(());
        }
        Show::Always | Show::IfAny => pairs.peekable(),
    };
    if show == Show::IfAny && pairs.peek().is_none() {
        return Ok(());
    }
    out.extend_from_slice(b",\"metadata\":{");
    for (index, (key, value)) in pairs.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text(out, key)?;
        out.push(b':');
        text(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

fn tail(
    out: &mut Vec<u8>,
    path: &str,
    address: &str,
    place: Place<'_>,
    size: u64,
    mtime_secs: i64,
) -> Result<(), RestError> {
    out.extend_from_slice(b",\"mtime\":");
    number(out, &mtime_secs)?;
    out.extend_from_slice(b",\"path\":");
    text(out, path)?;
    out.extend_from_slice(b",\"path_type\":\"object\",\"physical_address\":");
    match place {
        Place::Url(url, until) => {
            text(out, url)?;
            out.extend_from_slice(b",\"physical_address_expiry\":");
            number(out, &until)?;
        }
        Place::In(_) if address.contains("://") => text(out, address)?,
        Place::In(namespace) => {
            out.push(b'"');
            unquoted(out, namespace.strip_suffix('/').unwrap_or(namespace))?;
            out.push(b'/');
            unquoted(out, address)?;
            out.push(b'"');
        }
    }
    out.extend_from_slice(b",\"size_bytes\":");
    number(out, &size)?;
    out.push(b'}');
    Ok(())
}

fn text(out: &mut Vec<u8>, value: &str) -> Result<(), RestError> {
    out.push(b'"');
    unquoted(out, value)?;
    out.push(b'"');
    Ok(())
}

/// A text without the quotes around it.
fn unquoted(out: &mut Vec<u8>, value: &str) -> Result<(), RestError> {
    // Nearly all texts are written as they are, and to find that out without a branch for each byte is many times
    // cheaper: a page of 1,000 entries is 240 KiB of text.
    #[allow(clippy::needless_bitwise_bool)] // the point is not to branch
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    if !value.bytes().fold(false, |any, byte| any | special(byte)) {
        out.extend_from_slice(value.as_bytes());
        return Ok(());
    }
    let start = out.len();
    serde_json::to_writer(&mut *out, value)
        .map_err(|error| RestError::internal("writing an object", &error))?;
    out.pop();
    out.remove(start);
    Ok(())
}

fn number<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) -> Result<(), RestError> {
    serde_json::to_writer(out, value).map_err(|error| RestError::internal("writing an object", &error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lakebed_api::{ObjectStats, PathType};

    use super::*;

    fn entry(address: &str) -> Entry {
        Entry {
            address: address.to_owned(),
            size: 7,
            checksum: "a\"b".to_owned(),
            mtime_secs: -3,
            content_type: String::new(),
            metadata: BTreeMap::from([("k\n".to_owned(), "ü".to_owned())]),
            headers: BTreeMap::new(),
        }
    }

    fn read(entry: &Entry, show: Show) -> ObjectStats {
        let bytes = entry.encode();
        let mut out = Vec::new();
        object(&mut out, "a/\u{1}b", &bytes.view().unwrap(), Place::In("local://ns"), show).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn an_object_reads_back_as_its_wire_type() {
        let stats = read(&entry("data/x/\"y"), Show::Always);
        assert_eq!(
            stats,
            ObjectStats {
                checksum: "a\"b".into(),
                content_type: Some("application/octet-stream".into()),
                metadata: Some(BTreeMap::from([("k\n".into(), "ü".into())])),
                mtime: -3,
                path: "a/\u{1}b".into(),
                path_type: PathType::Object,
                physical_address: "local://ns/data/x/\"y".into(),
                physical_address_expiry: None,
                size_bytes: Some(7),
            }
        );
    }

    #[test]
    fn absolute_addresses_stay_as_they_are() {
        assert_eq!(read(&entry("s3://other/key"), Show::Never).physical_address, "s3://other/key");
    }

    #[test]
    fn a_presigned_url_stands_for_the_address_until_it_ends() {
        let bytes = entry("data/x").encode();
        let mut out = Vec::new();
        let place = Place::Url("https://store/x?a=b&c", 1_800_000_000);
        object(&mut out, "x", &bytes.view().unwrap(), place, Show::Never).unwrap();
        let stats: ObjectStats = serde_json::from_slice(&out).unwrap();
        assert_eq!(stats.physical_address, "https://store/x?a=b&c");
        assert_eq!(stats.physical_address_expiry, Some(1_800_000_000));
        assert_eq!(stats.size_bytes, Some(7));
    }

    #[test]
    fn metadata_is_shown_as_asked() {
        let mut plain = entry("x");
        assert_eq!(read(&plain, Show::Never).metadata, None);
        assert_eq!(read(&plain, Show::Emptied).metadata, Some(BTreeMap::new()));
        plain.metadata.clear();
        assert_eq!(read(&plain, Show::IfAny).metadata, None);
        assert_eq!(read(&plain, Show::Always).metadata, Some(BTreeMap::new()));
    }

    #[test]
    fn prefixes_have_only_what_clients_insist_on() {
        let mut out = Vec::new();
        prefix(&mut out, "a/").unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"checksum": "", "mtime": 0, "path": "a/", "path_type": "common_prefix", "physical_address": ""})
        );
    }
}
