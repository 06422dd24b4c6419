//! Requests: how many, how long, what came of them, by operation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use prometheus::{HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use super::{Held, durations, register};

/// Which door a request went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    S3,
    Rest,
}

/// What is measured at one door. Each has names of its own, for that is what dashboards ask for.
struct Durations {
    whole: HistogramVec,
    first_byte: HistogramVec,
    open: IntGauge,
}

impl Durations {
    fn new(registry: &Registry, prefix: &str, door: &str) -> Result<Self, prometheus::Error> {
        let labels = &["operation", "code"];
        let whole = HistogramVec::new(
            durations(
                &format!("{prefix}_request_duration_seconds"),
                &format!("{door}: until the answer was sent."),
            ),
            labels,
        )?;
        let first_byte = HistogramVec::new(
            durations(
                &format!("{prefix}_request_ttfb_duration_seconds"),
                &format!("{door}: until the answer began."),
            ),
            labels,
        )?;
        let open =
            IntGauge::new(format!("{prefix}_connections"), format!("{door}: requests being answered."))?;
        register(registry, &whole)?;
        register(registry, &first_byte)?;
        register(registry, &open)?;
        Ok(Self { whole, first_byte, open })
    }
}

/// What is counted of requests.
pub(super) struct Requests {
    rest_total: IntCounterVec,
    rest: Durations,
    s3: Durations,
}

impl Requests {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("api_requests_total", "REST: requests answered.");
        let rest_total = IntCounterVec::new(opts, &["code", "method"])?;
        register(registry, &rest_total)?;
        let rest = Durations::new(registry, "api", "REST")?;
        let s3 = Durations::new(registry, "gateway", "S3")?;
        Ok(Self { rest_total, rest, s3 })
    }

    fn of(&self, door: Door) -> &Durations {
        match door {
            Door::Rest => &self.rest,
            Door::S3 => &self.s3,
        }
    }
}

/// A request that is being answered.
pub(crate) struct Request {
    requests: Arc<Requests>,
    door: Door,
    begun: Instant,
    _open: Held,
}

impl Request {
    pub(super) fn begin(requests: Arc<Requests>, door: Door) -> Self {
        let open = Held::up(requests.of(door).open.clone());
        Self { requests, door, begun: Instant::now(), _open: open }
    }

    /// Since it began.
    pub(crate) fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What became of it, once that is known. `began`: when the answer did, if it did.
    pub(crate) fn ended(
        &self,
        method: &Method,
        status: StatusCode,
        operation: &str,
        began: Option<Duration>,
    ) {
        let durations = self.requests.of(self.door);
        let labels = [operation, status.as_str()];
        if let Some(began) = began {
            durations.first_byte.with_label_values(&labels).observe(began.as_secs_f64());
        }
        durations.whole.with_label_values(&labels).observe(self.took().as_secs_f64());
        if self.door == Door::Rest {
            self.requests.rest_total.with_label_values(&[status.as_str(), method_label(method)]).inc();
        }
    }
}

/// A client may send any word for a method; not each of them becomes a series.
pub(crate) fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE | Method::PATCH => {
            method.as_str()
        }
        _ => "other",
    }
}
