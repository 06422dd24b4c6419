//! Running tasks: a bounded number at once, a bounded number waiting, each with a heartbeat.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use lakebed_core::traces::WORK_SPAN;
use lakebed_core::{Entropy, Incarnation, LayerId, ObjectName, RepositoryId};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tracing::{Instrument, Span};

use crate::catalog::Inner;
use crate::publish::MOVE_ATTEMPTS;
use crate::staging::Along;
use crate::tasks::{End, Finish, expired};
use crate::working::{busy, outcome_unknown};
use crate::{Catalog, CatalogError, ErrorKind, Repository, TaskKind, TaskResult, TaskState, keys, wire};

/// Tasks at work at once, of each of two sorts: commits and merges, which are short, do not wait for those that go
/// through a whole repository or bucket.
const MOST_RUNNING: usize = 8;

/// Tasks of this server that have not ended, those waiting included; over it a submission is refused (429).
const MOST_LIVE: usize = 128;

/// How often signs of life are written.
const BEAT: Duration = Duration::from_secs(5);

/// Rows of the index of running tasks read at once.
const PAGE: usize = 256;

/// The tasks of this life of this server.
pub(crate) struct Tasks {
    pub(crate) owner: Incarnation,
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    live: Mutex<HashMap<Bytes, Arc<Live>>>,
    closing: AtomicBool,
    /// Rung whenever a task ends.
    ended: Notify,
}

/// A task of this server that has not ended.
pub(crate) struct Live {
    pub(crate) key: Bytes,
    progress: AtomicU64,
    abort: Mutex<Option<AbortHandle>>,
}

impl Live {
    /// Counts things done.
    pub(crate) fn advance(&self, by: u64) {
        self.progress.fetch_add(by, Ordering::Relaxed);
    }

    /// What ends this task together with what it publishes.
    pub(crate) fn finish(&self) -> Finish<'_> {
        Finish { key: &self.key }
    }
}

impl Tasks {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self {
            owner: Incarnation::random(entropy),
            short: Arc::new(Semaphore::new(MOST_RUNNING)),
            long: Arc::new(Semaphore::new(MOST_RUNNING)),
            live: Mutex::default(),
            closing: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    /// Where tasks of a kind wait for their turn.
    fn slots(&self, kind: TaskKind) -> &Arc<Semaphore> {
        match kind {
            TaskKind::Commit | TaskKind::Merge => &self.short,
            TaskKind::Dump | TaskKind::Restore | TaskKind::Import | TaskKind::PrepareCommits => &self.long,
        }
    }

    /// Takes a place among the live tasks.
    fn register(self: &Arc<Self>, key: &Bytes) -> Result<Registered, CatalogError> {
        let mut live = self.live.lock();
        if self.closing.load(Ordering::Relaxed) {
            return Err(CatalogError::refused(ErrorKind::Busy, "the server is stopping: try again"));
        }
        if live.len() >= MOST_LIVE {
            return Err(CatalogError::refused(
                ErrorKind::Busy,
                format!("{MOST_LIVE} tasks are running or waiting: try again when some have ended"),
            ));
        }
        let task = Arc::new(Live { key: key.clone(), progress: AtomicU64::new(0), abort: Mutex::default() });
        live.insert(key.clone(), task.clone());
        Ok(Registered { tasks: self.clone(), live: task })
    }

    /// Stops the work on a task that was ended, if it is ours.
    pub(crate) fn stop(&self, key: &Bytes) {
        let live = self.live.lock().get(key).cloned();
        if let Some(abort) = live.and_then(|live| live.abort.lock().take()) {
            abort.abort();
        }
    }

    /// How many things a task of this server has done.
    pub(crate) fn progress(&self, key: &Bytes) -> Option<u64> {
        self.live.lock().get(key).map(|live| live.progress.load(Ordering::Relaxed))
    }

    fn all(&self) -> Vec<Arc<Live>> {
        self.live.lock().values().cloned().collect()
    }
}

/// A place among the live tasks, given back when it is dropped: at the task's end, however that comes.
struct Registered {
    tasks: Arc<Tasks>,
    live: Arc<Live>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.tasks.live.lock().remove(&self.live.key);
        self.tasks.ended.notify_waiters();
    }
}

/// A task to be.
pub(crate) struct NewTask {
    pub(crate) kind: TaskKind,
    /// The branch it moves; empty: none.
    pub(crate) branch: String,
    /// The layer whose tree it collects things in.
    pub(crate) spool: Option<LayerId>,
    /// The incarnation it writes.
    pub(crate) restoring: Option<Incarnation>,
    /// What else becomes true when it begins; the repository's record is checked anyway.
    pub(crate) along: Along,
}

impl NewTask {
    pub(crate) fn of(kind: TaskKind) -> Self {
        Self { kind, branch: String::new(), spool: None, restoring: None, along: Along::default() }
    }
}

/// A submitted task.
pub(crate) struct Submitted {
    pub(crate) id: ObjectName,
    /// Resolves, to an error, when this server's work on it has ended.
    pub(crate) ended: oneshot::Receiver<()>,
}

/// A task outlives the request that began it: it is a trace of its own, which says from which it comes.
fn span_of(kind: TaskKind, repository: &RepositoryId) -> Span {
    let span = tracing::info_span!(
        target: WORK_SPAN,
        parent: None,
        "task",
        otel.name = format_args!("task {kind:?}"),
        lakebed.repository = repository.as_str(),
    );
    if !span.is_disabled() {
        span.follows_from(Span::current().id());
    }
    span
}

impl Catalog {
    /// Begins a task: its row is durable, and so its id resolvable, before this answers.
    ///
    /// `make` may be called again when the repository's record changed meanwhile.
    pub(crate) async fn submit<W, F>(
        &self,
        repository: &RepositoryId,
        make: impl Fn(&Repository) -> Result<NewTask, CatalogError>,
        work: W,
    ) -> Result<Submitted, CatalogError>
    where
        W: FnOnce(Catalog, Arc<Live>) -> F + Send + 'static,
        F: Future<Output = Result<TaskResult, CatalogError>> + Send,
    {
        let inner = &self.inner;
        let id = ObjectName::ascending(inner.clock.now(), &*inner.entropy);
        for _ in 0..MOVE_ATTEMPTS {
            let (record, pin) = inner.pinned(repository).await?;
            let new = make(&record)?;
            let key = keys::task(&record.birth, &id);
            let place = inner.tasks.register(&key)?;
            let now = inner.clock.now().millis();
            let row = wire::TaskRow {
                kind: new.kind.stored(),
                owner: inner.tasks.owner.as_bytes().to_vec(),
                repository: repository.to_string(),
                branch: new.branch,
                created_ms: now,
                updated_ms: now,
                spool: new.spool.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
                restoring: new.restoring.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
                namespace: record.storage_namespace.encode(),
                ..wire::TaskRow::default()
            };
            let mut transaction = Transaction::new()
                .check(pin.0, pin.1)
                .check(key.clone(), Check::Absent)
                .put(key.clone(), wire::encode(&row))
                .put(keys::running_task(&key), "");
            transaction.checks.extend(new.along.checks);
            transaction.writes.extend(new.along.writes);
            match inner.kv.transact(transaction).await? {
                Outcome::Done(_) => {
                    return Ok(Submitted { id, ended: self.begin(new.kind, repository, place, work) });
                }
                Outcome::Refused(_) => {}
                Outcome::Unknown => {
                    if inner.kv.get(&key).await?.is_some() {
                        return Ok(Submitted { id, ended: self.begin(new.kind, repository, place, work) });
                    }
                    // It may still happen; a task without a heartbeat then expires.
                    return Err(outcome_unknown("submit a task"));
                }
            }
        }
        Err(busy("submit a task"))
    }

    /// What a submitted task made, once it has ended.
    pub(crate) async fn wait_for(
        &self,
        repository: &RepositoryId,
        kind: TaskKind,
        submitted: Submitted,
    ) -> Result<TaskResult, CatalogError> {
        let Submitted { id, ended } = submitted;
        // Resolves to an error when the work has ended: its sender is dropped then.
        let _ = ended.await;
        match self.task(repository, kind, &id.to_string()).await?.state {
            TaskState::Done(result) => Ok(result),
            TaskState::Failed { kind, message } => Err(CatalogError::refused(kind, message)),
            TaskState::Running => Err(outcome_unknown("a task")),
        }
    }

    fn begin<W, F>(
        &self,
        kind: TaskKind,
        repository: &RepositoryId,
        place: Registered,
        work: W,
    ) -> oneshot::Receiver<()>
    where
        W: FnOnce(Catalog, Arc<Live>) -> F + Send + 'static,
        F: Future<Output = Result<TaskResult, CatalogError>> + Send,
    {
        let (ending, ended) = oneshot::channel::<()>();
        let catalog = self.clone();
        let live = place.live.clone();
        let run = async move {
            let _ending = ending;
            let place = place;
            let slots = catalog.inner.tasks.slots(kind).clone();
            // The semaphore is never closed.
            let Ok(_slot) = slots.acquire_owned().await else { return };
            let result = work(catalog.clone(), place.live.clone()).await;
            if let Err(error) = catalog.inner.conclude(&place.live, result).await {
                tracing::warn!(%error, "the end of a task could not be written: it will expire");
            }
        };
        let task = tokio::spawn(run.instrument(span_of(kind, repository)));
        *live.abort.lock() = Some(task.abort_handle());
        ended
    }

    /// Ends what earlier lives of this server left running. Only for engines that one process at a time has open: no
    /// other server can be at work on them.
    pub async fn abandon_orphans(&self) -> Result<(), CatalogError> {
        let inner = &self.inner;
        let end = End::badly(&expired("its server was stopped before it ended"));
        let orphan = |row: &wire::TaskRow| {
            let ours = row.owner == inner.tasks.owner.as_bytes();
            (!ours).then(|| end.clone())
        };
        let mut after = None;
        while let Some(page) = inner.running_tasks(&mut after).await? {
            for key in page {
                inner.turn_task(&key, orphan).await?;
            }
        }
        Ok(())
    }

    /// Writes a sign of life of every task of this server, for tests and simulations that run without the background
    /// work. Tasks that were ended by another stop.
    pub async fn beat_once(&self) -> Result<(), CatalogError> {
        self.inner.beat_once().await
    }

    /// Waits for this server's tasks to end, so long, and ends those that do not.
    pub(crate) async fn close_tasks(&self, patience: Duration) {
        let tasks = &self.inner.tasks;
        tasks.closing.store(true, Ordering::Relaxed);
        if tasks.all().is_empty() {
            return;
        }
        let drained = async {
            loop {
                let ended = tasks.ended.notified();
                if tasks.all().is_empty() {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(patience, drained).await.is_ok() {
            return;
        }
        let end = End::badly(&expired("the server was stopped before it ended"));
        for live in tasks.all() {
            tasks.stop(&live.key);
            if let Err(error) = self.inner.turn_task(&live.key, |_| Some(end.clone())).await {
                tracing::warn!(%error, "the end of a task could not be written: it will expire");
            }
        }
    }
}

/// Beats until the catalog is dropped or the task is aborted.
pub(crate) fn spawn(catalog: Weak<Inner>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(BEAT).await;
            let Some(inner) = catalog.upgrade() else { return };
            if let Err(error) = inner.beat_once().await {
                tracing::warn!(%error, "writing signs of life of tasks failed; trying again");
            }
        }
    })
}

impl Inner {
    /// Writes how a task ended, unless it was ended before: by its own publish, or by another.
    async fn conclude(
        &self,
        live: &Live,
        result: Result<TaskResult, CatalogError>,
    ) -> Result<(), CatalogError> {
        let error = match result {
            Ok(done) => {
                let end = End::Well(done);
                match self.turn_task(&live.key, |_| Some(end.clone())).await {
                    // What it made cannot be kept any more: its repository is gone.
                    Err(error) if error.kind() != ErrorKind::Internal => error,
                    other => return other.map(drop),
                }
            }
            Err(error) => error,
        };
        let end = End::badly(&error);
        self.turn_task(&live.key, |_| Some(end.clone())).await.map(drop)
    }

    async fn beat_once(&self) -> Result<(), CatalogError> {
        for live in self.tasks.all() {
            let Some((mut row, version)) = self.task_row(&live.key).await? else {
                self.tasks.stop(&live.key);
                continue;
            };
            if !row.is_running() || row.owner != self.tasks.owner.as_bytes() {
                self.tasks.stop(&live.key);
                continue;
            }
            row.updated_ms = self.clock.now().millis();
            row.progress = live.progress.load(Ordering::Relaxed);
            let beat = Transaction::new()
                .check(live.key.clone(), Check::Version(version))
                .put(live.key.clone(), wire::encode(&row));
            // Refused: it was ended at this moment, or its publish goes first.
            self.kv.transact(beat).await?;
        }
        Ok(())
    }

    /// Ends the tasks of all servers whose heartbeat stopped.
    pub(crate) async fn sweep_tasks(&self) -> Result<(), CatalogError> {
        let mut after = None;
        while let Some(page) = self.running_tasks(&mut after).await? {
            for key in page {
                self.expire_task(&key).await?;
            }
        }
        Ok(())
    }

    /// The keys of a page of the running tasks behind `after`, which moves on. `None`: there are no more.
    async fn running_tasks(&self, after: &mut Option<Bytes>) -> Result<Option<Vec<Bytes>>, CatalogError> {
        let mut range = KeyRange::prefix(&keys::running_tasks());
        if let Some(after) = after {
            range.start = crate::sweep::after(after);
        }
        let rows = self.kv.scan(&range, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        *after = Some(last.key.clone());
        Ok(Some(rows.iter().map(|row| keys::task_of(&row.key)).collect()))
    }
}
