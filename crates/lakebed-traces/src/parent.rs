//! The trace that a request says it belongs to: W3C `traceparent` and `tracestate`.

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::Inner;

/// The most of a `tracestate` that is kept: what the specification asks for. It goes with every span.
const LONGEST_STATE: usize = 512;

/// The two headers, each if there is one of it and it is not too long.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        (values.next().is_none() && value.len() <= LONGEST_STATE).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// The place of a request with these headers; `None` if it is not traced.
pub(crate) fn of(traces: &Inner, headers: &HeaderMap) -> Option<Context> {
    // Not what this thread is in: a request comes from outside.
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    traces.sampling.takes(context.span().span_context()).then_some(context)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::Sampling;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn place(headers: &[(&'static str, &str)], ratio: f64) -> Option<Context> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let sampling = Sampling::new(ratio, true).unwrap();
        of(&Inner { sampling, figures: Arc::default(), paths: false }, &map)
    }

    fn trace_of(headers: &[(&'static str, &str)]) -> Option<String> {
        let context = place(headers, 1.0)?;
        let parent = context.span().span_context().clone();
        parent.is_valid().then(|| parent.trace_id().to_string())
    }

    #[test]
    fn a_request_goes_on_in_its_senders_trace() {
        assert_eq!(trace_of(&[("traceparent", PARENT)]).unwrap(), "0af7651916cd43dd8448eb211c80319c");
        let context = place(&[("traceparent", PARENT), ("tracestate", "a=1,b=2")], 0.0).unwrap();
        assert_eq!(context.span().span_context().trace_state().header(), "a=1,b=2");
        let unwanted = PARENT.replace("-01", "-00");
        assert!(place(&[("traceparent", &unwanted)], 1.0).is_none());
    }

    #[test]
    fn what_is_malformed_counts_as_absent() {
        let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let upper = PARENT.to_uppercase();
        let long = format!("{PARENT}-{}", "0".repeat(600));
        for bad in ["", "00", "x", zero, upper.as_str(), long.as_str(), &PARENT[..54], "00-é-1-01"] {
            assert_eq!(trace_of(&[("traceparent", bad)]), None, "{bad}");
            assert!(place(&[("traceparent", bad)], 0.0).is_none(), "{bad}");
        }
        assert_eq!(trace_of(&[("traceparent", PARENT), ("traceparent", PARENT)]), None);
    }

    #[test]
    fn a_long_state_is_not_kept() {
        let state = format!("a={}", "x".repeat(600));
        let context = place(&[("traceparent", PARENT), ("tracestate", &state)], 1.0).unwrap();
        assert_eq!(context.span().span_context().trace_state().header(), "");
        assert!(context.span().span_context().is_valid());
    }
}
