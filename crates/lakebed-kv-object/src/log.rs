//! Reading the log, finding its end, and the one step everything rests on: writing the next segment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError, BlockStore, PutOptions, body_from_bytes};
use lakebed_kv::KvError;

use crate::Ticks;
use crate::envelope::{MAX_STORED, unwrap, wrap};
use crate::names::{Kind, Place, Position};
use crate::records::Segment;

/// How the writing of a segment ended.
#[derive(Debug)]
pub(crate) enum Appended {
    /// Ours stands there.
    Mine,
    /// Another's does: this one. Ours does not and never will.
    Taken(Box<Segment>),
}

/// The store and the log in it.
pub(crate) struct Log {
    pub(crate) store: Arc<dyn BlockStore>,
    pub(crate) place: Place,
    pub(crate) ticks: Arc<dyn Ticks>,
}

pub(crate) fn failed(error: impl std::fmt::Display) -> KvError {
    KvError::Engine(error.to_string().into())
}

/// Waits longer after every failure, from a tenth of a second to two.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(Duration::from_millis(100))
    }

    pub(crate) async fn wait(&mut self, ticks: &dyn Ticks) {
        ticks.sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(2));
    }
}

/// Puts an object of any size, if its name is free. Small ones need no stream.
pub(crate) async fn create(
    store: &dyn BlockStore,
    address: &BlockAddress,
    bytes: Bytes,
) -> Result<(), BlockError> {
    let options = PutOptions { if_absent: true, size_hint: Some(bytes.len() as u64) };
    if bytes.len() <= 1 << 20 {
        return store.put_bytes(address, bytes, options).await;
    }
    store.put(address, body_from_bytes(bytes), options).await.map(drop)
}

/// A page of a listing; a directory that is not there is empty.
pub(crate) async fn list(
    store: &dyn BlockStore,
    prefix: &BlockAddress,
    after: Option<&BlockAddress>,
) -> Result<Vec<BlockAddress>, BlockError> {
    match store.list(prefix, after, PAGE).await {
        Ok(page) => Ok(page.into_iter().map(|info| info.address).collect()),
        Err(BlockError::NotFound(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Objects of one page of a listing.
pub(crate) const PAGE: usize = 1000;

impl Log {
    /// Writes a segment at its position, which is free or taken for ever after. Returns only when it is known which: a
    /// write of unknown outcome is resolved by reading what stands there. Never gives up by itself; an error says that
    /// the segment cannot be written at all.
    ///
    /// The caller writes no other segment at this position as long as it lives, so "mine" can be told by the writer.
    pub(crate) async fn append(&self, segment: &Segment, patience: Duration) -> Result<Appended, KvError> {
        let address = self.place.segment(segment.position());
        let stored = wrap(segment).map_err(|why| failed(format_args!("a segment: {why}")))?;
        let mut backoff = Backoff::new();
        loop {
            let put = tokio::select! {
                put = create(&*self.store, &address, stored.clone()) => put,
                // Still under way, perhaps: unknown.
                () = self.ticks.sleep(patience) => Err(BlockError::Unavailable {
                    what: "put",
                    why: format!("no answer within {} s", patience.as_secs()),
                }),
            };
            match put {
                Ok(()) => return Ok(Appended::Mine),
                Err(error @ (BlockError::Refused { .. } | BlockError::Unsupported(_))) => {
                    return Err(failed(error));
                }
                // Taken, and be it by an earlier try of our own; or nobody knows.
                Err(BlockError::Exists(_)) => {}
                Err(error) => tracing::warn!(%error, "a segment of the metadata log: outcome unknown"),
            }
            let found = tokio::select! {
                found = self.read(segment.position()) => found,
                () = self.ticks.sleep(patience) => Ok(None),
            };
            match found {
                Ok(Some(found)) if found.writer == segment.writer => return Ok(Appended::Mine),
                Ok(Some(found)) => return Ok(Appended::Taken(Box::new(found))),
                // Nothing there, or it cannot be seen: the same put again decides.
                Ok(None) => {}
                Err(Reading::Damaged(error)) => return Err(error),
                Err(Reading::Store(error)) => {
                    tracing::warn!(%error, "a segment of the metadata log cannot be read back");
                }
            }
            backoff.wait(&*self.ticks).await;
        }
    }

    /// The segment at a position, if there is one.
    pub(crate) async fn read(&self, position: Position) -> Result<Option<Segment>, Reading> {
        let address = self.place.segment(position);
        let stored = match self.store.get_bytes(&address, MAX_STORED).await {
            Ok(stored) => stored,
            Err(BlockError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(Reading::Store(error)),
        };
        let segment: Segment =
            unwrap(&stored).map_err(|why| Reading::Damaged(failed(format_args!("{address}: {why}"))))?;
        if segment.position() != position {
            let why = format!("{address}: it says to be segment {}", segment.position());
            return Err(Reading::Damaged(failed(why)));
        }
        Ok(Some(segment))
    }

    /// The positions behind `after`, one page of them.
    pub(crate) async fn page(&self, after: Option<Position>) -> Result<Vec<Position>, BlockError> {
        let after = after.map(|after| self.place.segment(after));
        let found = list(&*self.store, &self.place.all(Kind::Log), after.as_ref()).await?;
        Ok(found.iter().filter_map(|address| self.place.position(address)).collect())
    }

    /// The last position behind `after`; `None`: there is none.
    ///
    /// That is the end of the log: a name that was freed by deletion and taken again by a straggler has segments behind
    /// it that came later and are still there, for the last of an epoch is never deleted.
    pub(crate) async fn end(&self, after: Option<Position>) -> Result<Option<Position>, BlockError> {
        let mut last = after;
        loop {
            let page = self.page(last).await?;
            let Some(end) = page.last() else { break };
            last = Some(*end);
            if page.len() < PAGE {
                break;
            }
        }
        Ok(last.filter(|last| Some(*last) != after))
    }
}

/// Why a segment could not be read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The store failed; later it may not.
    Store(BlockError),
    /// It is no segment this version understands.
    Damaged(KvError),
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Damaged(error) => error.fmt(f),
        }
    }
}

impl From<Reading> for KvError {
    fn from(reading: Reading) -> Self {
        match reading {
            Reading::Store(error) => failed(error),
            Reading::Damaged(error) => error,
        }
    }
}
