//! Becoming the active server: waiting until nobody else is, then sealing the last epoch.
//!
//! 1. **Look** for the end of the log, and for segments behind it, until it has been silent for its writer's lease and a
//!    quarter, counted on our clock from when we saw it. Its writer's lease began before it wrote that segment, so it
//!    has run out, unless its clock runs a quarter slower than ours. (An `End` says that its writer has stopped reading
//!    and writing: no wait.)
//! 2. **Seal**: write the segment behind it, if the name is free. It being ours, its former writer will find it taken,
//!    and so will everybody else who waits.
//! 3. **Look again**: the name may have been free because what stood there was already covered by a checkpoint and
//!    deleted, while we slept between 1 and 2. Then later segments are there, for the last of an epoch is never deleted,
//!    and our seal is a piece of garbage that everybody passes over as we do: the log's end is its *last* segment. With
//!    nothing behind it, nothing was deleted either, and the seal is the end of the epoch.
//!
//! So a seal is an answer to "who writes next", decided by the store; clocks decide only when it is asked.

use std::time::Duration;

use bytes::Bytes;
use lakebed_kv::KvError;

use crate::log::{Appended, Backoff, Log, Reading, failed};
use crate::names::Position;
use crate::records::{Purpose, Segment};
use crate::{ObjectConfig, Waiting};

/// Who this server is, as its segments say.
#[derive(Clone)]
pub(crate) struct Me {
    /// Random, for this life.
    pub(crate) writer: Bytes,
    pub(crate) holder: String,
    pub(crate) lease: Duration,
}

impl Me {
    pub(crate) fn new(writer: Bytes, config: &ObjectConfig) -> Self {
        Self { writer, holder: config.holder.clone(), lease: config.lease }
    }

    /// A segment of ours without changes behind what is known of the log.
    pub(crate) fn segment(&self, position: Position, purpose: Purpose, known: &Segment) -> Segment {
        Segment {
            epoch: position.epoch,
            sequence: position.sequence,
            writer: self.writer.clone(),
            holder: self.holder.clone(),
            purpose: purpose.into(),
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            covered: known.covered,
            manifest: known.manifest.clone(),
            version: known.version,
            changes: Vec::new(),
        }
    }

    /// How long a put may take before its outcome is looked up.
    pub(crate) fn patience(&self) -> Duration {
        self.lease.max(Duration::from_secs(10))
    }
}

/// An election that was won.
pub(crate) struct Won {
    /// The seal that stands.
    pub(crate) seal: Segment,
    /// When we began to write it.
    pub(crate) begun: Duration,
}

/// How long the writer of a segment is waited for after it was seen.
fn silence(segment: &Segment) -> Duration {
    Duration::from_millis(segment.lease_ms.saturating_add(segment.lease_ms / 4))
}

/// The end of the log as last seen, and since when.
struct Seen {
    end: Segment,
    at: Duration,
}

/// Stands by until this server is the active one.
pub(crate) async fn stand(
    log: &Log,
    me: &Me,
    waiting: &(dyn Fn(Waiting) + Send + Sync),
) -> Result<Won, KvError> {
    let ticks = &log.ticks;
    // Often enough that a clean stop is noticed at once, seldom enough to cost nothing.
    let pause = (me.lease / 8).min(Duration::from_secs(1));
    let mut backoff = Backoff::new();
    let mut seen: Option<Seen> = None;
    loop {
        let moved = match follow(log, seen.as_ref()).await {
            Ok(moved) => moved,
            Err(Reading::Damaged(error)) => return Err(error),
            Err(error @ Reading::Store(_)) => {
                waiting(Waiting::Store(error.to_string()));
                backoff.wait(&**ticks).await;
                continue;
            }
        };
        backoff = Backoff::new();
        if let Some(end) = moved {
            seen = Some(Seen { end, at: ticks.now() });
        }
        let next = match &seen {
            None => Position::FIRST,
            Some(Seen { end, at }) => {
                let silent = ticks.now().saturating_sub(*at);
                if end.purpose() != Purpose::End && silent < silence(end) {
                    waiting(Waiting::For(end.holder.clone()));
                    ticks.sleep(pause).await;
                    continue;
                }
                end.next()
            }
        };
        let known = seen.as_ref().map_or_else(Segment::default, |seen| seen.end.clone());
        let seal = me.segment(next, Purpose::Seal, &known);
        let begun = ticks.now();
        if matches!(log.append(&seal, me.patience()).await?, Appended::Taken(_)) {
            // Somebody is alive, or was faster.
            continue;
        }
        if stands(log, next).await {
            return Ok(Won { seal, begun });
        }
        tracing::info!(%next, "a seal of the metadata log came late: the log has gone on");
    }
}

/// The new end of the log, if it has moved.
async fn follow(log: &Log, seen: Option<&Seen>) -> Result<Option<Segment>, Reading> {
    let known = seen.map(|seen| seen.end.position());
    let Some(end) = log.end(known).await.map_err(Reading::Store)? else { return Ok(None) };
    match log.read(end).await? {
        Some(segment) => Ok(Some(segment)),
        // Covered and deleted since it was listed: the log goes on at a pace.
        None => Err(Reading::Store(lakebed_blocks::BlockError::Unavailable {
            what: "read the end of the log",
            why: "it moved on".to_owned(),
        })),
    }
}

/// Whether nothing lies behind the seal just written.
async fn stands(log: &Log, seal: Position) -> bool {
    let mut backoff = Backoff::new();
    loop {
        match log.end(Some(seal)).await {
            Ok(behind) => return behind.is_none(),
            Err(error) => {
                tracing::warn!(error = %failed(error), "the metadata log cannot be listed");
                backoff.wait(&*log.ticks).await;
            }
        }
    }
}
