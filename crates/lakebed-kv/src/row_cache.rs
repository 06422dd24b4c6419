//! Rows read lately, for an engine with one writer in the same process. What it answers is exactly what the engine
//! would: a row leaves the cache *before* a write of it becomes visible, and comes back only from a read during which no
//! write of it was under way.

use bytes::Bytes;
use foldhash::quality::RandomState;
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use std::hash::BuildHasher;

use crate::{Key, Versioned};

/// Rows above this size are not kept.
const GREATEST_ROW: usize = 4 << 10;

/// Keys are watched in this many groups.
const SLOTS: usize = 1024;

/// A row as it is; `None`: absent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cached(Option<Versioned>);

#[derive(Clone)]
struct BySize;

impl Weighter<Key, Cached> for BySize {
    fn weight(&self, key: &Key, row: &Cached) -> u64 {
        // With what the table and the shared buffers cost.
        128 + (key.len() + row.0.as_ref().map_or(0, |row| row.value.len())) as u64
    }
}

/// What has been written of a group of keys.
#[derive(Default)]
struct Slot {
    /// Counts writes.
    generation: u64,
    /// Writes under way.
    writing: u32,
}

/// Present and absent rows, bounded by their memory.
pub(crate) struct RowCache {
    rows: Cache<Key, Cached, BySize, RandomState>,
    slots: Box<[Mutex<Slot>]>,
    hasher: RandomState,
}

/// Taken before the engine is read: whether the result may be kept.
#[derive(Clone, Copy)]
struct Ticket {
    slot: usize,
    generation: Option<u64>,
}

impl RowCache {
    pub(crate) fn new(bytes: u64) -> Self {
        let hasher = RandomState::default();
        let rows = usize::try_from(bytes / 256).unwrap_or(usize::MAX).max(16);
        let rows = Cache::with(rows, bytes, BySize, hasher.clone(), DefaultLifecycle::default());
        Self { rows, slots: (0..SLOTS).map(|_| Mutex::default()).collect(), hasher }
    }

    /// A row as it is known, or else as the engine says by `read`; then it is known.
    pub(crate) fn through<E>(
        &self,
        key: &[u8],
        read: impl FnOnce() -> Result<Option<Versioned>, E>,
    ) -> Result<Option<Versioned>, E> {
        if let Some(Cached(known)) = self.get(key) {
            return Ok(known);
        }
        let ticket = self.ticket(key);
        let found = read()?;
        self.keep(ticket, key, found.as_ref());
        Ok(found)
    }

    /// Rows as they are at one instant: what is known, and the rest as `read` finds it in one snapshot.
    ///
    /// A known row was the same from its ticket on if no write of it began until now, so also when the snapshot was taken.
    /// If one did, all are read from a snapshot.
    pub(crate) fn many_through<S, E>(
        &self,
        keys: &[Key],
        snapshot: impl Fn() -> S,
        read: impl Fn(&S, &[u8]) -> Result<Option<Versioned>, E>,
    ) -> Result<Vec<Option<Versioned>>, E> {
        let tickets: Vec<Ticket> = keys.iter().map(|key| self.ticket(key)).collect();
        let mut known: Vec<Option<Cached>> = keys.iter().map(|key| self.get(key)).collect();
        let of = known.iter().any(Option::is_none).then(&snapshot);
        let same = tickets.iter().zip(&known).all(|(ticket, row)| row.is_none() || self.is_same(*ticket));
        let of = match of {
            None if same => return Ok(known.into_iter().flatten().map(|Cached(row)| row).collect()),
            Some(of) if same => of,
            _ => {
                known.fill(None);
                snapshot()
            }
        };
        let each = keys.iter().zip(tickets).zip(known).map(|((key, ticket), known)| {
            if let Some(Cached(row)) = known {
                return Ok(row);
            }
            let found = read(&of, key)?;
            self.keep(ticket, key, found.as_ref());
            Ok(found)
        });
        each.collect()
    }

    /// What is known of a row; `None`: nothing.
    fn get(&self, key: &[u8]) -> Option<Cached> {
        self.rows.get(key)
    }

    fn slot(&self, key: &[u8]) -> usize {
        self.hasher.hash_one(key) as usize % SLOTS
    }

    /// To be taken before the engine is read.
    fn ticket(&self, key: &[u8]) -> Ticket {
        let at = self.slot(key);
        let slot = self.slots[at].lock();
        Ticket { slot: at, generation: (slot.writing == 0).then_some(slot.generation) }
    }

    /// Whether no write of these keys was under way at the ticket, and none has begun since.
    fn is_same(&self, ticket: Ticket) -> bool {
        ticket.generation == Some(self.slots[ticket.slot].lock().generation)
    }

    /// Keeps what the engine said, if no write has come in between.
    fn keep(&self, ticket: Ticket, key: &[u8], row: Option<&Versioned>) {
        let size = key.len() + row.map_or(0, |row| row.value.len());
        if size > GREATEST_ROW {
            return;
        }
        let slot = self.slots[ticket.slot].lock();
        if slot.writing == 0 && ticket.generation == Some(slot.generation) {
            // Own memory: what the engine gave may be a slice of a whole block.
            let row =
                row.map(|row| Versioned { value: Bytes::copy_from_slice(&row.value), version: row.version });
            self.rows.insert(Bytes::copy_from_slice(key), Cached(row));
        }
    }

    /// Before these keys are written: they are forgotten, and not learnt until [`RowCache::written`].
    pub(crate) fn writing<'a>(&self, keys: impl Iterator<Item = &'a Key>) {
        for key in keys {
            let mut slot = self.slots[self.slot(key)].lock();
            slot.generation += 1;
            slot.writing += 1;
            self.rows.remove(key);
        }
    }

    /// These keys have been written, and readers of the engine see it.
    pub(crate) fn written<'a>(&self, keys: impl Iterator<Item = &'a Key>) {
        for key in keys {
            self.slots[self.slot(key)].lock().writing -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    fn row(n: u64) -> Versioned {
        Versioned { value: Bytes::from(n.to_string()), version: Version(n) }
    }

    #[test]
    fn what_was_read_during_a_write_is_not_kept() {
        let cache = RowCache::new(1 << 20);
        let key = Bytes::from_static(b"k");
        let before = cache.ticket(&key);
        cache.keep(before, &key, Some(&row(1)));
        assert_eq!(cache.get(&key), Some(Cached(Some(row(1)))));

        // Read before the write, kept after it began, and after it ended.
        let old = cache.ticket(&key);
        cache.writing([&key].into_iter());
        assert_eq!(cache.get(&key), None);
        cache.keep(old, &key, Some(&row(1)));
        let during = cache.ticket(&key);
        cache.written([&key].into_iter());
        cache.keep(old, &key, Some(&row(1)));
        cache.keep(during, &key, Some(&row(1)));
        assert_eq!(cache.get(&key), None);

        let after = cache.ticket(&key);
        cache.keep(after, &key, None);
        assert_eq!(cache.get(&key), Some(Cached(None)), "absence is known too");
    }

    #[test]
    fn of_many_rows_none_is_older_than_another() {
        let cache = RowCache::new(1 << 20);
        let keys = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        // What the engine has: a snapshot is a number, and all rows have it for a version.
        let engine = std::cell::Cell::new(1);
        let read = |at: &u64, _: &[u8]| Ok::<_, ()>(Some(row(*at)));
        let many = |snapshot: &dyn Fn() -> u64| cache.many_through(&keys, snapshot, read).unwrap();
        let write = |keys: &[Key]| {
            cache.writing(keys.iter());
            engine.set(engine.get() + 1);
            cache.written(keys.iter());
        };
        let both = |n| vec![Some(row(n)), Some(row(n))];
        assert_eq!(many(&|| engine.get()), both(1));
        assert_eq!(many(&|| panic!("both are known")), both(1));
        // One is known and the other is not: then both are written, before the snapshot.
        cache.rows.remove(&keys[1]);
        let between = || {
            if engine.get() == 1 {
                write(&keys);
            }
            engine.get()
        };
        assert_eq!(many(&between), both(2));
        // A write that is under way and not seen yet.
        cache.rows.remove(&keys[1]);
        cache.writing(keys[..1].iter());
        assert_eq!(many(&|| engine.get()), both(2));
        engine.set(3);
        cache.written(keys[..1].iter());
        assert_eq!(many(&|| engine.get())[0], Some(row(3)));
    }

    #[test]
    fn large_rows_are_not_kept_and_memory_is_bounded() {
        let cache = RowCache::new(64 << 10);
        let large = Versioned { value: vec![0; GREATEST_ROW].into(), version: Version(1) };
        cache.keep(cache.ticket(b"large"), b"large", Some(&large));
        assert_eq!(cache.get(b"large"), None);
        for n in 0..10_000u64 {
            let key = n.to_be_bytes();
            cache.keep(cache.ticket(&key), &key, Some(&row(n)));
        }
        let kept = (0..10_000u64).filter(|n| cache.get(&n.to_be_bytes()).is_some()).count();
        assert!((1..=(64 << 10) / 128).contains(&kept), "{kept}");
    }
}
