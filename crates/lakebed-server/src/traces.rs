//! The span of a request at a door (`operations.md` §3.3): what OpenTelemetry's conventions ask for, and the names by which
//! our logs and metrics know the request.

use http::HeaderName;
use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::uri::Authority;
use lakebed_core::traces::REQUEST_SPAN;
use lakebed_http::Served;
use lakebed_rest::SecureConnection;
use lakebed_traces::{Place, Traces, rename};
use tracing::Span;
use tracing::field::Empty;

use crate::audit::{self, Ended};
use crate::metrics::{Door, method_label};

/// The most that is kept of a text that a client sent, in characters.
const LONGEST: usize = 256;
/// The same of a path.
const LONGEST_PATH: usize = 1024;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

fn cut(text: &str, longest: usize) -> &str {
    text.char_indices().nth(longest).map_or(text, |(end, _)| &text[..end])
}

fn header<'a>(parts: &'a Parts, name: &HeaderName) -> &'a str {
    cut(parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default(), LONGEST)
}

/// The host that a request asked, and the port if it named one. HTTP/2 has them in the address.
fn host(parts: &Parts) -> (&str, Option<i64>) {
    let asked = match header(parts, &HOST) {
        "" => cut(parts.uri.authority().map_or("", Authority::as_str), LONGEST),
        host => host,
    };
    match asked.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
        Some((host, port)) => (host, Some(port.into())),
        None => (asked, None),
    }
}

/// A method by the name that the conventions have for it.
fn method(parts: &Parts) -> &str {
    match method_label(&parts.method) {
        "other" => "_OTHER",
        known => known,
    }
}

/// The span of a request; none unless it is traced.
pub(crate) fn begin(traces: &Traces, door: Door, parts: &Parts) -> Span {
    match traces.place(&parts.headers) {
        Some(place) => begin_at(place, traces.names_paths(), door, parts),
        None => Span::none(),
    }
}

fn begin_at(place: Place, names_paths: bool, door: Door, parts: &Parts) -> Span {
    let secure = parts.extensions.get::<SecureConnection>().is_some()
        || parts.headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
    let (address, port) = host(parts);
    let span = tracing::info_span!(
        target: REQUEST_SPAN,
        parent: None,
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method(parts),
        http.route = Empty,
        http.response.status_code = Empty,
        server.address = address,
        server.port = port,
        url.scheme = if secure { "https" } else { "http" },
        url.path = Empty,
        user_agent.original = header(parts, &USER_AGENT),
        lakebed.service = audit::service(door),
        lakebed.request_id = Empty,
        lakebed.repository = Empty,
        lakebed.ref = Empty,
        lakebed.path = Empty,
    );
    if names_paths {
        // Never the query as such: presigned requests carry signatures there.
        span.record("url.path", cut(parts.uri.path(), LONGEST_PATH));
        let query = parts.uri.query().unwrap_or_default();
        if let Some((_, path)) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "path")
            && door == Door::Rest
        {
            span.record("lakebed.path", cut(&path, LONGEST_PATH));
        }
    }
    place.take(&span);
    span
}

/// What the request turned out to be, and how it ended.
pub(crate) fn ended(span: &Span, door: Door, served: &Served, ended: &Ended<'_>) {
    if span.is_disabled() {
        return;
    }
    let operation = served.operation.unwrap_or("unknown");
    let name = match door {
        Door::S3 => format!("s3 {operation}"),
        Door::Rest => operation.to_owned(),
    };
    span.record("http.route", name.as_str());
    rename(span, name);
    let status = ended.status;
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    span.record("lakebed.request_id", ended.request_id);
    if let Some(repository) = &served.repository {
        span.record("lakebed.repository", cut(repository, LONGEST));
    }
    if let Some(reference) = &served.reference {
        span.record("lakebed.ref", cut(reference, LONGEST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_host_is_split_from_its_port() {
        for (text, wanted) in [
            ("lake.example", ("lake.example", None)),
            ("lake.example:8000", ("lake.example", Some(8000))),
            ("[::1]:8000", ("[::1]", Some(8000))),
            ("[::1]", ("[::1]", None)),
            ("lake.example:no", ("lake.example:no", None)),
            ("", ("", None)),
        ] {
            assert_eq!(host(&asked(http::Request::builder().uri("/x").header("host", text))), wanted);
        }
        let parts = asked(http::Request::builder().uri("https://lake.example:8443/x"));
        assert_eq!(host(&parts), ("lake.example", Some(8443)));
    }

    #[test]
    fn a_method_nobody_knows_is_not_repeated() {
        assert_eq!(method(&asked(http::Request::builder().method("PUT"))), "PUT");
        assert_eq!(method(&asked(http::Request::builder().method("BREW"))), "_OTHER");
    }

    #[test]
    fn texts_of_clients_are_cut_between_characters() {
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("", 3), "");
    }
}
