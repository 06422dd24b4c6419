//! Requests to DynamoDB: each attempt, with what it consumed.

use lakebed_kv::{DynamoCall, DynamoWatch};
use prometheus::{CounterVec, HistogramVec, IntCounterVec, Opts, Registry};

use super::{durations, register};

/// What is counted of them.
pub(super) struct Requests {
    took: HistogramVec,
    capacity: CounterVec,
    failures: IntCounterVec,
}

impl Requests {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let labels = &["operation"];
        let took = HistogramVec::new(
            durations("dynamo_request_duration_seconds", "Requests to DynamoDB, each attempt for itself."),
            labels,
        )?;
        let capacity = CounterVec::new(
            Opts::new("dynamo_consumed_capacity_total", "Units of capacity consumed, as DynamoDB says."),
            labels,
        )?;
        let failures = IntCounterVec::new(
            Opts::new(
                "dynamo_failures_total",
                "Requests to DynamoDB without an answer, or refused other than by a condition or another transaction.",
            ),
            labels,
        )?;
        register(registry, &took)?;
        register(registry, &capacity)?;
        register(registry, &failures)?;
        Ok(Self { took, capacity, failures })
    }
}

impl DynamoWatch for Requests {
    fn called(&self, call: DynamoCall) {
        let labels = &[call.operation];
        self.took.with_label_values(labels).observe(call.took.as_secs_f64());
        self.capacity.with_label_values(labels).inc_by(call.capacity.max(0.0));
        // There from the first request on, so that a rate sees the first failure.
        self.failures.with_label_values(labels).inc_by(u64::from(call.failed));
    }
}
