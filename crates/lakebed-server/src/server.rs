//! The listening socket, its connections and their end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use lakebed_rest::SecureConnection;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::linger::Lingering;
use crate::progress::{Progress, Watched};
use crate::taking::Taking;
use crate::{Router, Stop, Tls};

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
    /// HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// Connections at once; more wait in the kernel's queue.
    pub most_connections: usize,
    /// How long a client may take to send a request's head, and for the handshake of TLS before it.
    pub header_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub send_timeout: Duration,
    /// How long the server goes on as ever after it was told to stop, but for saying that it is not ready: until then
    /// whoever sends it requests should have noticed. It does not wait for one that never asked.
    pub grace: Duration,
    /// How long requests in flight may go on after that.
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen_address: "0.0.0.0:8000".to_owned(),
            tls: None,
            most_connections: 10_000,
            header_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_mins(1),
            grace: Duration::from_secs(5),
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

    /// Serves until told to stop. Then the readiness fails; connections are still taken for the time of grace, if somebody
    /// watches readiness, and close after their next answer; then no more are taken, those that wait for a request are
    /// closed, and the requests in flight have the drain's time to finish. A second word ends all that at once.
    ///
    /// No connection is left when this returns.
    pub async fn run(self, stop: &Stop) {
        let serving = Serving {
            router: self.router,
            tls: self.config.tls.clone(),
            header_timeout: self.config.header_timeout,
            send_timeout: self.config.send_timeout,
            connections: http_builder(self.config.header_timeout),
            graceful: GracefulShutdown::new(),
            broken_off: CancellationToken::new(),
            running: TaskTracker::new(),
        };
        let room = Arc::new(Semaphore::new(self.config.most_connections));
        let health = serving.router.health().clone();
        let closing = async {
            stop.asked().await;
            health.drain();
            if health.is_watched() {
                tracing::info!(grace = ?self.config.grace, "not ready any more, stopping soon");
                tokio::select! {
                    () = tokio::time::sleep(self.config.grace) => {}
                    () = stop.urged() => {}
                }
            }
        };
        tokio::pin!(closing);
        loop {
            let permit = tokio::select! {
                permit = room.clone().acquire_owned() => permit,
                () = &mut closing => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut closing => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let serve = serving.connection(stream, peer);
                    serving.running.spawn(async move {
                        serve.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, or the client was gone already: a pause keeps this from spinning.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        drop(self.listener);
        let Serving { graceful, broken_off, running, .. } = serving;
        running.close();
        tracing::info!(connections = running.len(), "no more connections are taken");
        let drained = tokio::select! {
            () = async { graceful.shutdown().await; running.wait().await } => true,
            () = tokio::time::sleep(self.config.drain_timeout) => false,
            () = stop.urged() => false,
        };
        if !drained && !running.is_empty() {
            tracing::warn!(connections = running.len(), "requests still in flight are broken off");
        }
        health.break_off();
        broken_off.cancel();
        running.wait().await;
    }
}

/// What every connection is served with.
struct Serving {
    router: Router,
    tls: Option<Tls>,
    header_timeout: Duration,
    send_timeout: Duration,
    connections: auto::Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    /// Ends whatever has not ended.
    broken_off: CancellationToken,
    running: TaskTracker,
}

impl Serving {
    /// Serves a connection to its end.
    fn connection(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(MOST_UNSENT);
        let counted = self.router.metrics().connection();
        let (router, tls) = (self.router.clone(), self.tls.clone());
        let (handshake, send) = (self.header_timeout, self.send_timeout);
        let (builder, watcher) = (self.connections.clone(), self.graceful.watcher());
        let broken_off = self.broken_off.clone();
        let progress = Progress::new();
        let answers = progress.clone();
        let served = async move {
            let _counted = counted;
            let secure = tls.is_some();
            let service =
                service_fn(move |request| answer(router.clone(), request, peer, secure, answers.clone()));
            // A connection that breaks is the client's affair.
            let ended = if let Some(tls) = tls {
                let Some(stream) = tls.accept(stream, handshake, send).await else { return };
                watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned()).await
            } else {
                let stream = Taking::of(stream, send);
                watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned()).await
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection");
            }
        };
        async move {
            tokio::select! {
                () = served => {}
                () = broken_off.cancelled() => {}
                () = progress.ended(send) => tracing::debug!("connection: the client takes nothing of its answers"),
            }
        }
    }
}

fn http_builder(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Not `pipeline_flush`: with it, a body is copied into memory as fast as it can be read, however slow the client;
    // and the 400 to a request that cannot be read would be held back for ever, since what follows is never read.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(MOST_HELD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
    builder
}

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Answers one request of a connection.
async fn answer(
    router: Router,
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    secure: bool,
    progress: Progress,
) -> Result<hyper::Response<Watched>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let body = Lingering::new(body, &parts.headers);
    let (waits, version) = (body.waits(), parts.version);
    parts.extensions.insert(peer);
    if secure {
        parts.extensions.insert(SecureConnection);
        // The addresses in answers begin as the client's own do.
        parts.headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("https"));
    }
    let mut response = router.answer(hyper::Request::from_parts(parts, body)).await;
    // HTTP/2 has a frame for this, which ending the connection gracefully sends.
    if version <= Version::HTTP_11 && (waits.still() || router.health().is_draining()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // Of earlier versions, a connection has one answer at a time, and writes or does not.
    let progress = (version == Version::HTTP_2).then_some(progress);
    Ok(response.map(|body| Watched::new(body, progress)))
}
