//! Sends reads to the database: those that wait at the same time go together, in one statement.
//!
//! A statement sees what was committed when it began, and answers only reads that were asked for before it was sent. So
//! each read sees whatever was acknowledged before it began, and all keys of one call at one instant. A call is never
//! split over two statements.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_postgres::Row as SqlRow;

use super::connections::{Connections, failed};
use super::versioned;
use crate::{Key, KvError, Versioned};

/// Calls that wait for a lane; more callers wait for a place.
const QUEUE: usize = 4096;

/// Statements at work at once. Few: what waits for one of them goes together.
const LANES: usize = 2;

/// The most calls of one group, and the most keys.
const GROUP: usize = 256;
const GROUP_KEYS: usize = 1024;

/// Calls with more keys go by themselves, so that nobody waits for what others want of them.
const FEW_KEYS: usize = 64;

const GET_MANY: &str = "SELECT key, value, version FROM lakebed_kv WHERE key = ANY ($1)";

type Found = Vec<Option<Versioned>>;

/// A call and who asked for it.
struct Request {
    keys: Vec<Key>,
    answer: oneshot::Sender<Result<Found, KvError>>,
}

/// What waits for a lane. One lane after the other takes from it.
struct Waiting {
    requests: mpsc::Receiver<Request>,
    /// Taken from the queue, and too much for the group before it.
    left: Option<Request>,
}

/// Reads by key.
pub(super) struct Reader {
    connections: Arc<Connections>,
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    lanes: Mutex<JoinSet<()>>,
}

fn stopped() -> KvError {
    KvError::Stopped("it was closed".into())
}

impl Reader {
    /// Starts the lanes; they end when the reader is closed or dropped. No more than a quarter of the connections.
    pub(super) fn start(connections: &Arc<Connections>, most_connections: usize) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let waiting = Arc::new(tokio::sync::Mutex::new(Waiting { requests, left: None }));
        let mut lanes = JoinSet::new();
        for _ in 0..LANES.min(most_connections / 4).max(1) {
            lanes.spawn(lane(connections.clone(), waiting.clone()));
        }
        Self { connections: connections.clone(), queue: Mutex::new(Some(queue)), lanes: Mutex::new(lanes) }
    }

    /// The values at `keys`, in their order, all of one instant.
    pub(super) async fn read(&self, keys: Vec<Key>) -> Result<Found, KvError> {
        let queue = self.queue.lock().clone().ok_or_else(stopped)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if keys.len() > FEW_KEYS {
            let distinct = distinct([&keys[..]]);
            let found = find(&self.connections, &distinct).await?;
            return Ok(pick(&distinct, &found, &keys));
        }
        let (answer, answered) = oneshot::channel();
        queue.send(Request { keys, answer }).await.map_err(|_| stopped())?;
        // Every request is answered, unless the runtime ends.
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Answers what was accepted, then ends the lanes.
    pub(super) async fn close(&self) -> Result<(), KvError> {
        drop(self.queue.lock().take());
        let mut lanes = std::mem::take(&mut *self.lanes.lock());
        while let Some(ended) = lanes.join_next().await {
            ended.map_err(|_| KvError::Engine("a reader of the PostgreSQL engine failed".into()))?;
        }
        Ok(())
    }
}

/// Runs until the queue is closed and everything accepted was answered.
async fn lane(connections: Arc<Connections>, waiting: Arc<tokio::sync::Mutex<Waiting>>) {
    while let Some(group) = next_group(&waiting).await {
        answer(&connections, group).await;
    }
}

/// The next calls that go together: whatever waits, within bounds. `None`: the queue is closed and empty.
async fn next_group(waiting: &tokio::sync::Mutex<Waiting>) -> Option<Vec<Request>> {
    let mut waiting = waiting.lock().await;
    let first = match waiting.left.take() {
        Some(left) => left,
        None => waiting.requests.recv().await?,
    };
    // Tasks that are ready to ask do it now. If there are none, this costs nothing.
    tokio::task::yield_now().await;
    let mut keys = first.keys.len();
    let mut group = vec![first];
    while group.len() < GROUP
        && let Ok(next) = waiting.requests.try_recv()
    {
        if next.answer.is_closed() {
            continue;
        }
        keys += next.keys.len();
        if keys > GROUP_KEYS {
            waiting.left = Some(next);
            break;
        }
        group.push(next);
    }
    Some(group)
}

async fn answer(connections: &Connections, group: Vec<Request>) {
    let distinct = distinct(group.iter().map(|request| &request.keys[..]));
    match find(connections, &distinct).await {
        Ok(found) => {
            let answers: Vec<Found> =
                group.iter().map(|request| pick(&distinct, &found, &request.keys)).collect();
            for (request, answer) in group.into_iter().zip(answers) {
                // Whoever gave up asking keeps nobody else from the answer.
                let _ = request.answer.send(Ok(answer));
            }
        }
        Err(error) => {
            for request in group {
                let _ = request.answer.send(Err(error.clone()));
            }
        }
    }
}

/// Every key once, in order.
fn distinct<'a>(calls: impl IntoIterator<Item = &'a [Key]>) -> Vec<&'a [u8]> {
    let mut keys: Vec<&[u8]> = calls.into_iter().flatten().map(|key| &key[..]).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What the database has at each of these keys.
async fn find(connections: &Connections, distinct: &[&[u8]]) -> Result<Found, KvError> {
    let rows = connections.read(GET_MANY, &[&distinct]).await?;
    let mut found = vec![None; distinct.len()];
    for row in &rows {
        let key: &[u8] = key_of(row)?;
        if let Ok(at) = distinct.binary_search(&key) {
            found[at] = Some(versioned(row, 1)?);
        }
    }
    Ok(found)
}

pub(super) fn key_of(row: &SqlRow) -> Result<&[u8], KvError> {
    row.try_get(0).map_err(|error| failed(&error))
}

/// One call's part of what was found.
fn pick(distinct: &[&[u8]], found: &[Option<Versioned>], keys: &[Key]) -> Found {
    let value = |key: &Key| distinct.binary_search(&&key[..]).ok().and_then(|at| found[at].clone());
    keys.iter().map(value).collect()
}
