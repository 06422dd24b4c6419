//! What happens in the catalog: its caches, and who waits for a branch.

use std::sync::Arc;
use std::time::Duration;

use lakebed_catalog::{Catalog, Observer};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, IntGauge, IntGaugeVec, Opts, Registry};

use super::{durations, register};

/// Registers the metrics of a catalog.
pub(super) fn count(registry: &Registry, catalog: &Catalog) -> Result<(), prometheus::Error> {
    let queues = Queues {
        depth: IntGauge::new(
            "branch_queue_depth",
            "Operations of this server that wait for their turn to move a branch.",
        )?,
        waited: Histogram::with_opts(durations(
            "branch_queue_wait_seconds",
            "How long operations waited for their turn to move a branch.",
        ))?,
    };
    register(registry, &queues.depth)?;
    register(registry, &queues.waited)?;
    catalog.observe(Arc::new(queues));
    registry.register(Box::new(Caches::new(catalog.clone())?))
}

struct Queues {
    depth: IntGauge,
    waited: Histogram,
}

impl Observer for Queues {
    fn queued(&self) {
        self.depth.inc();
    }

    fn left_queue(&self, waited: Duration) {
        self.depth.dec();
        self.waited.observe(waited.as_secs_f64());
    }
}

/// Asks the caches when somebody asks for the metrics.
struct Caches {
    catalog: Catalog,
    hits: IntGaugeVec,
    misses: IntGaugeVec,
    bytes: IntGaugeVec,
}

impl Caches {
    fn new(catalog: Catalog) -> Result<Self, prometheus::Error> {
        let of_tier = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["tier"]);
        Ok(Self {
            catalog,
            hits: of_tier(
                "metadata_cache_hits",
                "Look-ups in a cache that found something, since the start.",
            )?,
            misses: of_tier("metadata_cache_misses", "Look-ups in a cache that did not, since the start.")?,
            bytes: of_tier("metadata_cache_bytes", "Bytes in a cache.")?,
        })
    }
}

impl Collector for Caches {
    fn desc(&self) -> Vec<&Desc> {
        [&self.hits, &self.misses, &self.bytes].into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for cache in self.catalog.caches() {
            let tier = &[cache.tier];
            self.hits.with_label_values(tier).set(number(cache.hits));
            self.misses.with_label_values(tier).set(number(cache.misses));
            if let Some(bytes) = cache.bytes {
                self.bytes.with_label_values(tier).set(number(bytes));
            }
        }
        [&self.hits, &self.misses, &self.bytes].into_iter().flat_map(Collector::collect).collect()
    }
}
