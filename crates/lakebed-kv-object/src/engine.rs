//! The engine: opened by an election, closed by its last word.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use lakebed_blocks::BlockStore;
use lakebed_core::Entropy;
use lakebed_kv::check::well_formed;
use lakebed_kv::{Key, KeyRange, Kv, KvError, Limits, Outcome, Row, Transaction, Versioned};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::election::{Me, stand};
use crate::envelope::{MAX_STORED, unwrap};
use crate::lease::Lease;
use crate::log::{Backoff, Log, Reading, failed};
use crate::names::{Kind, Place, Position};
use crate::pieces::Pieces;
use crate::probe::probe;
use crate::records::{Manifest, Segment};
use crate::state::State;
use crate::writer::{QUEUE, Request, Writer, keep_alive};
use crate::{ObjectConfig, Ticks, Waiting};

/// Segments read at once when the engine starts.
const READS: usize = 16;

/// How long closing waits for a store that does not answer.
const CLOSE_PATIENCE: Duration = Duration::from_secs(20);

const LIMITS: Limits = Limits { max_items: 4096, max_bytes: 8 << 20, max_key_bytes: 4096, gate_spread: 1 };

/// The engine that keeps its state in the object store. One that exists is, or was, the active one.
pub struct ObjectKv {
    state: Arc<State>,
    lease: Arc<Lease>,
    ticks: Arc<dyn Ticks>,
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Tells when an engine has stopped for good.
#[derive(Clone)]
pub struct Ended(Arc<Lease>);

impl Ended {
    /// Resolves when the engine answers no more, with the reason: another server has taken over, or it was closed.
    pub async fn wait(&self) -> Arc<str> {
        self.0.ended().await
    }
}

impl ObjectKv {
    /// Makes sure that the store can carry the engine, stands by until this server is the active one, and reads what
    /// the last one left. `waiting` is told, often, what is waited for.
    pub async fn open(
        config: &ObjectConfig,
        store: Arc<dyn BlockStore>,
        ticks: Arc<dyn Ticks>,
        entropy: Arc<dyn Entropy>,
        waiting: &(dyn Fn(Waiting) + Send + Sync),
    ) -> Result<Self, KvError> {
        let place = Place::new(&config.prefix);
        probe(&*store, &place, &*entropy).await?;
        let mut writer = [0; 16];
        entropy.fill(&mut writer);
        let me = Me::new(Bytes::copy_from_slice(&writer), config);
        let log = Arc::new(Log { store: store.clone(), place: place.clone(), ticks: ticks.clone() });
        loop {
            let won = stand(&log, &me, waiting).await?;
            let lease = Arc::new(Lease::new(ticks.clone(), config.lease));
            let pieces = Pieces::new(store.clone(), place.clone(), config.cache_bytes);
            let restored = restore(&log, &won.seal, pieces, lease.clone());
            let Some((last, state)) = keep_alive(&log, &me, &lease, won.seal.clone(), restored).await? else {
                continue;
            };
            let state = Arc::new(state?);
            lease.renew(won.begun);
            let (queue, requests) = mpsc::channel(QUEUE);
            let bytes = config.checkpoint_bytes.max(1);
            let writer = Writer::new(log, state.clone(), lease.clone(), entropy, me, bytes, last);
            let writer = tokio::spawn(writer.run(requests));
            return Ok(Self {
                state,
                lease,
                ticks,
                queue: Mutex::new(Some(queue)),
                writer: Mutex::new(Some(writer)),
            });
        }
    }

    /// Tells when this engine has stopped for good: a server should end then, and stand by again.
    pub fn ended(&self) -> Ended {
        Ended(self.lease.clone())
    }
}

/// The state as of a seal: the checkpoint it names, and the segments behind that.
async fn restore(log: &Log, seal: &Segment, pieces: Pieces, lease: Arc<Lease>) -> Result<State, KvError> {
    let manifest: Manifest = if seal.manifest.is_empty() {
        Manifest::default()
    } else {
        let address = log.place.object(Kind::Manifests, &seal.manifest);
        let stored = insist(log, || log.store.get_bytes(&address, MAX_STORED)).await?;
        unwrap(&stored).map_err(|why| failed(format_args!("{address}: {why}")))?
    };
    let state = State::new(manifest, pieces, lease);
    let tail = tail(log, seal).await?;
    let mut segments = futures::stream::iter(tail)
        .map(|position| async move {
            let mut backoff = Backoff::new();
            loop {
                match log.read(position).await {
                    Ok(Some(segment)) => return Ok(segment),
                    Ok(None) => return Err(failed(format_args!("segment {position} of the log is missing"))),
                    Err(Reading::Damaged(error)) => return Err(error),
                    Err(error @ Reading::Store(_)) => {
                        tracing::warn!(%error, "the metadata log cannot be read");
                    }
                }
                backoff.wait(&*log.ticks).await;
            }
        })
        .buffered(READS);
    while let Some(segment) = segments.next().await {
        state.apply(segment?.changes);
    }
    drop(segments);
    Ok(state)
}

/// Where the segments behind the checkpoint stand, up to the seal: one for each sequence.
async fn tail(log: &Log, seal: &Segment) -> Result<Vec<Position>, KvError> {
    let mut tail = Vec::new();
    let mut after = None;
    loop {
        let page = insist(log, || log.page(after)).await?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        // Stragglers of names that were freed lie in what is covered.
        tail.extend(page.into_iter().filter(|at| at.sequence > seal.covered && *at <= seal.position()));
    }
    if seal.covered == 0 {
        tail.insert(0, Position::FIRST);
        tail.dedup();
    }
    let whole = tail.iter().zip(seal.covered + u64::from(seal.covered > 0)..).all(|(at, n)| at.sequence == n);
    if !whole || tail.last() != Some(&seal.position()) {
        return Err(failed(
            "segments of the metadata log are missing: restore them from a copy of the bucket",
        ));
    }
    Ok(tail)
}

/// Asks the store until it answers.
async fn insist<T, F>(log: &Log, ask: impl Fn() -> F) -> Result<T, KvError>
where
    F: Future<Output = Result<T, lakebed_blocks::BlockError>>,
{
    let mut backoff = Backoff::new();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error @ lakebed_blocks::BlockError::NotFound(_)) => return Err(failed(error)),
            Err(error) => tracing::warn!(%error, "the metadata cannot be read"),
        }
        backoff.wait(&*log.ticks).await;
    }
}

#[async_trait]
impl Kv for ObjectKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        let rows = self.state.get_many(&[Bytes::copy_from_slice(key)]).await?;
        Ok(rows.into_iter().next().flatten())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.state.get_many(keys).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.state.scan(range, limit).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        well_formed(&transaction, &LIMITS)?;
        let stopped = || KvError::Stopped("it was closed".into());
        let queue = self.queue.lock().clone().ok_or_else(stopped)?;
        // The pieces its checks need are fetched here, side by side with those of others, not one after the other by
        // the writer.
        for (key, _) in &transaction.checks {
            self.state.version(key).await?;
        }
        let (answer, answered) = oneshot::channel();
        queue.send(Request { transaction, answer }).await.map_err(|_| stopped())?;
        // The writer answers whatever it takes; if it went away, nobody here knows how far it came.
        Ok(answered.await.unwrap_or(Ok(Outcome::Unknown))?)
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn close(&self) -> Result<(), KvError> {
        // Without senders the writer finishes what waits and says its last word.
        drop(self.queue.lock().take());
        let writer = self.writer.lock().take();
        if let Some(mut writer) = writer {
            tokio::select! {
                _ = &mut writer => {}
                () = self.ticks.sleep(CLOSE_PATIENCE) => {
                    writer.abort();
                    self.lease.end("it was closed");
                    return Err(KvError::Engine("the object store did not answer: what was accepted last may be lost".into()));
                }
            }
        }
        self.lease.end("it was closed");
        Ok(())
    }
}

impl Drop for ObjectKv {
    fn drop(&mut self) {
        // Not closed: as a crash. Whoever stands by waits for the lease.
        if let Some(writer) = self.writer.lock().take() {
            writer.abort();
        }
    }
}
