//! The listening socket, its connections and their end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Router;
use crate::linger::Lingering;

/// What a connection holds at most of what it has read or is to write, in bytes: a client that stops in the middle keeps
/// it. It also bounds a request's head.
const MOST_HELD: usize = 48 << 10;

/// What the kernel holds of a connection beyond what is on its way, in bytes. It would take megabytes from each of thousands
/// of clients that do not read, and short of memory for sockets, it slows down all others.
const MOST_UNSENT: u32 = 128 << 10;

/// Where and within which limits the server listens.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// `host:port`.
    pub listen_address: String,
    /// Connections at once; more wait in the kernel's queue.
    pub most_connections: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long requests in flight may go on after the server was told to stop.
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen_address: "0.0.0.0:8000".to_owned(),
            most_connections: 10_000,
            header_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is malformed, taken or not ours.
    #[error("cannot listen on '{address}': {source}")]
    Listen {
        /// The address asked for.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A bound server.
pub struct Server {
    listener: TcpListener,
    config: ServerConfig,
    router: Router,
}

impl Server {
    /// Takes the port.
    pub async fn bind(config: ServerConfig, router: Router) -> Result<Self, ServerError> {
        let address = config.listen_address.clone();
        let listener =
            TcpListener::bind(&address).await.map_err(|source| ServerError::Listen { address, source })?;
        Ok(Self { listener, config, router })
    }

    /// The address it listens on, the port the system chose included.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until `stop` resolves, then takes no more connections and waits for the requests in flight.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let connections = Arc::new(Semaphore::new(self.config.most_connections));
        let graceful = GracefulShutdown::new();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // Not `pipeline_flush`: with it, a body is copied into memory as fast as it can be read, however slow the client;
        // and the 400 to a request that cannot be read would be held back for ever, since what follows is never read.
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout)
            .max_buf_size(MOST_HELD);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
        tokio::pin!(stop);
        loop {
            let permit = tokio::select! {
                permit = connections.clone().acquire_owned() => permit,
                () = &mut stop => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut stop => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the client was gone already: a pause keeps this from spinning.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let _ = SockRef::from(&stream).set_tcp_notsent_lowat(MOST_UNSENT);
            let router = self.router.clone();
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let router = router.clone();
                let (parts, body) = request.into_parts();
                let body = Lingering::new(body, &parts.headers);
                let (waits, version) = (body.waits(), parts.version);
                let mut request = hyper::Request::from_parts(parts, body);
                request.extensions_mut().insert(peer);
                async move {
                    let mut response = router.answer(request).await;
                    if waits.still() && version <= Version::HTTP_11 {
                        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let connection = graceful.watch(connection);
            let counted = self.router.metrics().connection();
            tokio::spawn(async move {
                let _counted = counted;
                // A connection that breaks is the client's affair.
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection");
                }
                drop(permit);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(self.config.drain_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests still in flight were broken off");
        }
    }
}
