//! What the stores behind HTTP services share: calls with time limits and repetitions, bodies that are measured as they
//! pass, reads that are taken up again, tokens, names in URLs, XML.

pub(crate) mod announced;
pub(crate) mod client;
pub(crate) mod errors;
pub(crate) mod names;
pub(crate) mod parts;
pub(crate) mod read;
pub(crate) mod token;
pub(crate) mod xml;

use std::sync::Arc;

use lakebed_core::{Clock, Entropy, SystemClock, SystemEntropy};

/// Time and randomness of a store: what it signs is dated, and its repetitions jitter.
#[derive(Clone)]
pub struct Sources {
    /// The time now.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Sources {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}
