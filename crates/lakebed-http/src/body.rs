//! Bodies: of answers ([`AnswerBody`]) and of requests ([`InBody`]).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
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

/// The body of an answer: small and whole, or an object's bytes as they come from the store.
pub struct AnswerBody {
    content: Inner,
    /// Dropped with the body: when it was sent, or will not be sent any further.
    _with: Option<Box<dyn Send + Sync>>,
}

enum Inner {
    Whole(Option<Bytes>),
    Stream { stream: ByteStream, remaining: u64 },
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
        Self::of(Inner::Stream { stream, remaining: length })
    }

    /// The bytes of a stream of which nobody knows yet how many there will be.
    pub fn open(stream: ByteStream) -> Self {
        Self::of(Inner::Open(Some(stream)))
    }

    fn of(content: Inner) -> Self {
        Self { content, _with: None }
    }

    /// Drops `what` together with the body, in place of what was to be dropped before: for who wants to know when an
    /// answer ended.
    #[must_use]
    pub fn with(self, what: impl Send + Sync + 'static) -> Self {
        Self { _with: Some(Box::new(what)), ..self }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.content {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Open(open) => {
                let Some(stream) = open else { return Poll::Ready(None) };
                let next = std::task::ready!(stream.poll_next_unpin(context));
                if next.is_none() {
                    *open = None;
                }
                Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
            }
            Inner::Stream { stream, remaining } => stream.poll_next_unpin(context).map(|next| {
                next.map(|chunk| {
                    chunk.map(|bytes| {
                        *remaining = remaining.saturating_sub(bytes.len() as u64);
                        Frame::data(bytes)
                    })
                })
            }),
        }
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
    fn a_body_says_the_length_that_it_came_with() {
        let body = InBody::new(Full::new(Bytes::from_static(b"hello")));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        let body = InBody::new(Empty::new());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
    }
}
