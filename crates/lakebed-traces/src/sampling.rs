//! Which requests are traced.

use opentelemetry::trace::{SpanContext, SpanKind, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample};

/// A share of the requests; of those that are part of a trace already, as their sender decided, unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    ratio: f64,
    asks_parent: bool,
}

/// No share of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number from 0 (none) to 1 (all)")]
pub struct BadRatio;

impl Sampling {
    /// This share (0 to 1) of what nobody traces yet. `asks_parent`: whether a request that is part of a trace follows its
    /// sender's decision; otherwise the share is of these as well.
    ///
    /// # Errors
    ///
    /// The share is none.
    pub fn new(ratio: f64, asks_parent: bool) -> Result<Self, BadRatio> {
        if (0.0..=1.0).contains(&ratio) { Ok(Self { ratio, asks_parent }) } else { Err(BadRatio) }
    }

    /// Whether a request that goes on in this trace is traced; one of an invalid context belongs to none.
    pub(crate) fn takes(self, parent: &SpanContext) -> bool {
        if !parent.is_valid() {
            return self.takes_new();
        }
        if self.asks_parent { parent.is_sampled() } else { self.takes_trace(parent.trace_id()) }
    }

    /// Whether what begins a trace of its own is traced.
    pub(crate) fn takes_new(self) -> bool {
        // The trace gets another id than this one: it is as random.
        self.takes_trace(RandomIdGenerator::default().new_trace_id())
    }

    fn takes_trace(self, id: TraceId) -> bool {
        let sampler = Sampler::TraceIdRatioBased(self.ratio);
        let result = sampler.should_sample(None, id, "", &SpanKind::Internal, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceFlags, TraceState};

    use super::*;

    fn parent(id: u128, sampled: bool) -> SpanContext {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        SpanContext::new(id.into(), SpanId::from(7), flags, true, TraceState::default())
    }

    fn of(ratio: f64, asks_parent: bool) -> Sampling {
        Sampling::new(ratio, asks_parent).unwrap()
    }

    #[test]
    fn a_sender_decides_for_what_it_sends() {
        for ratio in [0.0, 0.5, 1.0] {
            assert!(of(ratio, true).takes(&parent(1, true)));
            assert!(!of(ratio, true).takes(&parent(1, false)));
        }
        assert!(of(1.0, false).takes(&parent(1, false)));
        assert!(!of(0.0, false).takes(&parent(1, true)));
    }

    #[test]
    fn servers_with_the_same_share_take_the_same_traces() {
        let half = of(0.5, false);
        let taken = (0..64_u128).filter(|n| half.takes(&parent((1 << 100) + (n << 58), false))).count();
        assert_eq!(taken, 32);
    }

    #[test]
    fn what_nobody_traces_is_taken_by_its_share() {
        let nobody = SpanContext::NONE;
        assert!((0..100).all(|_| of(1.0, true).takes(&nobody)));
        assert!(!(0..100).any(|_| of(0.0, true).takes(&nobody)));
    }

    #[test]
    fn a_share_is_a_share() {
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Sampling::new(bad, true), Err(BadRatio), "{bad}");
        }
    }
}
