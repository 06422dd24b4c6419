//! What is kept with an object, as headers of its reads (`s3-gateway` §6, §9).

use std::borrow::Cow;
use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use lakebed_catalog::EntryView;
use lakebed_http::http_date;

use crate::payload::checksum::{Algorithm, CHECKSUM_TYPE};

/// What user metadata is called in headers.
pub(crate) const META_PREFIX: &str = "x-amz-meta-";

/// How many keys of the metadata no header can show.
const MISSING_META: HeaderName = HeaderName::from_static("x-amz-missing-meta");

/// The tags kept with an object: `k=v&k=v`, escaped.
pub(crate) const TAGGING: &str = "x-amz-tagging";

/// The label of a storage class other than the usual.
pub(crate) const STORAGE_CLASS: &str = "x-amz-storage-class";

/// Headers kept with an object that are sent as they are.
const SENT: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    STORAGE_CLASS,
    "x-amz-website-redirect-location",
];

/// An ETag in its quotes.
pub(crate) fn etag(checksum: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{checksum}\"")).ok()
}

/// The headers a 304 has as well.
pub(crate) fn validators(entry: &EntryView<'_>, headers: &mut HeaderMap) {
    if let Some(etag) = etag(entry.checksum) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(modified) = http_date(entry.mtime_secs) {
        headers.insert(header::LAST_MODIFIED, modified);
    }
    for (name, value) in entry.headers() {
        if matches!(name, "cache-control" | "expires") {
            send(name, value, headers);
        }
    }
}

/// Everything an object says of itself, but for its length, range and checksums.
pub(crate) fn all(entry: &EntryView<'_>, headers: &mut HeaderMap) {
    validators(entry, headers);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let kind = HeaderValue::from_bytes(entry.content_type().as_bytes());
    headers.insert(
        header::CONTENT_TYPE,
        kind.unwrap_or(HeaderValue::from_static(lakebed_catalog::DEFAULT_CONTENT_TYPE)),
    );
    for (name, value) in entry.headers() {
        if SENT.contains(&name) {
            send(name, value, headers);
        } else if name == TAGGING {
            let count = value.split('&').filter(|tag| !tag.is_empty()).count();
            if count > 0 {
                headers.insert("x-amz-tagging-count", HeaderValue::from(count));
            }
        }
    }
    user_metadata(entry, headers);
}

/// The checksums kept with an object.
pub(crate) fn checksums(entry: &EntryView<'_>, headers: &mut HeaderMap) {
    for (name, value) in entry.headers() {
        if Algorithm::of_header(name).is_some() || name == CHECKSUM_TYPE.as_str() {
            send(name, value, headers);
        }
    }
}

/// Something kept as a header; left out if no header can have that name or value.
pub(crate) fn send(name: &str, value: &str, headers: &mut HeaderMap) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
        headers.insert(name, value);
    }
}

/// User metadata. Keys written by this door have its prefix already, keys of the REST API do not.
fn user_metadata(entry: &EntryView<'_>, headers: &mut HeaderMap) {
    let mut missing = 0u32;
    for (key, value) in entry.metadata() {
        let bare = match key.get(..META_PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(META_PREFIX) => &key[META_PREFIX.len()..],
            _ => key,
        };
        let name = HeaderName::try_from(format!("{META_PREFIX}{}", bare.to_ascii_lowercase()));
        match (name, HeaderValue::from_str(&encoded(value))) {
            (Ok(name), Ok(value)) if !bare.is_empty() => {
                headers.insert(name, value);
            }
            _ => missing += 1,
        }
    }
    if missing > 0 {
        headers.insert(MISSING_META, HeaderValue::from(missing));
    }
}

/// The longest encoded word RFC 2047 allows.
const LONGEST_WORD: usize = 75;

/// A value of user metadata as a header has it: printable ASCII as it is, anything else as RFC 2047 words of kind Q.
fn encoded(value: &str) -> Cow<'_, str> {
    if value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return value.into();
    }
    let (begin, end) = ("=?utf-8?q?", "?=");
    let mut out = String::from(begin);
    let mut length = begin.len() + end.len();
    for c in value.chars() {
        let plain = c == ' ' || (c.is_ascii_graphic() && !"=?_".contains(c));
        let added = if plain { 1 } else { 3 * c.len_utf8() };
        // A character is never cut: each word stands for itself.
        if length + added > LONGEST_WORD {
            out.push_str(end);
            out.push(' ');
            out.push_str(begin);
            length = begin.len() + end.len();
        }
        length += added;
        match c {
            ' ' => out.push('_'),
            c if plain => out.push(c),
            c => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "={byte:02X}");
                }
            }
        }
    }
    out.push_str(end);
    out.into()
}

#[cfg(test)]
mod tests {
    use lakebed_catalog::Entry;

    use super::*;

    #[test]
    fn metadata_of_both_doors_is_shown() {
        let metadata = [
            ("X-Amz-Meta-one", "first"),
            ("Upper", "grün x_=?"),
            ("x-amz-meta-old", ""),
            ("a:b", "2"),
            ("", "nokey"),
        ];
        let entry = Entry {
            metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Entry::default()
        };
        let mut headers = HeaderMap::new();
        user_metadata(&entry.encode().view().unwrap(), &mut headers);
        let show = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(show("x-amz-meta-one").as_deref(), Some("first"));
        assert_eq!(show("x-amz-meta-upper").as_deref(), Some("=?utf-8?q?gr=C3=BCn_x=5F=3D=3F?="));
        assert_eq!(show("x-amz-meta-old").as_deref(), Some(""));
        assert_eq!(show("x-amz-missing-meta").as_deref(), Some("2"));
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn long_values_become_several_words() {
        let words = encoded("ü").into_owned() + " " + &encoded(&"ä".repeat(30));
        assert_eq!(words.split(' ').count(), 4);
        assert!(
            words
                .split(' ')
                .all(|word| word.len() <= 75 && word.starts_with("=?utf-8?q?") && word.ends_with("?="))
        );
        assert_eq!(words.matches("=C3=A4").count(), 30);
    }

    #[test]
    fn what_the_doors_keep_for_themselves_is_not_sent() {
        let kept = [
            ("content-encoding", "gzip"),
            ("x-lakebed-parts", "5,6"),
            ("x-amz-tagging", "a=b&c=d"),
            ("x-amz-checksum-crc32", "DUoRhQ=="),
        ];
        let entry = Entry {
            headers: kept.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Entry::default()
        };
        let bytes = entry.encode();
        let mut headers = HeaderMap::new();
        all(&bytes.view().unwrap(), &mut headers);
        assert_eq!(headers.get("content-encoding").unwrap(), "gzip");
        assert_eq!(headers.get("x-amz-tagging-count").unwrap(), "2");
        assert_eq!(headers.get("content-type").unwrap(), "application/octet-stream");
        assert!(!headers.contains_key("x-lakebed-parts") && !headers.contains_key("x-amz-checksum-crc32"));
        checksums(&bytes.view().unwrap(), &mut headers);
        assert!(headers.contains_key("x-amz-checksum-crc32"));
    }
}
