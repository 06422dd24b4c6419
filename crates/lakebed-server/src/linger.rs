//! Bodies of requests that are answered before they were read.
//!
//! A refusal is sent at once, while the client may still be sending. If its connection were closed now, most clients
//! would see a broken pipe instead of the answer, and none could send its next request. So what is left of the body is
//! read and dropped - a moderate amount, for a short time: beyond that a new connection costs less.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyStream;

/// How much of a body nobody wants is read at most.
const MOST_BYTES: usize = 16 << 20;

/// For how long.
const LONGEST: Duration = Duration::from_secs(10);

/// A body that is read on when it is dropped before its end.
pub(crate) struct Lingering<B: Body<Data = Bytes> + Send + Unpin + 'static>
where
    B::Error: Send,
{
    body: Option<B>,
    waits: WaitsToBeAsked,
}

/// Whether the client still waits to be asked for its body (`Expect: 100-continue`): reading it is asking.
#[derive(Clone)]
pub(crate) struct WaitsToBeAsked(Arc<AtomicBool>);

impl WaitsToBeAsked {
    /// Once the answer is known: whether the client gets it in place of being asked. That is always so of an empty
    /// body, which nobody asks for. botocore then takes the status line of this answer for the next one's on the same
    /// connection, so an answer of this kind has to be the connection's last.
    pub(crate) fn still(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn asked(&self) {
        // Written once: the frames of a large body shall not share a cache line for writing.
        if self.still() {
            self.0.store(false, Ordering::Relaxed);
        }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Lingering<B>
where
    B::Error: Send,
{
    /// The body of a request with these headers.
    pub(crate) fn new(body: B, headers: &http::HeaderMap) -> Self {
        let waits = headers.contains_key(http::header::EXPECT);
        Self { body: Some(body), waits: WaitsToBeAsked(Arc::new(AtomicBool::new(waits))) }
    }

    /// For who answers the request.
    pub(crate) fn waits(&self) -> WaitsToBeAsked {
        self.waits.clone()
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Lingering<B>
where
    B::Error: Send,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body: Some(body), waits } = &mut *self else { return Poll::Ready(None) };
        if !body.is_end_stream() {
            waits.asked();
        }
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Lingering<B>
where
    B::Error: Send,
{
    fn drop(&mut self) {
        if self.is_end_stream() || self.waits.still() {
            return;
        }
        if let (Some(body), Ok(runtime)) = (self.body.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LONGEST, read_on(body)));
        }
    }
}

/// Reads a body until its end, or until it was too much.
async fn read_on<B: Body<Data = Bytes> + Unpin>(body: B) {
    let mut frames = BodyStream::new(body);
    let mut left = MOST_BYTES;
    while let Some(Ok(frame)) = frames.next().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    use super::*;

    type Source = StreamBody<Pin<Box<dyn futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

    /// A body of what is sent into a channel of one.
    fn body(expect: bool) -> (mpsc::Sender<Bytes>, Lingering<Source>) {
        let (sender, mut receiver) = mpsc::channel(1);
        let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let mut headers = http::HeaderMap::new();
        if expect {
            headers.insert(http::header::EXPECT, http::HeaderValue::from_static("100-continue"));
        }
        let frames: Pin<Box<dyn futures::Stream<Item = _> + Send>> =
            Box::pin(stream.map(|bytes| Ok(Frame::data(bytes))));
        (sender, Lingering::new(StreamBody::new(frames), &headers))
    }

    #[tokio::test]
    async fn a_short_rest_is_read_to_its_end() {
        let (sender, body) = body(false);
        drop(body);
        for _ in 0..10 {
            sender.send(Bytes::from_static(b"rest")).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_long_rest_is_not() {
        let (sender, body) = body(false);
        drop(body);
        let piece = Bytes::from(vec![0; 64 << 10]);
        let mut taken = 0;
        while sender.send(piece.clone()).await.is_ok() {
            taken += 1;
        }
        let most = MOST_BYTES / piece.len();
        assert!((most..=most + 2).contains(&taken), "{taken}");
    }

    #[tokio::test]
    async fn a_body_that_waits_to_be_asked_is_left_alone() {
        let (sender, body) = body(true);
        drop(body);
        assert!(sender.is_closed());
    }

    #[tokio::test]
    async fn nobody_asks_for_an_empty_body() {
        let headers = http::HeaderMap::from_iter([(
            http::header::EXPECT,
            http::HeaderValue::from_static("100-continue"),
        )]);
        let mut body = Lingering::new(http_body_util::Empty::new(), &headers);
        assert!(std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_none());
        assert!(body.waits().still());
    }

    #[tokio::test]
    async fn one_that_was_asked_for_is_read_on() {
        let (sender, mut body) = body(true);
        let waits = body.waits();
        assert!(waits.still());
        sender.send(Bytes::from_static(b"first")).await.unwrap();
        let first = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert_eq!(first.unwrap().unwrap().into_data().unwrap(), "first");
        assert!(!waits.still());
        drop(body);
        for _ in 0..3 {
            sender.send(Bytes::from_static(b"rest")).await.unwrap();
        }
    }
}
