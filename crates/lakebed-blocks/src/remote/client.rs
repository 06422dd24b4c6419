//! Calls of an HTTP service: with time limits, and repeated with jitter where they can be.
//!
//! A limit holds for connecting, and for every step without progress: until the first byte of an answer, and between the
//! pieces of a body in either direction. While the other end of a body - the client of this server - is what keeps it
//! waiting, no time of the service runs.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lakebed_core::Entropy;

use super::announced::Announced;
use lakebed_core::chain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of connections nothing is asked over.
const IDLE: Duration = Duration::from_secs(50);
/// Before the first repetition at most; doubles with each.
const PAUSE: Duration = Duration::from_millis(200);
/// Between attempts at most, whatever the service asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The most that is read of a refusal.
const REFUSAL: usize = 64 << 10;

/// Limits of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The longest wait without progress.
    pub timeout: Duration,
    /// Attempts of a call that can be repeated, the first included.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), attempts: 4 }
    }
}

/// What is asked.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Sent,
}

/// What is sent with it.
pub(crate) enum Sent {
    /// Bytes from memory: the call can be repeated.
    Bytes(Bytes),
    /// A body that passes: it cannot.
    Once(Announced),
}

impl Call {
    pub(crate) fn new(method: Method, uri: String) -> Self {
        Self { method, uri, headers: HeaderMap::new(), body: Sent::Bytes(Bytes::new()) }
    }

    pub(crate) fn with_body(mut self, body: Sent) -> Self {
        self.body = body;
        self
    }

    /// Adds a header; values no header can have are left to the service to miss.
    pub(crate) fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Bytes that will be sent.
    pub(crate) fn length(&self) -> u64 {
        match &self.body {
            Sent::Bytes(bytes) => bytes.len() as u64,
            Sent::Once(body) => body.size_hint().exact().unwrap_or(0),
        }
    }
}

/// No answer came, or it broke off.
#[derive(Debug)]
pub(crate) struct NoAnswer(pub(crate) String);

/// What is answered, its body still to be read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Attempts it took. After more than one, what is refused may be what an earlier one did.
    pub(crate) attempts: u32,
    body: Incoming,
    timeout: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next bytes of its body.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, NoAnswer>> {
        loop {
            let frame = match tokio::time::timeout(self.timeout, self.body.frame()).await {
                Ok(None) => return None,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Some(Err(NoAnswer(chain(&error)))),
                Err(_) => return Some(Err(stalled(self.timeout))),
            };
            if let Ok(data) = frame.into_data() {
                return Some(Ok(data));
            }
        }
    }

    /// All of its body, which must not be longer than `limit`.
    pub(crate) async fn bytes(mut self, limit: usize) -> Result<Bytes, NoAnswer> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await {
            let chunk = chunk?;
            if all.len() + chunk.len() > limit {
                return Err(NoAnswer(format!("the answer is longer than {limit} bytes")));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// What a refusal says, as far as it can be read.
    pub(crate) async fn refusal(mut self) -> Bytes {
        let mut all = BytesMut::new();
        while all.len() < REFUSAL
            && let Some(Ok(chunk)) = self.next().await
        {
            all.extend_from_slice(&chunk);
        }
        all.freeze()
    }
}

fn stalled(timeout: Duration) -> NoAnswer {
    NoAnswer(format!("nothing came for {} s", timeout.as_secs_f64()))
}

/// What a body's sender and the one who waits for the answer know of each other.
#[derive(Default)]
struct Progress {
    /// Pieces handed over.
    pieces: AtomicU64,
    /// The next piece is not there yet: our own client keeps us waiting.
    starved: AtomicBool,
}

/// A request's body under observation.
struct Watched {
    body: Either,
    progress: Arc<Progress>,
}

enum Either {
    Bytes(Full<Bytes>),
    Once(Announced),
}

impl Body for Watched {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let polled = match &mut self.body {
            Either::Bytes(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Either::Once(body) => Pin::new(body).poll_frame(context),
        };
        self.progress.starved.store(polled.is_pending(), Ordering::Relaxed);
        self.progress.pieces.fetch_add(1, Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Either::Bytes(body) => body.is_end_stream(),
            Either::Once(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Either::Bytes(body) => body.size_hint(),
            Either::Once(body) => body.size_hint(),
        }
    }
}

/// A client with its connections.
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Watched>,
    patience: Patience,
    entropy: Arc<dyn Entropy>,
}

impl Http {
    pub(crate) fn new(patience: Patience, entropy: Arc<dyn Entropy>) -> std::io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let attempts = patience.attempts.max(1);
        Ok(Self { client, patience: Patience { attempts, ..patience }, entropy })
    }

    /// Asks, and asks again while the service is overloaded or out of reach and what is sent allows it.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, NoAnswer> {
        let Call { method, uri, headers, body } = call;
        let bytes = match body {
            Sent::Bytes(bytes) => bytes,
            Sent::Once(body) => return self.once(&method, &uri, &headers, Either::Once(body)).await,
        };
        let mut attempt = 1;
        loop {
            let body = Either::Bytes(Full::new(bytes.clone()));
            let outcome = self.once(&method, &uri, &headers, body).await;
            let asked = match &outcome {
                _ if attempt >= self.patience.attempts => None,
                Ok(answer) if is_passing(answer.status) => Some(
                    answer.header(RETRY_AFTER.as_str()).and_then(|secs| secs.parse().ok()).unwrap_or(0_u64),
                ),
                Ok(_) => None,
                Err(NoAnswer(why)) => {
                    tracing::debug!(why, attempt, "no answer of the object store");
                    Some(0)
                }
            };
            let Some(asked) = asked else {
                return outcome.map(|answer| Answer { attempts: attempt, ..answer });
            };
            let most = PAUSE.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
            let share = (self.entropy.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            tokio::time::sleep(most.mul_f64(share).max(Duration::from_secs(asked).min(LONGEST_PAUSE))).await;
            attempt += 1;
        }
    }

    async fn once(
        &self,
        method: &Method,
        uri: &str,
        headers: &HeaderMap,
        body: Either,
    ) -> Result<Answer, NoAnswer> {
        let empty = matches!(&body, Either::Bytes(body) if body.is_end_stream());
        let progress: Arc<Progress> = Arc::default();
        let body = Watched { body, progress: progress.clone() };
        let mut request = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(body)
            .map_err(|error| NoAnswer(format!("the address cannot be asked: {error}")))?;
        *request.headers_mut() = headers.clone();
        if empty && (method == Method::PUT || method == Method::POST) {
            // Services want to be told that nothing comes.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut asking = self.client.request(request);
        let timeout = self.patience.timeout;
        let mut seen = 0;
        let response = loop {
            if let Ok(answered) = tokio::time::timeout(timeout, &mut asking).await {
                break answered.map_err(|error| NoAnswer(chain(&error)))?;
            }
            let pieces = progress.pieces.load(Ordering::Relaxed);
            if pieces == seen && !progress.starved.load(Ordering::Relaxed) {
                return Err(stalled(timeout));
            }
            seen = pieces;
        };
        let (parts, body) = response.into_parts();
        Ok(Answer { status: parts.status, headers: parts.headers, attempts: 1, body, timeout })
    }
}

/// Whether asking again may help.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
