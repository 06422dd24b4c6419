//! Requests about buckets that are no repositories, handed on to another S3 server (`gateways.s3.fallback_url`).
//!
//! Off by default. Who sends one was authenticated here, and must be allowed here what it does, with the other server's
//! bucket in a repository's place and its whole keys in those of paths: the other server knows no users of ours. What goes
//! over is the request as it came, with its signature, so names that could mean another bucket there are not handed on: those
//! of hosts, and paths that walk up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lakebed_auth::Permission;
use lakebed_blocks::BodyError;
use lakebed_catalog::ErrorKind;
use lakebed_core::chain;
use lakebed_http::{AnswerBody, BoxError, InBody};
use percent_encoding::percent_decode_str;

use crate::call::Call;
use crate::copy_source::COPY_SOURCE;
use crate::error::{Code, S3Error};
use crate::metadata::text;
use crate::place::{Place, is_gateway_host, virtual_bucket};
use crate::reply::Reply;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for the other server without progress.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Of connections nothing is asked over.
const IDLE: Duration = Duration::from_secs(50);

/// Who has handed a request on, so that servers that name one another do not do it for ever.
const VIA: HeaderValue = HeaderValue::from_static("1.1 lakebed");

/// Headers of a connection, not of a request; and a browser's keys to this server.
const NOT_HANDED_ON: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::COOKIE,
];

/// Where requests are handed on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackUrl {
    scheme: Scheme,
    authority: Authority,
}

impl std::str::FromStr for FallbackUrl {
    type Err = ();

    /// `http://host[:port]` or `https://…`: paths are those of the requests.
    fn from_str(text: &str) -> Result<Self, ()> {
        let uri: Uri = text.parse().map_err(drop)?;
        let parts = uri.into_parts();
        let path = parts.path_and_query.as_ref().map_or("", |path| path.as_str());
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority))
                if (scheme == Scheme::HTTP || scheme == Scheme::HTTPS)
                    && matches!(path, "" | "/")
                    && !authority.as_str().contains('@') =>
            {
                Ok(Self { scheme, authority })
            }
            _ => Err(()),
        }
    }
}

/// The way to the other server.
pub(crate) struct Fallback {
    url: FallbackUrl,
    client: Client<HttpsConnector<HttpConnector>, Passing>,
}

impl Fallback {
    pub(crate) fn new(url: FallbackUrl) -> std::io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { url, client })
    }

    /// Whether a request is handed on: its bucket is no repository of ours, and could be one of the other server.
    pub(crate) async fn takes(&self, call: &Call) -> Result<bool, S3Error> {
        let Some(bucket) = call.place.bucket() else { return Ok(false) };
        let config = call.s3.config();
        let makes_bucket = matches!(call.place, Place::Bucket(_)) && call.parts.method == Method::PUT;
        if !is_bucket(bucket)
            || call.place.named_ref().is_some()
            || (makes_bucket && config.create_repository.is_some())
            || (is_gateway_host(&call.parts, config) && virtual_bucket(&call.parts, config).is_some())
            || call.headers().get_all(header::VIA).iter().any(|via| *via == VIA)
        {
            return Ok(false);
        }
        let Ok(id) = bucket.parse() else { return Ok(true) };
        match call.catalog().repository(&id).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::RepositoryNotFound => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands a request on, if its sender may do what it does.
    pub(crate) async fn hand_on(&self, mut call: Call, sub: Option<&str>) -> Reply {
        let needed = needed(&call, sub)?;
        call.authorize(&needed)?;
        let path = call.parts.uri.path_and_query().cloned();
        let uri = Uri::builder().scheme(self.url.scheme.clone()).authority(self.url.authority.clone());
        let uri = uri.path_and_query(path.map_or_else(|| "/".to_owned(), |path| path.to_string()));
        let uri = uri.build().map_err(|_| S3Error::of(Code::InvalidURI))?;
        let progress: Arc<Progress> = Arc::default();
        let body = call.body.take().unwrap_or_else(|| InBody::new(Empty::new()));
        let mut request = Request::new(Passing { body, progress: progress.clone() });
        *request.method_mut() = call.parts.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = handed_on(call.headers());
        if let (false, Some(authority)) =
            (request.headers().contains_key(header::HOST), call.parts.uri.authority())
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            // As it was signed, with HTTP/2.
            request.headers_mut().insert(header::HOST, host);
        }
        request.headers_mut().append(header::VIA, VIA);
        let answered = self.ask(request, &progress).await.map_err(|why| {
            tracing::error!(why, "the server behind gateways.s3.fallback_url gave no answer");
            S3Error::new(Code::SlowDown, "The server behind this bucket gave no answer. Try again.")
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        })?;
        Ok(passed_back(answered))
    }

    async fn ask(
        &self,
        request: Request<Passing>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, String> {
        let mut asking = self.client.request(request);
        let mut seen = 0;
        loop {
            if let Ok(answered) = tokio::time::timeout(TIMEOUT, &mut asking).await {
                return answered.map_err(|error| chain(&error));
            }
            let pieces = progress.pieces.load(Ordering::Relaxed);
            if pieces == seen && !progress.starved.load(Ordering::Relaxed) {
                return Err(format!("nothing came for {} s", TIMEOUT.as_secs()));
            }
            seen = pieces;
        }
    }
}

/// What a sender must be allowed to have a request handed on.
fn needed(call: &Call, sub: Option<&str>) -> Result<Vec<Permission>, S3Error> {
    let bucket = call.place.bucket().unwrap_or_default();
    let unserved = || S3Error::of(Code::ERRLakeFSNotSupported);
    let of_bucket = |action| Permission::repository(action, bucket);
    let Some(key) = call.place.key() else {
        return match (&call.parts.method, sub) {
            (&Method::GET | &Method::HEAD, _) => {
                Ok(vec![of_bucket("fs:ReadRepository"), of_bucket("fs:ListObjects")])
            }
            (&Method::PUT, None) => Ok(vec![of_bucket("fs:CreateRepository")]),
            (&Method::DELETE, None) => Ok(vec![of_bucket("fs:DeleteRepository")]),
            // Which keys is in its body, and the body is not ours to read.
            (&Method::POST, Some("delete")) => Ok(vec![Permission::object("fs:DeleteObject", bucket, "*")]),
            _ => Err(unserved()),
        };
    };
    let key = plain(key.as_str())?;
    let on_key = |action| Permission::object(action, bucket, key);
    match (&call.parts.method, sub) {
        (_, Some("renameObject")) => Err(unserved()),
        (&Method::GET | &Method::HEAD, _) => Ok(vec![on_key("fs:ReadObject")]),
        (&Method::DELETE, _) => Ok(vec![on_key("fs:DeleteObject")]),
        (&Method::PUT | &Method::POST, _) => {
            let mut needed = vec![on_key("fs:WriteObject")];
            if let Some(source) = call.headers().get(COPY_SOURCE) {
                needed.extend(sources(&text(source))?);
            }
            Ok(needed)
        }
        _ => Err(unserved()),
    }
}

/// The permissions to read a copy's source, however the other server takes a plus.
fn sources(header: &str) -> Result<Vec<Permission>, S3Error> {
    let refused =
        || S3Error::argument(COPY_SOURCE, header, "Copy Source must mention the source bucket and key.");
    let source = header.rsplit_once("?versionId=").map_or(header, |(source, _)| source);
    let mut needed = Vec::new();
    for source in [source.to_owned(), source.replace('+', " ")] {
        let decoded = percent_decode_str(&source).decode_utf8().map_err(|_| refused())?;
        let (bucket, key) = decoded.trim_start_matches('/').split_once('/').ok_or_else(refused)?;
        if !is_bucket(bucket) {
            return Err(refused());
        }
        needed.push(Permission::object("fs:ReadObject", bucket, plain(key)?));
    }
    needed.dedup();
    Ok(needed)
}

/// Whether a name is a bucket's, to every server.
fn is_bucket(name: &str) -> bool {
    !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// A key that cannot be taken for another bucket's: servers of files and of Java walk up, and cut parameters off.
fn plain(key: &str) -> Result<&str, S3Error> {
    let walks = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    if key.split(['/', '\\']).any(walks) {
        return Err(S3Error::new(
            Code::InvalidURI,
            "Keys with '.' or '..' between slashes are not handed on to another server.",
        ));
    }
    Ok(key)
}

fn handed_on(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in NOT_HANDED_ON {
        kept.remove(name);
    }
    kept
}

/// The other server's answer as it came.
fn passed_back(answered: Response<Incoming>) -> Response<AnswerBody> {
    let (parts, body) = answered.into_parts();
    let length = body.size_hint().exact();
    let stream = futures::stream::unfold(Some(body), |body| async {
        let mut body = body?;
        loop {
            let broken = |why: String| {
                let error = std::io::Error::other(format!("the server behind this bucket: {why}"));
                Some((Err(BodyError::Client(error.into())), None))
            };
            return match tokio::time::timeout(TIMEOUT, body.frame()).await {
                Ok(None) => None,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Some((Ok(bytes), Some(body))),
                    Err(_) => continue,
                },
                Ok(Some(Err(error))) => broken(chain(&error)),
                Err(_) => broken(format!("nothing came for {} s", TIMEOUT.as_secs())),
            };
        }
    });
    let body = match length {
        Some(0) => AnswerBody::empty(),
        Some(length) => AnswerBody::stream(stream.boxed(), length),
        None => AnswerBody::open(stream.boxed()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = handed_on(&parts.headers);
    response
}

/// What a body's sender and the one who waits for the answer know of each other.
#[derive(Default)]
struct Progress {
    /// Pieces handed over.
    pieces: AtomicU64,
    /// The next piece is not there yet: our own client keeps us waiting.
    starved: AtomicBool,
}

/// A request's body on its way through.
struct Passing {
    body: InBody,
    progress: Arc<Progress>,
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.progress.starved.store(polled.is_pending(), Ordering::Relaxed);
        self.progress.pieces.fetch_add(1, Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_server_and_no_more() {
        for good in ["http://s3proxy:8080", "https://s3.example.com/"] {
            assert!(good.parse::<FallbackUrl>().is_ok(), "{good}");
        }
        for bad in ["", "s3proxy:8080", "ftp://a", "http://a/path", "http://a/?q", "http://u:p@a", "/x"] {
            assert!(bad.parse::<FallbackUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_that_walk_up_stay_here() {
        for good in ["a", "a/b..c", "...", "a//b", "..a/b", "a;b"] {
            assert!(plain(good).is_ok(), "{good}");
        }
        for bad in ["..", "a/../b", "./a", "a/..;x/b", "a\\..\\b", "a/."] {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sources_are_read_both_ways() {
        let of = |header: &str| sources(header).ok().map(|needed| needed.len());
        assert_eq!(of("/other/a%2Bb"), Some(1));
        assert_eq!(of("other/a+b?versionId=x"), Some(2));
        for bad in ["", "other", "arn:aws:s3:::b/k", "other/a/../../b/k", "other/a/%2e%2e/b"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
