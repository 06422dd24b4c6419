//! Answers.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::error::RestError;
use lakebed_http::AnswerBody;

/// What a handler gives back.
pub(crate) type Reply = Result<Response<AnswerBody>, RestError>;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::empty());
    *response.status_mut() = status;
    response
}

/// 204.
pub(crate) fn no_content() -> Reply {
    Ok(empty(StatusCode::NO_CONTENT))
}

/// JSON that is written already.
pub(crate) fn raw_json(status: StatusCode, body: Vec<u8>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A value as JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    let body =
        serde_json::to_vec(value).map_err(|error| RestError::internal("writing the answer", &error))?;
    Ok(raw_json(status, body))
}

/// 200 with a value as JSON.
pub(crate) fn ok<T: Serialize>(value: &T) -> Reply {
    json(StatusCode::OK, value)
}

/// Plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}
