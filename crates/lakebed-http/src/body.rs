//! Bodies: of answers ([`AnswerBody`]) and of requests ([`InBody`]).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use futures::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use lakebed_blocks::pace::{self, Transfer};
use lakebed_blocks::{BodyError, ByteStream};

/// Whatever may go wrong while a request's body arrives.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, whatever carries it. Only ever used through `&mut`; the lock makes it shareable, so that handlers
/// may hold a reference to their request while they wait.
pub struct InBody(std::sync::Mutex<http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>>);

impl InBody {
    /// The body a connection delivers.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(std::sync::Mutex::new(body.map_err(Into::into).boxed_unsync()))
    }
}

impl Body for InBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut().0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        Pin::new(body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).size_hint()
    }
}

/// A stream is watched that is longer than this, in bytes.
const LONG: u64 = 16 << 10;

/// What of a stream's bytes the connection holds: it takes what it is given, up to a limit of its own, however slow the
/// client. So it is given no more while it holds a piece.
#[derive(Debug)]
struct Lent {
    bytes: AtomicUsize,
    waits: AtomicWaker,
    _transfer: Transfer,
}

impl Default for Lent {
    fn default() -> Self {
        Self { bytes: AtomicUsize::new(0), waits: AtomicWaker::new(), _transfer: Transfer::begin() }
    }
}

impl Lent {
    /// Whether the connection is to be given more; else the task is woken when it has sent something.
    fn takes_more(&self, context: &Context<'_>) -> bool {
        let has_room = || self.bytes.load(Ordering::Acquire) < pace::piece();
        if has_room() {
            return true;
        }
        self.waits.register(context.waker());
        // It may have been sent just before.
        has_room()
    }

    fn lend(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.bytes.fetch_add(bytes.len(), Ordering::AcqRel);
        Bytes::from_owner(OnLoan { bytes, from: self.clone() })
    }
}

/// Bytes that the connection holds.
struct OnLoan {
    bytes: Bytes,
    from: Arc<Lent>,
}

impl AsRef<[u8]> for OnLoan {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for OnLoan {
    fn drop(&mut self) {
        self.from.bytes.fetch_sub(self.bytes.len(), Ordering::AcqRel);
        self.from.waits.wake();
    }
}

/// How far an answer's body was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// To its end.
    Whole,
    /// Until what it is made of failed.
    Failed,
    /// Not to its end, and nobody will take the rest.
    Left,
}

/// Is told how far a body was taken, and how many bytes that were.
type Watcher = Box<dyn FnOnce(Taken, u64) + Send + Sync>;

/// The body of an answer: small and whole, or an object's bytes as they come from the store.
pub struct AnswerBody {
    content: Inner,
    /// Bytes that were taken.
    taken: u64,
    has_failed: bool,
    watcher: Option<Watcher>,
}

enum Inner {
    Whole(Option<Bytes>),
    Stream { stream: ByteStream, remaining: u64, lent: Option<Arc<Lent>> },
    Open(Option<ByteStream>),
}

impl AnswerBody {
    /// Nothing.
    pub fn empty() -> Self {
        Self::of(Inner::Whole(None))
    }

    /// These bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::of(Inner::Whole(if bytes.is_empty() { None } else { Some(bytes) }))
    }

    /// The bytes of a stream, `length` in all.
    pub fn stream(stream: ByteStream, length: u64) -> Self {
        let lent = (length > LONG).then(Arc::default);
        Self::of(Inner::Stream { stream, remaining: length, lent })
    }

    /// The bytes of a stream of which nobody knows yet how many there will be.
    pub fn open(stream: ByteStream) -> Self {
        Self::of(Inner::Open(Some(stream)))
    }

    fn of(content: Inner) -> Self {
        Self { content, taken: 0, has_failed: false, watcher: None }
    }

    /// Calls `watcher` when the body is dropped, in place of who was to be called before: for who wants to know when an
    /// answer ended, and how. A connection drops a body with the last of its bytes, without asking whether there are more.
    #[must_use]
    pub fn watched(mut self, watcher: impl FnOnce(Taken, u64) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Box::new(watcher));
        self
    }

    fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match &mut self.content {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Inner::Open(open) => {
                let Some(stream) = open else { return Poll::Ready(None) };
                let next = std::task::ready!(stream.poll_next_unpin(context));
                if next.is_none() {
                    *open = None;
                }
                Poll::Ready(next)
            }
            Inner::Stream { stream, remaining, lent } => {
                if lent.as_ref().is_some_and(|lent| !lent.takes_more(context)) {
                    return Poll::Pending;
                }
                stream.poll_next_unpin(context).map(|next| {
                    next.map(|chunk| {
                        chunk.inspect(|bytes| *remaining = remaining.saturating_sub(bytes.len() as u64))
                    })
                })
            }
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let Some(watcher) = self.watcher.take() else { return };
        let how = if self.has_failed {
            Taken::Failed
        } else if self.is_end_stream() {
            Taken::Whole
        } else {
            Taken::Left
        };
        watcher(how, self.taken);
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let next = std::task::ready!(this.poll_content(context));
        Poll::Ready(next.map(|chunk| match chunk {
            Ok(bytes) => {
                this.taken += bytes.len() as u64;
                Ok(Frame::data(match &this.content {
                    Inner::Stream { lent: Some(lent), .. } => lent.lend(bytes),
                    _ => bytes,
                }))
            }
            Err(error) => {
                this.has_failed = true;
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Inner::Whole(bytes) => bytes.is_none(),
            Inner::Stream { remaining, .. } => *remaining == 0,
            Inner::Open(stream) => stream.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.content {
            Inner::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Inner::Stream { remaining, .. } => *remaining,
            Inner::Open(_) => return SizeHint::default(),
        })
    }
}

/// A request's body as the catalog takes it. Trailers are dropped.
pub fn byte_stream(body: InBody) -> ByteStream {
    body.into_data_stream().map(|chunk| chunk.map_err(BodyError::Client)).boxed()
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    #[test]
    fn a_connection_is_given_no_more_than_a_piece_before_it_is_sent() {
        let chunk = || Ok(Bytes::from(vec![7; 200 << 10]));
        let mut body =
            AnswerBody::stream(futures::stream::iter([chunk(), chunk(), chunk()]).boxed(), 600 << 10);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut next = || match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
            _ => None,
        };
        let first = next().unwrap();
        let second = next().unwrap();
        assert_eq!(first.len() + second.len(), 400 << 10);
        assert!(next().is_none(), "more than a piece is on loan");
        drop(first);
        assert_eq!(next().map(|bytes| bytes.len()), Some(200 << 10));
        drop(second);
    }

    /// What is said of a body of which so many frames are taken before it is dropped.
    fn said(body: AnswerBody, frames: usize) -> (Taken, u64) {
        let said = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = said.clone();
        let mut body = body.watched(move |how, bytes| heard.lock().unwrap().push((how, bytes)));
        let mut context = Context::from_waker(std::task::Waker::noop());
        for _ in 0..frames {
            let _ = Pin::new(&mut body).poll_frame(&mut context);
        }
        assert!(said.lock().unwrap().is_empty());
        drop(body);
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 1);
        said[0]
    }

    fn pieces(count: usize, broken: bool) -> ByteStream {
        let error = || BodyError::Client(Box::new(std::io::Error::other("gone")));
        let last = broken.then(|| Err(error()));
        futures::stream::iter((0..count).map(|_| Ok(Bytes::from_static(b"four"))).chain(last)).boxed()
    }

    #[test]
    fn it_is_said_how_far_a_body_was_taken() {
        assert_eq!(said(AnswerBody::empty(), 0), (Taken::Whole, 0));
        assert_eq!(said(AnswerBody::whole("all"), 0), (Taken::Left, 0));
        assert_eq!(said(AnswerBody::whole("all"), 1), (Taken::Whole, 3));
        assert_eq!(said(AnswerBody::stream(pieces(2, false), 8), 1), (Taken::Left, 4));
        assert_eq!(said(AnswerBody::stream(pieces(1, true), 8), 2), (Taken::Failed, 4));
        // Whose length is known need not be asked for more; one that is open does.
        assert_eq!(said(AnswerBody::stream(pieces(2, false), 8), 2), (Taken::Whole, 8));
        assert_eq!(said(AnswerBody::open(pieces(2, false)), 2), (Taken::Left, 8));
        assert_eq!(said(AnswerBody::open(pieces(2, false)), 3), (Taken::Whole, 8));
    }

    #[test]
    fn a_body_says_the_length_that_it_came_with() {
        let body = InBody::new(Full::new(Bytes::from_static(b"hello")));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        let body = InBody::new(Empty::new());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
    }
}
