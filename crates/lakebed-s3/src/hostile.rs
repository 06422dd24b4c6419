//! Whatever a client sends is taken or refused, never more: the parsers of the door on texts made to break them.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use proptest::prelude::*;

use crate::bucket::Bucket;
use crate::copy_source::CopySource;
use crate::place::Place;
use crate::query::Query;
use crate::xml::Element;
use crate::{S3Config, conditions, range, tags, write_conditions};

/// Headers of this one name with these bytes, if a header can have them.
fn header(name: &'static str, value: &[u8]) -> Option<HeaderMap> {
    let value = HeaderValue::from_bytes(value).ok()?;
    Some(HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
}

/// Pieces that mean something in names of buckets and keys, between any others.
const KEYS: &str = "(\\.\\./|/|\\.|%2e|%2F|%00|%ff|%25|%|\\+|main|repo|~1|@|[a-z]|ü){0,12}";

proptest! {
    #[test]
    fn a_place_is_what_was_sent_and_nothing_is_resolved(path in KEYS, flat in any::<bool>(), host in "[a-z.:0-9]{0,20}") {
        let config = S3Config { flat_mode: flat, domains: vec!["s3.example".to_owned()], ..S3Config::default() };
        let Ok(request) = Request::get(format!("/{path}")).header("host", &host).body(()) else { return Ok(()) };
        let parts = request.into_parts().0;
        if let Ok(place) = Place::of(&parts, &config)
            && let (Some(bucket), Some(key)) = (place.bucket(), place.key())
        {
            let decoded = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8().unwrap();
            prop_assert!(decoded.ends_with(key.as_str()));
            let (by_path, by_host) = (["/", bucket, "/", key.as_str()].concat(), ["/", key.as_str()].concat());
            prop_assert!(decoded == by_path || decoded == by_host);
            // No key reads or writes anything but its own ref and path.
            let whole = [key.reference(), "/", key.path()].concat();
            let root = [key.as_str(), "/"].concat();
            prop_assert!(whole.ends_with(key.as_str()) || whole == root);
        }
    }

    #[test]
    fn keys_stay_below_their_ref(name in "[a-z.]{0,10}", sent in KEYS) {
        let bucket = Bucket::new(name, &S3Config::default());
        let key = bucket.key(&sent);
        prop_assert_eq!(key.as_str(), sent.as_str());
        prop_assert_eq!(key.path(), bucket.path_of(&sent));
        if let Some(reference) = bucket.named_ref() {
            prop_assert_eq!((key.reference(), key.path()), (reference, sent.as_str()));
        }
    }

    #[test]
    fn copy_sources(value in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (KEYS, KEYS, "(\\?versionId=([a-f0-9]{0,64}|null))?").prop_map(|(a, b, v)| format!("{a}/{b}{v}").into_bytes()),
    ]) {
        if let Some(headers) = header("x-amz-copy-source", &value) {
            let _ = CopySource::parse(&headers, &S3Config::default()).map(|source| source.permission());
        }
    }

    #[test]
    fn ranges(value in "(bytes|rows)?=?([0-9]{0,22}|-|,|\\+| |\t){0,6}", size in any::<u64>()) {
        if let range::Wanted::Part(part) = range::wanted(Some(&value), size) {
            prop_assert!(part.start < part.end && part.end <= size);
        }
    }

    #[test]
    fn conditions_and_their_dates(
        value in prop_oneof![
            "([A-Z][a-z]{2}, ?|[0-9]{1,4}|[A-Z][a-z]{2}| |:|-|T|Z|GMT|\\*|W/|\"|,|\\+){0,14}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..30),
        ],
        mtime in any::<i64>(),
        now in any::<i64>(),
    ) {
        const NAMES: [&str; 9] = [
            "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
            "x-amz-if-match-last-modified-time", "x-amz-if-match-size", "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-unmodified-since",
        ];
        for name in NAMES {
            let Some(headers) = header(name, &value) else { continue };
            let _ = conditions::of_read(&headers, "etag", mtime, now);
            let _ = conditions::of_copy_source(&headers, "etag", mtime);
            let _ = conditions::range_counts(&headers, "etag", mtime);
            let _ = write_conditions::of_write(&headers);
            let _ = write_conditions::of_delete(&headers).map_err(|error| error.code());
        }
    }

    #[test]
    fn queries(raw in "([a-zA-Z-]|=|&|%|%[0-9a-f]{2}|\\+){0,30}") {
        if let Ok(query) = Query::parse(Some(&raw)) {
            prop_assert_eq!(query.pairs().count(), raw.split('&').filter(|pair| !pair.is_empty()).count());
        }
    }

    #[test]
    fn documents(text in prop_oneof![
        "(<(/)?(Delete|Object|Key|a:Key|Tagging|TagSet|Tag|Value)( x=\"1\")?(/)?>|&(amp|lt|#x?[0-9]{1,9}|e);|<!DOCTYPE x \\[|<!ENTITY e \"x\">|\\]>|<!--|-->|<!\\[CDATA\\[|\\]\\]>|[a-z<>&]){0,30}"
            .prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..200),
    ]) {
        for root in ["Delete", "Tagging", "CompleteMultipartUpload"] {
            let _ = Element::parse(&text, root).map_err(|error| error.code());
        }
        let _ = tags::Tags::from_document(&text).map_err(|error| error.code());
    }

    #[test]
    fn tags_in_a_header(text in "([a-z]|=|&|%|%[0-9a-f]{2}|\\+|ü){0,60}") {
        if let Ok(tags) = tags::Tags::from_query(&text) {
            let kept = tags.kept();
            // What is kept reads back as the same tags.
            let again = tags::Tags::from_query(kept.as_deref().unwrap_or_default()).unwrap();
            prop_assert_eq!(again.kept(), kept);
        }
    }
}
