//! Sends transactions to the database: in groups, over a few connections at once, each group exactly once as far as
//! anyone can tell.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;

use super::connections::{Connections, failed, is_lost};
use super::group::{self, Call};
use crate::{KvError, Outcome, Transaction, Version};

/// Transactions taken from the queue that wait for their group.
const WAITING: usize = 1024;

/// How often a group is sent again that the database undid because others were in its way.
const CONTENTION_TRIES: u32 = 30;

const TRANSACT: &str = "SELECT given_versions, refused_numbers, refused_keys \
    FROM lakebed_transact($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// A transaction and who asked for it.
pub(super) struct Request {
    pub(super) transaction: Transaction,
    pub(super) answer: oneshot::Sender<Result<Outcome, KvError>>,
}

/// Why a group has no outcome.
enum Undone {
    /// Nothing of it happened.
    No(KvError),
    /// It happened or not.
    Unknown,
}

/// Runs until the queue is closed and everything accepted was answered.
pub(super) async fn run(connections: Arc<Connections>, mut requests: mpsc::Receiver<Request>, lanes: usize) {
    let slots = Arc::new(Semaphore::new(lanes));
    let mut running = JoinSet::new();
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            match requests.recv().await {
                Some(request) => waiting.push_back(request),
                None => break,
            }
        }
        // While all lanes are taken the queue fills, and so does the next group.
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        // Tasks that are ready to ask do it now.
        tokio::task::yield_now().await;
        while waiting.len() < WAITING {
            match requests.try_recv() {
                Ok(request) => waiting.push_back(request),
                Err(_) => break,
            }
        }
        let group = group::take(&mut waiting, |request| &request.transaction);
        let connections = connections.clone();
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            answer(&connections, group).await;
            drop(slot);
        });
    }
    while running.join_next().await.is_some() {}
}

async fn answer(connections: &Connections, group: Vec<Request>) {
    let transactions: Vec<&Transaction> = group.iter().map(|request| &request.transaction).collect();
    let result = send(connections, &transactions).await;
    match result {
        Ok(outcomes) => {
            for (request, outcome) in group.into_iter().zip(outcomes) {
                let _ = request.answer.send(Ok(outcome));
            }
        }
        Err(Undone::Unknown) => {
            for request in group {
                let _ = request.answer.send(Ok(Outcome::Unknown));
            }
        }
        Err(Undone::No(error)) if group.len() == 1 => {
            for request in group {
                let _ = request.answer.send(Err(error.clone()));
            }
        }
        // One of them may be to blame: each goes by itself.
        Err(Undone::No(_)) => {
            for Request { transaction, answer } in group {
                let result = match send(connections, &[&transaction]).await {
                    Ok(outcomes) => outcomes.into_iter().next().ok_or_else(malformed),
                    Err(Undone::Unknown) => Ok(Outcome::Unknown),
                    Err(Undone::No(error)) => Err(error),
                };
                let _ = answer.send(result);
            }
        }
    }
}

fn malformed() -> KvError {
    KvError::Engine(
        "PostgreSQL: lakebed_transact answers something else: was the schema changed by hand?".into(),
    )
}

/// Sends a group until the database has decided it.
async fn send(connections: &Connections, group: &[&Transaction]) -> Result<Vec<Outcome>, Undone> {
    let call = Call::of(group.iter().copied());
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match once(connections, &call).await? {
            Ok(outcomes) => return Ok(outcomes),
            Err(error) => error,
        };
        if tries >= CONTENTION_TRIES {
            return Err(Undone::No(failed(&error)));
        }
        let pause = Duration::from_millis(1 << tries.min(6));
        tokio::time::sleep(connections.jitter(pause)).await;
    }
}

/// One round trip. The inner error: the database undid the group because others were in its way.
async fn once(
    connections: &Connections,
    call: &Call<'_>,
) -> Result<Result<Vec<Outcome>, tokio_postgres::Error>, Undone> {
    let (client, statement) = prepared(connections).await.map_err(Undone::No)?;
    let parameters: [&(dyn ToSql + Sync); 12] = [
        &call.transactions,
        &call.lock_keys,
        &call.run_ends,
        &call.run_strengths,
        &call.check_numbers,
        &call.check_keys,
        &call.check_kinds,
        &call.check_versions,
        &call.write_numbers,
        &call.write_keys,
        &call.write_values,
        &call.write_new,
    ];
    let query = client.query(&statement, &parameters);
    // The rows come before the commit; the driver ends only with `ReadyForQuery`, which comes behind it. So whatever it
    // returns without an error is committed, and on disk.
    let error = match tokio::time::timeout(connections.deadline, query).await {
        Ok(Ok(rows)) => {
            // It happened. If its answer cannot be read, nobody knows what happened.
            return match rows.first().and_then(|row| outcomes(row, call.transactions)) {
                Some(outcomes) => Ok(Ok(outcomes)),
                None => Err(Undone::Unknown),
            };
        }
        Ok(Err(error)) => error,
        Err(_) => {
            tracing::warn!("PostgreSQL does not answer a transaction: its outcome is unknown");
            drop(Object::take(client));
            return Err(Undone::Unknown);
        }
    };
    if is_lost(&error) {
        drop(Object::take(client));
    }
    let Some(said) = error.as_db_error() else {
        tracing::warn!(error = failed(&error).to_string(), "a transaction's outcome is unknown");
        return Err(Undone::Unknown);
    };
    // An error, as opposed to the end of the session, comes instead of the commit: the whole statement was undone. The
    // session can end at any moment, also between the commit and its answer.
    if said.parsed_severity() != Some(Severity::Error) {
        tracing::warn!(error = failed(&error).to_string(), "a transaction's outcome is unknown");
        return Err(Undone::Unknown);
    }
    let contended =
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE];
    if contended.contains(said.code()) { Ok(Err(error)) } else { Err(Undone::No(failed(&error))) }
}

/// A connection that knows the statement. Nothing was sent yet that could happen twice: a lost one is replaced.
async fn prepared(
    connections: &Connections,
) -> Result<(deadpool_postgres::Client, tokio_postgres::Statement), KvError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let client = connections.get().await?;
        match tokio::time::timeout(connections.deadline, client.prepare_cached(TRANSACT)).await {
            Ok(Ok(statement)) => return Ok((client, statement)),
            Ok(Err(error)) => {
                let lost = is_lost(&error);
                if lost {
                    drop(Object::take(client));
                }
                if !lost || tries >= 3 {
                    return Err(failed(&error));
                }
            }
            Err(_) => {
                drop(Object::take(client));
                return Err(KvError::Engine("PostgreSQL: no answer to a statement to be prepared".into()));
            }
        }
    }
}

fn outcomes(row: &tokio_postgres::Row, transactions: i32) -> Option<Vec<Outcome>> {
    let versions: Option<Vec<i64>> = row.try_get(0).ok()?;
    let versions = versions.unwrap_or_default();
    let numbers: Vec<i32> = row.try_get(1).ok()?;
    let keys: Vec<Vec<u8>> = row.try_get(2).ok()?;
    let mut refused: std::collections::HashMap<i32, Vec<u8>> = numbers.into_iter().zip(keys).collect();
    (1..=transactions)
        .map(|number| match refused.remove(&number) {
            Some(key) => Some(Outcome::Refused(key.into())),
            None => versions.get(number as usize - 1).map(|version| Outcome::Done(Version(*version as u64))),
        })
        .collect()
}
