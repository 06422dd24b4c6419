//! Deleting what nothing needs any more. Everything here may be late, lost, repeated, or done by a server that was fenced
//! meanwhile and does not know: no name deleted is ever needed again.
//!
//! - Pieces and manifests are deleted when the segment that names their successor is written, which a fenced server
//!   cannot do; their names are never used twice.
//! - Segments a checkpoint covers are deleted, but for the last of each epoch, which fences that epoch's server.
//! - What crashed or fenced servers left is found by listing: pieces and manifests of *earlier* epochs than ours that the
//!   present manifest does not name. Those of later epochs we know nothing of.

use std::collections::HashSet;

use lakebed_blocks::{BlockAddress, BlockError, BlockStore};

use crate::log::{PAGE, list};
use crate::names::{Kind, Place, Position, epoch_of};
use crate::records::Manifest;

/// A published checkpoint, and whose.
pub(crate) struct Published<'a> {
    pub(crate) epoch: u64,
    /// Segments up to this sequence are in it.
    pub(crate) covered: u64,
    pub(crate) name: &'a str,
    pub(crate) manifest: &'a Manifest,
}

/// Objects deleted in one call.
const BATCH: usize = 500;

/// Deletes; what fails is found again by the next sweep.
pub(crate) async fn delete(store: &dyn BlockStore, addresses: &[BlockAddress]) {
    for batch in addresses.chunks(BATCH) {
        let failed = store.delete(batch).await.into_iter().find_map(Result::err);
        if let Some(error) = failed {
            tracing::warn!(%error, "old metadata could not be deleted: it is tried again later");
        }
    }
}

/// Deletes our own segments `from..=to`, all covered.
pub(crate) async fn segments(store: &dyn BlockStore, place: &Place, epoch: u64, from: u64, to: u64) {
    let mut at = from;
    while at <= to {
        let end = to.min(at + BATCH as u64 - 1);
        let addresses: Vec<BlockAddress> =
            (at..=end).map(|sequence| place.segment(Position { epoch, sequence })).collect();
        delete(store, &addresses).await;
        at = end + 1;
    }
}

/// Finds by listing what nothing needs and deletes it. Only while no checkpoint of ours is being written.
pub(crate) async fn everything(
    store: &dyn BlockStore,
    place: &Place,
    published: &Published<'_>,
) -> Result<(), BlockError> {
    let live: HashSet<&str> = published.manifest.pieces.iter().map(|piece| &*piece.name).collect();
    let kept = |kind, name: &str| match kind {
        Kind::Pieces => live.contains(name),
        _ => name == published.name,
    };
    for kind in [Kind::Pieces, Kind::Manifests] {
        let mut after = None;
        loop {
            let page = list(store, &place.all(kind), after.as_ref()).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            let garbage: Vec<BlockAddress> = page
                .iter()
                .filter(|address| {
                    place.name(kind, address).is_some_and(|name| {
                        epoch_of(name).is_some_and(|epoch| epoch <= published.epoch) && !kept(kind, name)
                    })
                })
                .cloned()
                .collect();
            delete(store, &garbage).await;
            if page.len() < PAGE {
                break;
            }
        }
    }
    old_segments(store, place, published).await
}

async fn old_segments(
    store: &dyn BlockStore,
    place: &Place,
    published: &Published<'_>,
) -> Result<(), BlockError> {
    let mut after: Option<BlockAddress> = None;
    // Of each epoch the last one listed stays: whether one is the last shows when the next is seen.
    let mut before: Option<Position> = None;
    loop {
        let page = list(store, &place.all(Kind::Log), after.as_ref()).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        let mut garbage = Vec::new();
        for position in page.iter().filter_map(|address| place.position(address)) {
            if position.sequence > published.covered {
                delete(store, &garbage).await;
                return Ok(());
            }
            if let Some(old) = before.replace(position)
                && old.epoch == position.epoch
            {
                garbage.push(place.segment(old));
            }
        }
        delete(store, &garbage).await;
        if page.len() < PAGE {
            break;
        }
    }
    Ok(())
}
