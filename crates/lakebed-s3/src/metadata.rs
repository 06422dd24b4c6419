//! What an upload's headers say of the object: content type, system headers, user metadata, tags (`s3-gateway` §8.5,
//! §9).

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use lakebed_catalog::EntryDraft;

use crate::error::{Code, S3Error};
use crate::stored::{META_PREFIX, TAGGING};
use crate::tags::Tags;

/// How keys of user metadata begin in entries: REST shows them so.
const KEPT_PREFIX: &str = "X-Amz-Meta-";

/// The most bytes of user metadata: names without prefix, and values.
const MOST_METADATA: usize = 2048;

/// The label of an object that is not of the standard class.
pub(crate) const STORAGE_CLASS: &str = "x-amz-storage-class";

/// Where a web site would redirect to.
pub(crate) const REDIRECT: &str = "x-amz-website-redirect-location";

/// Headers kept as they are. `content-encoding` is looked at first.
const KEPT: [HeaderName; 4] =
    [header::CACHE_CONTROL, header::CONTENT_DISPOSITION, header::CONTENT_LANGUAGE, header::EXPIRES];

const STORAGE_CLASSES: [&str; 12] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
    "FSX_OPENZFS",
];

/// Everything the headers say, tags included. Size and checksum are left to whoever stores the bytes.
pub(crate) fn draft(headers: &HeaderMap) -> Result<EntryDraft, S3Error> {
    refuse_unserved(headers)?;
    let mut kept = placement(headers)?;
    for name in KEPT {
        if let Some(value) = headers.get(&name) {
            kept.insert(name.as_str().to_owned(), text(value).into_owned());
        }
    }
    if let Some(encoding) = content_encoding(headers) {
        kept.insert(header::CONTENT_ENCODING.as_str().to_owned(), encoding);
    }
    if let Some(tags) = tags(headers)? {
        kept.insert(TAGGING.to_owned(), tags);
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(text).unwrap_or_default();
    Ok(EntryDraft {
        content_type: content_type.into_owned(),
        metadata: user_metadata(headers)?,
        headers: kept,
        ..EntryDraft::default()
    })
}

/// The header that asks for encryption at rest, and what it may say.
pub(crate) const ENCRYPTION: &str = "x-amz-server-side-encryption";
const ENCRYPTIONS: [&str; 4] = ["AES256", "aws:kms", "aws:kms:dsse", "aws:fsx"];

/// Storage class and redirect: what even a copy takes from the request.
pub(crate) fn placement(headers: &HeaderMap) -> Result<BTreeMap<String, String>, S3Error> {
    let mut kept = BTreeMap::new();
    if let Some(class) = headers.get(STORAGE_CLASS) {
        let class = text(class);
        if !STORAGE_CLASSES.contains(&&*class) {
            return Err(S3Error::of(Code::InvalidStorageClass).with("StorageClassRequested", class));
        }
        if class != "STANDARD" {
            kept.insert(STORAGE_CLASS.to_owned(), class.into_owned());
        }
    }
    if let Some(redirect) = headers.get(REDIRECT) {
        let redirect = text(redirect);
        check_redirect(&redirect)?;
        kept.insert(REDIRECT.to_owned(), redirect.into_owned());
    }
    Ok(kept)
}

/// The most bytes of a place to redirect to.
const MOST_REDIRECT: usize = 2048;

/// A web site redirects to a page of its own or to an address.
fn check_redirect(redirect: &str) -> Result<(), S3Error> {
    let refused = |message| Err(S3Error::new(Code::InvalidRedirectLocation, message));
    if redirect.is_empty() {
        return refused("The website redirect location must be non-empty.");
    }
    if !["/", "http://", "https://"].iter().any(|start| redirect.starts_with(start)) {
        return refused(
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        );
    }
    if redirect.len() > MOST_REDIRECT {
        return refused("The length of website redirect location cannot exceed 2,048 characters.");
    }
    Ok(())
}

/// The tags of `x-amz-tagging`, as they are kept; `None` without the header or without tags.
pub(crate) fn tags(headers: &HeaderMap) -> Result<Option<String>, S3Error> {
    let Some(value) = headers.get(TAGGING) else { return Ok(None) };
    Ok(Tags::from_query(&text(value))?.kept())
}

/// Encryption at rest by keys that clients name is not served: data would not be encrypted with them, or was not.
pub(crate) fn refuse_customer_keys(headers: &HeaderMap) -> Result<(), S3Error> {
    let named = headers.keys().map(HeaderName::as_str).find(|name| {
        name.starts_with("x-amz-server-side-encryption-customer-")
            || name.starts_with("x-amz-copy-source-server-side-encryption-customer-")
    });
    match named {
        Some(name) => Err(S3Error::of(Code::NotImplemented).with("Header", name)),
        None => Ok(()),
    }
}

/// Headers that ask for what is not there: to ignore them would be to break a promise. Encryption by the store's own
/// keys is the store's affair: asking for it is accepted.
pub(crate) fn refuse_unserved(headers: &HeaderMap) -> Result<(), S3Error> {
    refuse_customer_keys(headers)?;
    if let Some(kind) = headers.get(ENCRYPTION).map(text)
        && !ENCRYPTIONS.contains(&&*kind)
    {
        return Err(S3Error::argument(ENCRYPTION, &kind, "The encryption method specified is not supported"));
    }
    for name in headers.keys().map(HeaderName::as_str) {
        if name.starts_with("x-amz-object-lock-") {
            return Err(S3Error::new(Code::InvalidRequest, "Bucket is missing Object Lock Configuration"));
        }
        if name == "x-amz-write-offset-bytes" {
            return Err(S3Error::of(Code::NotImplemented).with("Header", name));
        }
    }
    Ok(())
}

/// `Content-Encoding` without what is only the transfer's.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let values: Vec<Cow<'_, str>> = headers.get_all(header::CONTENT_ENCODING).iter().map(text).collect();
    let whole = values.join(", ");
    let is_transfer = |token: &&str| token.trim().eq_ignore_ascii_case("aws-chunked");
    let kept = if whole.split(',').any(|token| is_transfer(&token)) {
        let rest: Vec<&str> = whole.split(',').filter(|token| !is_transfer(token)).map(str::trim).collect();
        rest.join(", ")
    } else {
        whole
    };
    (!kept.is_empty()).then_some(kept)
}

/// User metadata under the keys REST shows; values as Unicode.
pub(crate) fn user_metadata(headers: &HeaderMap) -> Result<BTreeMap<String, String>, S3Error> {
    let mut metadata = BTreeMap::new();
    let mut size = 0;
    for name in headers.keys() {
        let Some(rest) = name.as_str().strip_prefix(META_PREFIX) else { continue };
        let values: Vec<Cow<'_, str>> = headers.get_all(name).iter().map(text).collect();
        let joined = values.iter().map(|value| value.trim()).collect::<Vec<_>>().join(",");
        let value = decode_words(&joined);
        size += rest.len() + value.len();
        metadata.insert(format!("{KEPT_PREFIX}{rest}"), value);
    }
    if size > MOST_METADATA {
        return Err(S3Error::of(Code::MetadataTooLarge)
            .with("Size", size.to_string())
            .with("MaxSizeAllowed", MOST_METADATA.to_string()));
    }
    Ok(metadata)
}

/// A header's bytes as text: UTF-8, or else ISO-8859-1, in which every byte is a character.
pub(crate) fn text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect::<String>().into(),
    }
}

/// Resolves the encoded words of RFC 2047 in a text. What looks like one and is none stays as it is; the space between
/// two of them is theirs.
fn decode_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut behind_word = false;
    while let Some(at) = rest.find("=?") {
        let (before, word) = rest.split_at(at);
        let Some((decoded, behind)) = decode_word(word) else {
            out.push_str(before);
            out.push_str("=?");
            rest = &word[2..];
            behind_word = false;
            continue;
        };
        if !(behind_word && before.bytes().all(|b| b.is_ascii_whitespace())) {
            out.push_str(before);
        }
        out.push_str(&decoded);
        rest = behind;
        behind_word = true;
    }
    out.push_str(rest);
    out
}

/// One encoded word at the start of a text, and what follows it: `=?charset?encoding?data?=`.
fn decode_word(text: &str) -> Option<(String, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (data, rest) = rest.split_once("?=")?;
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(data).ok()?,
        "Q" | "q" => decode_q(data)?,
        _ => return None,
    };
    // A language may follow the character set (RFC 2231).
    let charset = charset.split('*').next().unwrap_or_default();
    let decoded = if charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii") {
        String::from_utf8(bytes).ok()?
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        bytes.into_iter().map(char::from).collect()
    } else {
        return None;
    };
    Some((decoded, rest))
}

fn decode_q(data: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    let mut bytes = data.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'_' => out.push(b' '),
            b'=' => {
                let digits = [bytes.next()?, bytes.next()?];
                let mut decoded = [0];
                hex::decode_to_slice(digits, &mut decoded).ok()?;
                out.push(decoded[0]);
            }
            b' ' | b'\t' => return None,
            byte => out.push(byte),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn refused(pairs: &[(&'static str, &[u8])]) -> Option<Code> {
        draft(&headers(pairs)).err().map(|error| error.code())
    }

    #[test]
    fn headers_become_what_the_object_says_of_itself() {
        let draft = draft(&headers(&[
            ("content-type", b"text/csv"),
            ("content-encoding", b"gzip, aws-chunked"),
            ("cache-control", b"max-age=60"),
            ("expires", b"not a date"),
            ("x-amz-storage-class", b"STANDARD_IA"),
            ("x-amz-tagging", b"b=2&a=%20x"),
            ("x-amz-meta-One", b" first "),
            ("x-amz-acl", b"private"),
            ("x-amz-server-side-encryption", b"AES256"),
        ]))
        .unwrap();
        assert_eq!(draft.content_type, "text/csv");
        assert_eq!(draft.metadata, BTreeMap::from([("X-Amz-Meta-one".to_owned(), "first".to_owned())]));
        let kept: Vec<(&str, &str)> = draft.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            kept,
            [
                ("cache-control", "max-age=60"),
                ("content-encoding", "gzip"),
                ("expires", "not a date"),
                ("x-amz-storage-class", "STANDARD_IA"),
                ("x-amz-tagging", "a=+x&b=2"),
            ]
        );
    }

    #[test]
    fn aws_chunked_is_never_kept() {
        for (given, kept) in [
            ("gzip, aws-chunked", Some("gzip")),
            ("aws-chunked, gzip", Some("gzip")),
            ("aws-chunked,aws-chunked", None),
            ("AWS-Chunked", None),
            ("", None),
            ("gzip,br", Some("gzip,br")),
        ] {
            let headers = headers(&[("content-encoding", given.as_bytes())]);
            assert_eq!(content_encoding(&headers).as_deref(), kept, "{given}");
        }
    }

    #[test]
    fn what_is_not_served_is_refused() {
        assert_eq!(refused(&[("x-amz-storage-class", b"NONSENSE")]), Some(Code::InvalidStorageClass));
        assert_eq!(refused(&[("x-amz-storage-class", b"STANDARD")]), None);
        assert_eq!(refused(&[("x-amz-object-lock-mode", b"GOVERNANCE")]), Some(Code::InvalidRequest));
        assert_eq!(refused(&[("x-amz-write-offset-bytes", b"0")]), Some(Code::NotImplemented));
        let customer = "x-amz-server-side-encryption-customer-algorithm";
        assert_eq!(refused(&[(customer, b"AES256")]), Some(Code::NotImplemented));
    }

    #[test]
    fn metadata_is_limited_to_2048_bytes_without_prefixes() {
        let of = |length: usize| {
            let mut headers = headers(&[("x-amz-meta-ab", b"xy")]);
            headers.insert("x-amz-meta-c", "x".repeat(length).parse().unwrap());
            user_metadata(&headers).map_err(|error| error.code())
        };
        assert!(of(2048 - 5).is_ok());
        assert_eq!(of(2048 - 4), Err(Code::MetadataTooLarge));
    }

    #[test]
    fn values_are_unicode_however_they_travel() {
        let of = |value: &[u8]| {
            user_metadata(&headers(&[("x-amz-meta-a", value)])).unwrap()["X-Amz-Meta-a"].clone()
        };
        for (given, kept) in [
            ("grün".as_bytes(), "grün"),
            (b"gr\xfcn", "grün"),
            (b"=?UTF-8?Q?gr=C3=BCn?=", "grün"),
            (b"=?UTF-8?B?Z3LDvG4=?=", "grün"),
            (b"=?utf-8?q?a_b=5F?= =?ISO-8859-1?Q?=FC?=", "a b_ü"),
            (b"x =?utf-8?q?a?= y", "x a y"),
            (b"=?utf-8?q?a=?= =?x", "=?utf-8?q?a=?= =?x"),
            (b"=?koi8-r?q?a?=", "=?koi8-r?q?a?="),
            (b"=?utf-8?B?=?=", "=?utf-8?B?=?="),
        ] {
            assert_eq!(of(given), kept);
        }
        let twice = headers(&[("x-amz-meta-a", b" 1"), ("x-amz-meta-a", b"2 ")]);
        assert_eq!(user_metadata(&twice).unwrap()["X-Amz-Meta-a"], "1,2");
    }

    proptest! {
        #[test]
        fn hostile_words_never_panic(text in "(=\\?|\\?=|utf-8|[bBqQ]|\\?|=|_|[A-Za-z0-9+/ü]){0,20}") {
            let _ = decode_words(&text);
        }

        #[test]
        fn encoded_words_round_trip(value in "\\PC{0,30}") {
            let encoded = format!("=?utf-8?b?{}?=", STANDARD.encode(&value));
            prop_assert_eq!(decode_words(&encoded), value);
        }
    }
}
