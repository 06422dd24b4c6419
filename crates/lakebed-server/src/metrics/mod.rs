//! What is counted and timed, in Prometheus' format: requests of both doors ([`requests`]), calls of the engines below
//! ([`engines`]), the process. Names and labels are those that dashboards made for lakeFS ask for (`operations.md` §3.2);
//! ours begin with `lakebed_`.

mod catalog;
mod dynamo;
mod engines;
mod requests;
mod traces;

use std::sync::Arc;

use lakebed_blocks::BlockStore;
use lakebed_catalog::Catalog;
use lakebed_kv::{DynamoWatch, Kv};
use lakebed_traces::Traces;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{HistogramOpts, IntGauge, Registry, TextEncoder};

pub(crate) use requests::{Door, Request, method_label};

/// Upper bounds of all durations, in seconds: from a row of the embedded engine to the upload of a large object.
const BUCKETS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 300.0,
];

fn durations(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(BUCKETS.to_vec())
}

/// The metrics of a server. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Arc<requests::Requests>,
    engines: engines::Engines,
    connections: IntGauge,
}

impl Metrics {
    /// Nothing counted so far.
    ///
    /// # Errors
    ///
    /// Two metrics of one name: a mistake in this module.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = Arc::new(requests::Requests::new(&registry)?);
        let engines = engines::Engines::new(&registry)?;
        let connections = IntGauge::new("lakebed_connections", "Connections of clients.")?;
        register(&registry, &connections)?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self(Arc::new(Inner { registry, requests, engines, connections })))
    }

    /// An engine whose calls are counted. `kind` is what `database.type` calls it.
    pub fn kv(&self, kind: &'static str, kv: Arc<dyn Kv>) -> Arc<dyn Kv> {
        self.0.engines.kv(kind, kv)
    }

    /// Counts the requests of an engine on DynamoDB, those behind the calls that [`Metrics::kv`] counts.
    ///
    /// # Errors
    ///
    /// There is one already.
    pub fn dynamo(&self) -> Result<Arc<dyn DynamoWatch>, prometheus::Error> {
        Ok(Arc::new(dynamo::Requests::new(&self.0.registry)?))
    }

    /// A store whose calls are counted.
    ///
    /// # Errors
    ///
    /// A metric of this name was registered by something else.
    pub fn blocks(&self, blocks: Arc<dyn BlockStore>) -> Result<Arc<dyn BlockStore>, prometheus::Error> {
        self.0.engines.blocks(blocks)
    }

    /// Counts what happens in a catalog.
    ///
    /// # Errors
    ///
    /// There is one already.
    pub fn catalog(&self, catalog: &Catalog) -> Result<(), prometheus::Error> {
        catalog::count(&self.0.registry, catalog)
    }

    /// Counts what becomes of the spans of traces.
    ///
    /// # Errors
    ///
    /// They are counted already.
    pub fn traces(&self, traces: &Traces) -> Result<(), prometheus::Error> {
        traces::count(&self.0.registry, traces)
    }

    /// Connections of clients at the moment.
    pub(crate) fn open_connections(&self) -> i64 {
        self.0.connections.get()
    }

    /// A request came to a door.
    pub(crate) fn begin(&self, door: Door) -> Request {
        Request::begin(self.0.requests.clone(), door)
    }

    /// Counts a connection until what it answers is dropped.
    pub(crate) fn connection(&self) -> Held {
        Held::up(self.0.connections.clone())
    }

    /// The exposition.
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: &C,
) -> Result<(), prometheus::Error> {
    registry.register(Box::new(metric.clone()))
}

/// One more of something, until it is dropped.
pub(crate) struct Held(IntGauge);

impl Held {
    fn up(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
