//! Where spans wait until they are sent: bounded, and never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Those the collector took.
    pub exported: u64,
    /// Those for which the queue had no room.
    pub dropped: u64,
    /// Those that the collector did not take.
    pub failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) exported: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Figures {
        Figures {
            exported: self.exported.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// Takes each span when it ends.
#[derive(Debug)]
pub(crate) struct Queue {
    to: Sender<SpanData>,
    figures: Arc<Counters>,
}

/// A queue for this many spans, its other end, and what is counted of them.
pub(crate) fn bounded(spans: usize) -> (Queue, Receiver<SpanData>, Arc<Counters>) {
    let (to, waiting) = mpsc::channel(spans.max(1));
    let figures = Arc::<Counters>::default();
    (Queue { to, figures: figures.clone() }, waiting, figures)
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.to.try_send(span).is_err() {
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
