//! The way to the collector.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use lakebed_core::chain;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};

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
    /// A client of one endpoint.
    pub(crate) fn new(endpoint: &Uri, headers: HeaderMap, timeout: Duration) -> Result<Self, TracesError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.min(timeout)));
        let provider = rustls::crypto::ring::default_provider();
        let builder = HttpsConnectorBuilder::new();
        let builder = if endpoint.scheme() == Some(&Scheme::HTTPS) {
            builder.with_provider_and_native_roots(provider).map_err(TracesError::Certificates)?
        } else {
            // A system without certificates is none the worse for a collector that needs none.
            let tls = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| TracesError::Exporter(error.to_string()))?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            builder.with_tls_config(tls)
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
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
