//! Which door a request goes through: S3 by host or signature, REST under `/api/v1`, the rest is the server's own.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use lakebed_auth::Auth;
use lakebed_catalog::Catalog;
use lakebed_rest::{Rest, SecureConnection};
use lakebed_s3::S3;
use lakebed_traces::Traces;
use tracing::Instrument;

use crate::debug;
use crate::health::{self, Health};
use crate::metrics::{Door, Metrics};
use crate::page;
use crate::record::Record;
use lakebed_http::{AnswerBody, BoxError, Heard};

/// What requests are handed to.
pub struct Doors {
    /// The S3 API.
    pub s3: S3,
    /// The REST API.
    pub rest: Rest,
    /// For the installation id that `/_health` shows.
    pub auth: Auth,
    /// For what `/_health/ready` asks of the engines.
    pub catalog: Catalog,
    /// Which requests are traced.
    pub traces: Traces,
    /// Whether there is `/_debug/`.
    pub debug: bool,
}

/// Hands each request to its door.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    doors: Doors,
    metrics: Metrics,
    health: Health,
    /// How long a client may send nothing of a body that is waited for.
    receive_timeout: Duration,
    /// The installation's id, once known: it never changes.
    installation: OnceLock<String>,
}

/// How long `/_health` may wait for the installation's id.
const INSTALLATION_DEADLINE: Duration = Duration::from_secs(1);

impl Router {
    /// A router to these doors, which counts what goes through them. A client may send nothing of a body that is waited for
    /// for `receive_timeout`.
    pub fn new(doors: Doors, metrics: Metrics, receive_timeout: Duration) -> Self {
        let health = Health::new(doors.catalog.clone());
        Self(Arc::new(Inner { doors, metrics, health, receive_timeout, installation: OnceLock::new() }))
    }

    pub(crate) fn health(&self) -> &Health {
        &self.0.health
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let inner = &self.0;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let door = if inner.doors.s3.wants(&parts) {
            Door::S3
        } else if path == "/api/v1" || path.starts_with("/api/v1/") {
            Door::Rest
        } else {
            return self.own(&parts).await;
        };
        let mut record =
            Record::begin(inner.metrics.begin(door), &inner.health, &inner.doors.traces, door, &parts);
        let span = record.span().clone();
        let body = Heard::new(record.arriving(body), inner.receive_timeout);
        let request = Request::from_parts(parts, body);
        let response = match door {
            Door::S3 => {
                let answer = pin!(inner.doors.s3.handle(request));
                record.served().observe(pin!(answer.instrument(span))).await
            }
            Door::Rest => {
                let answer = pin!(inner.doors.rest.handle(request));
                record.served().observe(pin!(answer.instrument(span))).await
            }
        };
        record.sends(response)
    }

    /// That the process runs, with the installation's id as soon as it could be read once. It says nothing of the engines:
    /// whoever restarts a server that answers this would not mend a database.
    async fn alive(&self) -> String {
        if let Some(id) = self.0.installation.get() {
            return format!("alive! {id}");
        }
        match tokio::time::timeout(INSTALLATION_DEADLINE, self.0.doors.auth.installation_id()).await {
            Ok(Ok(id)) => format!("alive! {}", self.0.installation.get_or_init(|| id)),
            _ => "alive!".to_owned(),
        }
    }

    /// What belongs to no door.
    async fn own(&self, parts: &http::request::Parts) -> Response<AnswerBody> {
        match parts.uri.path() {
            path if health::is_liveness(path) => {
                text(StatusCode::OK, "text/plain; charset=utf-8", self.alive().await)
            }
            "/_health/ready" => self.0.health.ready().await,
            "/metrics" => match self.0.metrics.render() {
                Ok(metrics) => text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics),
                Err(error) => {
                    tracing::error!(%error, "metrics");
                    text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "the metrics cannot be shown")
                }
            },
            "/" if matches!(parts.method, Method::GET | Method::HEAD) => {
                let host = parts
                    .headers
                    .get(header::HOST)
                    .and_then(|host| host.to_str().ok())
                    .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
                    .filter(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b)))
                    .unwrap_or("127.0.0.1:8000");
                let secure = parts.extensions.get::<SecureConnection>().is_some();
                let scheme = if secure { "https" } else { "http" };
                let page = page::PAGE.replace("HOST", &format!("{scheme}://{host}"));
                html(page, page::POLICY)
            }
            "/openapi.json" if matches!(parts.method, Method::GET | Method::HEAD) => {
                self.0.doors.rest.describe(parts.headers.get(header::IF_NONE_MATCH))
            }
            "/api/docs" | "/api/docs/" if matches!(parts.method, Method::GET | Method::HEAD) => {
                html(page::DOCS, page::DOCS_POLICY.clone())
            }
            path if self.0.doors.debug && path.starts_with("/_debug/") => {
                let Doors { rest, catalog, .. } = &self.0.doors;
                debug::answer(rest, catalog, &self.0.metrics, parts).await
            }
            "/logout" => logout(&parts.method),
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "there is nothing here; the page at / says where things are",
            ),
        }
    }
}

fn html(page: impl Into<Bytes>, policy: HeaderValue) -> Response<AnswerBody> {
    let mut response = text(StatusCode::OK, "text/html; charset=utf-8", page);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Where a browser goes after it signed out.
const AFTER_LOGOUT: &str = "/auth/login";

/// Takes the session cookie away. Any method, as browsers and old links use it.
fn logout(method: &Method) -> Response<AnswerBody> {
    let mut response = if *method == Method::GET {
        let page = format!("<a href=\"{AFTER_LOGOUT}\">Temporary Redirect</a>.\n\n");
        text(StatusCode::TEMPORARY_REDIRECT, "text/html; charset=utf-8", page)
    } else {
        let mut response = Response::new(AnswerBody::empty());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static(AFTER_LOGOUT));
    let gone = "internal_auth_session=gone; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; SameSite=Lax";
    headers.insert(header::SET_COOKIE, HeaderValue::from_static(gone));
    response
}

pub(crate) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
