//! The lease: until when this server may answer reads.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Ticks;

struct Held {
    /// On our own clock; zero: not held.
    until: Duration,
    /// Why it will never be held again.
    ended: Option<Arc<str>>,
}

/// Held from the beginning of a successful write of a segment, for a time.
///
/// Nobody else may have taken over before it runs out: they wait for longer, from a later moment (when they *saw* that
/// segment, which was after we began to write it).
pub(crate) struct Lease {
    ticks: Arc<dyn Ticks>,
    length: Duration,
    held: Mutex<Held>,
    changed: Notify,
}

/// Whether a state seen before asking may be shown.
pub(crate) enum Standing {
    /// At the moment of asking nobody else was active.
    Held,
    /// Nobody knows; it may come back.
    RunOut,
    /// Never again, for this reason.
    Ended(Arc<str>),
}

impl Lease {
    pub(crate) fn new(ticks: Arc<dyn Ticks>, length: Duration) -> Self {
        Self {
            ticks,
            length,
            held: Mutex::new(Held { until: Duration::ZERO, ended: None }),
            changed: Notify::new(),
        }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// A segment was written by a call that began at `begun`.
    pub(crate) fn renew(&self, begun: Duration) {
        {
            let mut held = self.held.lock();
            held.until = held.until.max(begun + self.length);
        }
        self.changed.notify_waiters();
    }

    /// Ends it for good. The first reason stays.
    pub(crate) fn end(&self, why: &str) {
        self.held.lock().ended.get_or_insert_with(|| why.into());
        self.changed.notify_waiters();
    }

    /// Ask **after** taking a look at the state: what was seen was true if the lease still holds now.
    pub(crate) fn standing(&self) -> Standing {
        let held = self.held.lock();
        match &held.ended {
            Some(why) => Standing::Ended(why.clone()),
            None if self.ticks.now() < held.until => Standing::Held,
            None => Standing::RunOut,
        }
    }

    /// Waits until it is held again or has ended; `false`: neither happened for its whole length.
    pub(crate) async fn wait(&self) -> bool {
        let changed = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if !matches!(self.standing(), Standing::RunOut) {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            biased;
            () = changed => true,
            () = self.ticks.sleep(self.length) => false,
        }
    }

    /// Resolves when it has ended, with the reason.
    pub(crate) async fn ended(&self) -> Arc<str> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(why) = &self.held.lock().ended {
                return why.clone();
            }
            changed.await;
        }
    }
}
