//! Clients of HTTP/2 that take nothing: each stream has a window of its own, so answers may wait for a client whose
//! connection goes on being read.
//!
//! What counts is the connection: as long as something of some answer is taken every so often, all may stay.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use lakebed_blocks::BodyError;
use lakebed_http::AnswerBody;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How far the answers of a connection came. Clones are of the same connection.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// That an answer waits, after a time when none did.
    begun: Notify,
}

struct State {
    /// Answers of which the client could take more, if it wanted.
    waiting: usize,
    /// When one last began or ended to wait.
    moved: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let state = Mutex::new(State { waiting: 0, moved: Instant::now() });
        Self(Arc::new(Inner { state, begun: Notify::new() }))
    }

    fn begin(&self) {
        let mut state = self.0.state.lock();
        state.waiting += 1;
        state.moved = Instant::now();
        if state.waiting == 1 {
            self.0.begun.notify_one();
        }
    }

    fn end(&self) {
        let mut state = self.0.state.lock();
        state.waiting -= 1;
        state.moved = Instant::now();
    }

    /// Returns when answers have waited and none went on for this long.
    pub(crate) async fn ended(&self, longest: Duration) {
        loop {
            let (waiting, moved) = {
                let state = self.0.state.lock();
                (state.waiting, state.moved)
            };
            if waiting == 0 {
                self.0.begun.notified().await;
            } else if moved.elapsed() >= longest {
                return;
            } else {
                tokio::time::sleep_until(moved + longest).await;
            }
        }
    }
}

/// An answer's body that says when it waits for its client: while it is not asked for more, though there is some.
pub(crate) struct Watched {
    body: AnswerBody,
    /// `None`: nobody wants to know.
    progress: Option<Progress>,
    is_waiting: bool,
}

impl Watched {
    pub(crate) fn new(body: AnswerBody, progress: Option<Progress>) -> Self {
        let mut watched = Self { body, progress, is_waiting: false };
        watched.waits(!watched.body.is_end_stream());
        watched
    }

    fn waits(&mut self, waits: bool) {
        let Some(progress) = &self.progress else { return };
        match (self.is_waiting, waits) {
            (false, true) => progress.begin(),
            (true, false) => progress.end(),
            _ => {}
        }
        self.is_waiting = waits;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.waits(false);
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.waits(false);
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let has_more = matches!(frame, Some(Ok(_))) && !self.body.is_end_stream();
        self.waits(has_more);
        Poll::Ready(frame)
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
    use futures::{FutureExt, StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    const LONGEST: Duration = Duration::from_mins(1);

    fn answer(progress: &Progress, chunks: usize) -> Watched {
        let stream = stream::iter((0..chunks).map(|_| Ok(Bytes::from_static(b"x")))).boxed();
        Watched::new(AnswerBody::stream(stream, chunks as u64), Some(progress.clone()))
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_are_not_waited_for() {
        let progress = Progress::new();
        let begun = Instant::now();
        let _body = answer(&progress, 1);
        progress.ended(LONGEST).await;
        assert_eq!(begun.elapsed(), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_goes_on_is_enough() {
        let progress = Progress::new();
        let (_stalled, mut slow) = (answer(&progress, 1), answer(&progress, 10));
        let begun = Instant::now();
        let taking = async {
            while slow.frame().await.is_some() {
                tokio::time::sleep(LONGEST.mul_f32(0.9)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = taking => {}
            () = progress.ended(LONGEST) => {}
        }
        assert!(begun.elapsed() > LONGEST * 9, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_store_is_waited_for_no_client_is() {
        let progress = Progress::new();
        let pending = AnswerBody::stream(stream::pending().boxed(), 1);
        let mut body = Watched::new(pending, Some(progress.clone()));
        assert!(body.frame().now_or_never().is_none());
        let ended = tokio::time::timeout(LONGEST * 10, progress.ended(LONGEST)).await;
        assert!(ended.is_err(), "no client could have taken anything");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_a_body_waits_for_nobody() {
        let progress = Progress::new();
        let _empty = Watched::new(AnswerBody::empty(), Some(progress.clone()));
        let mut whole = Watched::new(AnswerBody::whole("x"), Some(progress.clone()));
        assert!(whole.frame().await.is_some());
        assert!(tokio::time::timeout(LONGEST * 10, progress.ended(LONGEST)).await.is_err());
    }
}
