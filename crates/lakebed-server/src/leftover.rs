//! What a handler leaves of a request's body.
//!
//! A refusal often comes before the body was read. Most clients send the whole body before they look for an answer; if
//! the connection closes on them they see a broken pipe, not the refusal. So a moderate rest is taken in and dropped, and
//! the connection goes on; behind a longer one the answer says that it closes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

/// The longest rest that is taken in.
const MOST: u64 = 16 << 20;

/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that is handed back when it is dropped before its end.
pub(crate) struct Lent<B: Body + Unpin> {
    body: Option<B>,
    back: Option<oneshot::Sender<B>>,
}

/// Lends a body to a handler. What the handler leaves arrives at the receiver.
pub(crate) fn lend<B: Body + Unpin>(body: B) -> (Lent<B>, oneshot::Receiver<B>) {
    let (back, rest) = oneshot::channel();
    (Lent { body: Some(body), back: Some(back) }, rest)
}

impl<B: Body + Unpin> Drop for Lent<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Nobody waits for it: then it ends here.
            let _ = back.send(body);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

/// Takes in the rest of a body and drops it. Whether it came to its end.
pub(crate) async fn drain<B: Body<Data = Bytes> + Unpin>(mut rest: B) -> bool {
    let to_the_end = async {
        if rest.size_hint().lower() > MOST {
            return false;
        }
        let mut taken = 0;
        while let Some(frame) = rest.frame().await {
            let Ok(frame) = frame else { return false };
            taken += frame.data_ref().map_or(0, |data| data.remaining() as u64);
            if taken > MOST {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(PATIENCE, to_the_end).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[tokio::test]
    async fn what_a_handler_leaves_comes_back_and_is_taken_in() {
        let (lent, rest) = lend(Full::new(Bytes::from_static(b"unread")));
        drop(lent);
        assert!(drain(rest.await.unwrap()).await);
    }

    #[tokio::test]
    async fn a_body_read_to_its_end_does_not_come_back() {
        let (lent, rest) = lend(Full::new(Bytes::from_static(b"read")));
        assert_eq!(lent.collect().await.unwrap().to_bytes(), "read");
        assert!(rest.await.is_err());
    }

    #[tokio::test]
    async fn an_endless_rest_is_given_up() {
        let endless = futures::stream::repeat_with(|| {
            Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(&[0; 65536])))
        });
        assert!(!drain(StreamBody::new(endless)).await);
    }
}
