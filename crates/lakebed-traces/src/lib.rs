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
    let client = client::Client::new(config.headers, config.timeout)?;
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
        exporter,
        troubles,
        waiting,
        figures,
        batch: config.batch.max(1),
        delay: config.delay,
        _provider: provider,
    };
    Ok((Box::new(layer), traces, exporter))
}
