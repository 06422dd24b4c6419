//! What an operator may want to know of a catalog at work: its caches, and how operations wait for their turn on a branch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Catalog, keys};

/// One who counts what happens. Called from within operations: must be quick.
pub trait Observer: Send + Sync + 'static {
    /// An operation began to wait for its turn to move a branch's head.
    fn queued(&self);

    /// It has its turn after this time, or gave up.
    fn left_queue(&self, waited: Duration);
}

/// How one of the caches is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheFigures {
    /// Which: `nodes`, `commits`, `branches`, `repositories`.
    pub tier: &'static str,
    /// Look-ups that found something.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Bytes in it, if they are known; the others are bounded by their number of entries.
    pub bytes: Option<u64>,
    /// Entries in it.
    pub entries: u64,
}

/// Tells the observer that waiting is over, also if the operation is given up.
pub(crate) struct Waiting<'a> {
    pub(crate) observer: Option<&'a Arc<dyn Observer>>,
    pub(crate) since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer {
            observer.left_queue(self.since.elapsed());
        }
    }
}

impl Catalog {
    /// From now on this one is told what happens. Only the first is.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.inner.observer.set(observer);
    }

    /// How the caches are used.
    pub fn caches(&self) -> Vec<CacheFigures> {
        self.inner.caches().to_vec()
    }

    /// Rows that an engine may drop once their guard is gone: what is staged in a layer goes with its descriptor.
    pub const GUARDED: lakebed_kv::Guarded = keys::STAGED;

    /// What kind of record has this key of the engine, for who counts refused transactions.
    pub fn kind_of(key: &[u8]) -> &'static str {
        keys::kind_of(key)
    }
}
