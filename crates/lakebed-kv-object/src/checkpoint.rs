//! Writing a checkpoint: the changed rows laid over the pieces they fall in. Pieces without changes stay as they are, so
//! the cost follows the change; one old piece and one new are in memory at a time, and a few on their way to the store.

use std::iter::Peekable;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lakebed_blocks::{BlockError, BlockStore};
use lakebed_core::Entropy;
use lakebed_kv::{Key, KvError};

use crate::envelope::wrap;
use crate::log::{create, failed};
use crate::names::{Kind, Place, fresh};
use crate::pieces::{Missing, Pieces};
use crate::records::{Manifest, Piece, PieceRef, PieceRow};
use crate::state::{Changed, Changes};

/// A piece is closed at this many bytes.
pub(crate) const TARGET: usize = 256 << 10;

/// Pieces on their way to the store at once.
const UPLOADS: usize = 4;

/// What a checkpoint is written with.
pub(crate) struct Workshop<'a> {
    pub(crate) store: &'a dyn BlockStore,
    pub(crate) place: &'a Place,
    pub(crate) pieces: &'a Pieces,
    pub(crate) entropy: &'a dyn Entropy,
    pub(crate) epoch: u64,
}

/// A checkpoint whose objects are durable. It counts when a segment names it.
pub(crate) struct Checkpoint {
    /// Empty: there are no rows.
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
}

/// Lays `changes` over `base`.
pub(crate) async fn write(
    workshop: &Workshop<'_>,
    base: &Manifest,
    changes: &Changes,
) -> Result<Checkpoint, KvError> {
    let mut changes = changes.iter().peekable();
    let mut out =
        Out { workshop, open: Vec::new(), bytes: 0, refs: Vec::new(), uploads: FuturesUnordered::new() };
    for (at, old) in base.pieces.iter().enumerate() {
        let end = base.pieces.get(at + 1).map(|next| &next.first);
        let inside = |key: &Key| end.is_none_or(|end| key < end);
        let touched = changes.peek().is_some_and(|(key, _)| inside(key));
        if !touched && !out.takes(old) {
            out.close().await?;
            out.refs.push((old.clone(), false));
            continue;
        }
        out.reopen(old).await?;
        let rows = load(workshop, old).await?;
        for row in &rows.rows {
            while let Some((key, _)) = changes.peek()
                && **key < row.key
            {
                out.add_next(&mut changes).await?;
            }
            if changes.peek().is_some_and(|(key, _)| **key == row.key) {
                out.add_next(&mut changes).await?;
            } else {
                out.add(row.clone()).await?;
            }
        }
        while changes.peek().is_some_and(|(key, _)| inside(key)) {
            out.add_next(&mut changes).await?;
        }
    }
    while changes.peek().is_some() {
        out.add_next(&mut changes).await?;
    }
    let manifest = out.finish().await?;
    if manifest.pieces.is_empty() {
        return Ok(Checkpoint { name: String::new(), manifest });
    }
    let name = fresh(workshop.epoch, workshop.entropy);
    let stored = wrap(&manifest).map_err(|why| failed(format_args!("the manifest: {why}")))?;
    put(workshop, Kind::Manifests, &name, stored).await?;
    Ok(Checkpoint { name, manifest })
}

async fn load(workshop: &Workshop<'_>, piece: &PieceRef) -> Result<Arc<Piece>, KvError> {
    workshop.pieces.load(&piece.name).await.map_err(|missing| match missing {
        Missing::Replaced => failed(format_args!("piece '{}' is missing from the object store", piece.name)),
        Missing::Failed(error) => error,
    })
}

/// An object under a name of its own: if it is there, an earlier try of ours has made it.
async fn put(workshop: &Workshop<'_>, kind: Kind, name: &str, stored: bytes::Bytes) -> Result<(), KvError> {
    match create(workshop.store, &workshop.place.object(kind, name), stored).await {
        Ok(()) | Err(BlockError::Exists(_)) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

type Upload<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), KvError>> + Send + 'a>>;

struct Out<'a> {
    workshop: &'a Workshop<'a>,
    open: Vec<PieceRow>,
    bytes: usize,
    /// Pieces so far, and whether each is new.
    refs: Vec<(PieceRef, bool)>,
    uploads: FuturesUnordered<Upload<'a>>,
}

impl Out<'_> {
    /// Whether an old piece without changes is better joined to the open one than left to itself: both together are one.
    fn takes(&self, old: &PieceRef) -> bool {
        !self.open.is_empty() && self.bytes + old.bytes as usize <= TARGET
    }

    /// Takes the piece before back in if it and the next one are small: else pieces would only ever shrink.
    async fn reopen(&mut self, next: &PieceRef) -> Result<(), KvError> {
        if self.open.is_empty()
            && let Some((last, false)) = self.refs.last()
            && last.bytes + next.bytes <= TARGET as u64
        {
            let rows = load(self.workshop, last).await?;
            self.refs.pop();
            for row in &rows.rows {
                self.add(row.clone()).await?;
            }
        }
        Ok(())
    }

    async fn add_next<'c>(
        &mut self,
        changes: &mut Peekable<impl Iterator<Item = (&'c Key, &'c Changed)>>,
    ) -> Result<(), KvError> {
        match changes.next() {
            Some((key, Changed { version, value: Some(value) })) => {
                self.add(PieceRow { key: key.clone(), value: value.clone(), version: *version }).await
            }
            _ => Ok(()),
        }
    }

    async fn add(&mut self, row: PieceRow) -> Result<(), KvError> {
        self.bytes += row.weight();
        self.open.push(row);
        if self.bytes >= TARGET { self.close().await } else { Ok(()) }
    }

    async fn close(&mut self) -> Result<(), KvError> {
        let rows = std::mem::take(&mut self.open);
        let bytes = std::mem::take(&mut self.bytes) as u64;
        let Some(first) = rows.first().map(|row| row.key.clone()) else { return Ok(()) };
        let name = fresh(self.workshop.epoch, self.workshop.entropy);
        let piece = Piece { rows };
        let stored = wrap(&piece).map_err(|why| failed(format_args!("a piece: {why}")))?;
        // What is kept in the cache must not hold on to the pieces it was made from.
        let kept = crate::envelope::unwrap(&stored).map_err(|why| failed(format_args!("a piece: {why}")))?;
        self.workshop.pieces.keep(&name, Arc::new(kept));
        self.refs.push((PieceRef { name: name.clone(), first, bytes }, true));
        let workshop = self.workshop;
        self.uploads.push(Box::pin(async move { put(workshop, Kind::Pieces, &name, stored).await }));
        while self.uploads.len() >= UPLOADS {
            self.uploads.next().await.transpose()?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Manifest, KvError> {
        self.close().await?;
        while let Some(done) = self.uploads.next().await {
            done?;
        }
        Ok(Manifest { pieces: self.refs.into_iter().map(|(piece, _)| piece).collect() })
    }
}
