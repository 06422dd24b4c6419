//! What a request looks like to its signer (`s3-gateway` §3.1): built from what arrived, never from what we made of it.

use http::request::Parts;
use http::{HeaderMap, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::query::Query;

/// What is escaped in a path: everything but letters, digits, `-_.~` and `/`.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// What is escaped in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The path, decoded once and escaped again. S3's flavour: nothing is normalised.
pub(super) fn uri(raw_path: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(raw_path).collect();
    percent_encode(&decoded, PATH).to_string()
}

/// The query without its signature, escaped and sorted.
pub(super) fn query(query: &Query) -> String {
    let mut pairs: Vec<(String, String)> = query
        .pairs()
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| {
            let escape = |text: &str| percent_encode(text.as_bytes(), QUERY).to_string();
            (escape(name), escape(value))
        })
        .collect();
    pairs.sort();
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(&name);
        out.push('=');
        out.push_str(&value);
    }
    out
}

/// All values of a header joined, trimmed, inner runs of blanks folded; `None` if it did not arrive.
fn header_value(headers: &HeaderMap, name: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut found = None;
    for value in headers.get_all(name) {
        if found.is_some() {
            out.push(b',');
        }
        found = Some(());
        fold(value.as_bytes(), out);
    }
    found
}

/// A value without outer blanks and with inner runs of them folded.
fn fold(value: &[u8], out: &mut Vec<u8>) {
    let mut gap = false;
    for byte in value.trim_ascii() {
        if *byte == b' ' || *byte == b'\t' {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) {
            out.push(b' ');
        }
        out.push(*byte);
    }
}

/// The canonical request; `None` if a signed header did not arrive.
pub(super) fn request(
    parts: &Parts,
    canonical_uri: &str,
    canonical_query: &str,
    signed_headers: &str,
    payload: &str,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(512 + canonical_uri.len() + canonical_query.len());
    for part in [parts.method.as_str(), canonical_uri, canonical_query] {
        out.extend_from_slice(part.as_bytes());
        out.push(b'\n');
    }
    for name in signed_headers.split(';') {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        match header_value(&parts.headers, name, &mut out) {
            Some(()) => {}
            // HTTP/2 has it as the authority.
            None if name == header::HOST.as_str() => {
                out.extend_from_slice(parts.uri.authority()?.as_str().as_bytes());
            }
            None => return None,
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload.as_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_once() {
        assert_eq!(uri("/a%20b/%24c$d/%C3%A4/+~%2F"), "/a%20b/%24c%24d/%C3%A4/%2B~/");
        assert_eq!(uri("//a/../b"), "//a/../b");
    }

    #[test]
    fn queries_are_sorted_and_lose_their_signature() {
        let parsed = Query::parse(Some("prefix=J/&max-keys=2&uploads&X-Amz-Signature=x&a=+")).unwrap();
        assert_eq!(query(&parsed), "a=%20&max-keys=2&prefix=J%2F&uploads=");
    }

    #[test]
    fn header_values_are_trimmed_folded_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("x", " a   b ".parse().unwrap());
        headers.append("x", "c".parse().unwrap());
        let mut out = Vec::new();
        assert!(header_value(&headers, "x", &mut out).is_some());
        assert_eq!(out, b"a b,c");
        assert!(header_value(&headers, "y", &mut out).is_none());
    }
}
