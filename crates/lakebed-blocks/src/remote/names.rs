//! Names of buckets and objects, and how they stand in URLs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// Everything but what RFC 3986 calls unreserved.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same with slashes kept.
const PATH: &AsciiSet = &STRICT.remove(b'/');

/// As one segment or a query's value: slashes are encoded too.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// Slashes stay; dot segments too, for where nobody resolves them.
pub(crate) fn slashed(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, PATH)
}

/// Whether a bucket can be named so: by letters of both cases, digits and `-._`, at most `longest` bytes. The name goes
/// into a host name or path as it is.
pub(crate) fn is_bucket(name: &str, longest: usize) -> bool {
    (3..=longest).contains(&name.len())
        && !name.contains("..")
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// As a path: slashes stay. Dot segments are encoded, or clients and proxies would resolve them.
pub(crate) fn encoded_path(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for (at, segment) in text.split('/').enumerate() {
        if at > 0 {
            out.push('/');
        }
        match segment {
            "." => out.push_str("%2E"),
            ".." => out.push_str("%2E%2E"),
            _ => out.extend(slashed(segment)),
        }
    }
    out
}

/// `?a=b&c=d` of what is given, values encoded; empty if nothing is.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.extend(utf8_percent_encode(value, STRICT));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_urls() {
        assert_eq!(encoded("a/b c%2F~ü"), "a%2Fb%20c%252F~%C3%BC");
        assert_eq!(encoded_path("a//../b c/./.x"), "a//%2E%2E/b%20c/%2E/.x");
        assert_eq!(query(&[("a", "1&2"), ("b", "")]), "?a=1%262&b=");
        assert_eq!(query(&[]), "");
    }
}
