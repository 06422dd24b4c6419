//! What became of spans.

use lakebed_traces::Traces;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts, Registry};

/// Registers the metrics of traces, if any are exported.
pub(super) fn count(registry: &Registry, traces: &Traces) -> Result<(), prometheus::Error> {
    if traces.figures().is_none() {
        return Ok(());
    }
    registry.register(Box::new(Spans { traces: traces.clone(), counter: counter()? }))
}

fn counter() -> Result<IntCounterVec, prometheus::Error> {
    let opts = Opts::new(
        "lakebed_trace_spans_total",
        "Spans of traces: exported, dropped because the queue was full, or failed to be taken by the collector.",
    );
    IntCounterVec::new(opts, &["outcome"])
}

/// Asks when somebody asks for the metrics.
struct Spans {
    traces: Traces,
    /// For its description only.
    counter: IntCounterVec,
}

impl Collector for Spans {
    fn desc(&self) -> Vec<&Desc> {
        self.counter.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (Some(figures), Ok(counter)) = (self.traces.figures(), counter()) else { return Vec::new() };
        for (outcome, spans) in
            [("exported", figures.exported), ("dropped", figures.dropped), ("failed", figures.failed)]
        {
            counter.with_label_values(&[outcome]).inc_by(spans);
        }
        counter.collect()
    }
}
