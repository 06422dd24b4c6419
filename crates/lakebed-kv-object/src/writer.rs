//! The one task that writes: it takes everything that waits, checks it, writes **one** segment and answers all. While the
//! segment is on its way the next group gathers. With nothing to write it writes signs of life, which keep the lease.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_core::Entropy;
use lakebed_kv::check::verdict;
use lakebed_kv::{Key, KvError, Outcome, Transaction, Version, Write};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::checkpoint::{self, Checkpoint, Workshop};
use crate::election::Me;
use crate::lease::{Lease, Standing};
use crate::log::{Appended, Backoff, Log};
use crate::names::Kind;
use crate::records::{Change, Manifest, Purpose, Segment};
use crate::state::State;
use crate::sweep::{self, Published};

/// Transactions that wait for the writer; more callers wait for a place.
pub(crate) const QUEUE: usize = 4096;

/// The most transactions of one group.
const GROUP: usize = 1024;

/// A group is closed when it has this many bytes.
const GROUP_BYTES: usize = 4 << 20;

/// Segments that are kept, and read at the next start, before a checkpoint is written although few rows changed.
const MOST_SEGMENTS: u64 = 1024;

/// With no rows changed at all, moving the checkpoint on costs nothing: done after this many segments.
const IDLE_SEGMENTS: u64 = 64;

/// Every how many checkpoints everything is listed for garbage.
const SWEEP_EVERY: u64 = 8;

pub(crate) struct Request {
    pub(crate) transaction: Transaction,
    pub(crate) answer: oneshot::Sender<Result<Outcome, KvError>>,
}

/// A checkpoint that is written but not named by a segment yet, or nothing new but how far it reaches.
struct Next {
    covered: u64,
    name: String,
    /// `None`: the rows are the same as before.
    manifest: Option<Arc<Manifest>>,
}

pub(crate) struct Writer {
    pub(crate) log: Arc<Log>,
    pub(crate) state: Arc<State>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) me: Me,
    pub(crate) checkpoint_bytes: usize,
    /// The last segment written.
    pub(crate) last: Segment,
    /// Its epoch, which is ours, and its first sequence.
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    waiting: VecDeque<Request>,
    /// Written but not published.
    next: Option<Next>,
    /// The checkpoint being written: covers up to this.
    underway: Option<u64>,
    checkpoints: JoinSet<Checkpoint>,
    sweeps: JoinSet<()>,
    published: u64,
}

/// Why the writer ended.
enum Over {
    /// Another server sealed our epoch.
    Fenced(String),
    /// Nothing can be written any more.
    Failed(KvError),
}

impl Over {
    fn reason(&self) -> String {
        match self {
            Self::Fenced(holder) => format!("another server, '{holder}', has taken over"),
            Self::Failed(error) => error.to_string(),
        }
    }
}

impl Writer {
    #[allow(clippy::too_many_arguments)] // all of what it works with, once
    pub(crate) fn new(
        log: Arc<Log>,
        state: Arc<State>,
        lease: Arc<Lease>,
        entropy: Arc<dyn Entropy>,
        me: Me,
        checkpoint_bytes: usize,
        last: Segment,
    ) -> Self {
        let next = last.next();
        Self {
            log,
            state,
            lease,
            entropy,
            me,
            checkpoint_bytes,
            last,
            epoch: next.epoch,
            first: next.sequence,
            waiting: VecDeque::new(),
            next: None,
            underway: None,
            checkpoints: JoinSet::new(),
            sweeps: JoinSet::new(),
            published: 0,
        }
    }

    /// Writes until the queue is closed or another server has taken over.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let over = self.work(&mut queue).await;
        let reason = match &over {
            Ok(()) => "it was closed".to_owned(),
            Err(over) => over.reason(),
        };
        // Before the last word: who reads it takes over at once.
        self.lease.end(&reason);
        match over {
            Ok(()) => {
                let end = self.me.segment(self.last.next(), Purpose::End, &self.last);
                if let Err(error) = self.log.append(&end, self.me.patience()).await {
                    tracing::warn!(%error, "the end could not be written: a server that stands by waits for the lease");
                }
            }
            Err(over) => {
                tracing::error!(reason, "the metadata engine has stopped");
                let stopped = match over {
                    Over::Fenced(_) => KvError::Stopped(reason.into()),
                    Over::Failed(error) => error,
                };
                queue.close();
                while let Some(request) = self.waiting.pop_front().or_else(|| queue.try_recv().ok()) {
                    let _ = request.answer.send(Err(stopped.clone()));
                }
            }
        }
    }

    async fn work(&mut self, queue: &mut mpsc::Receiver<Request>) -> Result<(), Over> {
        let beat = self.lease.length() / 3;
        let ticks = self.log.ticks.clone();
        self.checkpoint_if_due();
        let mut closed = false;
        loop {
            if !self.waiting.is_empty() && !self.is_full() {
                self.group().await?;
                continue;
            }
            if closed && self.waiting.is_empty() {
                return Ok(());
            }
            let mut arrived = Vec::new();
            tokio::select! {
                biased;
                Some(done) = self.checkpoints.join_next(), if !self.checkpoints.is_empty() => {
                    if let Ok(checkpoint) = done && let Some(covered) = self.underway.take() {
                        let (name, manifest) = (checkpoint.name, Some(Arc::new(checkpoint.manifest)));
                        self.next = Some(Next { covered, name, manifest });
                        // Named at once: what it covers is memory and space.
                        self.append(Vec::new(), self.last.version).await?;
                    }
                }
                Some(_) = self.sweeps.join_next(), if !self.sweeps.is_empty() => self.checkpoint_if_due(),
                taken = queue.recv_many(&mut arrived, GROUP), if self.waiting.is_empty() && !closed => {
                    closed = taken == 0;
                    self.waiting.extend(arrived);
                }
                () = ticks.sleep(beat) => {
                    self.append(Vec::new(), self.last.version).await?;
                }
            }
        }
    }

    /// Whether so much has changed, while no new checkpoint could be begun, that nothing more is taken.
    fn is_full(&self) -> bool {
        let busy = self.underway.is_some() || self.next.is_some() || !self.sweeps.is_empty();
        busy && self.state.changed_bytes() >= 2 * self.checkpoint_bytes
    }

    /// One group: checked, written, answered.
    async fn group(&mut self) -> Result<(), Over> {
        let mut bytes = 0;
        let mut version = self.last.version;
        let mut overlay: HashMap<Key, Option<u64>> = HashMap::new();
        let mut changes = Vec::new();
        let mut answers = Vec::new();
        while bytes < GROUP_BYTES
            && answers.len() < GROUP
            && let Some(Request { transaction, answer }) = self.waiting.pop_front()
        {
            match self.refusal(&transaction, &overlay).await {
                // Nothing has happened, and nothing will.
                Err(error) => drop(answer.send(Err(error))),
                Ok(Some(key)) => answers.push((answer, Outcome::Refused(key))),
                Ok(None) => {
                    version += 1;
                    for (key, write) in transaction.writes {
                        let value = match write {
                            Write::Put(value) => Some(value),
                            Write::Delete => None,
                        };
                        bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + 16;
                        overlay.insert(key.clone(), value.is_some().then_some(version));
                        changes.push(Change { key, value, version });
                    }
                    answers.push((answer, Outcome::Done(Version(version))));
                }
            }
        }
        // A refusal tells of the state, as a read does. Alone, under a lease, it needs no segment.
        let only_refusals = version == self.last.version;
        if !(only_refusals && matches!(self.lease.standing(), Standing::Held)) {
            match self.append(changes, version).await {
                Ok(()) => {}
                Err(over) => {
                    // Another's segment stands where ours would be: none of this has happened. Or the log cannot be
                    // written at all, and then nobody knows.
                    for (answer, _) in answers {
                        let _ = answer.send(match &over {
                            Over::Fenced(_) => Err(KvError::Stopped(over.reason().into())),
                            Over::Failed(_) => Ok(Outcome::Unknown),
                        });
                    }
                    return Err(over);
                }
            }
        }
        for (answer, outcome) in answers {
            let _ = answer.send(Ok(outcome));
        }
        Ok(())
    }

    /// The first key whose check does not hold.
    async fn refusal(
        &self,
        transaction: &Transaction,
        overlay: &HashMap<Key, Option<u64>>,
    ) -> Result<Option<Key>, KvError> {
        for (key, check) in &transaction.checks {
            let version = match overlay.get(key) {
                Some(version) => *version,
                None => self.state.version(key).await?,
            };
            if !verdict(*check, version.map(Version)) {
                return Ok(Some(key.clone()));
            }
        }
        Ok(None)
    }

    /// Writes the next segment, shows what it changes, and publishes a finished checkpoint with it.
    async fn append(&mut self, changes: Vec<Change>, version: u64) -> Result<(), Over> {
        let mut segment = self.me.segment(self.last.next(), Purpose::Data, &self.last);
        segment.version = version;
        segment.changes = changes;
        if let Some(next) = &self.next {
            segment.covered = next.covered;
            segment.manifest.clone_from(&next.name);
        }
        let begun = self.log.ticks.now();
        match self.log.append(&segment, self.me.patience()).await {
            Ok(Appended::Mine) => {}
            Ok(Appended::Taken(by)) => return Err(Over::Fenced(by.holder)),
            Err(error) => return Err(Over::Failed(error)),
        }
        self.state.apply(std::mem::take(&mut segment.changes));
        self.lease.renew(begun);
        let before = std::mem::replace(&mut self.last, segment);
        if let Some(next) = self.next.take() {
            self.publish(before, next);
        }
        self.checkpoint_if_due();
        Ok(())
    }

    /// The checkpoint is named by the segment just written: it counts, and what it replaces may go.
    fn publish(&mut self, before: Segment, next: Next) {
        let old = self.state.manifest();
        let manifest = next.manifest.unwrap_or_else(|| old.clone());
        let replaced = !Arc::ptr_eq(&old, &manifest);
        if replaced {
            self.state.adopt(manifest.clone());
        }
        let (log, epoch, covered) = (self.log.clone(), self.epoch, next.covered);
        let from = self.first.max(before.covered + 1);
        // By listing only when it is certain that no checkpoint is under way; none is, until the next segment.
        let thorough = replaced && self.published.is_multiple_of(SWEEP_EVERY);
        self.published += u64::from(replaced);
        let name = next.name;
        self.sweeps.spawn(async move {
            let (store, place) = (&*log.store, &log.place);
            if replaced {
                let live: std::collections::HashSet<&str> =
                    manifest.pieces.iter().map(|piece| &*piece.name).collect();
                let mut garbage: Vec<_> = old
                    .pieces
                    .iter()
                    .filter(|piece| !live.contains(&*piece.name))
                    .map(|piece| place.object(Kind::Pieces, &piece.name))
                    .collect();
                if !before.manifest.is_empty() && before.manifest != name {
                    garbage.push(place.object(Kind::Manifests, &before.manifest));
                }
                sweep::delete(store, &garbage).await;
            }
            sweep::segments(store, place, epoch, from, covered).await;
            if thorough {
                let published = Published { epoch, covered, name: &name, manifest: &manifest };
                if let Err(error) = sweep::everything(store, place, &published).await {
                    tracing::warn!(%error, "old metadata could not be listed: it is tried again later");
                }
            }
        });
    }

    /// Begins a checkpoint if enough has changed or the log has become long, and none is under way.
    fn checkpoint_if_due(&mut self) {
        // Nor while garbage is looked for: a sweep takes a piece it has not heard of for garbage.
        if self.underway.is_some() || self.next.is_some() || !self.sweeps.is_empty() {
            return;
        }
        let (changed, behind) = (self.state.changed_bytes(), self.last.sequence - self.last.covered);
        if changed == 0 && behind >= IDLE_SEGMENTS {
            let (covered, name) = (self.last.sequence, self.last.manifest.clone());
            self.next = Some(Next { covered, name, manifest: None });
            return;
        }
        if changed < self.checkpoint_bytes && behind < MOST_SEGMENTS {
            return;
        }
        self.underway = Some(self.last.sequence);
        let (base, frozen) = self.state.freeze();
        let (log, state, entropy, epoch) =
            (self.log.clone(), self.state.clone(), self.entropy.clone(), self.epoch);
        self.checkpoints.spawn(async move {
            let workshop = Workshop {
                store: &*log.store,
                place: &log.place,
                pieces: &state.pieces,
                entropy: &*entropy,
                epoch,
            };
            let mut backoff = Backoff::new();
            loop {
                match checkpoint::write(&workshop, &base, &frozen).await {
                    Ok(done) => return done,
                    Err(error) => tracing::warn!(%error, "a checkpoint failed: it is tried again"),
                }
                backoff.wait(&*log.ticks).await;
            }
        });
    }
}

/// Keeps the lease by signs of life while something else is done. Answers the last segment; `None`: another took over.
pub(crate) async fn keep_alive<T>(
    log: &Log,
    me: &Me,
    lease: &Lease,
    seal: Segment,
    work: impl Future<Output = T>,
) -> Result<Option<(Segment, T)>, KvError> {
    let mut last = seal;
    tokio::pin!(work);
    loop {
        let beat: Duration = lease.length() / 3;
        tokio::select! {
            biased;
            done = &mut work => return Ok(Some((last, done))),
            () = log.ticks.sleep(beat) => {}
        }
        let segment = me.segment(last.next(), Purpose::Data, &last);
        let begun = log.ticks.now();
        match log.append(&segment, me.patience()).await? {
            Appended::Mine => lease.renew(begun),
            Appended::Taken(_) => return Ok(None),
        }
        last = segment;
    }
}
