//! Whose turn it is to move a hot branch's head (`protocol.md`, Publish).
//!
//! Operations of one server queue before they compute. Servers do not see each other's queues: the first to publish wins and
//! the others compute again, so one that computes for long, or is far from the database, could lose every time. An
//! operation that was overtaken twice therefore takes a place in the branch's line, and whoever finds places there takes one
//! behind them. Each place is a row of its own, in the order in which they were taken, so that to line up is a write that
//! nobody can be first with. A `turn` row beside them says that there is a line; a publish reads it with the branch's record
//! and waits if it is another's turn. One that was under way may still be first, once.
//!
//! To hand a turn to another server costs more than most commits. So for a moment a place goes on to whoever waits behind on
//! the same server, before it is the others' turn.
//!
//! All this is for fairness and speed only: a turn ends after a time, and then anybody takes it away; what is promised rests
//! on the checks of the publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, Incarnation};
use lakebed_kv::{Check, Row, Transaction, Versioned};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::branch_state::BranchState;
use crate::catalog::Inner;
use crate::figures::Waiting;
use crate::staging::protects;
use crate::working::busy;
use crate::{CatalogError, Repository, keys, wire};

/// Operations of one server that move one branch's head wait here in order.
#[derive(Default)]
pub(crate) struct HeadQueue {
    line: Arc<tokio::sync::Mutex<()>>,
    behind: Mutex<Behind>,
    /// How many have come so far.
    come: AtomicU64,
    /// Whether other servers waited for the branch when the last one was done.
    others_wait: AtomicBool,
    /// A branch, and how many had come before the cut of the last commit of this server that its head has.
    committed: Mutex<Option<(Incarnation, u64)>>,
}

/// What waits behind the operation whose turn it is on this server.
#[derive(Default)]
struct Behind {
    /// How many operations.
    waiting: usize,
    /// The place among the servers that the next one takes over.
    place: Option<Place>,
}

/// A place in a branch's line.
struct Place {
    branch: Incarnation,
    key: Bytes,
    /// When it became the first, in milliseconds; 0: not yet.
    first_since: i64,
}

/// An operation that waits on its own server.
struct Queued<'a> {
    inner: &'a Inner,
    queue: &'a HeadQueue,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut behind = self.queue.behind.lock();
        behind.waiting -= 1;
        // Its client hung up just when it was left a place, and it was the last.
        if behind.waiting == 0
            && let Some(place) = behind.place.take()
        {
            self.inner.leave_place(place);
        }
    }
}

/// For so long a server goes on with what waits behind it when its turn has come, if others wait.
const TOGETHER: Duration = Duration::from_millis(25);

/// How often an operation is overtaken before it takes a place.
const OVERTAKEN: u32 = 2;

/// How long a turn lasts: twice what the operation needed the last time, within these.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);

/// How long an operation waits for its turn before it gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Pauses between looks at the line.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

/// What a publish looks at, of one instant: a branch, whether rules protect it, and its line if there is one, the first two
/// places.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) state: Arc<BranchState>,
    pub(crate) protected: bool,
    line: Option<Line>,
}

#[derive(Clone)]
struct Line {
    /// The row that says so.
    mark: Versioned,
    places: Vec<Row>,
}

impl Found {
    /// The same, after a seal of that very record.
    pub(crate) fn sealed(self, state: Arc<BranchState>) -> Self {
        Self { state, ..self }
    }
}

/// This operation's turn on its own server, and its place among the servers if it has one. Both end when it is dropped.
pub(crate) struct Turn<'a> {
    inner: &'a Inner,
    queue: Arc<HeadQueue>,
    _first: OwnedMutexGuard<()>,
    /// How many had come before it.
    number: u64,
    state: Mutex<State>,
}

struct State {
    /// When the operation began to compute what it wants to publish, in milliseconds.
    begun: i64,
    overtaken: u32,
    place: Option<Place>,
    /// Whether the place outlasts the publish that was tried last.
    keeps: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // It leaves its place to those behind it, failed, or was given up.
        let state = self.state.get_mut();
        let Some(place) = state.place.take() else { return };
        let mut behind = self.queue.behind.lock();
        if behind.waiting > 0 && (state.keeps || self.inner.goes_on(&place)) {
            behind.place = Some(place);
        } else {
            self.inner.leave_place(place);
        }
    }
}

impl Turn<'_> {
    /// To be asked before a cut: how many operations it will come after.
    pub(crate) fn come(&self) -> u64 {
        self.queue.come.load(Ordering::SeqCst)
    }

    /// A cut of this branch after so many had come is part of its head, or had nothing in it.
    pub(crate) fn is_committed(&self, branch: Incarnation, come: u64) {
        *self.queue.committed.lock() = Some((branch, come));
    }

    /// Whether everything that was staged on this branch before this operation came was committed while it waited; how many
    /// had come before that cut.
    pub(crate) fn was_committed(&self, branch: Incarnation) -> Option<u64> {
        let committed = *self.queue.committed.lock();
        committed.filter(|(of, come)| *of == branch && self.number < *come).map(|(_, come)| come)
    }

    /// Adds to a publish that this turn ends with it, unless the place goes on to who waits behind. `None`: it is another's
    /// turn.
    pub(crate) fn end_with(&self, found: &Found, transaction: Transaction) -> Option<Transaction> {
        let mut state = self.state.lock();
        let places = found.line.as_ref().map_or(&[][..], |line| &line.places);
        state.keeps = false;
        match (places, &state.place) {
            ([first, ..], Some(place)) if first.key != place.key => None,
            ([_, ..], None) => None,
            ([_, _, ..], Some(place))
                if self.inner.goes_on(place) && self.queue.behind.lock().waiting > 0 =>
            {
                state.keeps = true;
                Some(transaction)
            }
            // One that was taken away is looked for in vain.
            (_, Some(place)) => Some(transaction.delete(place.key.clone())),
            ([], None) => Some(transaction),
        }
    }

    /// The publish happened, on what was `found`.
    pub(crate) async fn done(&self, found: &Found) {
        {
            let mut state = self.state.lock();
            if !state.keeps {
                state.place = None;
            }
        }
        let others_wait = found.line.as_ref().is_some_and(|line| line.places.len() > 1);
        self.queue.others_wait.store(others_wait, Ordering::Relaxed);
        let (Some(line), false) = (&found.line, others_wait) else { return };
        let mark = keys::turn(&found.state.incarnation);
        // Whoever lined up meanwhile wrote it anew. One that stays costs the next publish a look at the line: what has
        // happened is not called a failure for that.
        let end = Transaction::new().check(mark.clone(), Check::Version(line.mark.version)).delete(mark);
        let _ = self.inner.kv.transact(end).await;
    }
}

impl Inner {
    /// This operation's turn to move the branch's head, until it is dropped: on this server, and among all servers if
    /// others waited for the branch lately.
    pub(crate) async fn turn(
        &self,
        repository: &Repository,
        branch: &BranchId,
    ) -> Result<Turn<'_>, CatalogError> {
        let turn = self.turn_here(repository, branch).await;
        self.turn_among_servers(&turn, repository, branch).await?;
        Ok(turn)
    }

    /// This operation's turn on this server. The time it waits is measured for the observer alone and decides nothing.
    #[tracing::instrument(target = SPAN, name = "catalog wait for turn", skip_all)]
    pub(crate) async fn turn_here(&self, repository: &Repository, branch: &BranchId) -> Turn<'_> {
        let queue = self.head_queue(repository, branch);
        let _waiting = Waiting { observer: self.observer.get(), since: Instant::now() };
        if let Some(observer) = self.observer.get() {
            observer.queued();
        }
        let number = queue.come.fetch_add(1, Ordering::SeqCst);
        queue.behind.lock().waiting += 1;
        let queued = Queued { inner: self, queue: &queue };
        let first = queue.line.clone().lock_owned().await;
        let place = queue.behind.lock().place.take();
        drop(queued);
        let state = State { begun: self.clock.now().millis(), overtaken: 0, place, keeps: false };
        Turn { inner: self, queue, _first: first, number, state: Mutex::new(state) }
    }

    /// Whether a server goes on with what waits behind an operation that has this place.
    fn goes_on(&self, place: &Place) -> bool {
        let together = i64::try_from(TOGETHER.as_millis()).unwrap_or(0);
        // Not for ever if the clock is put back.
        place.first_since > 0 && (0..together).contains(&(self.clock.now().millis() - place.first_since))
    }

    /// A place nobody needs.
    fn leave_place(&self, place: Place) {
        self.abandoned_turns.lock().push(place.key);
        self.sweep.notify_one();
    }

    /// Waits for the turn among all servers, if others waited for the branch lately.
    pub(crate) async fn turn_among_servers(
        &self,
        turn: &Turn<'_>,
        repository: &Repository,
        branch: &BranchId,
    ) -> Result<(), CatalogError> {
        let left = turn.state.lock().place.as_ref().map(|place| place.branch);
        let hot = left.is_some() || turn.queue.others_wait.load(Ordering::Relaxed);
        if !hot {
            return Ok(());
        }
        let found = self.find_branch(repository, branch.as_str()).await?;
        let now = found.as_ref().map(|state| state.incarnation);
        if left.is_some() && left == now {
            // It is still its turn. If others thought that it had ended, the publish finds out.
            return Ok(());
        }
        if let Some(of_another) = turn.state.lock().place.take() {
            self.leave_place(of_another);
        }
        match now {
            Some(incarnation) => self.line_up(turn, &incarnation).await,
            None => Ok(()),
        }
    }

    /// A branch with its rules and its line, if it still is the one of this incarnation; else whatever has its name, without
    /// a line.
    pub(crate) async fn branch_and_line(
        &self,
        repository: &Repository,
        branch: &BranchId,
        incarnation: &Incarnation,
    ) -> Result<Found, CatalogError> {
        let key = keys::branch(&repository.incarnation, branch);
        let wanted = [key.clone(), keys::turn(incarnation), keys::rules(&repository.birth)];
        let mut found = self.kv.get_many(&wanted).await?;
        let protected = protects(found.pop().flatten().as_ref(), branch)?;
        let mark = found.pop().flatten();
        let state = match found.pop().flatten() {
            Some(row) => self.decode_branch(key, &row)?,
            None => None,
        };
        // Not there: this says why.
        let Some(state) = state else {
            let state = self.branch(repository, branch).await?;
            let protected = self.is_protected(repository, branch).await?;
            return Ok(Found { state, protected, line: None });
        };
        let line = match mark {
            Some(mark) => Some(Line { mark, places: self.kv.scan(&keys::places(incarnation), 2).await? }),
            None => None,
        };
        Ok(Found { state, protected, line })
    }

    /// Another operation moved the branch first. Answers when it makes sense to compute again: at once, or when it is this
    /// one's turn.
    pub(crate) async fn overtaken(&self, turn: &Turn<'_>, branch: &Incarnation) -> Result<(), CatalogError> {
        let lines_up = {
            let mut state = turn.state.lock();
            state.overtaken += 1;
            state.overtaken >= OVERTAKEN
        };
        if lines_up {
            self.line_up(turn, branch).await?;
        }
        turn.state.lock().begun = self.clock.now().millis();
        Ok(())
    }

    /// Takes a place in the branch's line, if this operation has none, and waits until it is the first: at most until the
    /// turns before it have ended.
    pub(crate) async fn line_up(&self, turn: &Turn<'_>, branch: &Incarnation) -> Result<(), CatalogError> {
        let (place, lease) = {
            let mut state = turn.state.lock();
            let now = self.clock.now();
            let needed = u64::try_from(now.millis().saturating_sub(state.begun)).unwrap_or(0);
            let lease = Duration::from_millis(needed).saturating_mul(2).clamp(SHORTEST, LONGEST);
            // Known before it is written, so that it is taken away whatever becomes of this call.
            let fresh = || Place {
                branch: *branch,
                key: keys::place(branch, now, &Incarnation::random(&*self.entropy)),
                first_since: 0,
            };
            (state.place.get_or_insert_with(fresh).key.clone(), lease)
        };
        let row = wire::PlaceRow { lease_ms: u32::try_from(lease.as_millis()).unwrap_or(u32::MAX) };
        let mut taken = false;
        let (mut pause, mut waited) = (FIRST_PAUSE, Duration::ZERO);
        // How long this one or that has been the first, as far as was seen: clocks of servers need not agree.
        let (mut first, mut first_for) = (Bytes::new(), Duration::ZERO);
        loop {
            let line = self.kv.scan(&keys::places(branch), 1).await?;
            match line.first() {
                Some(row) if row.key == place => {
                    let now = self.clock.now().millis();
                    if let Some(place) = &mut turn.state.lock().place
                        && place.first_since == 0
                    {
                        place.first_since = now;
                    }
                    return Ok(());
                }
                Some(row) if row.key == first => {
                    let row: wire::PlaceRow = wire::decode(&row.value, "turn")?;
                    if first_for >= Duration::from_millis(row.lease_ms.into()).min(LONGEST) {
                        self.kv.transact(Transaction::new().delete(first.clone())).await?;
                        continue;
                    }
                }
                Some(row) => (first, first_for) = (row.key.clone(), Duration::ZERO),
                None => taken = false,
            }
            if !taken {
                let write =
                    Transaction::new().put(keys::turn(branch), "").put(place.clone(), wire::encode(&row));
                self.kv.transact(write).await?;
                taken = true;
                continue;
            }
            if waited >= PATIENCE {
                return Err(busy("waiting for the turn to change a branch"));
            }
            tokio::time::sleep(pause).await;
            waited += pause;
            first_for += pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes away the places of operations that failed. One that stays is taken away when its time is over.
    pub(crate) async fn sweep_turns(&self) -> Result<(), CatalogError> {
        let abandoned = std::mem::take(&mut *self.abandoned_turns.lock());
        for place in abandoned {
            self.kv.transact(Transaction::new().delete(place)).await?;
        }
        Ok(())
    }
}
