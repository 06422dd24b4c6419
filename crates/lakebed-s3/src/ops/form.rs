//! A browser's upload of a file by form (`s3-gateway` §8.11). The fields stand in front of the file and are checked
//! before a byte of it is read; then the form is an upload like any other, of a file whose length its policy limits.

use std::ops::RangeInclusive;

use futures::{StreamExt, TryStreamExt};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::StreamBody;
use lakebed_blocks::{BodyError, ByteStream};
use lakebed_http::{AnswerBody, BoxError, InBody, byte_stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::put::PutObject;
use crate::S3;
use crate::auth;
use crate::bucket::Bucket;
use crate::call::Call;
use crate::error::{Code, S3Error};
use crate::form::{Fields, Multipart, Policy, boundary};
use crate::operation::perform;
use crate::payload::Payload;
use crate::place::{Place, virtual_bucket};
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::xml::Writer;

/// The most bytes in front of the file.
const MOST_FIELD_BYTES: usize = 20 << 10;

/// The part that is the file.
const FILE: &str = "file";

/// What is escaped in the addresses that answers name.
const ADDRESS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
const PARAMETER: &AsciiSet = &ADDRESS.add(b'/');

/// Whether a request to this place is a form.
pub(crate) fn is_form(parts: &Parts, place: &Place, query: &Query) -> bool {
    parts.method == Method::POST
        && matches!(place, Place::Bucket(_))
        && !query.has("delete")
        && is_form_data(&parts.headers)
}

/// Whether the content type is a form's.
pub(crate) fn is_form_data(headers: &HeaderMap) -> bool {
    const KIND: &[u8] = b"multipart/form-data";
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().get(..KIND.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(KIND))
}

/// `POST /bucket` with a form.
pub(crate) async fn upload(s3: &S3, parts: Parts, place: Place, body: InBody, request_id: &str) -> Reply {
    let bucket = place.bucket().unwrap_or_default().to_owned();
    let mut form = Multipart::new(byte_stream(body), &boundary(&parts.headers)?);
    let fields = read_fields(&mut form).await?;
    let (principal, access_key) = auth::form::authenticate(s3, &fields).await?;
    let policy = Policy::parse(fields.required("policy")?)?;
    // A form without a key is malformed, whatever its policy says of keys.
    let key = fields.required("key")?.to_owned();
    let lengths = policy.check(&fields, &bucket, s3.catalog().clock().now())?;
    let settled = Bucket::new(bucket.clone(), s3.config()).settle(s3.catalog()).await?;
    let place = Place::Object { key: settled.key(&key), bucket: settled };
    let call = Call {
        s3: s3.clone(),
        parts: stand_in(&parts, &fields)?,
        place,
        query: Query::default(),
        principal,
        access_key,
        // The policy is what is signed; the file it allows may be any.
        payload: Payload::Unsigned,
        body: Some(InBody::new(StreamBody::new(
            limited(form, lengths).map_err(into_source).map_ok(Frame::data),
        ))),
        request_id: request_id.to_owned(),
    };
    let stored = perform::<PutObject>(call).await?;
    let address = address(s3, &parts, &bucket, &key);
    Ok(success(&fields, stored, &Uploaded { bucket: &bucket, key: &key, address: &address }))
}

/// Everything in front of the file, the file's name put into the key.
async fn read_fields(form: &mut Multipart) -> Result<Fields, S3Error> {
    let too_long = || S3Error::of(Code::MaxPostPreDataLengthExceeded);
    let mut fields = Fields::default();
    let mut left = MOST_FIELD_BYTES;
    // What stands before the first boundary is nobody's.
    let preamble = form.whole(left).await?.ok_or_else(too_long)?;
    left -= preamble.len();
    while let Some(head) = form.head().await? {
        if head.name.eq_ignore_ascii_case(FILE) {
            fields.name_file(head.filename.as_deref().unwrap_or_default());
            return Ok(fields);
        }
        left = left.checked_sub(head.name.len()).ok_or_else(too_long)?;
        let value = form.whole(left).await?.ok_or_else(too_long)?;
        left -= value.len();
        fields.add(&head.name, value)?;
    }
    Err(S3Error::argument(FILE, "0", "POST requires exactly one file upload per request."))
}

/// The head of the upload that the form stands for.
fn stand_in(parts: &Parts, fields: &Fields) -> Result<Parts, S3Error> {
    let (mut stand_in, ()) = http::Request::new(()).into_parts();
    stand_in.method = Method::PUT;
    stand_in.version = Version::HTTP_11;
    stand_in.uri = parts.uri.clone();
    stand_in.headers = fields.headers()?;
    // The file ends at its boundary: nobody says its length.
    stand_in.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    Ok(stand_in)
}

/// A body's reader finds the door's own error where it looks for it.
fn into_source(error: BodyError) -> BoxError {
    match error {
        BodyError::Client(source) => source,
        error @ BodyError::Store(_) => Box::new(error),
    }
}

/// The file, unless it has more or fewer bytes than it may.
fn limited(form: Multipart, lengths: RangeInclusive<u64>) -> ByteStream {
    let refused = |code, name, limit: &u64, seen: u64| {
        let error = S3Error::of(code).with("ProposedSize", seen.to_string()).with(name, limit.to_string());
        BodyError::Client(Box::new(error))
    };
    futures::stream::try_unfold((form, 0_u64), move |(mut form, seen)| {
        let lengths = lengths.clone();
        async move {
            let Some(bytes) = form.chunk().await? else {
                if seen < *lengths.start() {
                    return Err(refused(Code::EntityTooSmall, "MinSizeAllowed", lengths.start(), seen));
                }
                form.forget_rest().await?;
                return Ok(None);
            };
            let seen = seen.saturating_add(bytes.len() as u64);
            if seen > *lengths.end() {
                return Err(refused(Code::EntityTooLarge, "MaxSizeAllowed", lengths.end(), seen));
            }
            Ok(Some((bytes, (form, seen))))
        }
    })
    .boxed()
}

/// What was uploaded.
struct Uploaded<'a> {
    bucket: &'a str,
    key: &'a str,
    address: &'a str,
}

/// Where the object is, as this client reaches it.
fn address(s3: &S3, parts: &Parts, bucket: &str, key: &str) -> String {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = parts.uri.scheme_str().or(text("x-forwarded-proto"));
    let scheme = scheme.filter(|scheme| *scheme == "https").unwrap_or("http");
    let host = parts.uri.authority().map(http::uri::Authority::as_str).or(text("host"));
    let host = host.unwrap_or("localhost");
    let key = percent_encode(key.as_bytes(), ADDRESS);
    if virtual_bucket(parts, s3.config()).is_some() {
        format!("{scheme}://{host}/{key}")
    } else {
        format!("{scheme}://{host}/{bucket}/{key}")
    }
}

/// The answer the form asked for.
fn success(
    fields: &Fields,
    mut stored: Response<AnswerBody>,
    uploaded: &Uploaded<'_>,
) -> Response<AnswerBody> {
    let etag = stored.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
    let etag = etag.trim_matches('"').to_owned();
    let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    if let Some(target) = redirect.and_then(|target| redirection(target, uploaded, &etag)) {
        *stored.status_mut() = StatusCode::SEE_OTHER;
        stored.headers_mut().insert(header::LOCATION, target);
        return stored;
    }
    let mut response = match fields.get("success_action_status") {
        Some("200") => stored,
        Some("201") => {
            let mut xml = Writer::bare();
            xml.open("PostResponse").text("Location", uploaded.address);
            xml.text("Bucket", uploaded.bucket).text("Key", uploaded.key).etag(&etag);
            let mut response = reply::xml(StatusCode::CREATED, xml.finish("PostResponse"));
            response.headers_mut().extend(std::mem::take(stored.headers_mut()));
            response
        }
        _ => {
            *stored.status_mut() = StatusCode::NO_CONTENT;
            stored
        }
    };
    if let Ok(address) = HeaderValue::from_str(uploaded.address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    response
}

/// Where the browser goes next; `None` if the form names no address that a browser can go to.
fn redirection(target: &str, uploaded: &Uploaded<'_>, etag: &str) -> Option<HeaderValue> {
    let uri: http::Uri = target.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return None;
    }
    let (base, fragment) = target.split_once('#').map_or((target, ""), |(base, fragment)| (base, fragment));
    let joint = match base.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    let escaped = |text: &str| percent_encode(text.as_bytes(), PARAMETER).to_string();
    let (bucket, key) = (escaped(uploaded.bucket), escaped(uploaded.key));
    let mut location = format!("{base}{joint}bucket={bucket}&key={key}&etag=%22{etag}%22");
    if !fragment.is_empty() {
        location.push('#');
        location.push_str(fragment);
    }
    HeaderValue::from_str(&location).ok()
}
