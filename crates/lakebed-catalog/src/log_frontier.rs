//! Where walks of the log stopped, so that the next page goes on there instead of walking from the ref again.
//!
//! The order of the log is that of a walk, and what a walk has still before it cannot be told from the last commit it
//! showed. So it is kept, by that commit, in bounded memory. It is only a shortcut: a page asked for of another server,
//! or a second time, is found by walking from the ref.

use std::collections::HashSet;

use lakebed_core::{CommitId, Incarnation};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Memory for frontiers, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// How many frontiers the cache expects to hold.
const EXPECTED: usize = 64;

/// Which page it is that comes next. The paths asked for do not matter: they choose what is shown, not where the walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct After {
    pub(crate) repository: Incarnation,
    /// The commit the walk began at.
    pub(crate) start: CommitId,
    pub(crate) first_parent: bool,
    /// The last commit shown.
    pub(crate) shown: CommitId,
}

/// A walk that stopped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frontier {
    /// Commits it came to and has not looked at.
    pub(crate) before: Vec<CommitId>,
    /// Every commit it came to.
    pub(crate) seen: HashSet<CommitId>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<After, Frontier> for Bytes {
    fn weight(&self, _: &After, frontier: &Frontier) -> u64 {
        let ids = frontier.before.capacity() + frontier.seen.capacity();
        (ids * (size_of::<CommitId>() + 1) + size_of::<After>() + size_of::<Frontier>()) as u64
    }
}

/// The frontiers of this server.
pub(crate) struct Frontiers(Cache<After, Frontier, Bytes>);

impl Default for Frontiers {
    fn default() -> Self {
        Self(Cache::with_weighter(EXPECTED, MOST_BYTES, Bytes))
    }
}

impl Frontiers {
    /// Takes a walk up again. It is not there a second time: what it has seen is moved, not copied, from page to page.
    pub(crate) fn take(&self, after: &After) -> Option<Frontier> {
        self.0.remove(after).map(|(_, frontier)| frontier)
    }

    /// Keeps a walk for the next page.
    pub(crate) fn keep(&self, after: After, frontier: Frontier) {
        self.0.insert(after, frontier);
    }
}
