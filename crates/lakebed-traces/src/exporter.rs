//! Sends what waits in the queue, in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter as _};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Troubles;
use crate::queue::Counters;

/// How often it is said that the collector takes no spans.
const COMPLAINTS: Duration = Duration::from_mins(1);

/// What sends spans, before it does.
pub struct Exporter {
    pub(crate) collector: opentelemetry_otlp::SpanExporter,
    pub(crate) troubles: Troubles,
    pub(crate) waiting: Receiver<SpanData>,
    pub(crate) figures: Arc<Counters>,
    pub(crate) batch: usize,
    pub(crate) delay: Duration,
    pub(crate) _provider: SdkTracerProvider,
}

/// What sends spans.
pub struct Exporting {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Exporter {
    /// Begins to send, on the current runtime.
    pub fn begin(self) -> Exporting {
        let (stop, stopped) = oneshot::channel();
        Exporting { task: tokio::spawn(self.run(stopped)), stop }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut complaints = Complaints::default();
        let mut stopping = false;
        loop {
            let mut batch = Vec::new();
            if !stopping {
                stopping = self.gather(&mut batch, &mut stopped).await;
                if stopping {
                    // What ends from now on is dropped, and counted so.
                    self.waiting.close();
                }
            }
            while batch.len() < self.batch
                && let Ok(span) = self.waiting.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.send(batch, &mut complaints).await;
        }
    }

    /// Collects a batch: full, or as old as it may be. True if it was told to stop meanwhile.
    async fn gather(&mut self, batch: &mut Vec<SpanData>, stopped: &mut oneshot::Receiver<()>) -> bool {
        let first = tokio::select! {
            first = self.waiting.recv() => first,
            _ = &mut *stopped => return true,
        };
        let Some(first) = first else { return true };
        batch.push(first);
        let old = tokio::time::sleep(self.delay);
        tokio::pin!(old);
        while batch.len() < self.batch {
            let room = self.batch - batch.len();
            tokio::select! {
                more = self.waiting.recv_many(batch, room) => if more == 0 { return true },
                () = &mut old => return false,
                _ = &mut *stopped => return true,
            }
        }
        false
    }

    async fn send(&self, batch: Vec<SpanData>, complaints: &mut Complaints) {
        let spans = batch.len() as u64;
        match self.collector.export(batch).await {
            Ok(()) => {
                self.figures.exported.fetch_add(spans, Ordering::Relaxed);
                complaints.end();
            }
            Err(error) => {
                self.figures.failed.fetch_add(spans, Ordering::Relaxed);
                let why = self.troubles.lock().clone().unwrap_or_else(|| error.to_string());
                complaints.about(spans, &why);
            }
        }
    }
}

impl Exporting {
    /// Sends what waits, for so long at most, and ends.
    pub async fn finish(self, limit: Duration) {
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(limit, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("the last spans were not sent: the collector did not take them in time");
        }
    }
}

/// Says that spans are lost, but not each time.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    lost: u64,
}

impl Complaints {
    fn about(&mut self, spans: u64, why: &str) {
        self.lost += spans;
        if self.last.is_some_and(|last| last.elapsed() < COMPLAINTS) {
            return;
        }
        tracing::warn!(
            lost = self.lost,
            why,
            "the trace collector does not take spans: they are dropped until it does"
        );
        self.last = Some(Instant::now());
        self.lost = 0;
    }

    fn end(&mut self) {
        if self.last.take().is_some() {
            tracing::info!("the trace collector takes spans again");
            self.lost = 0;
        }
    }
}
