//! Whether this server is to be sent requests (`operations.md` §3.1, Beyond): `/_health/live` says that the process runs,
//! `/_health/ready` that the engines below answer and that it is not about to stop.
//!
//! Anybody may ask, and as often as they like: what is asked of the engines is asked once at a time, with a deadline, and
//! remembered for a while. The answers name what fails and not why, which is in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use lakebed_catalog::{Catalog, CatalogError};
use lakebed_http::AnswerBody;
use parking_lot::Mutex as Cell;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::router::text;

/// How long the key-value engine may take for a read and a conditional write.
const DATABASE_DEADLINE: Duration = Duration::from_secs(1);

/// How long what it said holds: a server is probed by several, and each probe of ours is a durable write.
const DATABASE_HOLDS: Duration = Duration::from_secs(1);

/// How long the object store may take.
const STORE_DEADLINE: Duration = Duration::from_secs(3);

/// How long it holds that the object store answers.
const STORE_HOLDS: Duration = Duration::from_secs(30);

/// How long it holds that it does not: it is asked again soon, for a server without traffic cannot find out otherwise.
const STORE_FAILURE_HOLDS: Duration = Duration::from_secs(3);

/// Whoever asked for readiness within this time still does.
const WATCHED: Duration = Duration::from_mins(1);

/// Whether a path asks only if the process runs: answered with 200 whatever the engines say, and by a server that stands by.
pub(crate) fn is_liveness(path: &str) -> bool {
    matches!(path, "/_health" | "/_health/" | "/_health/live")
}

/// The readiness of a server. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Health(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    draining: AtomicBool,
    breaking_off: AtomicBool,
    /// When somebody last asked whether the server is ready.
    asked: Cell<Option<Instant>>,
    database: Mutex<Option<Probed>>,
    store: Mutex<Option<Probed>>,
}

/// What a probe said.
#[derive(Clone, Copy)]
struct Probed {
    at: Instant,
    /// What fails, if something does.
    failing: Option<&'static str>,
}

impl Health {
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self(Arc::new(Inner {
            catalog,
            draining: AtomicBool::new(false),
            breaking_off: AtomicBool::new(false),
            asked: Cell::default(),
            database: Mutex::default(),
            store: Mutex::default(),
        }))
    }

    /// From now on the server is not ready, whatever the engines say.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether it is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// From now on requests end because the server does.
    pub(crate) fn break_off(&self) {
        self.0.breaking_off.store(true, Ordering::Release);
    }

    /// Whether what ends before it was answered is broken off by the server.
    pub(crate) fn is_breaking_off(&self) -> bool {
        self.0.breaking_off.load(Ordering::Acquire)
    }

    /// Whether somebody watches readiness, who would notice that it fails.
    pub(crate) fn is_watched(&self) -> bool {
        self.0.asked.lock().is_some_and(|at| at.elapsed() < WATCHED)
    }

    /// The answer to `/_health/ready`.
    pub(crate) async fn ready(&self) -> Response<AnswerBody> {
        *self.0.asked.lock() = Some(Instant::now());
        let catalog = &self.0.catalog;
        let draining = self.is_draining();
        let (database, store) = if draining {
            (None, None)
        } else {
            tokio::join!(
                probed(
                    &self.0.database,
                    "the key-value engine does not answer",
                    DATABASE_DEADLINE,
                    [DATABASE_HOLDS; 2],
                    || catalog.probe_database()
                ),
                probed(
                    &self.0.store,
                    "the object store does not answer",
                    STORE_DEADLINE,
                    [STORE_HOLDS, STORE_FAILURE_HOLDS],
                    || catalog.probe_store()
                ),
            )
        };
        let ready = !draining && database.is_none() && store.is_none();
        let state =
            |failing: Option<&'static str>| failing.unwrap_or(if draining { "not asked" } else { "ok" });
        // Only our own words are in it: nothing needs to be escaped.
        let body = format!(
            "{{\"ready\":{ready},\"draining\":{draining},\"database\":\"{}\",\"blockstore\":\"{}\"}}\n",
            state(database),
            state(store)
        );
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response = text(status, "application/json", body);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// What a probe says, asked anew if what it said last no longer holds: `holds` is for how long, well and badly.
async fn probed<F: Future<Output = Result<(), CatalogError>>>(
    last: &Mutex<Option<Probed>>,
    failure: &'static str,
    deadline: Duration,
    holds: [Duration; 2],
    probe: impl FnOnce() -> F,
) -> Option<&'static str> {
    // Whoever comes meanwhile waits for this answer and takes it.
    let mut last = last.lock().await;
    if let Some(said) = &*last
        && said.at.elapsed() < holds[usize::from(said.failing.is_some())]
    {
        return said.failing;
    }
    let failing = match tokio::time::timeout(deadline, probe()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: {failure}");
            Some(failure)
        }
        Err(_) => {
            tracing::warn!("not ready: {failure} within {deadline:?}");
            Some(failure)
        }
    };
    *last = Some(Probed { at: Instant::now(), failing });
    failing
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use lakebed_catalog::ErrorKind;

    use super::*;

    const WHAT: &str = "it";

    async fn ask(last: &Mutex<Option<Probed>>, asked: &AtomicUsize, answers: bool) -> Option<&'static str> {
        let second = Duration::from_secs(1);
        probed(last, WHAT, second, [30 * second, 3 * second], || async move {
            asked.fetch_add(1, Ordering::Relaxed);
            if answers { Ok(()) } else { Err(CatalogError::refused(ErrorKind::Busy, "broken")) }
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_probe_said_holds_for_a_while() {
        let (last, asked) = (Mutex::default(), AtomicUsize::new(0));
        for _ in 0..5 {
            assert_eq!(ask(&last, &asked, true).await, None);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(ask(&last, &asked, false).await, None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(ask(&last, &asked, false).await, Some(WHAT));
        assert_eq!(
            ask(&last, &asked, true).await,
            Some(WHAT),
            "failures are asked for again soon, not at once"
        );
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(ask(&last, &asked, true).await, None);
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_fails_at_its_deadline() {
        let last = Mutex::default();
        let second = Duration::from_secs(1);
        let hangs = || probed(&last, WHAT, second, [second; 2], std::future::pending);
        let begun = Instant::now();
        assert_eq!(tokio::join!(hangs(), hangs()), (Some(WHAT), Some(WHAT)));
        assert_eq!(begun.elapsed(), second, "both were told by one probe");
    }
}
