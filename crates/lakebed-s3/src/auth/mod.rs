//! Who a request comes from: signatures of version 4 and 2, in header and query (`s3-gateway` §3).
//!
//! The signature is computed over what arrived and compared in constant time. Session tokens with long-term keys are
//! ignored: they leak into requests from their users' environments.

mod canonical;
pub(crate) mod date_time;
pub(crate) mod form;
mod keys;
pub(crate) mod v2;
mod v4;

use std::sync::Arc;

use http::header;
use http::request::Parts;
use lakebed_auth::{Principal, SigningKey};
use lakebed_core::Timestamp;

pub(crate) use self::keys::{KeyCache, hmac};
#[cfg(test)]
pub(crate) use self::keys::{Scope, derive};
use crate::S3;
use crate::error::{Code, S3Error};
use crate::payload::Payload;
use crate::query::Query;

/// A verified request.
pub(crate) struct Authenticated {
    pub principal: Arc<Principal>,
    /// The key that signed.
    pub access_key: String,
    pub payload: Payload,
}

/// Whether a request carries an AWS signature, good or not.
pub(crate) fn is_signed(parts: &Parts) -> bool {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let value = value.as_bytes();
        if value.starts_with(b"AWS4-") || value.starts_with(b"AWS ") {
            return true;
        }
    }
    let Some(query) = parts.uri.query() else { return false };
    let has = |name: &str| {
        query
            .split('&')
            .any(|pair| pair.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
    };
    has("X-Amz-Algorithm")
        || has("X-Amz-Signature")
        || has("X-Amz-Credential")
        || (has("AWSAccessKeyId") && has("Signature"))
}

/// Whether an `Authorization` header is of no scheme that any door knows.
pub(crate) fn is_unknown_scheme(parts: &Parts) -> bool {
    let scheme = parts.headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let is = |scheme: &[u8], known: &[u8]| {
        scheme.get(..known.len()).is_some_and(|s| s.eq_ignore_ascii_case(known))
    };
    scheme.is_some_and(|scheme| !is(scheme, b"basic ") && !is(scheme, b"bearer ")) && parts.uri.path() == "/"
}

/// Whether the signature needs the body's hash, which the client does not say.
pub(crate) fn needs_body_hash(parts: &Parts) -> bool {
    !parts.headers.contains_key(v4::CONTENT_SHA256)
        && parts
            .headers
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value.as_bytes().starts_with(v4::ALGORITHM.as_bytes()))
}

/// Refuses what would be refused whatever the body is, before the body is held for its hash.
pub(crate) async fn may_hold_body(s3: &S3, parts: &Parts) -> Result<(), S3Error> {
    v4::may_hold_body(s3, parts).await
}

/// Verifies the signature of what arrived. `body_hash` is the hex SHA-256 of a body whose client does not say it.
pub(crate) async fn authenticate(
    s3: &S3,
    parts: &Parts,
    query: &Query,
    body_hash: Option<&str>,
) -> Result<Authenticated, S3Error> {
    let given = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let v4_query =
        ["X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Credential"].iter().any(|name| query.has(name));
    let v2_query = query.has("AWSAccessKeyId") && query.has("Signature");
    if given.is_some() && (v4_query || v2_query) {
        return Err(S3Error::new(
            Code::InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified.",
        ));
    }
    match given {
        Some(given) if given.starts_with("AWS") => {
            if given.starts_with(v4::ALGORITHM) {
                v4::header(s3, parts, query, given, body_hash).await
            } else if given.starts_with("AWS ") {
                v2::header(s3, parts, query, given).await
            } else if given.starts_with("AWS4-ECDSA-P256-SHA256 ") {
                Err(S3Error::new(
                    Code::NotImplemented,
                    "Of signatures, AWS4-HMAC-SHA256 and version 2 are served.",
                ))
            } else {
                // The scheme alone is sent back: what follows may be a secret.
                let scheme = given.split(' ').next().unwrap_or_default();
                Err(S3Error::argument("Authorization", scheme, "Unsupported Authorization Type"))
            }
        }
        None if v4_query => v4::query(s3, parts, query).await,
        None if v2_query => v2::query(s3, parts, query).await,
        Some(given) if !given.is_empty() && !given.contains(' ') => {
            let why = "Authorization header is invalid -- one and only one ' ' (space) required";
            Err(S3Error::argument("Authorization", given, why))
        }
        Some(given) if !given.is_empty() => {
            Err(S3Error::argument("Authorization", given, "Unsupported Authorization Type"))
        }
        _ => Err(S3Error::new(Code::AccessDenied, "Access Denied: the request is not signed.")),
    }
}

/// The secret behind an access key.
async fn lookup(s3: &S3, access_key: &str) -> Result<SigningKey, S3Error> {
    s3.auth()
        .signing_key(access_key)
        .await?
        .ok_or_else(|| S3Error::of(Code::InvalidAccessKeyId).with("AWSAccessKeyId", access_key))
}

/// Refuses requests that are too old or too new: a signature must not be good for ever.
fn check_skew(s3: &S3, stamp: Timestamp, now: Timestamp) -> Result<(), S3Error> {
    let most = s3.config().max_clock_skew_secs;
    if now.secs().abs_diff(stamp.secs()) <= most.unsigned_abs() {
        return Ok(());
    }
    Err(S3Error::of(Code::RequestTimeTooSkewed)
        .with("RequestTime", date_time::compact(stamp))
        .with("ServerTime", date_time::iso(now))
        .with("MaxAllowedSkewMilliseconds", most.saturating_mul(1000).to_string()))
}

#[cfg(test)]
mod tests;
