//! JSON bodies: read whole, bounded, then decoded strictly.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::RestError;
use lakebed_http::InBody;

/// The longest JSON body.
const MAX_BODY_BYTES: usize = 10 << 20;

/// The most characters of a refusal that may come from the request.
const MOST_QUOTED: usize = 300;

/// Reads a body of at most 10 MiB.
pub(crate) async fn read(body: InBody) -> Result<Bytes, RestError> {
    let too_long = || {
        RestError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("request body is longer than {MAX_BODY_BYTES} bytes"),
        )
    };
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_long());
    }
    let mut body = body;
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| RestError::broken_body(&*error, format!("request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.is_none() && all.is_empty() {
            first = Some(data);
            continue;
        }
        if let Some(first) = first.take() {
            all.extend_from_slice(&first);
        }
        if all.len() + data.len() > MAX_BODY_BYTES {
            return Err(too_long());
        }
        all.extend_from_slice(&data);
    }
    match first {
        Some(whole) if whole.len() > MAX_BODY_BYTES => Err(too_long()),
        Some(whole) => Ok(whole),
        None => Ok(all.freeze()),
    }
}

/// A body that must be there.
pub(crate) fn required<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, RestError> {
    if body.is_empty() {
        return Err(wrong("value is required but missing"));
    }
    match media_type(headers) {
        Some(media) if media == "application/json" => decode(body),
        media => Err(wrong(&format!(
            "header Content-Type has unexpected value \"{}\", it must be application/json",
            media.unwrap_or_default()
        ))),
    }
}

/// A body that may be absent, and that old clients send without a type.
pub(crate) fn optional<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<T>, RestError> {
    if body.is_empty() {
        Ok(None)
    } else if media_type(headers).is_none() {
        decode(body).map(Some)
    } else {
        required(headers, body).map(Some)
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("?");
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Decodes the first JSON value; bytes behind it are ignored, and of a repeated key the last counts.
fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, RestError> {
    let mut stream = serde_json::Deserializer::from_slice(body);
    // Structs would also read from arrays, by position. The description never means that.
    let start = body.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let decoded = T::deserialize(&mut stream);
    match decoded {
        Ok(value) if start == Some(b'{') => Ok(value),
        // Its items are objects, too.
        Ok(value)
            if expects_array::<T>()
                && serde_json::Deserializer::from_slice(body)
                    .into_iter::<Vec<Map<String, Value>>>()
                    .next()
                    .is_some_and(|list| list.is_ok()) =>
        {
            Ok(value)
        }
        Ok(_) if expects_array::<T>() => Err(wrong("value must be a list of objects")),
        Ok(_) => Err(wrong("value must be an object")),
        Err(_) => {
            // A repeated key fails above; in a generic value the last one wins.
            let mut stream = serde_json::Deserializer::from_slice(body);
            let value = <Value as serde::Deserialize>::deserialize(&mut stream)
                .map_err(|error| wrong(&format!("failed to decode request body: {error}")))?;
            if !value.is_object() && !expects_array::<T>() {
                return Err(wrong("value must be an object"));
            }
            serde_path_to_error::deserialize(value).map_err(|error| at(&error))
        }
    }
}

/// A refusal that names the field it is about, as in `staging.size_bytes`.
fn at(error: &serde_path_to_error::Error<serde_json::Error>) -> RestError {
    let why = error.inner().to_string().replace("expected i64", "expected a whole number of 64 bits");
    // It quotes what was sent, which may be long.
    let why: String = why.chars().take(MOST_QUOTED).collect();
    let path = error.path();
    if path.iter().next().is_none() {
        wrong(&why)
    } else {
        let path: String = path.to_string().chars().take(MOST_QUOTED).collect();
        wrong(&format!("\"{path}\": {why}"))
    }
}

/// True if an empty array is a `T`: the description's array bodies are lists, all others are objects.
fn expects_array<T: DeserializeOwned>() -> bool {
    serde_json::from_str::<T>("[]").is_ok() && serde_json::from_str::<T>("{}").is_err()
}

fn wrong(why: &str) -> RestError {
    RestError::bad_request(format!("request body has an error: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lakebed_api::{
        BranchCreation, BranchProtectionRule, CherryPickCreation, GarbageCollectionRules, Merge,
        StagingMetadata,
    };

    fn branch(body: &str) -> Result<BranchCreation, RestError> {
        decode(body.as_bytes())
    }

    #[test]
    fn of_a_repeated_key_the_last_counts_and_what_follows_is_ignored() {
        let decoded = branch(r#"{"name":"a","name":"b","source":"main","x":{"y":1}} trailing"#).unwrap();
        assert_eq!((decoded.name.as_str(), decoded.source.as_str()), ("b", "main"));
    }

    #[test]
    fn wrong_types_nulls_and_missing_fields_are_refused() {
        for bad in [
            "",
            "{",
            "null",
            "[]",
            r#"["a","b",false,false]"#,
            r#""text""#,
            r#"{"name":5,"source":"main"}"#,
            r#"{"name":"a"}"#,
            r#"{"name":"a","source":null}"#,
            r#"{"NAME":"a","source":"main"}"#,
            r#"{"name":"a","source":"main","hidden":"true"}"#,
        ] {
            assert!(branch(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_and_is_short() {
        let message = |body: &str| decode::<StagingMetadata>(body.as_bytes()).unwrap_err().message;
        for (body, named) in [
            (r#"{"staging":{},"checksum":5,"size_bytes":1}"#, "\"checksum\": invalid type: integer `5`"),
            (r#"{"staging":{},"checksum":"x"}"#, "missing field `size_bytes`"),
            (r#"{"staging":{},"checksum":"x","size_bytes":1.5}"#, "\"size_bytes\""),
            (r#"{"staging":{},"checksum":"x","size_bytes":9223372036854775808}"#, "\"size_bytes\""),
            (
                r#"{"staging":{"physical_address":[]},"checksum":"x","size_bytes":1}"#,
                "\"staging.physical_address\"",
            ),
            (
                r#"{"staging":{},"checksum":"x","size_bytes":1,"user_metadata":{"a":1}}"#,
                "\"user_metadata.a\": invalid type: integer `1`, expected a string",
            ),
            ("[1]", "value must be an object"),
        ] {
            assert!(message(body).contains(named), "{body}: {}", message(body));
        }
        let long = format!(r#"{{"staging":{{}},"checksum":"x","size_bytes":"{}"}}"#, "y".repeat(100_000));
        assert!(message(&long).len() < 400);
    }

    #[test]
    fn lists_are_read_as_lists_and_objects_only_as_objects() {
        assert_eq!(decode::<Vec<BranchProtectionRule>>(b"[]").unwrap(), []);
        assert!(decode::<Vec<BranchProtectionRule>>(b"{}").is_err());
        assert!(decode::<Vec<BranchProtectionRule>>(br#"[["main"]]"#).is_err());
        assert!(decode::<CherryPickCreation>(br#"{"ref":"main","commit_overrides":[]}"#).is_err());
        assert!(decode::<StagingMetadata>(br#"{"staging":["a"],"checksum":"x","size_bytes":1}"#).is_err());
        assert!(
            decode::<GarbageCollectionRules>(br#"{"default_retention_days":1,"branches":[["b",1]]}"#)
                .is_err()
        );
        assert!(decode::<Merge>(b"{}").is_ok());
        assert!(decode::<Merge>(b"[]").is_err());
    }

    #[test]
    fn a_body_needs_its_type_unless_it_is_optional() {
        let mut headers = HeaderMap::new();
        assert!(required::<Merge>(&headers, b"{}").is_err());
        assert!(optional::<Merge>(&headers, b"{}").is_ok());
        headers.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        assert!(optional::<Merge>(&headers, b"{}").is_err());
        headers.insert(header::CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
        assert!(required::<Merge>(&headers, b"{}").is_ok());
        assert!(required::<Merge>(&headers, b"").is_err());
        assert!(optional::<Merge>(&headers, b"").unwrap().is_none());
    }
}
