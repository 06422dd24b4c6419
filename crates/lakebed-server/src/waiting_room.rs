//! What a server answers that stands by until it is the active one: that it is alive, and that others should be asked.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lakebed_http::AnswerBody;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::health::is_liveness;
use crate::router::text;
use crate::{ServerConfig, ServerError};

/// The port of a server that stands by. It is free again when this is dropped, and what it still answers is broken off.
pub struct WaitingRoom {
    answering: JoinSet<()>,
}

/// Connections at once; who waits needs few.
const CONNECTIONS: usize = 256;

impl WaitingRoom {
    /// Takes the port. `/_health` and `/_health/live` are answered with 200, everything else with 503; both say `why()`.
    pub async fn open(
        config: &ServerConfig,
        why: impl Fn() -> String + Send + Sync + 'static,
    ) -> Result<Self, ServerError> {
        let address = config.listen_address.clone();
        let listener =
            TcpListener::bind(&address).await.map_err(|source| ServerError::Listen { address, source })?;
        let (why, timeout) = (Arc::new(why), config.header_timeout);
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            let connections = Arc::new(Semaphore::new(CONNECTIONS));
            // Dropped with this task, and with it the connections.
            let mut open = JoinSet::new();
            loop {
                while open.try_join_next().is_some() {}
                let Ok(permit) = connections.clone().acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                };
                let why = why.clone();
                open.spawn(async move {
                    let service = service_fn(|request: Request<Incoming>| {
                        let answer = answer(request.uri().path(), &why());
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let served = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(timeout)
                        .keep_alive(false)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "connection");
                    }
                    drop(permit);
                });
            }
        });
        Ok(Self { answering })
    }

    /// Gives the port back.
    pub async fn close(mut self) {
        self.answering.shutdown().await;
    }
}

fn answer(path: &str, why: &str) -> Response<AnswerBody> {
    if is_liveness(path) {
        return text(StatusCode::OK, "text/plain; charset=utf-8", format!("alive! {why}"));
    }
    // The REST API's form; an S3 client goes by the status.
    let body = serde_json::json!({ "message": why }).to_string();
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "application/json", body);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_alive_and_sends_others_away() {
        for path in ["/_health", "/_health/live"] {
            let alive = answer(path, "standing by: 'a' is active");
            assert_eq!(alive.status(), StatusCode::OK);
        }
        for path in ["/_health/ready", "/", "/api/v1/repositories", "/bucket/key", "/_healthy"] {
            let sent = answer(path, "standing by: 'a' is active");
            assert_eq!(sent.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(sent.headers().contains_key(header::RETRY_AFTER));
        }
    }
}
