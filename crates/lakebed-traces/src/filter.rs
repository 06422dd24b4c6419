//! Which spans are made.

use lakebed_core::traces::{REQUEST_SPAN, SPAN, WORK_SPAN};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::Sampling;

/// Only spans of ours, and within a request or work that is traced: all spans of a trace are made or none is.
pub(crate) struct Wanted {
    pub(crate) sampling: Sampling,
}

impl<S> Filter<S> for Wanted
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn enabled(&self, span: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        match span.target() {
            // Only spans that this filter let through are looked up.
            SPAN => context.lookup_current().is_some(),
            REQUEST_SPAN => true,
            WORK_SPAN => self.sampling.takes_new(),
            _ => false,
        }
    }

    fn callsite_enabled(&self, span: &'static Metadata<'static>) -> Interest {
        let ours = [SPAN, REQUEST_SPAN, WORK_SPAN].contains(&span.target());
        if ours && span.is_span() { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}
