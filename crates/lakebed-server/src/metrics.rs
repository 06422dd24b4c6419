//! Counters in Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// Which door a request went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    S3,
    Rest,
    Other,
}

const DOORS: [(Door, &str); 3] = [(Door::S3, "s3"), (Door::Rest, "rest"), (Door::Other, "other")];

#[derive(Default)]
struct DoorMetrics {
    /// Answers by the first digit of their status.
    by_class: [AtomicU64; 6],
    buckets: [AtomicU64; BUCKETS.len()],
    micros: AtomicU64,
}

/// What was served so far.
#[derive(Default)]
pub(crate) struct Metrics {
    doors: [DoorMetrics; DOORS.len()],
    pub(crate) in_flight: AtomicU64,
}

impl Metrics {
    /// Counts an answer and the time until its head was ready.
    pub(crate) fn count(&self, door: Door, status: http::StatusCode, took: Duration) {
        let metrics = &self.doors[door as usize];
        metrics.by_class[usize::from(status.as_u16() / 100).min(5)].fetch_add(1, Ordering::Relaxed);
        metrics.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(at) = BUCKETS.iter().position(|bound| took.as_secs_f64() <= *bound) {
            metrics.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The exposition.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# TYPE lakebed_requests_total counter");
        for (door, name) in DOORS {
            for (class, counter) in self.doors[door as usize].by_class.iter().enumerate().skip(1) {
                let _ = writeln!(
                    out,
                    "lakebed_requests_total{{door=\"{name}\",code=\"{class}xx\"}} {}",
                    load(counter)
                );
            }
        }
        let _ = writeln!(out, "# TYPE lakebed_request_duration_seconds histogram");
        for (door, name) in DOORS {
            let metrics = &self.doors[door as usize];
            let mut sum = 0;
            for (bound, counter) in BUCKETS.iter().zip(&metrics.buckets) {
                sum += load(counter);
                let _ = writeln!(
                    out,
                    "lakebed_request_duration_seconds_bucket{{door=\"{name}\",le=\"{bound}\"}} {sum}"
                );
            }
            let total: u64 = metrics.by_class.iter().map(load).sum();
            let _ = writeln!(
                out,
                "lakebed_request_duration_seconds_bucket{{door=\"{name}\",le=\"+Inf\"}} {total}"
            );
            let seconds = load(&metrics.micros) as f64 / 1e6;
            let _ = writeln!(out, "lakebed_request_duration_seconds_sum{{door=\"{name}\"}} {seconds}");
            let _ = writeln!(out, "lakebed_request_duration_seconds_count{{door=\"{name}\"}} {total}");
        }
        let _ = writeln!(out, "# TYPE lakebed_requests_in_flight gauge");
        let _ = writeln!(out, "lakebed_requests_in_flight {}", load(&self.in_flight));
        out
    }
}
