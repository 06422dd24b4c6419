//! A client's body as the service's client wants it: of known length, measured and digested as it passes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body::{Body, Frame, SizeHint};
use md5::{Digest, Md5};
use parking_lot::Mutex;

use crate::{BlockAddress, BlockError, BodyError, ByteStream, Stored};

/// What became of a body, known when the call that sent it has ended.
#[derive(Default)]
struct Passed {
    /// Why it broke off.
    broken: Option<BodyError>,
    /// Size and MD5, if it came to its end.
    whole: Option<Stored>,
    /// How often it was asked for more.
    asked: u64,
    /// The next piece is not there yet: our own client keeps the service waiting.
    starved: bool,
}

/// The other end of an [`announced`] body.
pub(crate) struct Outcome(Arc<Mutex<Passed>>);

impl Outcome {
    /// Runs the call that sends the body, unless the service neither takes more of it nor answers for `timeout`.
    pub(crate) async fn watch<T>(
        &self,
        address: &BlockAddress,
        timeout: Duration,
        call: impl Future<Output = Result<T, BlockError>>,
    ) -> Result<T, BlockError> {
        let mut call = std::pin::pin!(call);
        let mut seen = 0;
        loop {
            if let Ok(answer) = tokio::time::timeout(timeout, &mut call).await {
                return answer;
            }
            let passed = self.0.lock();
            if passed.asked == seen && !passed.starved {
                let why = format!("nothing came for {} s at {address}", timeout.as_secs_f64());
                return Err(BlockError::Unavailable { what: "put", why });
            }
            seen = passed.asked;
        }
    }

    /// Whether the call ended before the service had the whole body, though the body was well: then it stored nothing,
    /// and may have refused in words that were lost with the connection.
    pub(crate) fn is_cut_off<T>(&self, call: &Result<T, BlockError>) -> bool {
        let passed = self.0.lock();
        matches!(call, Err(BlockError::Unavailable { .. }))
            && passed.broken.is_none()
            && passed.whole.is_none()
    }

    /// What was stored, if the call succeeded; a body that broke off is the reason whatever the call says.
    pub(crate) fn of<T>(self, call: Result<T, BlockError>) -> Result<(T, Stored), BlockError> {
        let mut passed = self.0.lock();
        if let Some(broken) = passed.broken.take() {
            return Err(BlockError::Body(broken));
        }
        let answer = call?;
        match passed.whole.take() {
            Some(stored) => Ok((answer, stored)),
            None => Err(BlockError::Io {
                what: "put",
                source: std::io::Error::other("the store answered before it had the whole body"),
            }),
        }
    }
}

/// A body of known length. It can be sent once.
pub(crate) struct Announced {
    /// Never locked: it makes the body shareable between threads, as its consumer wants it to be.
    body: Mutex<ByteStream>,
    /// Held back until more follows or the body has ended well: what is only found wrong at its end, such as a
    /// digest, must not complete the request.
    held: Option<Bytes>,
    /// Bytes still to come.
    left: u64,
    size: u64,
    /// None when the body has ended.
    md5: Option<Md5>,
    passed: Arc<Mutex<Passed>>,
}

/// A body of `size` bytes, not empty; one that turns out longer or shorter breaks the request off.
pub(crate) fn announced(body: ByteStream, size: u64) -> (Announced, Outcome) {
    let passed: Arc<Mutex<Passed>> = Arc::default();
    let body = Announced {
        body: Mutex::new(body),
        held: None,
        left: size,
        size,
        md5: Some(Md5::new()),
        passed: passed.clone(),
    };
    (body, Outcome(passed))
}

fn wrong_length() -> BodyError {
    BodyError::Client(Box::new(std::io::Error::other("the body is not as long as announced")))
}

impl Announced {
    fn break_off(&mut self, error: BodyError) -> std::io::Error {
        let text = error.to_string();
        self.passed.lock().broken = Some(error);
        (self.md5, self.held) = (None, None);
        std::io::Error::other(text)
    }
}

impl Body for Announced {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let polled = self.poll_next(context);
        let mut passed = self.passed.lock();
        passed.asked += 1;
        passed.starved = polled.is_pending();
        drop(passed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.md5.is_none() && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left + self.held.as_ref().map_or(0, |held| held.len() as u64))
    }
}

impl Announced {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        while self.md5.is_some() {
            match futures::ready!(self.body.get_mut().poll_next_unpin(context)) {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    let Some(left) = self.left.checked_sub(chunk.len() as u64) else {
                        return Poll::Ready(Some(Err(self.break_off(wrong_length()))));
                    };
                    self.left = left;
                    if let Some(md5) = &mut self.md5 {
                        md5.update(&chunk);
                    }
                    if let Some(before) = self.held.replace(chunk) {
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.break_off(error)))),
                None if self.left > 0 => return Poll::Ready(Some(Err(self.break_off(wrong_length())))),
                None => {
                    if let Some(md5) = self.md5.take() {
                        let stored = Stored { size: self.size, md5: md5.finalize().into() };
                        self.passed.lock().whole = Some(stored);
                    }
                }
            }
        }
        Poll::Ready(self.held.take().map(|last| Ok(Frame::data(last))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::body_from_bytes;

    async fn send(
        chunks: Vec<Result<Bytes, BodyError>>,
        size: u64,
    ) -> (Option<Bytes>, Result<((), Stored), BlockError>) {
        let (body, outcome) = announced(Box::pin(futures::stream::iter(chunks)), size);
        let sent = body.collect().await.ok().map(http_body_util::Collected::to_bytes);
        let call = match sent {
            Some(_) => Ok(()),
            None => Err(BlockError::Io { what: "put", source: std::io::Error::other("broken pipe") }),
        };
        (sent, outcome.of(call))
    }

    #[tokio::test]
    async fn a_whole_body_is_measured() {
        let (body, outcome) = announced(body_from_bytes("hello".into()), 5);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        let ((), stored) = outcome.of(Ok(())).unwrap();
        assert_eq!((stored.size, stored.md5), (5, Md5::digest("hello").into()));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_body_is_told_and_never_completes_it() {
        let broken = || BodyError::Client(Box::new(std::io::Error::other("digest mismatch")));
        for (chunks, size) in [
            (vec![Ok("hello".into()), Err(broken())], 5),
            (vec![Ok("hel".into()), Err(broken())], 5),
            (vec![Ok("hel".into())], 5),
            (vec![Ok("hello".into()), Ok("!".into())], 5),
            (vec![Ok("hello!".into())], 5),
        ] {
            let (sent, result) = send(chunks, size).await;
            assert_eq!(sent, None);
            assert!(matches!(result, Err(BlockError::Body(BodyError::Client(_)))), "{result:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_before_the_end_is_no_success() {
        let (_body, outcome) = announced(body_from_bytes("hello".into()), 5);
        assert!(outcome.of(Ok(())).is_err());
    }
}
