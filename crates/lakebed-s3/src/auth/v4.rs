//! Signature version 4, in the `Authorization` header and in the query (`s3-gateway` §3.1, §3.2).

use http::request::Parts;
use http::{HeaderName, StatusCode, header};
use lakebed_auth::SigningKey;
use lakebed_core::Timestamp;
use lakebed_http::parse_http_date;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::keys::{Scope, hmac};
use super::{Authenticated, canonical, date_time, lookup};
use crate::S3;
use crate::error::{Code, S3Error};
use crate::payload::{Claim, Payload};
use crate::query::Query;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
pub(super) const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// The longest life of a presigned URL, in seconds: a week.
const LONGEST_PRESIGN_SECS: i64 = 604_800;

/// Who signed, and what for.
pub(super) struct Credential<'a> {
    /// The whole without `/aws4_request`.
    pub text: &'a str,
    pub access_key: &'a str,
    pub scope: Scope<'a>,
}

impl<'a> Credential<'a> {
    /// Reads `<key>/<yyyymmdd>/<region>/s3/aws4_request`; else says what is wrong with it.
    pub(super) fn parse(whole: &'a str) -> Result<Self, String> {
        let shape = || {
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
                .to_owned()
        };
        let (text, terminal) = whole.rsplit_once('/').ok_or_else(shape)?;
        let mut parts = text.rsplitn(4, '/');
        let (Some(service), Some(region), Some(date), Some(access_key)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        if access_key.is_empty() {
            return Err(shape());
        }
        if terminal != "aws4_request" {
            // A key may have slashes, but not if the rest is not as it should be.
            if access_key.contains('/') {
                return Err(shape());
            }
            return Err(format!("incorrect terminal \"{terminal}\". This endpoint uses \"aws4_request\"."));
        }
        if service != "s3" {
            return Err(format!("incorrect service \"{service}\". This endpoint belongs to \"s3\"."));
        }
        if date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
            ));
        }
        Ok(Self { text, access_key, scope: Scope { date, region, service } })
    }

    /// The scope as what is signed has it.
    fn scope_text(&self) -> String {
        let Scope { date, region, service } = self.scope;
        format!("{date}/{region}/{service}/aws4_request")
    }
}

/// A signature as sent.
struct Sent<'a> {
    credential: Credential<'a>,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Sent<'a> {
    fn new(
        credential: &'a str,
        signed_headers: &'a str,
        signature: &'a str,
        malformed: impl Fn(String) -> S3Error,
    ) -> Result<Self, S3Error> {
        let credential = Credential::parse(credential).map_err(&malformed)?;
        if !signed_headers.split(';').any(|name| name == "host") {
            return Err(malformed("the host header must be signed.".to_owned()));
        }
        Ok(Self { credential, signed_headers, signature })
    }

    /// Whether a header is covered.
    fn covers(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|signed| signed == name)
    }
}

fn malformed_header(why: impl std::fmt::Display) -> S3Error {
    S3Error::new(Code::AuthorizationHeaderMalformed, format!("The authorization header is malformed; {why}"))
}

fn malformed_query(why: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::new(Code::AuthorizationQueryParametersError, why)
}

fn malformed_credential(why: impl std::fmt::Display) -> S3Error {
    malformed_query(format!("Error parsing the X-Amz-Credential parameter; {why}"))
}

/// The three parts of a header's value, in whatever order.
fn components(given: &str) -> Result<(&str, &str, &str), S3Error> {
    let fields = given.strip_prefix(ALGORITHM).unwrap_or_default().split(',').map(str::trim);
    let mut found = Vec::new();
    for field in fields.filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').ok_or_else(|| {
            malformed_header(format_args!("the authorization component \"{field}\" is malformed."))
        })?;
        found.push((name.trim_end(), value));
    }
    if found.len() < 3 {
        return Err(malformed_header(
            "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
        ));
    }
    let of = |wanted: &str| {
        let value = found.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        value.ok_or_else(|| malformed_header(format_args!("missing {wanted}.")))
    };
    Ok((of("Credential")?, of("SignedHeaders")?, of("Signature")?))
}

/// What is known of a header's signature before it is computed.
struct Begun<'a> {
    sent: Sent<'a>,
    /// The request's date.
    text: String,
    key: SigningKey,
}

/// Everything about a header that needs neither the body nor its hash.
async fn begin<'a>(s3: &S3, parts: &Parts, given: &'a str) -> Result<Begun<'a>, S3Error> {
    let (credential, signed_headers, signature) = components(given)?;
    let sent = Sent::new(credential, signed_headers, signature, malformed_header)?;
    check_region(s3, &sent, malformed_header)?;
    let now = s3.catalog().clock().now();
    let (stamp, text) = request_date(parts)?;
    if !text.starts_with(sent.credential.scope.date) {
        return Err(malformed_header("the date in the Credential is not the date of the request."));
    }
    let key = lookup(s3, sent.credential.access_key).await?;
    super::check_skew(s3, stamp, now)?;
    Ok(Begun { sent, text, key })
}

/// Whether a body may be held to find out its hash: not for those who are refused anyway.
pub(super) async fn may_hold_body(s3: &S3, parts: &Parts) -> Result<(), S3Error> {
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    begin(s3, parts, given.unwrap_or_default()).await.map(drop)
}

/// Refuses signatures for other regions, if told to.
fn check_region(s3: &S3, sent: &Sent<'_>, malformed: impl Fn(String) -> S3Error) -> Result<(), S3Error> {
    let region = &s3.config().region;
    if !s3.config().strict_region || sent.credential.scope.region == region {
        return Ok(());
    }
    let sent = sent.credential.scope.region;
    Err(malformed(format!("the region '{sent}' is wrong; expecting '{region}'")).with("Region", region))
}

/// A request signed in its `Authorization` header. `given` is the header's value; `body_hash` is the hash of a body
/// whose client does not say one.
pub(super) async fn header(
    s3: &S3,
    parts: &Parts,
    query: &Query,
    given: &str,
    body_hash: Option<&str>,
) -> Result<Authenticated, S3Error> {
    let Begun { sent, text, key } = begin(s3, parts, given).await?;
    let claim_text = match parts.headers.get(CONTENT_SHA256) {
        Some(value) => value.to_str().map_err(|_| Claim::refused(""))?,
        None => body_hash.ok_or_else(|| {
            S3Error::new(
                Code::InvalidRequest,
                "Missing required header for this request: x-amz-content-sha256.",
            )
        })?,
    };
    let claim = Claim::parse(claim_text)?;
    let signing_key = s3.keys().get(&sent.credential, &key.secret);
    let scope = sent.credential.scope_text();
    verify(parts, query, &sent, (&text, &scope, claim_text), &signing_key)?;
    check_unsigned_headers(parts, &sent)?;
    let payload = Payload::new(claim, signing_key, &text, &scope, sent.signature);
    Ok(Authenticated { principal: key.principal, access_key: sent.credential.access_key.to_owned(), payload })
}

/// A request signed in its query.
pub(super) async fn query(s3: &S3, parts: &Parts, query: &Query) -> Result<Authenticated, S3Error> {
    let parameter = |name: &str| {
        query.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            S3Error::new(
                Code::AuthorizationQueryParametersError,
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            )
        })
    };
    let algorithm = parameter("X-Amz-Algorithm")?;
    let (credential, signature) = (parameter("X-Amz-Credential")?, parameter("X-Amz-Signature")?);
    let (date, expires) = (parameter("X-Amz-Date")?, parameter("X-Amz-Expires")?);
    let signed_headers = parameter("X-Amz-SignedHeaders")?;
    if algorithm != ALGORITHM {
        return Err(malformed_query("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let sent = Sent::new(credential, signed_headers, signature, malformed_credential)?;
    check_region(s3, &sent, malformed_credential)?;
    let stamp = date_time::parse(date)
        .ok_or_else(|| malformed_query("X-Amz-Date must look like 20130524T000000Z."))?;
    let day = sent.credential.scope.date;
    if !date.starts_with(day) {
        return Err(malformed_query(format!(
            "Invalid credential date \"{day}\". This date is not the same as X-Amz-Date: \"{}\".",
            date.get(..8).unwrap_or(date)
        )));
    }
    let expires: i64 = expires.parse().map_err(|_| malformed_query("X-Amz-Expires should be a number"))?;
    if !(1..=LONGEST_PRESIGN_SECS).contains(&expires) {
        let why = "X-Amz-Expires must be between 1 and 604800 seconds.";
        return Err(malformed_query(why).with_status(StatusCode::FORBIDDEN));
    }
    let key = lookup(s3, sent.credential.access_key).await?;
    let claim_text = match query.get("X-Amz-Content-Sha256") {
        Some(claim) => claim,
        None if sent.covers(CONTENT_SHA256.as_str()) => {
            let value = parts.headers.get(CONTENT_SHA256).and_then(|value| value.to_str().ok());
            value.unwrap_or("UNSIGNED-PAYLOAD")
        }
        None => "UNSIGNED-PAYLOAD",
    };
    let claim = Claim::parse(claim_text)?;
    let signing_key = s3.keys().get(&sent.credential, &key.secret);
    let scope = sent.credential.scope_text();
    verify(parts, query, &sent, (date, &scope, claim_text), &signing_key)?;
    check_unsigned_headers(parts, &sent)?;
    let now = s3.catalog().clock().now();
    if stamp.secs() > now.secs().saturating_add(s3.config().max_clock_skew_secs) {
        return Err(S3Error::new(Code::AccessDenied, "Request is not valid yet."));
    }
    let end = stamp.secs().saturating_add(expires);
    if now.secs() > end {
        return Err(S3Error::new(Code::AccessDenied, "Request has expired.")
            .with("X-Amz-Expires", expires.to_string())
            .with("Expires", date_time::iso(Timestamp::from_secs(end)))
            .with("ServerTime", date_time::iso(now)));
    }
    let payload = Payload::new(claim, signing_key, date, &scope, sent.signature);
    Ok(Authenticated { principal: key.principal, access_key: sent.credential.access_key.to_owned(), payload })
}

/// When the request says it was made, and that as `yyyymmddThhmmssZ`.
fn request_date(parts: &Parts) -> Result<(Timestamp, String), S3Error> {
    let unreadable =
        || S3Error::new(Code::AccessDenied, "AWS authentication requires a valid Date or x-amz-date header.");
    if let Some(value) = parts.headers.get(AMZ_DATE) {
        let text = value.to_str().map_err(|_| unreadable())?;
        let stamp = date_time::parse(text).ok_or_else(unreadable)?;
        return Ok((stamp, text.to_owned()));
    }
    let value =
        parts.headers.get(header::DATE).and_then(|value| value.to_str().ok()).ok_or_else(unreadable)?;
    let stamp = match parse_http_date(value) {
        Some(secs) => Timestamp::from_secs(secs),
        None => date_time::parse(value).ok_or_else(unreadable)?,
    };
    Ok((stamp, date_time::compact(stamp)))
}

/// Computes the signature and compares it in constant time.
fn verify(
    parts: &Parts,
    query: &Query,
    sent: &Sent<'_>,
    (date, scope, payload): (&str, &str, &str),
    key: &[u8; 32],
) -> Result<(), S3Error> {
    let raw_path = parts.uri.path();
    let canonical_uri = canonical::uri(raw_path);
    let canonical_query = canonical::query(query);
    let build = |path: &str| -> Option<(Vec<u8>, String)> {
        let request = canonical::request(parts, path, &canonical_query, sent.signed_headers, payload)?;
        let hash = hex::encode(Sha256::digest(&request));
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{hash}");
        Some((request, to_sign))
    };
    let matches = |to_sign: &str| is_signature(key, to_sign, sent.signature);
    let access_key = sent.credential.access_key;
    let Some((request, to_sign)) = build(&canonical_uri) else {
        return Err(S3Error::of(Code::SignatureDoesNotMatch).with("AWSAccessKeyId", access_key));
    };
    if matches(&to_sign) {
        return Ok(());
    }
    // Some signers sign the path as they send it.
    if raw_path != canonical_uri && build(raw_path).is_some_and(|(_, to_sign)| matches(&to_sign)) {
        return Ok(());
    }
    Err(mismatch(access_key, sent.signature, &to_sign)
        .with("CanonicalRequest", String::from_utf8_lossy(&request))
        .with("CanonicalRequestBytes", spaced_hex(&request)))
}

/// Whether this is the key's signature, in constant time.
pub(super) fn is_signature(key: &[u8; 32], to_sign: &str, signature: &str) -> bool {
    let right = hex::encode(hmac(key, to_sign.as_bytes()));
    bool::from(right.as_bytes().ct_eq(signature.as_bytes()))
}

/// What a client is told to find out why its signature is not ours.
pub(super) fn mismatch(access_key: &str, signature: &str, to_sign: &str) -> S3Error {
    S3Error::of(Code::SignatureDoesNotMatch)
        .with("AWSAccessKeyId", access_key)
        .with("StringToSign", to_sign)
        .with("SignatureProvided", signature)
        .with("StringToSignBytes", spaced_hex(to_sign.as_bytes()))
}

fn spaced_hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(&hex::encode([*byte]));
    }
    out
}

/// Headers that change what a request does count only if they are signed.
fn check_unsigned_headers(parts: &Parts, sent: &Sent<'_>) -> Result<(), S3Error> {
    const TELLING: [&str; 8] = [
        "x-amz-copy-source",
        "x-amz-metadata-directive",
        "x-amz-tagging",
        "x-amz-rename-source",
        "x-amz-security-token",
        "x-amz-acl",
        "x-amz-grant-",
        "x-amz-website-redirect-location",
    ];
    let unsigned: Vec<&str> = parts
        .headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| TELLING.iter().any(|telling| name.starts_with(telling)) && !sent.covers(name))
        .collect();
    if unsigned.is_empty() {
        return Ok(());
    }
    Err(S3Error::new(Code::AccessDenied, "There were headers present in the request which were not signed")
        .with("HeadersNotSigned", unsigned.join(", ")))
}
