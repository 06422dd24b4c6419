//! Errors, and the one place where the catalog's and auth's refusals become statuses (`versioning-api` §18).

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use lakebed_api::MergeResult;
use lakebed_auth::AuthError;
use lakebed_catalog::{CatalogError, ErrorKind};
use lakebed_core::{NameError, PathError, RefExprError};

use crate::reply;
use lakebed_http::{AnswerBody, Silence};

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {message}")]
pub(crate) struct RestError {
    pub status: StatusCode,
    pub message: String,
    shape: Shape,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug)]
enum Shape {
    /// `{"message": …}`.
    Json,
    /// The message as plain text, with a newline.
    Text,
    /// No body.
    Bare,
    /// A merge result without a reference.
    Merge(Box<MergeResult>),
}

impl RestError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), shape: Shape::Json, headers: Vec::new() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "error authenticating request")
    }

    /// 400 as plain text: what clients get for a parameter that cannot be read as a single value.
    pub(crate) fn bad_parameter(name: &str, why: &str) -> Self {
        let mut error = Self::bad_request(format!("Invalid format for parameter {name}: {why}"));
        error.shape = Shape::Text;
        error
    }

    /// A status alone.
    pub(crate) fn bare(status: StatusCode) -> Self {
        let mut error = Self::new(status, "");
        error.shape = Shape::Bare;
        error
    }

    /// A body that broke off: 408 if the client said nothing for too long.
    pub(crate) fn broken_body(error: &(dyn std::error::Error + 'static), said: String) -> Self {
        match Silence::is_in(error) {
            Some(silence) => Self::new(StatusCode::REQUEST_TIMEOUT, silence.to_string()),
            None => Self::bad_request(said),
        }
    }

    /// A fault of ours. The client learns that there was one, the log learns which.
    pub(crate) fn internal(what: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(what, error = %chain(error), "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error: the server's log says more")
    }

    /// The key-value engine does not answer for now. The client learns that much, the log learns more.
    fn unavailable(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %chain(error), "the key-value engine does not answer");
        let message = "the metadata engine is out of reach or overloaded: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The same error as a merge answers it: an empty result that also has the message, so that clients of either form
    /// can read it.
    pub(crate) fn into_merge_form(mut self, result: MergeResult) -> Self {
        self.shape = Shape::Merge(Box::new(MergeResult { message: Some(self.message.clone()), ..result }));
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn into_response(self) -> Response<AnswerBody> {
        let mut response = match self.shape {
            Shape::Json => reply::json(self.status, &lakebed_api::Error { message: self.message }),
            Shape::Text => Ok(reply::text(self.status, format!("{}\n", self.message))),
            Shape::Bare => Ok(reply::empty(self.status)),
            Shape::Merge(result) => reply::json(self.status, &*result),
        }
        .unwrap_or_else(|_| reply::empty(StatusCode::INTERNAL_SERVER_ERROR));
        response.headers_mut().extend(self.headers);
        response
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The status of each kind of refusal.
pub(crate) fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid
        | ErrorKind::NamespaceRefused
        | ErrorKind::NoChanges
        | ErrorKind::Dirty
        | ErrorKind::InvalidPart
        | ErrorKind::InvalidPartOrder
        | ErrorKind::PartTooSmall
        | ErrorKind::Body => StatusCode::BAD_REQUEST,
        ErrorKind::RepositoryNotFound
        | ErrorKind::BranchNotFound
        | ErrorKind::NotABranch
        | ErrorKind::TagNotFound
        | ErrorKind::RefNotFound
        | ErrorKind::AmbiguousRef
        | ErrorKind::ObjectNotFound
        | ErrorKind::UploadNotFound
        | ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::ObjectGone => StatusCode::GONE,
        ErrorKind::AlreadyExists | ErrorKind::MergeConflict | ErrorKind::Conflict | ErrorKind::Cancelled => {
            StatusCode::CONFLICT
        }
        ErrorKind::Protected | ErrorKind::ReadOnly | ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Busy => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Expired => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::OutcomeUnknown | ErrorKind::StoreUnavailable | ErrorKind::EngineUnavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::StoreFailed | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<CatalogError> for RestError {
    fn from(error: CatalogError) -> Self {
        match error.kind() {
            ErrorKind::Internal => Self::internal("catalog", &error),
            ErrorKind::EngineUnavailable => Self::unavailable(&error),
            kind @ (ErrorKind::StoreUnavailable | ErrorKind::StoreFailed) => {
                tracing::error!(%error, "the object store failed");
                Self::new(status_of(kind), error.to_string())
            }
            kind @ (ErrorKind::Busy | ErrorKind::OutcomeUnknown) => {
                Self::new(status_of(kind), error.to_string())
                    .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            ErrorKind::Body => Self::broken_body(&error, error.to_string()),
            kind => Self::new(status_of(kind), error.to_string()),
        }
    }
}

impl From<crate::sample::SampleError> for RestError {
    fn from(error: crate::sample::SampleError) -> Self {
        match error {
            crate::sample::SampleError::Catalog(error) => error.into(),
            error @ crate::sample::SampleError::Path(_) => Self::internal("sample data", &error),
        }
    }
}

impl From<AuthError> for RestError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated => Self::unauthenticated(),
            // Denied is 401 too: clients tell a missing permission (401) from a state that forbids (403) by this.
            AuthError::Denied { .. } => Self::new(StatusCode::UNAUTHORIZED, error.to_string()),
            AuthError::AlreadyInitialized => Self::new(StatusCode::CONFLICT, error.to_string()),
            AuthError::Invalid(_) => Self::bad_request(error.to_string()),
            error if error.is_passing() => Self::unavailable(&error),
            error => Self::internal("auth", &error),
        }
    }
}

macro_rules! bad_request_from {
    ($($error:ty),*) => { $(
        impl From<$error> for RestError {
            fn from(error: $error) -> Self { Self::bad_request(error.to_string()) }
        }
    )* };
}
bad_request_from!(NameError, PathError, RefExprError);
