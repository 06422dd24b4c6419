//! What is said of a request when it has ended: counted, logged and traced, each once.
//!
//! It has ended when the last of its answer was handed to the connection, or when its client went away before. Then it is said
//! to have ended with 499, whatever was sent or would have been: that is no fault of the server, and nobody got the answer.

use std::error::Error;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use lakebed_http::{AnswerBody, BoxError, Served, Taken};
use lakebed_traces::Traces;
use tracing::Span;

use crate::audit::{self, Audit, Ended};
use crate::health::Health;
use crate::metrics::{Door, Request};
use crate::traces;

/// A request until its end. What there is to say of it is said when this is dropped.
pub(crate) struct Record {
    door: Door,
    served: Served,
    span: Span,
    audit: Audit,
    counted: Request,
    health: Health,
    broke: Broke,
    answer: Option<Answer>,
}

struct Answer {
    status: StatusCode,
    request_id: Option<HeaderValue>,
    /// Since the request came.
    began: Duration,
    taken: Taken,
    bytes: u64,
}

impl Record {
    pub(crate) fn begin(
        counted: Request,
        health: &Health,
        traces: &Traces,
        door: Door,
        parts: &Parts,
    ) -> Self {
        let audit = Audit::of(door, parts);
        let span = traces::begin(traces, door, parts);
        let in_detail = audit.is_wanted() || !span.is_disabled();
        Self {
            door,
            served: Served { in_detail, ..Served::default() },
            span,
            audit,
            counted,
            health: health.clone(),
            broke: Broke::default(),
            answer: None,
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// What the door says of the request.
    pub(crate) fn served(&mut self) -> &mut Served {
        &mut self.served
    }

    /// The request's body, watched for the client's going away.
    pub(crate) fn arriving<B>(&self, body: B) -> Arriving<B> {
        Arriving { body, broke: self.broke.clone() }
    }

    /// The answer, which takes this record along to its end.
    pub(crate) fn sends(mut self, response: Response<AnswerBody>) -> Response<AnswerBody> {
        // Of such an answer the connection sends the head alone.
        let has_body = self.audit.method != Method::HEAD
            && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.answer = Some(Answer {
            status: response.status(),
            request_id: audit::request_id(self.door, &response).cloned(),
            began: self.counted.took(),
            taken: if has_body { Taken::Left } else { Taken::Whole },
            bytes: 0,
        });
        if !has_body {
            return response;
        }
        response.map(|body| {
            body.watched(move |taken, bytes| {
                if let Some(answer) = &mut self.answer {
                    (answer.taken, answer.bytes) = (taken, bytes);
                }
            })
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let end = End {
            answered: self.answer.as_ref().map(|answer| (answer.status, answer.taken)),
            broke: self.broke.is_so(),
            is_ours: self.health.is_breaking_off(),
            is_panic: std::thread::panicking(),
        };
        let answer = self.answer.as_ref();
        let request_id = answer.and_then(|answer| answer.request_id.as_ref()?.to_str().ok());
        let ended = Ended {
            status: end.status(),
            request_id: request_id.unwrap_or_default(),
            sent_bytes: answer.map_or(0, |answer| answer.bytes),
            took: self.counted.took(),
        };
        let operation = self.served.operation.unwrap_or("unknown");
        self.counted.ended(&self.audit.method, ended.status, operation, answer.map(|answer| answer.began));
        traces::ended(&self.span, self.door, &self.served, &ended);
        // In the span, so that its line says of which trace it is. It is also the last time that the span is left, which is
        // when it ends.
        self.span.in_scope(|| self.audit.record(&self.served, &ended));
    }
}

/// What is known of a request's end.
#[derive(Clone, Copy)]
struct End {
    /// With what, and how far that was taken.
    answered: Option<(StatusCode, Taken)>,
    /// Whether the client went away while it sent the request's body.
    broke: bool,
    /// Whether the server breaks off what it does.
    is_ours: bool,
    is_panic: bool,
}

impl End {
    fn status(self) -> StatusCode {
        match self.answered {
            Some((status, Taken::Whole | Taken::Failed)) if !self.broke => status,
            _ if self.is_panic => StatusCode::INTERNAL_SERVER_ERROR,
            Some((status, _)) if self.is_ours => status,
            None if self.is_ours => StatusCode::SERVICE_UNAVAILABLE,
            // A number of three digits is one.
            _ => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        }
    }
}

/// Whether a request's body broke off. Clones are of the same.
#[derive(Clone, Default)]
struct Broke(Arc<AtomicBool>);

impl Broke {
    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request's body that notes when its client went away in the middle.
pub(crate) struct Arriving<B> {
    body: B,
    broke: Broke,
}

impl<B> Body for Arriving<B>
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
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                let error = error.into();
                if is_gone(&*error) {
                    self.broke.note();
                }
                error
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a body ended with its connection, rather than being no body that could be read.
fn is_gone(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData)
        {
            return false;
        }
        next = error.source();
    }
    true
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const GOOD: End = End { answered: None, broke: false, is_ours: false, is_panic: false };

    #[test]
    fn an_answer_that_was_taken_ends_with_its_status() {
        for taken in [Taken::Whole, Taken::Failed] {
            let end = End { answered: Some((StatusCode::OK, taken)), ..GOOD };
            assert_eq!(end.status(), StatusCode::OK);
            assert_eq!(End { is_ours: true, ..end }.status(), StatusCode::OK);
        }
    }

    #[test]
    fn a_client_that_went_away_ends_with_499() {
        let left = Some((StatusCode::OK, Taken::Left));
        let whole = Some((StatusCode::BAD_REQUEST, Taken::Whole));
        for end in [GOOD, End { answered: left, ..GOOD }, End { answered: whole, broke: true, ..GOOD }] {
            assert_eq!(end.status().as_u16(), 499);
        }
    }

    #[test]
    fn what_the_server_breaks_off_is_not_the_clients() {
        let ours = End { is_ours: true, ..GOOD };
        assert_eq!(ours.status(), StatusCode::SERVICE_UNAVAILABLE);
        let answered = Some((StatusCode::OK, Taken::Left));
        assert_eq!(End { answered, ..ours }.status(), StatusCode::OK);
        assert_eq!(End { answered, is_panic: true, ..GOOD }.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_told_from_one_that_is_malformed() {
        for (kind, gone) in [
            (ErrorKind::UnexpectedEof, true),
            (ErrorKind::ConnectionReset, true),
            (ErrorKind::InvalidInput, false),
            (ErrorKind::InvalidData, false),
        ] {
            let gone_or_not: Result<_, std::io::Error> = Err(kind.into());
            let frames = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"x"))), gone_or_not]);
            let broke = Broke::default();
            let mut body = Arriving { body: StreamBody::new(frames), broke: broke.clone() };
            assert!(body.frame().await.unwrap().is_ok() && !broke.is_so());
            assert!(body.frame().await.unwrap().is_err());
            assert_eq!(broke.is_so(), gone, "{kind:?}");
        }
    }
}
