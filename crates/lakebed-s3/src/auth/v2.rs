//! Signature version 2, in the `Authorization` header and in the query (`s3-gateway` §3.4).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use lakebed_core::Timestamp;
use lakebed_http::parse_http_date;
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::{Authenticated, date_time, lookup, v4};
use crate::S3;
use crate::error::{Code, S3Error};
use crate::payload::{Claim, Payload};
use crate::place;
use crate::query::Query;

/// Query names that are part of what is signed.
const SIGNED: [&str; 36] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "delete",
    "encryption",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// A request signed in its `Authorization` header: `AWS <key>:<signature>`.
pub(super) async fn header(
    s3: &S3,
    parts: &Parts,
    query: &Query,
    given: &str,
) -> Result<Authenticated, S3Error> {
    let Some((access_key, signature)) =
        given.strip_prefix("AWS ").and_then(|rest| rest.trim().split_once(':'))
    else {
        return Err(S3Error::new(
            Code::AuthorizationHeaderMalformed,
            "The authorization header is malformed; it must look like AWS <key>:<signature>.",
        ));
    };
    let amz_date = parts.headers.get("x-amz-date").and_then(|value| value.to_str().ok());
    let date = parts.headers.get(header::DATE).and_then(|value| value.to_str().ok());
    let stamp = amz_date.or(date).and_then(any_date).ok_or_else(|| {
        S3Error::new(Code::AccessDenied, "AWS authentication requires a valid Date or x-amz-date header.")
    })?;
    let key = lookup(s3, access_key).await?;
    super::check_skew(s3, stamp, s3.catalog().clock().now())?;
    let signed_date = if amz_date.is_some() { "" } else { date.unwrap_or_default() };
    verify(s3, parts, query, signed_date, (access_key, &key.secret, signature))?;
    // The body is not covered, but some clients say its hash or send it in chunks.
    let claim = match parts.headers.get(v4::CONTENT_SHA256).and_then(|value| value.to_str().ok()) {
        Some(claim) => Claim::parse(claim)?,
        None => Claim::Unsigned,
    };
    Ok(Authenticated {
        principal: key.principal,
        access_key: access_key.to_owned(),
        payload: Payload::unsigned(claim)?,
    })
}

/// A request signed in its query.
pub(super) async fn query(s3: &S3, parts: &Parts, query: &Query) -> Result<Authenticated, S3Error> {
    let parameter = |name: &str| query.get(name).unwrap_or_default();
    let access_key = parameter("AWSAccessKeyId");
    let expires = parameter("Expires");
    let Ok(end) = expires.parse::<i64>() else {
        return Err(S3Error::new(
            Code::AccessDenied,
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters.",
        ));
    };
    let key = lookup(s3, access_key).await?;
    verify(s3, parts, query, expires, (access_key, &key.secret, parameter("Signature")))?;
    let now = s3.catalog().clock().now();
    if now.secs() > end {
        return Err(S3Error::new(Code::AccessDenied, "Request has expired.")
            .with("Expires", date_time::iso(Timestamp::from_secs(end)))
            .with("ServerTime", date_time::iso(now)));
    }
    Ok(Authenticated {
        principal: key.principal,
        access_key: access_key.to_owned(),
        payload: Payload::unsigned(Claim::Unsigned)?,
    })
}

fn any_date(text: &str) -> Option<Timestamp> {
    if let Some(secs) = parse_http_date(text) {
        return Some(Timestamp::from_secs(secs));
    }
    // With a zone in digits, as old clients write it, or as clients in Go do (rclone with `v2_auth`).
    let with_zone = ["+0000", "-0000", "UTC"].iter().find_map(|zone| text.strip_suffix(zone));
    match with_zone.and_then(|date| parse_http_date(&format!("{date}GMT"))) {
        Some(secs) => Some(Timestamp::from_secs(secs)),
        None => date_time::parse(text),
    }
}

fn verify(
    s3: &S3,
    parts: &Parts,
    query: &Query,
    date: &str,
    (access_key, secret, signature): (&str, &str, &str),
) -> Result<(), S3Error> {
    let bucket = place::virtual_bucket(parts, s3.config());
    let path = parts.uri.path();
    let matches = |to_sign: &str| {
        let right = STANDARD.encode(hmac_sha1(secret.as_bytes(), to_sign.as_bytes()));
        bool::from(right.as_bytes().ct_eq(signature.as_bytes()))
    };
    let to_sign = string_to_sign(parts, query, date, bucket.as_deref(), path);
    if matches(&to_sign) {
        return Ok(());
    }
    // A bucket alone is signed with a slash at its end, whether it is sent with one or not.
    let is_bucket = bucket.is_none() && path.len() > 1 && !path[1..].contains('/');
    if is_bucket && matches(&string_to_sign(parts, query, date, None, &format!("{path}/"))) {
        return Ok(());
    }
    Err(v4::mismatch(access_key, signature, &to_sign))
}

/// HMAC-SHA1; also what form policies of version 2 are signed with.
pub(crate) fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else {
        // Not reached: HMAC takes keys of any length. An empty code matches no signature.
        return Vec::new();
    };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn string_to_sign(parts: &Parts, query: &Query, date: &str, bucket: Option<&str>, path: &str) -> String {
    let plain = |name: HeaderName| {
        parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut out = String::with_capacity(256);
    for line in [
        parts.method.as_str(),
        &plain(HeaderName::from_static("content-md5")).unwrap_or_default(),
        &plain(header::CONTENT_TYPE).unwrap_or_default(),
        date,
    ] {
        out.push_str(line);
        out.push('\n');
    }
    amz_headers(&parts.headers, query, &mut out);
    if let Some(bucket) = bucket {
        out.push('/');
        out.push_str(bucket);
    }
    out.push_str(path);
    let mut signed: Vec<(&str, &str)> = query.pairs().filter(|(name, _)| SIGNED.contains(name)).collect();
    signed.sort_unstable();
    for (index, (name, value)) in signed.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(value);
        }
    }
    out
}

/// The `x-amz-` headers. A URL carries in its query those that the client does not send when it is used: a session token.
fn amz_headers(headers: &HeaderMap, query: &Query, out: &mut String) {
    let mut all: Vec<(&str, Cow<'_, str>)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .filter(|(name, _)| name.starts_with("x-amz-"))
        .collect();
    if query.has("Signature") {
        let in_query = query.pairs().filter(|(name, _)| name.starts_with("x-amz-"));
        all.extend(in_query.map(|(name, value)| (name, value.into())));
    }
    // Stable: values of one name stay in order.
    all.sort_by_key(|(name, _)| *name);
    let mut last = None;
    for (name, value) in &all {
        if last == Some(name) {
            out.push(',');
        } else {
            if last.is_some() {
                out.push('\n');
            }
            out.push_str(name);
            out.push(':');
        }
        out.push_str(value.trim());
        last = Some(name);
    }
    if last.is_some() {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn signature(method: &str, uri: &str, headers: &[(&str, &str)], date: &str) -> String {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let query = Query::parse(parts.uri.query()).unwrap();
        let to_sign = string_to_sign(&parts, &query, date, Some("awsexamplebucket1"), parts.uri.path());
        STANDARD.encode(hmac_sha1(SECRET.as_bytes(), to_sign.as_bytes()))
    }

    #[test]
    fn the_published_signatures_are_computed() {
        let date = "Tue, 27 Mar 2007 19:36:42 +0000";
        assert_eq!(signature("GET", "/photos/puppy.jpg", &[], date), "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=");
        let list = "/?prefix=photos&max-keys=50&marker=puppy";
        assert_eq!(
            signature("GET", list, &[], "Tue, 27 Mar 2007 19:42:41 +0000"),
            "m0WP8eCtspQl5Ahe6L1SozdX9YA="
        );
        let put = [("content-type", "image/jpeg")];
        assert_eq!(
            signature("PUT", "/photos/puppy.jpg", &put, "Tue, 27 Mar 2007 21:15:45 +0000"),
            "iqRzw+ileNPu1fhspnRs8nOjjIA="
        );
        assert_eq!(signature("GET", "/photos/puppy.jpg", &[], "1175139620"), "1No4mq5ETf02z8aet9voy6gui6E=");
    }

    #[test]
    fn headers_in_a_signed_query_are_signed() {
        let amz = |uri: &str, headers: &[(&str, &str)]| {
            let mut request = http::Request::builder().uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            let mut out = String::new();
            amz_headers(&parts.headers, &Query::parse(parts.uri.query()).unwrap(), &mut out);
            out
        };
        let sent = [("x-amz-meta-b", " 2 "), ("x-amz-acl", "private"), ("x-amz-meta-b", "3")];
        assert_eq!(amz("/", &sent), "x-amz-acl:private\nx-amz-meta-b:2,3\n");
        let url = "/?AWSAccessKeyId=k&x-amz-security-token=t%2F1&Expires=1&Signature=s";
        assert_eq!(amz(url, &[]), "x-amz-security-token:t/1\n");
        assert_eq!(amz("/?x-amz-security-token=t", &[]), "", "it is in a query that is not what signs");
    }

    #[test]
    fn dates_of_every_form_are_read() {
        for text in [
            "Tue, 27 Mar 2007 19:36:42 +0000",
            "Tue, 27 Mar 2007 19:36:42 GMT",
            "Tue, 27 Mar 2007 19:36:42 UTC",
            "20070327T193642Z",
        ] {
            assert_eq!(any_date(text).map(Timestamp::secs), Some(1_175_024_202), "{text}");
        }
    }
}
