//! The way to the collector.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use lakebed_core::chain;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;

use crate::TracesError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the last attempt failed. The library says only that one did.
pub(crate) type Troubles = Arc<Mutex<Option<String>>>;

/// Posts batches, with our headers.
pub(crate) struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>>,
    headers: HeaderMap,
    troubles: Troubles,
}

impl Client {
    pub(crate) fn new(headers: HeaderMap, timeout: Duration) -> Result<Self, TracesError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.min(timeout)));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(TracesError::Certificates)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { http: HyperClient::new(connector, timeout, None), headers, troubles: Troubles::default() })
    }

    pub(crate) fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }
}

/// Headers are secrets.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().extend(self.headers.clone());
        let answered = self.http.send_bytes(request).await;
        let trouble = match &answered {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => {
                let error: &(dyn Error + 'static) = &**error;
                Some(chain(error))
            }
        };
        *self.troubles.lock() = trouble;
        answered
    }
}
