//! Reading pieces, through a bounded cache.

use std::sync::Arc;

use bytes::Bytes;
use lakebed_blocks::{BlockError, BlockStore};
use lakebed_kv::KvError;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::envelope::{MAX_STORED, unwrap};
use crate::log::failed;
use crate::names::{Kind, Place};
use crate::records::{Manifest, Piece, PieceRow};

#[derive(Clone)]
struct Cached {
    piece: Arc<Piece>,
    weight: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Arc<str>, Cached> for ByBytes {
    fn weight(&self, name: &Arc<str>, cached: &Cached) -> u64 {
        cached.weight + name.len() as u64
    }
}

/// Why a piece cannot be had.
#[derive(Debug)]
pub(crate) enum Missing {
    /// It is gone: a later checkpoint has replaced it. Look again.
    Replaced,
    Failed(KvError),
}

/// The pieces of a store.
pub(crate) struct Pieces {
    store: Arc<dyn BlockStore>,
    place: Place,
    cache: Cache<Arc<str>, Cached, ByBytes>,
}

impl Pieces {
    pub(crate) fn new(store: Arc<dyn BlockStore>, place: Place, cache_bytes: u64) -> Self {
        let expected = usize::try_from(cache_bytes >> 18).unwrap_or(usize::MAX).max(16);
        Self { store, place, cache: Cache::with_weighter(expected, cache_bytes, ByBytes) }
    }

    /// One piece, from the cache or the store; many that want the same wait for one read.
    pub(crate) async fn load(&self, name: &str) -> Result<Arc<Piece>, Missing> {
        let name: Arc<str> = name.into();
        let load = async {
            let address = self.place.object(Kind::Pieces, &name);
            let stored = self.store.get_bytes(&address, MAX_STORED).await.map_err(|error| match error {
                BlockError::NotFound(_) => Missing::Replaced,
                error => Missing::Failed(failed(error)),
            })?;
            let piece: Piece =
                unwrap(&stored).map_err(|why| Missing::Failed(failed(format_args!("{address}: {why}"))))?;
            Ok(cached(Arc::new(piece)))
        };
        Ok(self.cache.get_or_insert_async(&name, load).await?.piece)
    }

    /// A piece just written is wanted soon.
    pub(crate) fn keep(&self, name: &str, piece: Arc<Piece>) {
        self.cache.insert(name.into(), cached(piece));
    }

    /// The row at a key, as of a manifest.
    pub(crate) async fn get(&self, manifest: &Manifest, key: &[u8]) -> Result<Option<(Bytes, u64)>, Missing> {
        let Some(at) = piece_of(manifest, key) else { return Ok(None) };
        let piece = self.load(&manifest.pieces[at].name).await?;
        let found = piece.rows.binary_search_by(|row| (*row.key).cmp(key)).ok();
        // Copied: a slice would keep its whole piece in memory as long as its reader likes.
        Ok(found.map(|at| (Bytes::copy_from_slice(&piece.rows[at].value), piece.rows[at].version)))
    }
}

fn cached(piece: Arc<Piece>) -> Cached {
    let weight = piece.rows.iter().map(PieceRow::weight).sum::<usize>() as u64;
    Cached { piece, weight }
}

/// Which piece of a manifest a key falls in; `None`: before all.
pub(crate) fn piece_of(manifest: &Manifest, key: &[u8]) -> Option<usize> {
    manifest.pieces.partition_point(|piece| &*piece.first <= key).checked_sub(1)
}
