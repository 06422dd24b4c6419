//! Clients that stop sending in the middle of a body: they are not waited for for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{BoxError, Patience};

/// Nothing of a request's body came for a time, and more was to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing came of the request's body for {}s, and more of it was to come: send the request again, without such pauses",
    .longest.as_secs_f64()
)]
pub struct Silence {
    /// How long.
    pub longest: Duration,
}

impl Silence {
    /// Whether this is why a body broke off, however it was wrapped since.
    pub fn is_in(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        std::iter::successors(Some(error), |error| error.source())
            .find_map(|error| error.downcast_ref())
            .copied()
    }
}

/// A body that breaks off with [`Silence`] when nothing comes of it for a time. While nobody asks for more, no time runs.
pub struct Heard<B> {
    body: B,
    patience: Patience,
}

impl<B> Heard<B> {
    /// The body, of which something has to come every so often while it is asked for.
    pub fn new(body: B, longest: Duration) -> Self {
        Self { body, patience: Patience::new(longest) }
    }
}

impl<B> Body for Heard<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.patience.end();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        this.patience.poll(context).map(|()| {
            let silence: BoxError = Box::new(Silence { longest: this.patience.longest() });
            Some(Err(silence))
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
    use futures::{Stream, StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use lakebed_blocks::BodyError;
    use tokio::time::Instant;

    use super::*;

    const LONGEST: Duration = Duration::from_mins(1);

    fn said(texts: &'static [&'static str]) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Unpin {
        stream::iter(texts).map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_is_passed_on_and_silence_ends_it() {
        let mut body = Heard::new(StreamBody::new(said(&["one", "two"]).chain(stream::pending())), LONGEST);
        for text in ["one", "two"] {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), text);
        }
        let begun = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(begun.elapsed(), LONGEST);
        assert_eq!(Silence::is_in(&*error), Some(Silence { longest: LONGEST }));
        assert!(error.to_string().contains("for 60s"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_silence_that_is_waited_for_counts() {
        let slow = said(&["one", "two", "three"]).then(|frame| async {
            tokio::time::sleep(LONGEST.mul_f32(0.9)).await;
            frame
        });
        let mut body = Heard::new(StreamBody::new(Box::pin(slow)), LONGEST);
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            // Busy with what it was given.
            tokio::time::sleep(LONGEST * 2).await;
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_is_whole() {
        let body = Heard::new(http_body_util::Full::new(Bytes::from_static(b"all")), LONGEST);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
    }

    #[test]
    fn it_is_found_in_what_wraps_it() {
        let silence = Silence { longest: LONGEST };
        let wrapped = BodyError::Client(Box::new(BodyError::Client(Box::new(silence))));
        assert_eq!(Silence::is_in(&wrapped), Some(silence));
        assert_eq!(Silence::is_in(&std::io::Error::other("something else")), None);
    }
}
