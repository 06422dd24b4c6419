//! Rows that went with their guard: compactions leave them out, and nobody has to delete them one by one.
//!
//! A row of [`Guarded`] counts only while its guard exists ([`Kv::abandon`](crate::Kv::abandon)). A compaction asks the
//! database for the guard of every id it meets, in a snapshot taken when it begins, and leaves the rows out if there is
//! none. That loses nothing that counts:
//!
//! - Every row it meets was flushed before, so its guard, which was there before the row was written, was seen before the
//!   snapshot. No guard in the snapshot therefore means that it was deleted, not that it is still to come, and an id is never
//!   used again.
//! - A read sees the tables of its own snapshot. If that is older than what the compaction made, all rows are in them; if it is
//!   younger, the guard is gone.
//! - While the database is opened or closed guards cannot be asked for, and everything is kept.
//!
//! The deletion of a guard is durable before anything sees it, so no crash brings back a guard whose rows were left out.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use fjall::{AbstractTree, AnyTree, Database, Keyspace, Snapshot};
use parking_lot::Mutex;

use crate::{Guarded, KeyRange};

/// What tells whether guarded rows still count.
pub(super) struct Guards {
    guarded: Guarded,
    /// Where the guards are asked for; `None` while the database is opened or closed. The database owns the filter that
    /// owns this, so it must be taken out when the database is to go.
    source: Mutex<Option<(Database, Keyspace)>>,
}

// A panic leaves nothing half changed in it.
impl UnwindSafe for Guards {}
impl RefUnwindSafe for Guards {}

impl Guards {
    pub(super) fn new(guarded: Guarded) -> Arc<Self> {
        Arc::new(Self { guarded, source: Mutex::default() })
    }

    /// From now on guards can be asked for.
    pub(super) fn attach(&self, database: &Database, rows: &Keyspace) {
        *self.source.lock() = Some((database.clone(), rows.clone()));
    }

    /// From now on everything is kept.
    pub(super) fn detach(&self) {
        let source = self.source.lock().take();
        // Dropped outside the lock: the last handle waits for the database's threads, which may ask for the lock.
        drop(source);
    }

    /// Takes the tables that hold nothing but rows of the range; what else holds some is left to compactions. Answers
    /// `false` if the range is not of one id, or its guard exists. Blocks while a compaction runs.
    pub(super) fn abandon(&self, range: &KeyRange) -> fjall::Result<bool> {
        let Some(guard) = self.guarded.guard_of(&range.start) else { return Ok(false) };
        let Some(end) = &range.end else { return Ok(false) };
        if range.start.len() != guard.len() || crate::successor(&range.start).as_deref() != Some(&end[..]) {
            return Ok(false);
        }
        let Some((tree, snapshot)) = self.now() else { return Ok(false) };
        if tree.contains_key(&guard, snapshot.seqno())? {
            return Ok(false);
        }
        tree.drop_range(&range.start[..]..&end[..])?;
        Ok(true)
    }

    fn now(&self) -> Option<(AnyTree, Snapshot)> {
        let source = self.source.lock();
        let (database, rows) = source.as_ref()?;
        Some((rows.tree.clone(), database.snapshot()))
    }
}

/// Makes the filter of each compaction.
pub(super) struct Filters(pub(super) Arc<Guards>);

impl Factory for Filters {
    fn name(&self) -> &'static str {
        "guarded rows"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter { guarded: self.0.guarded, now: self.0.now(), guard: Vec::new(), abandoned: false })
    }
}

/// The filter of one compaction, which shows it the rows in their order.
struct Filter {
    guarded: Guarded,
    now: Option<(AnyTree, Snapshot)>,
    /// The guard asked for last, and whether it was gone.
    guard: Vec<u8>,
    abandoned: bool,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let (Some((tree, snapshot)), key) = (&self.now, item.key()) else { return Ok(Verdict::Keep) };
        if !self.guarded.is_row(key) {
            return Ok(Verdict::Keep);
        }
        let id = &key[1..=self.guarded.id_bytes];
        if self.guard.get(1..) != Some(id) {
            self.guard.clear();
            self.guard.push(self.guarded.guards);
            self.guard.extend_from_slice(id);
            self.abandoned = !tree.contains_key(&self.guard, snapshot.seqno())?;
        }
        // Without a tombstone: an older value that comes to light counts as little.
        Ok(if self.abandoned { Verdict::Destroy } else { Verdict::Keep })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests say what they expect by panicking
mod tests {
    use std::collections::BTreeMap;

    use fjall::Readable;
    use proptest::prelude::*;

    use super::*;
    use crate::{FjallConfig, FjallKv, Key, Kv, Transaction};

    const GUARDED: Guarded = Guarded { rows: b'w', guards: b'l', id_bytes: 2 };

    fn open(path: &std::path::Path) -> FjallKv {
        FjallKv::open(path, FjallConfig { guarded: Some(GUARDED), ..FjallConfig::default() }).unwrap()
    }

    fn guard(id: u8) -> Key {
        Key::copy_from_slice(&[b'l', b'#', id])
    }

    fn row(id: u8, path: u8) -> Key {
        Key::copy_from_slice(&[b'w', b'#', id, path])
    }

    fn rows_of(id: u8) -> KeyRange {
        KeyRange::prefix(&[b'w', b'#', id])
    }

    /// A guard, then rows of it.
    async fn write(kv: &FjallKv, id: u8, rows: u8) {
        kv.transact(Transaction::new().put(guard(id), "")).await.unwrap();
        let all = (0..rows).fold(Transaction::new(), |all, path| all.put(row(id, path), "row"));
        kv.transact(all).await.unwrap();
    }

    impl FjallKv {
        /// Everything that is staged goes to tables, and all of them are merged.
        fn compact(&self) {
            self.rows.rotate_memtable_and_wait().unwrap();
            self.rows.major_compact().unwrap();
        }
    }

    #[tokio::test]
    async fn a_compaction_leaves_out_rows_without_a_guard_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let kv = open(root.path());
        kv.transact(Transaction::new().put("w", "short").put("x", "other")).await.unwrap();
        write(&kv, 1, 9).await;
        write(&kv, 2, 9).await;
        kv.transact(Transaction::new().put(row(2, 3), "again")).await.unwrap();
        kv.transact(Transaction::new().delete(guard(1))).await.unwrap();
        kv.compact();
        assert_eq!(kv.scan(&rows_of(1), 99).await.unwrap(), []);
        assert_eq!(kv.scan(&rows_of(2), 99).await.unwrap().len(), 9);
        assert_eq!(kv.get(b"w").await.unwrap().unwrap().value, "short");
        assert_eq!(kv.get(b"x").await.unwrap().unwrap().value, "other");
        kv.close().await.unwrap();
        drop(kv);
        let kv = open(root.path());
        assert_eq!(kv.scan(&rows_of(2), 99).await.unwrap().len(), 9);
        assert_eq!(kv.get(&row(2, 3)).await.unwrap().unwrap().value, "again");
    }

    #[tokio::test]
    async fn tables_of_nothing_else_go_at_once() {
        let root = tempfile::tempdir().unwrap();
        let kv = open(root.path());
        kv.transact(Transaction::new().put(guard(1), "")).await.unwrap();
        kv.rows.rotate_memtable_and_wait().unwrap();
        for path in 0..9 {
            kv.transact(Transaction::new().put(row(1, path), "row")).await.unwrap();
        }
        kv.rows.rotate_memtable_and_wait().unwrap();
        let tables = kv.rows.tree.table_count();
        assert!(!kv.abandon(&rows_of(1)).await.unwrap(), "its guard exists");
        assert_eq!(kv.rows.tree.table_count(), tables);
        kv.transact(Transaction::new().delete(guard(1))).await.unwrap();
        assert!(kv.abandon(&rows_of(1)).await.unwrap());
        assert_eq!(kv.rows.tree.table_count(), tables - 1);
        assert_eq!(kv.scan(&rows_of(1), 99).await.unwrap(), []);
    }

    #[tokio::test]
    async fn only_all_rows_of_a_guard_are_abandoned() {
        let root = tempfile::tempdir().unwrap();
        let kv = open(root.path());
        let longer = KeyRange::prefix(b"w#\x01a");
        let open_ended = KeyRange { end: None, ..rows_of(1) };
        let two = KeyRange { end: rows_of(2).end, ..rows_of(1) };
        for strange in [KeyRange::prefix(b"w"), KeyRange::prefix(b"l#\x01"), longer, open_ended, two] {
            assert!(!kv.abandon(&strange).await.unwrap(), "{strange:?}");
        }
        assert!(kv.abandon(&rows_of(1)).await.unwrap());
    }

    /// What the engine promises of its snapshots, on which all of this rests.
    #[tokio::test]
    async fn who_may_have_seen_the_guard_still_sees_the_rows() {
        let root = tempfile::tempdir().unwrap();
        let kv = open(root.path());
        write(&kv, 1, 9).await;
        kv.rows.rotate_memtable_and_wait().unwrap();
        let before = kv.database.snapshot();
        kv.transact(Transaction::new().delete(guard(1))).await.unwrap();
        kv.compact();
        assert!(kv.abandon(&rows_of(1)).await.unwrap());
        assert!(before.get(&kv.rows, guard(1)).unwrap().is_some());
        assert!((0..9).all(|path| before.get(&kv.rows, row(1, path)).unwrap().is_some()));
        drop(before);
        assert_eq!(kv.scan(&rows_of(1), 99).await.unwrap(), []);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Make(u8),
        Write(u8, u8, u8),
        Unwrite(u8, u8),
        Drop(u8),
        Flush,
        Compact,
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6u8).prop_map(Step::Make),
            12 => (0..6u8, 0..4u8, any::<u8>()).prop_map(|(id, path, value)| Step::Write(id, path, value)),
            2 => (0..6u8, 0..4u8).prop_map(|(id, path)| Step::Unwrite(id, path)),
            3 => (0..6u8).prop_map(Step::Drop),
            3 => Just(Step::Flush),
            2 => Just(Step::Compact),
            1 => Just(Step::Reopen),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever is written, flushed, compacted and abandoned in whatever order: rows whose guard exists are as written.
        #[test]
        fn rows_with_a_guard_are_as_written(steps in proptest::collection::vec(step(), 1..60)) {
            let root = tempfile::tempdir().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut kv = open(root.path());
            // The ids in use, each place's next one, and what was written under them.
            let mut alive: BTreeMap<u8, (u8, BTreeMap<u8, u8>)> = BTreeMap::new();
            let mut next = 0u8;
            for step in steps {
                runtime.block_on(async {
                    match step {
                        Step::Make(place) if !alive.contains_key(&place) => {
                            kv.transact(Transaction::new().put(guard(next), "")).await.unwrap();
                            alive.insert(place, (next, BTreeMap::new()));
                            next += 1;
                        }
                        Step::Write(place, path, value) => if let Some((id, rows)) = alive.get_mut(&place) {
                            kv.transact(Transaction::new().put(row(*id, path), vec![value])).await.unwrap();
                            rows.insert(path, value);
                        }
                        Step::Unwrite(place, path) => if let Some((id, rows)) = alive.get_mut(&place) {
                            kv.transact(Transaction::new().delete(row(*id, path))).await.unwrap();
                            rows.remove(&path);
                        }
                        Step::Drop(place) => if let Some((id, _)) = alive.remove(&place) {
                            kv.transact(Transaction::new().delete(guard(id))).await.unwrap();
                            assert!(kv.abandon(&rows_of(id)).await.unwrap());
                        }
                        Step::Flush => kv.rows.rotate_memtable_and_wait().unwrap(),
                        Step::Compact => kv.compact(),
                        Step::Make(_) | Step::Reopen => {}
                    }
                });
                if let Step::Reopen = step {
                    runtime.block_on(kv.close()).unwrap();
                    drop(kv);
                    kv = open(root.path());
                }
                for (id, rows) in alive.values() {
                    let found = runtime.block_on(kv.scan(&rows_of(*id), 99)).unwrap();
                    let found: BTreeMap<u8, u8> = found.iter().map(|row| (row.key[3], row.value[0])).collect();
                    prop_assert_eq!(&found, rows);
                }
            }
            kv.compact();
            let left = runtime.block_on(kv.scan(&KeyRange::prefix(b"w"), 9999)).unwrap();
            let rows: usize = alive.values().map(|(_, rows)| rows.len()).sum();
            prop_assert_eq!(left.len(), rows, "all others have gone");
        }
    }
}
