//! The audit log: one record for each request of a door (`operations.md` §3.3).
//!
//! Records are events of the target `audit`; at which level they are shown is the binary's affair
//! (`logging.audit_log_level`). Query strings are not in them: presigned requests carry signatures there.

use std::net::SocketAddr;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use lakebed_http::{AnswerBody, Served};

use crate::metrics::Door;

/// What of a request goes into its record.
pub(crate) struct Audit {
    door: Door,
    pub(crate) method: Method,
    /// Only if records are wanted at all.
    request: Option<Asked>,
}

/// How a request ended.
pub(crate) struct Ended<'a> {
    pub(crate) status: StatusCode,
    /// Empty if there was no answer.
    pub(crate) request_id: &'a str,
    /// Of the answer's body.
    pub(crate) sent_bytes: u64,
    pub(crate) took: Duration,
}

struct Asked {
    path: String,
    host: String,
    client: String,
    source_ip: String,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const S3_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// What the records call a door.
pub(crate) fn service(door: Door) -> &'static str {
    match door {
        Door::S3 => "s3_gateway",
        Door::Rest => "rest_api",
    }
}

/// The id that the answer gives to its request.
pub(crate) fn request_id(door: Door, response: &Response<AnswerBody>) -> Option<&HeaderValue> {
    response.headers().get(match door {
        Door::S3 => S3_REQUEST_ID,
        Door::Rest => REQUEST_ID,
    })
}

fn text(parts: &Parts, name: &HeaderName) -> String {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

impl Audit {
    pub(crate) fn of(door: Door, parts: &Parts) -> Self {
        let wanted = tracing::enabled!(target: "audit", tracing::Level::INFO);
        let request = wanted.then(|| Asked {
            path: parts.uri.path().to_owned(),
            host: text(parts, &header::HOST),
            client: text(parts, &header::USER_AGENT),
            source_ip: parts.extensions.get::<SocketAddr>().map(ToString::to_string).unwrap_or_default(),
        });
        Self { door, method: parts.method.clone(), request }
    }

    /// Whether a record will be written.
    pub(crate) fn is_wanted(&self) -> bool {
        self.request.is_some()
    }

    /// Writes the record of a request that has ended.
    pub(crate) fn record(&self, served: &Served, ended: &Ended<'_>) {
        let Some(asked) = &self.request else { return };
        tracing::info!(
            target: "audit",
            log_audit = true,
            service_name = service(self.door),
            operation_id = served.operation.unwrap_or_default(),
            method = self.method.as_str(),
            path = asked.path,
            host = asked.host,
            client = asked.client,
            source_ip = asked.source_ip,
            user = served.user.as_deref().unwrap_or_default(),
            repository = served.repository.as_deref().unwrap_or_default(),
            r#ref = served.reference.as_deref().unwrap_or_default(),
            request_id = ended.request_id,
            status_code = ended.status.as_u16(),
            sent_bytes = ended.sent_bytes,
            took = u64::try_from(ended.took.as_nanos()).unwrap_or(u64::MAX),
            took_str = ?ended.took,
            "HTTP call ended"
        );
    }
}
