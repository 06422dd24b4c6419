//! What the service says, as errors that say what to do.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::{BlockAddress, BlockError};
use lakebed_core::chain;

/// Code and text of a refusal.
pub(super) struct Answer<'a> {
    pub(super) code: Option<&'a str>,
    pub(super) message: Option<&'a str>,
}

impl Answer<'_> {
    pub(super) fn error(&self, what: &'static str, address: &BlockAddress) -> BlockError {
        let (code, said) = (self.code.unwrap_or("unknown error"), self.message.unwrap_or_default());
        let help = match code {
            "AccessDenied" | "AllAccessDisabled" => {
                ": the server's credentials may not do this there, extend their policy"
            }
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken" => {
                ": check blockstore.s3.credentials or the environment they come from"
            }
            "NoSuchBucket" => ": create the bucket first",
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                ": the bucket is in another region, set blockstore.s3.region or discover_bucket_region"
            }
            "SlowDown"
            | "RequestLimitExceeded"
            | "ServiceUnavailable"
            | "InternalError"
            | "RequestTimeout" => {
                return BlockError::Unavailable { what, why: format!("{code} {said} at {address}") };
            }
            _ => "",
        };
        let source = std::io::Error::other(format!("{code} {said} at {address}{help}"));
        BlockError::Io { what, source }
    }
}

/// An error of a call about an object.
pub(super) fn failed<E>(
    what: &'static str,
    address: &BlockAddress,
    error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> BlockError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
    match (code.as_deref(), status) {
        (Some("NoSuchKey" | "NotFound"), _) | (None, Some(404)) => BlockError::NotFound(address.clone()),
        (Some("PreconditionFailed" | "ConditionalRequestConflict"), _) | (None, Some(412)) => {
            BlockError::Exists(address.clone())
        }
        (Some("InvalidRange"), _) | (None, Some(416)) => BlockError::OutOfRange(address.clone()),
        (Some(code), _) => {
            let message = error.as_service_error().and_then(ProvideErrorMetadata::message);
            Answer { code: Some(code), message }.error(what, address)
        }
        (None, Some(status)) if status < 500 && status != 408 && status != 429 => {
            let help = match status {
                401 | 403 => {
                    ": check blockstore.s3.credentials or the environment they come from, and their policy"
                }
                _ => "",
            };
            let source = std::io::Error::other(format!("status {status} at {address}{help}"));
            BlockError::Io { what, source }
        }
        (None, Some(status)) => {
            BlockError::Unavailable { what, why: format!("status {status} at {address}") }
        }
        (None, None) => {
            let why = format!("{} at {address}: is the store reachable?", chain(error));
            BlockError::Unavailable { what, why }
        }
    }
}

/// An error of a call about an upload of parts.
pub(super) fn of_upload<E>(
    what: &'static str,
    address: &BlockAddress,
    upload: &str,
    error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> BlockError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some("NoSuchUpload") => BlockError::NoSuchUpload(upload.to_owned()),
        _ => match failed(what, address, error) {
            BlockError::NotFound(_) => BlockError::NoSuchUpload(upload.to_owned()),
            other => other,
        },
    }
}

/// A request that could not even be made.
pub(super) fn unbuilt(what: &'static str, error: &dyn std::error::Error) -> BlockError {
    BlockError::Io { what, source: std::io::Error::other(error.to_string()) }
}
