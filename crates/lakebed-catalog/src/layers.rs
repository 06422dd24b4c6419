//! Reading staged layers: cursors over rows and layer trees, stacked newest first (`protocol.md`, Records:
//! "Working state of a path").

use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::LayerId;
use lakebed_kv::{KeyRange, Kv, Row, successor};
use lakebed_tree::Cursor;

use crate::branch_state::{BranchState, Content, Mask, Sealed};
use crate::{CatalogError, keys};

/// What a row says about its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The path has this entry.
    Entry(Bytes),
    /// The path is deleted.
    Tombstone,
}

/// A row's value: kind, the id of the write that made it, the entry.
///
/// The write id tells a writer whose transaction had an unknown outcome whether it happened.
pub(crate) fn row_value(write: u64, entry: Option<&[u8]>) -> Bytes {
    let mut out = Vec::with_capacity(9 + entry.map_or(0, <[u8]>::len));
    out.push(u8::from(entry.is_some()));
    out.extend_from_slice(&write.to_be_bytes());
    out.extend_from_slice(entry.unwrap_or_default());
    out.into()
}

/// The write id of a row's value.
pub(crate) fn row_write(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.get(1..9)?.try_into().ok()?))
}

/// What a row's value says.
pub(crate) fn row_decision(value: &Bytes) -> Result<Decision, CatalogError> {
    match value.first() {
        Some(0) if value.len() >= 9 => Ok(Decision::Tombstone),
        Some(1) if value.len() >= 9 => Ok(Decision::Entry(value.slice(9..))),
        _ => Err(CatalogError::Damaged { what: "staged row" }),
    }
}

/// Rows read at once; doubled with every further page of one scan.
const FIRST_PAGE: usize = 64;
const GREATEST_PAGE: usize = 4096;

/// The rows of one layer in path order, read page by page. The engine holds nothing between pages.
pub(crate) struct RowCursor {
    kv: Arc<dyn Kv>,
    layer: LayerId,
    rows: Vec<Row>,
    at: usize,
    page: usize,
    exhausted: bool,
}

impl RowCursor {
    fn new(kv: Arc<dyn Kv>, layer: LayerId) -> Self {
        Self { kv, layer, rows: Vec::new(), at: 0, page: FIRST_PAGE, exhausted: false }
    }

    fn key(&self) -> Option<&[u8]> {
        self.rows.get(self.at).map(|row| &row.key[keys::PATH_AT..])
    }

    fn path(&self) -> Option<Bytes> {
        self.rows.get(self.at).map(|row| row.key.slice(keys::PATH_AT..))
    }

    async fn read(&mut self, start: Bytes) -> Result<(), CatalogError> {
        let end = successor(&keys::row(&self.layer, b"")).map(Bytes::from);
        self.rows = self.kv.scan(&KeyRange { start, end }, self.page).await?;
        self.exhausted = self.rows.len() < self.page;
        self.at = 0;
        self.page = (self.page * 2).min(GREATEST_PAGE);
        Ok(())
    }

    async fn seek(&mut self, path: &[u8]) -> Result<(), CatalogError> {
        let ahead = self.rows.last().is_some_and(|row| &row.key[keys::PATH_AT..] >= path)
            && self.rows.first().is_some_and(|row| &row.key[keys::PATH_AT..] <= path);
        if ahead {
            self.at = self.rows.partition_point(|row| &row.key[keys::PATH_AT..] < path);
            return Ok(());
        }
        self.read(keys::row(&self.layer, path)).await
    }

    async fn advance(&mut self) -> Result<(), CatalogError> {
        self.at += 1;
        if self.at < self.rows.len() || self.exhausted {
            return Ok(());
        }
        let Some(last) = self.rows.last() else {
            return Ok(());
        };
        let mut start = last.key.to_vec();
        start.push(0);
        self.read(start.into()).await
    }
}

enum Source {
    Rows(RowCursor),
    Tree(Box<Cursor>),
    Mask(Mask),
}

/// Layers laid over each other, newest first.
pub(crate) struct LayerStack {
    sources: Vec<Source>,
}

impl LayerStack {
    /// The sealed layers of a run (oldest first as in the record), and `current` on top if given. `open_tree` opens a
    /// layer's tree.
    pub(crate) fn new(
        kv: &Arc<dyn Kv>,
        current: Option<LayerId>,
        sealed: &[Sealed],
        open_tree: impl Fn(&Sealed, lakebed_core::NodeId) -> Cursor,
    ) -> Self {
        let mut sources = Vec::with_capacity(sealed.len() + 1);
        if let Some(layer) = current {
            sources.push(Source::Rows(RowCursor::new(kv.clone(), layer)));
        }
        for layer in sealed.iter().rev() {
            sources.push(match &layer.content {
                Content::Rows => Source::Rows(RowCursor::new(kv.clone(), layer.id)),
                Content::Tree(root) => Source::Tree(Box::new(open_tree(layer, *root))),
                Content::Mask(mask) => Source::Mask(mask.clone()),
            });
        }
        Self { sources }
    }

    /// Moves to the first path at or after `path`, in every layer.
    pub(crate) async fn seek(&mut self, path: &[u8]) -> Result<(), CatalogError> {
        for source in &mut self.sources {
            match source {
                Source::Rows(rows) => rows.seek(path).await?,
                Source::Tree(tree) => tree.seek(path).await?,
                Source::Mask(_) => {}
            }
        }
        Ok(())
    }

    /// The next path any layer says something about.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.sources
            .iter()
            .filter_map(|source| match source {
                Source::Rows(rows) => rows.key(),
                Source::Tree(tree) => tree.key(),
                Source::Mask(_) => None,
            })
            .min()
    }

    /// Takes the next path: what its newest layer says of it (`None`: a mask hides what the layers say, only the
    /// head counts), and moves on.
    pub(crate) async fn take(&mut self) -> Result<Option<(Bytes, Option<Decision>)>, CatalogError> {
        if let [Source::Rows(rows)] = &mut self.sources[..] {
            // What nearly every large commit consists of.
            let Some(path) = rows.path() else { return Ok(None) };
            let decision = row_decision(&rows.rows[rows.at].value)?;
            rows.advance().await?;
            return Ok(Some((path, Some(decision))));
        }
        let paths = self.sources.iter().filter_map(|source| match source {
            Source::Rows(rows) => rows.path(),
            Source::Tree(tree) => tree.key().map(Bytes::copy_from_slice),
            Source::Mask(_) => None,
        });
        let Some(path) = paths.min() else {
            return Ok(None);
        };
        let mut decision = None;
        let mut decided = false;
        for source in &mut self.sources {
            match source {
                Source::Mask(mask) => decided |= mask.covers(&path),
                Source::Rows(rows) if rows.key() == Some(&path) => {
                    if !decided {
                        decision = Some(row_decision(&rows.rows[rows.at].value)?);
                        decided = true;
                    }
                    rows.advance().await?;
                }
                Source::Tree(tree) if tree.key() == Some(&path) => {
                    if !decided {
                        let value = tree.value().ok_or(CatalogError::Damaged { what: "layer tree" })?;
                        decision = Some(row_decision(&value)?);
                        decided = true;
                    }
                    tree.advance().await?;
                }
                Source::Rows(_) | Source::Tree(_) => {}
            }
        }
        Ok(Some((path, decision)))
    }
}

impl BranchState {
    /// The keys that tell what the layers say of a path: a row of each layer, the current one first, then
    /// [`BranchState::layer_keys`].
    pub(crate) fn keys_of(&self, path: &[u8]) -> Vec<Bytes> {
        let mut all = Vec::with_capacity(2 * (self.sealed.len() + 1));
        all.push(keys::row(&self.current, path));
        all.extend(self.sealed.iter().map(|layer| keys::row(&layer.id, path)));
        all.extend(self.layer_keys());
        all
    }

    /// The descriptors that must still exist after a read of these layers for the read to count
    /// (`protocol.md`, Read step 3).
    pub(crate) fn layer_keys(&self) -> Vec<Bytes> {
        let sealed = self.sealed.iter().filter(|layer| !matches!(layer.content, Content::Mask(_)));
        std::iter::once(&self.current).chain(sealed.map(|layer| &layer.id)).map(keys::layer).collect()
    }
}
