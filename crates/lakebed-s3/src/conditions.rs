//! Conditions of reads, and of the source of a copy (`s3-gateway` §8.4, §8.6).

use http::{HeaderMap, HeaderName, header};
use lakebed_http::parse_http_date;

/// How conditions turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// They hold, or there are none.
    Holds,
    /// The client has it already.
    NotModified,
    /// This condition does not hold.
    Failed(&'static str),
}

/// The four headers of a set of conditions.
struct Names {
    matches: HeaderName,
    none_match: HeaderName,
    modified: HeaderName,
    unmodified: HeaderName,
}

/// Whether a header's list of ETags has this one. `*` has all, quotes and weakness do not count.
pub(crate) fn lists(header: &str, etag: &str) -> bool {
    header.split(',').any(|item| {
        let item = item.trim();
        let item = item.strip_prefix("W/").unwrap_or(item);
        item == "*" || item.trim_matches('"') == etag
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A date that is none counts as absent.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    parse_http_date(text(headers, name)?)
}

fn evaluate(headers: &HeaderMap, names: &Names, etag: &str, mtime_secs: i64) -> Outcome {
    match text(headers, &names.matches) {
        Some(list) if !lists(list, etag) => return Outcome::Failed("If-Match"),
        Some(_) => {}
        None => {
            if date(headers, &names.unmodified).is_some_and(|date| mtime_secs > date) {
                return Outcome::Failed("If-Unmodified-Since");
            }
        }
    }
    let unmodified = match text(headers, &names.none_match) {
        Some(list) => lists(list, etag),
        None => false,
    };
    let since = if headers.contains_key(&names.none_match) { None } else { date(headers, &names.modified) };
    if unmodified || since.is_some_and(|date| mtime_secs <= date) {
        Outcome::NotModified
    } else {
        Outcome::Holds
    }
}

/// The conditions of a GET or HEAD. Dates in the future count as none.
pub(crate) fn of_read(headers: &HeaderMap, etag: &str, mtime_secs: i64, now_secs: i64) -> Outcome {
    let names = Names {
        matches: header::IF_MATCH,
        none_match: header::IF_NONE_MATCH,
        modified: header::IF_MODIFIED_SINCE,
        unmodified: header::IF_UNMODIFIED_SINCE,
    };
    match evaluate(headers, &names, etag, mtime_secs) {
        Outcome::NotModified
            if !headers.contains_key(header::IF_NONE_MATCH)
                && date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|date| date > now_secs) =>
        {
            Outcome::Holds
        }
        outcome => outcome,
    }
}

/// The conditions on the source of a copy: whatever does not hold fails the copy.
pub(crate) fn of_copy_source(headers: &HeaderMap, etag: &str, mtime_secs: i64) -> Outcome {
    let names = Names {
        matches: HeaderName::from_static("x-amz-copy-source-if-match"),
        none_match: HeaderName::from_static("x-amz-copy-source-if-none-match"),
        modified: HeaderName::from_static("x-amz-copy-source-if-modified-since"),
        unmodified: HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
    };
    match evaluate(headers, &names, etag, mtime_secs) {
        Outcome::NotModified if headers.contains_key(&names.none_match) => {
            Outcome::Failed("x-amz-copy-source-If-None-Match")
        }
        Outcome::NotModified => Outcome::Failed("x-amz-copy-source-If-Modified-Since"),
        Outcome::Failed("If-Match") => Outcome::Failed("x-amz-copy-source-If-Match"),
        Outcome::Failed(_) => Outcome::Failed("x-amz-copy-source-If-Unmodified-Since"),
        Outcome::Holds => Outcome::Holds,
    }
}

/// Whether a range counts (`If-Range`): the object is still the one named.
pub(crate) fn range_counts(headers: &HeaderMap, etag: &str, mtime_secs: i64) -> bool {
    let Some(value) = text(headers, &header::IF_RANGE) else { return true };
    match parse_http_date(value) {
        Some(date) => mtime_secs <= date,
        None => lists(value, etag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
    const NEW: &str = "Sat, 29 Oct 2022 19:43:31 GMT";
    const FUTURE: &str = "Fri, 29 Oct 2094 19:43:31 GMT";

    fn read(pairs: &[(&'static str, &'static str)]) -> Outcome {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, http::HeaderValue::from_static(value));
        }
        of_read(&headers, "abc", 1_600_000_000, 1_700_000_000)
    }

    #[test]
    fn etags_win_over_dates() {
        for (pairs, outcome) in [
            (&[][..], Outcome::Holds),
            (&[("if-match", "\"abc\"")], Outcome::Holds),
            (&[("if-match", "abc")], Outcome::Holds),
            (&[("if-match", "*")], Outcome::Holds),
            (&[("if-match", "\"x\", \"abc\"")], Outcome::Holds),
            (&[("if-match", "\"x\"")], Outcome::Failed("If-Match")),
            (&[("if-none-match", "W/\"abc\"")], Outcome::NotModified),
            (&[("if-none-match", "*")], Outcome::NotModified),
            (&[("if-none-match", "\"x\"")], Outcome::Holds),
            (&[("if-modified-since", OLD)], Outcome::Holds),
            (&[("if-modified-since", NEW)], Outcome::NotModified),
            (&[("if-modified-since", FUTURE)], Outcome::Holds),
            (&[("if-modified-since", "garbage")], Outcome::Holds),
            (&[("if-unmodified-since", OLD)], Outcome::Failed("If-Unmodified-Since")),
            (&[("if-unmodified-since", FUTURE)], Outcome::Holds),
            (&[("if-match", "abc"), ("if-unmodified-since", OLD)], Outcome::Holds),
            (&[("if-none-match", "x"), ("if-modified-since", NEW)], Outcome::Holds),
        ] {
            assert_eq!(read(pairs), outcome, "{pairs:?}");
        }
    }

    #[test]
    fn a_copy_fails_where_a_read_is_not_modified() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-copy-source-if-none-match", "abc".parse().unwrap());
        assert_eq!(of_copy_source(&headers, "abc", 5), Outcome::Failed("x-amz-copy-source-If-None-Match"));
        assert_eq!(of_copy_source(&headers, "x", 5), Outcome::Holds);
    }
}
