//! Clients that stop sending in the middle of a body: they are not waited for for ever (`s3-gateway` §10).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use lakebed_http::{BoxError, InBody};
use tokio::time::{Instant, Sleep};

use crate::error::{Code, S3Error};

/// How long nothing may come while it is waited for.
const LONGEST: Duration = Duration::from_mins(1);

/// A body that breaks off when nothing comes of it for a time. While nobody asks for more, no time runs.
pub(crate) struct Heard {
    body: InBody,
    longest: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer runs.
    is_waiting: bool,
}

impl Heard {
    /// The body, watched if there is more of it to come.
    pub(crate) fn of(body: InBody) -> InBody {
        if body.is_end_stream() { body } else { InBody::new(Self::new(body, LONGEST)) }
    }

    fn new(body: InBody, longest: Duration) -> Self {
        Self { body, longest, timer: None, is_waiting: false }
    }
}

impl Body for Heard {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.is_waiting = false;
            return Poll::Ready(frame);
        }
        let longest = this.longest;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        if !this.is_waiting {
            timer.as_mut().reset(Instant::now() + longest);
            this.is_waiting = true;
        }
        timer.as_mut().poll(context).map(|()| {
            let refusal: BoxError = Box::new(S3Error::of(Code::RequestTimeout));
            Some(Err(refusal))
        })
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
    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use lakebed_blocks::BodyError;
    use lakebed_http::byte_stream;

    use super::*;

    /// What comes of a body that says two things and then nothing, if nothing may come for so long.
    async fn heard(longest: Duration) -> Vec<Result<Bytes, Code>> {
        let said = [b"one".as_slice(), b"two"].map(|text| Ok::<_, BoxError>(Frame::data(text.into())));
        let body = InBody::new(StreamBody::new(stream::iter(said).chain(stream::pending())));
        let mut stream = byte_stream(InBody::new(Heard::new(body, longest)));
        let mut all = Vec::new();
        while let Some(next) = stream.next().await {
            let broken = next.is_err();
            all.push(next.map_err(|error: BodyError| S3Error::from(error).code()));
            if broken {
                break;
            }
        }
        all
    }

    #[tokio::test]
    async fn what_comes_is_passed_on_and_silence_ends_it() {
        let all = heard(Duration::ZERO).await;
        assert_eq!(all, [Ok("one".into()), Ok("two".into()), Err(Code::RequestTimeout)]);
    }

    #[tokio::test]
    async fn a_body_that_ends_is_whole() {
        let body = Heard::of(InBody::new(http_body_util::Full::new(Bytes::from_static(b"all"))));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
    }
}
