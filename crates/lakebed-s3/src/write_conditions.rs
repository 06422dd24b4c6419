//! Conditions of writes and deletes (`s3-gateway` §8.7, §8.9). They are handed to the catalog, which checks them in the
//! transaction that writes.

use http::{HeaderMap, HeaderName, header};
use lakebed_catalog::Precondition;
use lakebed_http::parse_http_date;

use crate::error::{Code, S3Error};

const IF_MATCH_TIME: HeaderName = HeaderName::from_static("x-amz-if-match-last-modified-time");
const IF_MATCH_SIZE: HeaderName = HeaderName::from_static("x-amz-if-match-size");

/// An ETag without quotes and mark of weakness.
pub(crate) fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// The ETags of a header's list, unless it is `*`.
fn etags(list: &str) -> Option<Vec<String>> {
    if list.trim() == "*" {
        return None;
    }
    Some(list.split(',').map(|etag| unquoted(etag).to_owned()).collect())
}

fn one_or(mut many: Vec<Precondition>, all: fn(Vec<Precondition>) -> Precondition) -> Precondition {
    match many.len() {
        0 => Precondition::None,
        1 => many.swap_remove(0),
        _ => all(many),
    }
}

/// `If-Match` of an ETag or a list of them.
pub(crate) fn matches(list: &str) -> Precondition {
    match etags(list) {
        None => Precondition::Exists,
        Some(etags) => one_or(etags.into_iter().map(Precondition::Matches).collect(), Precondition::Any),
    }
}

fn none_matches(list: &str) -> Precondition {
    match etags(list) {
        None => Precondition::Absent,
        Some(etags) => one_or(etags.into_iter().map(Precondition::Differs).collect(), Precondition::All),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}

/// The conditions of a put, a completion, or on the target of a copy. Both headers: both must hold.
pub(crate) fn of_write(headers: &HeaderMap) -> Precondition {
    let conditions = [
        text(headers, &header::IF_MATCH).map(matches),
        text(headers, &header::IF_NONE_MATCH).map(none_matches),
    ];
    one_or(conditions.into_iter().flatten().collect(), Precondition::All)
}

/// A time in either form that clients send.
pub(crate) fn modified_at(text: &str) -> Option<Precondition> {
    let text = text.trim();
    let secs = parse_http_date(text)
        .or_else(|| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second))?;
    Some(Precondition::ModifiedAt(secs))
}

/// The conditions of a delete.
pub(crate) fn of_delete(headers: &HeaderMap) -> Result<Precondition, S3Error> {
    let refused = |name: &'static str, value: &str| {
        S3Error::argument(name, value, format!("The value of {name} cannot be read."))
    };
    let mut conditions: Vec<Precondition> =
        text(headers, &header::IF_MATCH).map(matches).into_iter().collect();
    if let Some(time) = text(headers, &IF_MATCH_TIME) {
        let condition =
            modified_at(time).ok_or_else(|| refused("x-amz-if-match-last-modified-time", time))?;
        conditions.push(condition);
    }
    if let Some(size) = text(headers, &IF_MATCH_SIZE) {
        let bytes = size.trim().parse().map_err(|_| refused("x-amz-if-match-size", size))?;
        conditions.push(Precondition::Size(bytes));
    }
    Ok(one_or(conditions, Precondition::All))
}

/// All of these.
pub(crate) fn all(conditions: Vec<Precondition>) -> Precondition {
    one_or(conditions, Precondition::All)
}

/// Names the header whose condition did not hold.
pub(crate) fn name_failed(error: S3Error, headers: &HeaderMap) -> S3Error {
    if error.code() != Code::PreconditionFailed {
        return error;
    }
    let none_match = headers.contains_key(header::IF_NONE_MATCH);
    error.with("Condition", if none_match { "If-None-Match" } else { "If-Match" })
}

#[cfg(test)]
mod tests {
    use Precondition::{Absent, All, Any, Differs, Exists, Matches, ModifiedAt, None, Size};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), http::HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn conditions_of_writes() {
        let etag = |text: &str| Matches(text.to_owned());
        let not = |text: &str| Differs(text.to_owned());
        for (pairs, expected) in [
            (&[][..], None),
            (&[("if-none-match", "*")], Absent),
            (&[("if-none-match", "\"a\"")], not("a")),
            (&[("if-none-match", "W/\"a\", b")], All(vec![not("a"), not("b")])),
            (&[("if-match", "*")], Exists),
            (&[("if-match", "a")], etag("a")),
            (&[("if-match", "\"a\",\"b\"")], Any(vec![etag("a"), etag("b")])),
            (&[("if-match", "\"a\""), ("if-none-match", "*")], All(vec![etag("a"), Absent])),
            (&[("if-match", "")], None),
        ] {
            assert_eq!(of_write(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn conditions_of_deletes() {
        fn read(pairs: &[(&'static str, &'static str)]) -> Result<Precondition, Code> {
            of_delete(&headers(pairs)).map_err(|error| error.code())
        }
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("if-match", "*")]), Ok(Exists));
        assert_eq!(read(&[("x-amz-if-match-size", "5")]), Ok(Size(5)));
        for time in ["Fri, 24 May 2013 00:00:00 GMT", "2013-05-24T00:00:00.000Z"] {
            assert_eq!(read(&[("x-amz-if-match-last-modified-time", time)]), Ok(ModifiedAt(1_369_353_600)));
        }
        assert_eq!(
            read(&[("if-match", "\"a\""), ("x-amz-if-match-size", "5")]),
            Ok(All(vec![Matches("a".to_owned()), Size(5)]))
        );
        assert_eq!(read(&[("x-amz-if-match-size", "x")]), Err(Code::InvalidArgument));
        assert_eq!(read(&[("x-amz-if-match-last-modified-time", "x")]), Err(Code::InvalidArgument));
    }
}
