//! The engine on DynamoDB, for many servers over one truth.
//!
//! **One table** with a binary partition key and a binary sort key; where keys lie in it is [`layout`]'s matter, and what items
//! look like [`item`]'s.
//!
//! **A version** is a random number of 64 bits, drawn by the server for each transaction: never given twice as far as chance
//! goes, and no row that all writers would have to change.
//!
//! **A transaction** is one `TransactWriteItems`, or, if it is one write of one key, the cheaper `PutItem` or `DeleteItem` with
//! a condition. DynamoDB decides conditions and writes as one, serializably, and answers when they are durable. A transaction
//! that meets another one at work on the same item is cancelled, which is no refusal: it is sent again after a random pause.
//! Transactions of one server that name the same key, one of them to write it, wait for one another here ([`order`]); so only
//! those of other servers are in the way.
//!
//! **Reads** are strongly consistent: `GetItem` and `Query` are asked so, several keys are read by `TransactGetItems` (all at
//! one instant, up to [`Limits::max_items`]).
//!
//! **Unknown.** An answer that does not come leaves open whether the write happened. A transaction carries a token by which the
//! service knows it again for ten minutes, so it is sent again: if that succeeds it has happened, once. If another attempt is
//! *refused*, the lost one may still arrive and happen: unknown. A single write has no token and is not sent again. What is
//! still open then is looked up: if a key that was put has the version of this very transaction, it happened; otherwise the
//! outcome is [`Outcome::Unknown`].

mod client;
mod config;
mod item;
mod layout;
mod order;
mod pieces;
mod plan;
mod scan;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lakebed_core::Entropy;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::client::{Client, Decided, Failure};
pub use self::config::DynamoConfig;
use self::item::{Stored, damaged};
use self::order::Order;
use self::plan::Plan;
use crate::check;
use crate::{
    Key, KeyRange, Kv, KvError, Limits, Migrated, Outcome, Row, Transaction, Version, Versioned, Write,
};

/// Of 100 items the rest is for signs and pieces; of 4 MB the rest is for names of attributes.
const LIMITS: Limits =
    Limits { max_items: 64, max_bytes: 3 << 20, max_key_bytes: layout::LONGEST, gate_spread: 16 };

/// Parts of many keys that are asked for at once.
const PARTS_AT_ONCE: usize = 8;

/// How often a read begins anew whose pieces were taken away under it.
const READ_TRIES: usize = 20;

/// One attempt of a request.
#[derive(Clone, Copy, Debug)]
pub struct DynamoCall {
    /// The operation as the service calls it, such as `TransactWriteItems`.
    pub operation: &'static str,
    /// From its begin to its answer.
    pub took: Duration,
    /// There was no answer, or a refusal other than by a condition or by another transaction.
    pub failed: bool,
    /// Units of capacity it consumed, as far as the answer says.
    pub capacity: f64,
}

/// Who is told of every request.
pub trait DynamoWatch: Send + Sync + 'static {
    /// A request was answered, or given up.
    fn called(&self, call: DynamoCall);
}

/// Nobody.
impl DynamoWatch for () {
    fn called(&self, _: DynamoCall) {}
}

/// The table and the way to it.
struct Table {
    client: Client,
    name: String,
    /// Items of one page.
    page: usize,
}

fn failed(operation: &'static str) -> impl Fn(Failure) -> KvError {
    move |failure| failure.error(operation)
}

/// The engine on DynamoDB.
pub struct DynamoKv {
    table: Arc<Table>,
    order: Order,
    closed: AtomicBool,
    background: Vec<JoinHandle<()>>,
}

impl Table {
    async fn of(
        config: &DynamoConfig,
        entropy: Arc<dyn Entropy>,
        watch: Arc<dyn DynamoWatch>,
    ) -> Result<Self, KvError> {
        let client = Client::new(config, entropy, watch).await?;
        Ok(Self { client, name: config.table.clone(), page: config.scan_limit.clamp(1, 10_000) })
    }
}

impl DynamoKv {
    /// Connects. Makes the table if it is missing, and fails on one that is not Lakebed's.
    pub async fn open(
        config: &DynamoConfig,
        entropy: Arc<dyn Entropy>,
        watch: Arc<dyn DynamoWatch>,
    ) -> Result<Self, KvError> {
        let table = Arc::new(Table::of(config, entropy, watch).await?);
        table.ensure().await?;
        let mut background = Vec::new();
        let swept = table.clone();
        background.push(tokio::spawn(async move {
            loop {
                match swept.sweep().await {
                    Ok(0) => {}
                    Ok(number) => tracing::debug!(number, "swept pieces of values that are gone"),
                    Err(error) => tracing::warn!(%error, "sweeping pieces failed; trying again later"),
                }
                tokio::time::sleep(pieces::SWEEP).await;
            }
        }));
        if let Some(interval) = config.health_check_interval.filter(|interval| !interval.is_zero()) {
            let looked_at = table.clone();
            background.push(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    if let Err(error) = looked_at.health().await {
                        tracing::error!(%error, "the DynamoDB table is not well");
                    }
                }
            }));
        }
        Ok(Self { table, order: Order::default(), closed: AtomicBool::new(false), background })
    }

    /// The format of the table; `None`: there is none yet.
    pub async fn format_version(
        config: &DynamoConfig,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Option<u32>, KvError> {
        Table::of(config, entropy, Arc::new(())).await?.format().await
    }

    /// Makes the table, if it is missing, so that servers need not be allowed to.
    pub async fn migrate(config: &DynamoConfig, entropy: Arc<dyn Entropy>) -> Result<Migrated, KvError> {
        let table = Table::of(config, entropy, Arc::new(())).await?;
        let from = table.format().await?.unwrap_or(0);
        table.ensure().await?;
        Ok(Migrated { from, to: table::FORMAT })
    }

    /// Whether DynamoDB takes a transaction, as far as it can be told without asking: for tests of what stands on the engine.
    pub fn takes(transaction: &Transaction) -> Result<(), KvError> {
        check::well_formed(transaction, &LIMITS)?;
        Plan::of(transaction, Version(0), "table").map(drop)
    }

    /// What one transaction may carry.
    pub fn most() -> Limits {
        LIMITS
    }

    /// Takes away the pieces of large values that were overwritten or deleted; done in the background, too. Answers of how
    /// many values.
    pub async fn sweep(&self) -> Result<usize, KvError> {
        self.running()?;
        self.table.sweep().await
    }

    fn running(&self) -> Result<(), KvError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(KvError::Stopped("it was closed".into()));
        }
        Ok(())
    }
}

impl Drop for DynamoKv {
    fn drop(&mut self) {
        for task in &self.background {
            task.abort();
        }
    }
}

/// Whether any key can be in the table.
fn is_stored(key: &[u8]) -> bool {
    (1..=layout::LONGEST).contains(&key.len())
}

fn in_motion() -> KvError {
    KvError::Unavailable("DynamoDB: a large value was written again and again while it was read".into())
}

impl Table {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        for _ in 0..READ_TRIES {
            let Some(item) = self.item(layout::place(key)).await? else { return Ok(None) };
            if let Some(found) = self.whole(Stored::of(&item)?).await? {
                return Ok(Some(found));
            }
        }
        Err(in_motion())
    }

    /// Keys as they are at one instant, at most as many as a transaction may name.
    async fn at_once(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        // A key may be asked for twice, an item not.
        let mut wanted: Vec<&Key> = keys.iter().filter(|key| is_stored(key)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(vec![None; keys.len()]);
        }
        let gets: Vec<Value> = wanted
            .iter()
            .map(|key| {
                let place = layout::place(key);
                json!({"Get": {"TableName": self.name, "Key": item::primary(&place)}})
            })
            .collect();
        let body = json!({"TransactItems": gets, "ReturnConsumedCapacity": "TOTAL"});
        'again: for _ in 0..READ_TRIES {
            let asked = self.client.ask("TransactGetItems", &body).await;
            let answer = asked.map_err(failed("TransactGetItems"))?;
            let answers = answer.get("Responses").and_then(Value::as_array).map(Vec::as_slice);
            let answers = answers.unwrap_or_default();
            if answers.len() != wanted.len() {
                return Err(damaged("an answer of another length"));
            }
            let mut found = Vec::with_capacity(answers.len());
            for answer in answers {
                let whole = match answer.get("Item").filter(|item| item.is_object()) {
                    None => None,
                    Some(item) => match self.whole(Stored::of(item)?).await? {
                        None => continue 'again,
                        whole => whole,
                    },
                };
                found.push(whole);
            }
            let of = |key: &Key| wanted.binary_search(&key).ok().and_then(|at| found[at].clone());
            return Ok(keys.iter().map(of).collect());
        }
        Err(in_motion())
    }
}

#[async_trait]
impl Kv for DynamoKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.running()?;
        if is_stored(key) { self.table.get(key).await } else { Ok(None) }
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.running()?;
        if let [key] = keys {
            return Ok(vec![self.get(key).await?]);
        }
        let parts: Vec<_> = keys.chunks(LIMITS.max_items).map(|keys| self.table.at_once(keys)).collect();
        stream::iter(parts).buffered(PARTS_AT_ONCE).try_concat().await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.running()?;
        let mut range = range.clone();
        let mut rows = Vec::new();
        loop {
            let wanted = limit - rows.len();
            let found = self.table.range(&range, wanted).await?;
            let last = found.last().map(|(key, _)| key.clone());
            let ended = found.len() < wanted;
            for (key, stored) in found {
                let whole = match self.table.whole(stored).await? {
                    None => self.table.get(&key).await?,
                    whole => whole,
                };
                rows.extend(whole.map(|Versioned { value, version }| Row { key, value, version }));
            }
            match last {
                // A large one was deleted meanwhile: its place is another's.
                Some(last) if !ended && rows.len() < limit => {
                    range.start = Bytes::from([&last[..], &[0]].concat());
                }
                _ => return Ok(rows),
            }
        }
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        check::well_formed(&transaction, &LIMITS)?;
        self.running()?;
        if transaction.checks.iter().any(|(key, _)| key.is_empty())
            || transaction.writes.iter().any(|(key, _)| key.is_empty())
        {
            return Err(KvError::Invalid("DynamoDB has no empty keys".to_owned()));
        }
        let version = Version(self.table.client.entropy().next_u64());
        let plan = Plan::of(&transaction, version, &self.table.name)?;
        if plan.is_empty() {
            return Ok(Outcome::Done(version));
        }
        let mut token = [0; 16];
        self.table.client.entropy().fill(&mut token);
        let token = format!("{:032x}", u128::from_be_bytes(token));
        let (operation, body, with_token, keys) = plan.request(&token);
        let _turn = self.order.turn(&transaction).await;
        let decided = self.table.client.write(operation, &body, with_token).await;
        match decided.map_err(failed(operation))? {
            Decided::Done => Ok(Outcome::Done(version)),
            Decided::Refused(at) => match keys.into_iter().nth(at).flatten() {
                Some(key) => Ok(Outcome::Refused(key)),
                None => Err(damaged("a condition that nobody asked for was refused")),
            },
            Decided::Unknown => {
                let put = transaction.writes.iter().find(|(_, write)| matches!(write, Write::Put(_)));
                let Some((key, _)) = put else { return Ok(Outcome::Unknown) };
                let found = self.table.item(layout::place(key)).await.ok().flatten();
                let found = found.as_ref().and_then(|item| Stored::of(item).ok());
                if found.is_some_and(|found| found.version == version) {
                    return Ok(Outcome::Done(version));
                }
                tracing::warn!(operation, "a transaction's outcome is unknown");
                Ok(Outcome::Unknown)
            }
        }
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn close(&self) -> Result<(), KvError> {
        self.closed.store(true, Ordering::SeqCst);
        for task in &self.background {
            task.abort();
        }
        Ok(())
    }
}
