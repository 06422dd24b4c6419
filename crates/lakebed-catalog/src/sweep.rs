//! The sweeper: takes what committed, reset and deleted layers left behind (`protocol.md`, Who recovers what).
//!
//! Everything it removes was made unreachable by a transaction before; it may stop anywhere and be begun again. A
//! layer's descriptor goes with its rows or before them, so a reader that missed rows notices.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use lakebed_blocks::{BlockAddress, BlockInfo, Namespace};
use lakebed_core::traces::WORK_SPAN;
use lakebed_core::{Incarnation, LayerId};
use lakebed_kv::{KeyRange, Outcome, Row, Transaction};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::catalog::Inner;
use crate::publish::{MOVE_ATTEMPTS, dead_rows};
use crate::working::outcome_unknown;
use crate::{Catalog, CatalogError, keys, wire};

/// Rows read at once, and removed by one transaction.
const BATCH: usize = 1024;

/// Objects listed and deleted at once.
const OBJECTS: usize = 1000;

/// How long the outcome of a publish or of a completed upload is kept for whoever did not hear it.
pub(crate) const OUTCOME_LIFE_MILLIS: i64 = 24 * 3600 * 1000;

/// A round begins this long after it was called for, so that one round does what many commits leave behind.
const GATHER: Duration = Duration::from_millis(50);

/// How often the sweeper looks without being called.
const INTERVAL: Duration = Duration::from_mins(1);

/// Runs until the catalog is dropped or the task is aborted.
pub(crate) fn spawn(catalog: Weak<Inner>) -> JoinHandle<()> {
    let what = "sweeping dead layers";
    rounds(catalog, what, INTERVAL, |inner| &inner.sweep, |inner| inner.sweep_once().boxed())
}

/// Does a round now, whenever it is called for and once in every interval, until the catalog is dropped or the task is
/// aborted. A round that fails is tried again in the next one.
pub(crate) fn rounds(
    catalog: Weak<Inner>,
    what: &'static str,
    interval: Duration,
    called: fn(&Inner) -> &Arc<Notify>,
    round: fn(&Inner) -> BoxFuture<'_, Result<(), CatalogError>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Some(inner) = catalog.upgrade() else { return };
            let span = tracing::info_span!(target: WORK_SPAN, parent: None, "work", otel.name = what);
            if let Err(error) = round(&inner).instrument(span).await {
                tracing::warn!(%error, "{what} failed; trying again later");
            }
            let called = called(&inner).clone();
            drop(inner);
            tokio::select! {
                () = called.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(interval) => {}
            }
        }
    })
}

impl Catalog {
    /// One round of the sweeper, for tests and simulations that run without the background task.
    pub async fn sweep_once(&self) -> Result<(), CatalogError> {
        self.inner.sweep_once().await
    }
}

impl Inner {
    pub(crate) async fn sweep_once(&self) -> Result<(), CatalogError> {
        self.sweep_turns().await?;
        self.sweep_repositories().await?;
        self.sweep_layers().await?;
        self.sweep_tasks().await?;
        self.sweep_expired().await
    }

    /// How many rows one transaction removes.
    fn batch(&self) -> usize {
        BATCH.min(self.kv.limits().max_items)
    }

    /// Small layers of rows go many at a time: descriptor, rows and the `dead` row that names them, in one transaction.
    async fn sweep_layers(&self) -> Result<(), CatalogError> {
        let batch = self.batch();
        let mut range = KeyRange::prefix(&keys::dead_layers());
        loop {
            let dead = self.kv.scan(&range, batch).await?;
            let mut together = Transaction::new();
            for row in &dead {
                let Some(layer) = LayerId::from_slice(&row.key[1..]) else {
                    together = together.delete(row.key.clone());
                    continue;
                };
                let rows = self.kv.scan(&KeyRange::prefix(&keys::row(&layer, b"")), batch).await?;
                if !row.value.is_empty() || rows.len() + 2 > batch {
                    self.sweep_large_layer(&layer, row).await?;
                    continue;
                }
                if together.writes.len() + rows.len() + 2 > batch {
                    // What may not have happened is found again by its `dead` row.
                    self.kv.transact(std::mem::take(&mut together)).await?;
                }
                together = together.delete(keys::layer(&layer)).delete(row.key.clone());
                for row in rows {
                    together = together.delete(row.key);
                }
            }
            if !together.writes.is_empty() {
                self.kv.transact(together).await?;
            }
            match dead.last() {
                Some(last) if dead.len() == batch => range.start = after(&last.key),
                _ => return Ok(()),
            }
        }
    }

    /// A layer that needs several steps: the descriptor goes first.
    async fn sweep_large_layer(&self, layer: &LayerId, dead: &Row) -> Result<(), CatalogError> {
        let gone = self.kv.transact(Transaction::new().delete(keys::layer(layer))).await?;
        // If it is not sure that the descriptor is gone, a reader may still count on the rows: next time.
        if !matches!(gone, Outcome::Done(_)) {
            return Ok(());
        }
        let rows = KeyRange::prefix(&keys::row(layer, b""));
        if !self.kv.abandon(&rows).await? {
            self.delete_range(rows).await?;
        }
        if !dead.value.is_empty() {
            self.sweep_layer_tree(&dead.value, layer).await?;
        }
        self.kv.transact(Transaction::new().delete(dead.key.clone())).await?;
        Ok(())
    }

    /// Deletes the nodes of a folded layer; `namespace` is what its `dead` row remembers.
    async fn sweep_layer_tree(&self, namespace: &[u8], layer: &LayerId) -> Result<(), CatalogError> {
        let Ok(namespace) = std::str::from_utf8(namespace) else { return Ok(()) };
        let namespace = Namespace::decode(namespace);
        let prefix = BlockAddress::in_namespace(&namespace, &format!("_lakebed/layer/{layer}/"));
        self.delete_objects(&prefix, |_| true).await.map(drop)
    }

    /// Deletes those of the objects below an address that are chosen, page by page. Answers how many.
    pub(crate) async fn delete_objects(
        &self,
        prefix: &BlockAddress,
        chosen: impl Fn(&BlockInfo) -> bool,
    ) -> Result<usize, CatalogError> {
        let (mut deleted, mut last) = (0, None);
        loop {
            let page = self.blocks.list(prefix, last.as_ref(), OBJECTS).await?;
            let addresses: Vec<BlockAddress> =
                page.iter().filter(|found| chosen(found)).map(|found| found.address.clone()).collect();
            for result in self.blocks.delete(&addresses).await {
                result?;
            }
            deleted += addresses.len();
            match page.last() {
                Some(found) if page.len() == OBJECTS => last = Some(found.address.clone()),
                _ => return Ok(deleted),
            }
        }
    }

    async fn sweep_expired(&self) -> Result<(), CatalogError> {
        let mut range = keys::expiries_before(self.clock.now().plus_millis(-OUTCOME_LIFE_MILLIS));
        // Each takes two deletions.
        let batch = self.batch() / 2;
        loop {
            let rows = self.kv.scan(&range, batch).await?;
            let Some(last) = rows.last().map(|row| row.key.clone()) else { return Ok(()) };
            let mut transaction = Transaction::new();
            for row in &rows {
                let target = row.key.slice(keys::EXPIRING_AT..);
                if keys::upload_of(&target).is_some() {
                    // Parts go with it, and whether its time has come depends on its state.
                    self.expire_upload(&target).await?;
                } else {
                    transaction = transaction.delete(target);
                }
                transaction = transaction.delete(row.key.clone());
            }
            self.kv.transact(transaction).await?;
            if rows.len() < batch {
                return Ok(());
            }
            range.start = after(&last);
        }
    }

    /// Removes what deleted repositories left: gates and refs first, so that no late write lands, then the rest.
    async fn sweep_repositories(&self) -> Result<(), CatalogError> {
        for dead in self.kv.scan(&KeyRange::prefix(&keys::dead_repositories()), BATCH).await? {
            let Some(r) = Incarnation::from_slice(&dead.key[1..]) else { continue };
            let namespace = Namespace::decode(&String::from_utf8_lossy(&dead.value));
            let refs = KeyRange::prefix(&keys::reference(&r, ""));
            // Until none is left: what may not have happened is done again, or its rows would stay for ever.
            loop {
                let rows = self.kv.scan(&refs, BATCH).await?;
                if rows.is_empty() {
                    break;
                }
                for row in &rows {
                    let decoded: wire::RefRow = wire::decode(&row.value, "ref")?;
                    let mut transaction = Transaction::new().delete(row.key.clone());
                    if let Some(branch) = &decoded.branch {
                        let state =
                            crate::branch_state::BranchState::from_row(branch, row.key.clone(), row.version)?;
                        for i in 0..self.kv.limits().gate_spread.max(1) {
                            transaction = transaction.delete(keys::gate(&state.gate, i));
                        }
                        self.delete_range(keys::reflog_of(&state.incarnation)).await?;
                        self.delete_range(keys::turns(&state.incarnation)).await?;
                        transaction = transaction.put(keys::dead_layer(&state.current), "");
                        for (key, value) in dead_rows(&namespace, &state.sealed) {
                            transaction = transaction.put(key, value);
                        }
                    }
                    self.kv.transact(transaction).await?;
                }
            }
            self.drop_uploads(&r).await?;
            for range in keys::of_repository(&r) {
                self.delete_range(range).await?;
            }
            self.kv.transact(Transaction::new().delete(dead.key)).await?;
        }
        Ok(())
    }

    /// Deletes every row of a range, a bounded batch at a time. When it answers, they are gone.
    pub(crate) async fn delete_range(&self, mut range: KeyRange) -> Result<(), CatalogError> {
        let batch = self.batch();
        let mut unknown = 0;
        while unknown < MOVE_ATTEMPTS {
            let rows = self.kv.scan(&range, batch).await?;
            let Some(last) = rows.last().map(|row| row.key.clone()) else { return Ok(()) };
            let mut transaction = Transaction::new();
            let more = rows.len() == batch;
            for row in rows {
                transaction = transaction.delete(row.key);
            }
            if !matches!(self.kv.transact(transaction).await?, Outcome::Done(_)) {
                // Whoever called takes away what names these rows: they must not stay behind.
                unknown += 1;
                continue;
            }
            if !more {
                return Ok(());
            }
            // Go on behind what was deleted: its tombstones need not be walked again.
            range.start = after(&last);
        }
        Err(outcome_unknown("sweep"))
    }
}

pub(crate) fn after(key: &Bytes) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}
