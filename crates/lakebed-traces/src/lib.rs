//! Spans to an OpenTelemetry collector: which are made, how they wait and leave.
//!
//! The other crates make spans with `tracing` under the targets of [`lakebed_core::traces`] and know nothing of this one.
//! [`start`] gives a layer that takes them, a handle ([`Traces`]) and the [`Exporter`] that sends them. Without the layer
//! nothing of it costs more than a look at each call site.
//!
//! Nothing here slows down or fails what is traced: spans wait in a queue with a bound, what does not fit is dropped and
//! counted, and a collector that does not answer is waited for by the exporter alone.

mod client;
mod exporter;
mod filter;
mod parent;
mod queue;
mod sampling;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};
use opentelemetry::trace::{TraceContextExt, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanExporter as _};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

pub use exporter::{Exporter, Exporting};
pub use queue::Figures;
pub use sampling::{BadRatio, Sampling};

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub struct TracesConfig {
    /// Where batches are posted to, as protobuf.
    pub endpoint: Uri,
    /// Sent with each batch; they may be secrets.
    pub headers: HeaderMap,
    /// How long sending one batch may take, attempts at repeating it included.
    pub timeout: Duration,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// What is said of this server with each batch: `service.name` and the like.
    pub resource: Vec<(String, String)>,
    /// Spans that wait at most; more are dropped.
    pub queue: usize,
    /// Spans sent at once at most.
    pub batch: usize,
    /// How long a span waits for others at most.
    pub delay: Duration,
    /// Whether spans of requests name the paths that are asked for.
    pub paths: bool,
}

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The certificates of the system cannot be read.
    #[error("the system's certificates cannot be read, for HTTPS to the collector: {0}")]
    Certificates(#[source] std::io::Error),
    /// The library refused what it was given.
    #[error("the trace exporter: {0}")]
    Exporter(String),
}

/// Whether and which requests are traced. Cheap to clone.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    sampling: Sampling,
    figures: Arc<queue::Counters>,
    paths: bool,
}

/// The place in somebody's trace at which a request goes on; or none, and the request begins one.
pub struct Place(Context);

impl Traces {
    /// None are.
    pub fn off() -> Self {
        Self::default()
    }

    /// Where the span of a request with these headers belongs; `None` if it shall have none. What is malformed in the
    /// headers counts as absent.
    pub fn place(&self, headers: &HeaderMap) -> Option<Place> {
        let parent = parent::of(self.0.as_ref()?, headers)?;
        Some(Place(parent))
    }

    /// Whether spans of requests name the paths that are asked for.
    pub fn names_paths(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.paths)
    }

    /// What became of the spans so far; `None` if none are made.
    pub fn figures(&self) -> Option<Figures> {
        self.0.as_ref().map(|inner| inner.figures.read())
    }
}

impl Place {
    /// Puts a span there. To be called before anything happens in it.
    pub fn take(self, span: &Span) {
        if self.0.has_active_span() {
            // Fails for a span nobody takes, and for one that has begun.
            let _ = span.set_parent(self.0);
        }
    }
}

/// Gives a span another name than that of its call site.
pub fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}

/// The ids of the trace and span that this thread is in, as the collector knows them: for who writes logs.
pub fn current() -> Option<(String, String)> {
    Context::map_current(|context| {
        let here = context.span().span_context().clone();
        here.is_valid().then(|| (here.trace_id().to_string(), here.span_id().to_string()))
    })
}

/// What takes the spans, tells which, and sends them.
pub type Started<S> = (Box<dyn Layer<S> + Send + Sync>, Traces, Exporter);

/// Prepares to export. Spans are kept from when the layer is in place, and sent when the exporter is.
///
/// # Errors
///
/// [`TracesError`].
pub fn start<S>(config: TracesConfig) -> Result<Started<S>, TracesError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let client = client::Client::new(&config.endpoint, config.headers, config.timeout)?;
    let troubles = client.troubles();
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(config.endpoint.to_string())
        .with_timeout(config.timeout)
        .build()
        .map_err(|error| TracesError::Exporter(error.to_string()))?;
    let attributes = config.resource.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build();
    exporter.set_resource(&resource);
    let (queue, waiting, figures) = queue::bounded(config.queue);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        // What is made at all is exported: that was decided at the outermost span.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(queue)
        .build();
    let layer = OpenTelemetryLayer::new(provider.tracer("lakebed"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter::Wanted { sampling: config.sampling });
    let traces = Traces(Some(Arc::new(Inner {
        sampling: config.sampling,
        figures: figures.clone(),
        paths: config.paths,
    })));
    let exporter = Exporter {
        collector: exporter,
        troubles,
        waiting,
        figures,
        batch: config.batch.max(1),
        delay: config.delay,
        _provider: provider,
    };
    Ok((Box::new(layer), traces, exporter))
}

#[cfg(test)]
mod tests {
    use lakebed_core::traces::{REQUEST_SPAN, SPAN, WORK_SPAN};
    use tracing::info_span;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn config(ratio: f64, queue: usize) -> TracesConfig {
        TracesConfig {
            endpoint: Uri::from_static("http://127.0.0.1:1/v1/traces"),
            headers: HeaderMap::new(),
            timeout: Duration::from_secs(1),
            sampling: Sampling::new(ratio, true).unwrap(),
            resource: Vec::new(),
            queue,
            batch: 512,
            delay: Duration::from_secs(5),
            paths: false,
        }
    }

    /// Names of the spans that were made, in the order in which they ended, each with whether it has a parent.
    fn made(config: TracesConfig, work: impl FnOnce(&Traces)) -> (Vec<(String, bool)>, Figures) {
        let (layer, traces, mut exporter) = start::<Registry>(config).unwrap();
        tracing::subscriber::with_default(Registry::default().with(layer), || work(&traces));
        let mut names = Vec::new();
        while let Ok(span) = exporter.waiting.try_recv() {
            let has_parent = span.parent_span_id != opentelemetry::trace::SpanId::INVALID;
            names.push((span.name.to_string(), has_parent));
        }
        (names, traces.figures().unwrap())
    }

    fn named(names: &[(&str, bool)]) -> Vec<(String, bool)> {
        names.iter().map(|(name, has_parent)| ((*name).to_owned(), *has_parent)).collect()
    }

    #[test]
    fn spans_are_made_within_what_is_traced() {
        let (names, _) = made(config(1.0, 100), |traces| {
            info_span!(target: SPAN, "of no request").in_scope(|| assert_eq!(current(), None));
            info_span!("of another target").in_scope(|| {
                let request = info_span!(target: REQUEST_SPAN, parent: None, "request");
                traces.place(&HeaderMap::new()).unwrap().take(&request);
                request.in_scope(|| {
                    info_span!("of another target").in_scope(|| {
                        info_span!(target: SPAN, "within").in_scope(|| assert!(current().is_some()));
                    });
                });
                rename(&request, "commit".to_owned());
            });
        });
        assert_eq!(names, named(&[("within", true), ("commit", false)]));
    }

    #[test]
    fn work_of_which_no_share_is_taken_makes_none() {
        let work = |_: &Traces| {
            info_span!(target: WORK_SPAN, parent: None, "work").in_scope(|| {
                info_span!(target: SPAN, "within").in_scope(|| {});
            });
        };
        assert!(made(config(0.0, 100), work).0.is_empty());
        assert_eq!(made(config(1.0, 100), work).0, named(&[("within", true), ("work", false)]));
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (names, figures) = made(config(1.0, 3), |_| {
            for _ in 0..10 {
                info_span!(target: WORK_SPAN, parent: None, "work").in_scope(|| {});
            }
        });
        assert_eq!(names.len(), 3);
        assert_eq!(figures, Figures { dropped: 7, ..Figures::default() });
    }
}
