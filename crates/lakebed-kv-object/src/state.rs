//! Everything there is, as of the last segment applied: rows changed since the checkpoint in memory, the rest in pieces.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use lakebed_kv::{Key, KeyRange, KvError, Row, Version, Versioned};
use parking_lot::RwLock;

use crate::lease::{Lease, Standing};
use crate::pieces::{Missing, Pieces, piece_of};
use crate::records::{Change, Manifest, weight};

/// A row as changed: `None` is its end, which hides what pieces say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) version: u64,
    pub(crate) value: Option<Bytes>,
}

/// Changed rows by key.
pub(crate) type Changes = BTreeMap<Key, Changed>;

struct View {
    /// Changed since the last checkpoint was begun.
    active: Changes,
    active_bytes: usize,
    /// What the checkpoint that is being written covers on top of `manifest`.
    frozen: Option<Arc<Changes>>,
    manifest: Arc<Manifest>,
}

impl View {
    fn changed(&self, key: &[u8]) -> Option<&Changed> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.get(key))
    }

    /// Up to `most` changed rows from `start` on, in order, and how far they are complete: up to this key inclusive, or
    /// to the end of the range.
    fn changes(&self, start: &Key, end: Option<&Key>, most: usize) -> (Changes, Option<Key>) {
        let range = (Bound::Included(start.clone()), end.cloned().map_or(Bound::Unbounded, Bound::Excluded));
        let mut found = Changes::new();
        let mut reach: Option<Key> = None;
        // The older first: the newer hide them.
        let layers = self.frozen.as_deref().into_iter().chain([&self.active]);
        for layer in layers {
            let mut taken = 0;
            for (key, changed) in layer.range(range.clone()).take(most) {
                found.insert(key.clone(), changed.clone());
                taken += 1;
                if taken == most && reach.as_ref().is_none_or(|reach| key < reach) {
                    reach = Some(key.clone());
                }
            }
        }
        if let Some(reach) = &reach {
            found.retain(|key, _| key <= reach);
        }
        (found, reach)
    }
}

/// The state of the engine.
pub(crate) struct State {
    view: RwLock<View>,
    pub(crate) pieces: Pieces,
    lease: Arc<Lease>,
}

/// How often a read starts again because a checkpoint took its pieces away. Each time a whole checkpoint was written.
const RESTARTS: usize = 8;

/// Changed rows looked at in one step of a scan.
const STEP: usize = 512;

fn restless() -> KvError {
    KvError::Engine("pieces of the checkpoint are missing from the object store".into())
}

impl State {
    pub(crate) fn new(manifest: Manifest, pieces: Pieces, lease: Arc<Lease>) -> Self {
        let view =
            View { active: Changes::new(), active_bytes: 0, frozen: None, manifest: Arc::new(manifest) };
        Self { view: RwLock::new(view), pieces, lease }
    }

    /// Shows the changes of a segment, all at one instant. Answers how many bytes of changes are held now.
    pub(crate) fn apply(&self, changes: Vec<Change>) -> usize {
        let mut view = self.view.write();
        for Change { key, value, version } in changes {
            let size = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
            let more = weight(&key, size(&value));
            // Copied: slices would hold the whole segment, or the request they came with.
            let key = Bytes::copy_from_slice(&key);
            let value = value.map(|value| Bytes::copy_from_slice(&value));
            let less = view.active.get(&key).map_or(0, |old| weight(&key, size(&old.value)));
            view.active.insert(key, Changed { version, value });
            view.active_bytes = view.active_bytes + more - less;
        }
        view.active_bytes
    }

    /// Bytes of changes held, those being written to a checkpoint left aside.
    pub(crate) fn changed_bytes(&self) -> usize {
        self.view.read().active_bytes
    }

    /// Sets what has changed so far aside for a checkpoint. Only when none is under way.
    pub(crate) fn freeze(&self) -> (Arc<Manifest>, Arc<Changes>) {
        let mut view = self.view.write();
        let frozen = Arc::new(std::mem::take(&mut view.active));
        view.active_bytes = 0;
        view.frozen = Some(frozen.clone());
        (view.manifest.clone(), frozen)
    }

    /// The checkpoint counts: what it covers needs no memory any more.
    pub(crate) fn adopt(&self, manifest: Arc<Manifest>) {
        let mut view = self.view.write();
        view.manifest = manifest;
        view.frozen = None;
    }

    pub(crate) fn manifest(&self) -> Arc<Manifest> {
        self.view.read().manifest.clone()
    }

    /// The version of a key as the writer must see it: after everything applied, lease or not.
    pub(crate) async fn version(&self, key: &Key) -> Result<Option<u64>, KvError> {
        for _ in 0..RESTARTS {
            let manifest = {
                let view = self.view.read();
                if let Some(changed) = view.changed(key) {
                    return Ok(changed.value.is_some().then_some(changed.version));
                }
                view.manifest.clone()
            };
            match self.pieces.get(&manifest, key).await {
                Ok(found) => return Ok(found.map(|(_, version)| version)),
                Err(Missing::Replaced) => {}
                Err(Missing::Failed(error)) => return Err(error),
            }
        }
        Err(restless())
    }

    /// After a look at the state: whether it was true. `false`: look again.
    async fn was_true(&self) -> Result<bool, KvError> {
        match self.lease.standing() {
            Standing::Held => Ok(true),
            Standing::Ended(why) => Err(KvError::Stopped(why)),
            Standing::RunOut if self.lease.wait().await => Ok(false),
            Standing::RunOut => Err(KvError::Engine(
                "this server could not write to the object store for longer than its lease: \
                 nobody knows whether another has taken over"
                    .into(),
            )),
        }
    }

    /// The rows at keys, all as of one instant at which this server was the active one.
    pub(crate) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        let mut restarts = 0;
        'again: while restarts < RESTARTS {
            let (seen, manifest) = {
                let view = self.view.read();
                let seen: Vec<Option<Changed>> = keys.iter().map(|key| view.changed(key).cloned()).collect();
                (seen, view.manifest.clone())
            };
            if !self.was_true().await? {
                continue;
            }
            let mut rows = Vec::with_capacity(keys.len());
            for (key, seen) in keys.iter().zip(seen) {
                rows.push(match seen {
                    Some(Changed { version, value }) => {
                        value.map(|value| Versioned { value, version: Version(version) })
                    }
                    None => match self.pieces.get(&manifest, key).await {
                        Ok(found) => {
                            found.map(|(value, version)| Versioned { value, version: Version(version) })
                        }
                        Err(Missing::Replaced) => {
                            restarts += 1;
                            continue 'again;
                        }
                        Err(Missing::Failed(error)) => return Err(error),
                    },
                });
            }
            return Ok(rows);
        }
        Err(restless())
    }

    /// The first `limit` rows of a range. Each step of it is a look of its own; no snapshot over all of them.
    pub(crate) async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        let mut rows = Vec::new();
        let mut start = range.start.clone();
        let mut restarts = 0;
        while rows.len() < limit && range.end.as_ref().is_none_or(|end| start < *end) {
            if restarts == RESTARTS {
                return Err(restless());
            }
            let (changes, reach, manifest) = {
                let view = self.view.read();
                let (changes, reach) = view.changes(&start, range.end.as_ref(), STEP);
                (changes, reach, view.manifest.clone())
            };
            if !self.was_true().await? {
                continue;
            }
            // This step ends behind `reach`, at the end of the range, or at the end of the piece, whichever is first.
            let at = piece_of(&manifest, &start).unwrap_or(0);
            let piece = match manifest.pieces.get(at) {
                None => None,
                Some(piece) => match self.pieces.load(&piece.name).await {
                    Ok(piece) => Some(piece),
                    Err(Missing::Replaced) => {
                        restarts += 1;
                        continue;
                    }
                    Err(Missing::Failed(error)) => return Err(error),
                },
            };
            let behind = reach.map(|reach| Bytes::from([&reach[..], b"\0"].concat()));
            let next_piece = manifest.pieces.get(at + 1).map(|piece| piece.first.clone());
            let end = [behind, next_piece, range.end.clone()].into_iter().flatten().min();
            merge(
                &mut rows,
                limit,
                piece.as_deref().map_or(&[], |piece| &piece.rows),
                &changes,
                &start,
                end.as_ref(),
            );
            match end {
                Some(end) => start = end,
                None => break,
            }
        }
        Ok(rows)
    }
}

/// Adds the rows of `start..end` that pieces and changes make together, up to `limit` in all.
fn merge(
    rows: &mut Vec<Row>,
    limit: usize,
    old: &[crate::records::PieceRow],
    changes: &Changes,
    start: &Key,
    end: Option<&Key>,
) {
    let inside = |key: &Key| end.is_none_or(|end| key < end);
    let mut old = old[old.partition_point(|row| row.key < *start)..].iter().peekable();
    let mut new = changes.iter().peekable();
    while rows.len() < limit {
        let old_key = old.peek().map(|row| &row.key).filter(|key| inside(key));
        let new_key = new.peek().map(|(key, _)| *key).filter(|key| inside(key));
        match (old_key, new_key) {
            (None, None) => return,
            (Some(before), changed) if changed.is_none_or(|changed| before < changed) => {
                rows.extend(old.next().map(|row| Row {
                    key: Bytes::copy_from_slice(&row.key),
                    value: Bytes::copy_from_slice(&row.value),
                    version: Version(row.version),
                }));
            }
            (hidden, _) => {
                if hidden == new_key {
                    old.next();
                }
                if let Some((key, Changed { version, value: Some(value) })) = new.next() {
                    let (key, value) = (key.clone(), value.clone());
                    rows.push(Row { key, value, version: Version(*version) });
                }
            }
        }
    }
}
