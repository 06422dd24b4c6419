//! Connections: a bounded pool, each set up alike, replaced when old; and what an error of one means.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use lakebed_core::Entropy;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

use super::config::{PostgresConfig, Trust};
use super::tls;
use crate::KvError;

/// How long a caller waits for a connection, or for a database that does not take any.
const PATIENCE: Duration = Duration::from_secs(5);

/// Callers that wait for a connection; more are turned away.
const WAITING: usize = 4096;

/// How often a read is sent again over another connection when the first is lost.
const READ_TRIES: u32 = 3;

/// Every session is the same, whatever the database's settings are.
///
/// The protocol of a transaction is written for `READ COMMITTED`. A commit is on disk when it is answered, on all disks it
/// has to be on. One table is only ever entered by its key: without statistics, as right after the schema was made, the
/// planner would rather read it whole, and keep that plan.
const SESSION: &str = "
SET default_transaction_isolation = 'read committed';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
SET jit = off;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET client_min_messages = warning;
";

/// A failure in words: what the database said, or what the network did. Never a value, never a password.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("PostgreSQL: {} ({})", said.message(), said.code().code());
    }
    let mut text = format!("PostgreSQL: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(at) = cause {
        text.push_str(": ");
        text.push_str(&at.to_string());
        cause = at.source();
    }
    text
}

pub(super) fn failed(error: &tokio_postgres::Error) -> KvError {
    let text = describe(error).into();
    if error.as_db_error().map_or(!is_distrust(error), is_passing) {
        return KvError::Unavailable(text);
    }
    KvError::Engine(text)
}

/// Whether the connection is of no more use: it is gone, its server is, or it leads to a standby.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(|said| {
        said.parsed_severity() != Some(Severity::Error) || *said.code() == SqlState::READ_ONLY_SQL_TRANSACTION
    })
}

/// Whether the two sides cannot agree on TLS; another try changes nothing.
fn is_distrust(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause
        .and_then(std::io::Error::get_ref)
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// Whether a database that says this will take connections soon.
fn is_passing(said: &DbError) -> bool {
    [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(said.code())
        || *said.code() == SqlState::TOO_MANY_CONNECTIONS
}

/// The pool.
pub(super) struct Connections {
    pool: Pool,
    max_idle: usize,
    max_lifetime: Duration,
    /// An answer that takes longer will not come.
    pub(super) deadline: Duration,
    entropy: Arc<dyn Entropy>,
}

impl Connections {
    pub(super) fn new(config: &PostgresConfig, entropy: Arc<dyn Entropy>) -> Result<Self, KvError> {
        let target = config.target()?;
        let ways = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if target.trust == Trust::Disabled {
            Manager::from_config(target.driver, NoTls, ways)
        } else {
            let connector = tls::connector(&target)?;
            Manager::from_config(target.driver, connector, ways)
        };
        let session: Arc<str> =
            format!("SET statement_timeout = {};{SESSION}", config.statement_timeout.as_millis()).into();
        let max_lifetime = config.max_lifetime;
        let pool = Pool::builder(manager)
            .max_size(config.max_connections.max(2))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE * 2))
            .post_create(Hook::async_fn(move |client, _| {
                let session = session.clone();
                Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
            }))
            .pre_recycle(Hook::sync_fn(move |_, metrics| {
                if metrics.created.elapsed() > max_lifetime {
                    return Err(HookError::Message(Cow::Borrowed("it is old")));
                }
                Ok(())
            }))
            .build()
            .map_err(|error| KvError::Engine(error.to_string().into()))?;
        let deadline = config.statement_timeout + PATIENCE;
        Ok(Self { pool, max_idle: config.max_idle, max_lifetime, deadline, entropy })
    }

    /// A random time around `base`, so that those who fail together do not come back together.
    pub(super) fn jitter(&self, base: Duration) -> Duration {
        base.mul_f64(0.5 + (self.entropy.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// A connection. A database that does not answer is asked again for a few seconds, for restarts are short.
    pub(super) async fn get(&self) -> Result<Client, KvError> {
        if self.pool.status().waiting >= WAITING {
            return Err(KvError::Unavailable("too many wait for a connection to PostgreSQL".into()));
        }
        let since = Instant::now();
        loop {
            let error = match self.pool.get().await {
                Ok(client) => return Ok(client),
                Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) => {
                    if error.as_db_error().is_some_and(|said| !is_passing(said)) || is_distrust(&error) {
                        return Err(failed(&error));
                    }
                    failed(&error)
                }
                Err(PoolError::Closed) => return Err(KvError::Stopped("it was closed".into())),
                Err(PoolError::Timeout(_)) => {
                    let busy = format!(
                        "PostgreSQL: no connection within {} s: raise database.postgres.max_open_connections if the \
                         database has room",
                        PATIENCE.as_secs()
                    );
                    return Err(KvError::Unavailable(busy.into()));
                }
                Err(error) => KvError::Engine(format!("PostgreSQL: {error}").into()),
            };
            if since.elapsed() > PATIENCE {
                return Err(error);
            }
            tokio::time::sleep(self.jitter(Duration::from_millis(100))).await;
        }
    }

    /// Reads: one statement, one snapshot. Sent again when its connection is lost.
    pub(super) async fn read(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, KvError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let client = self.get().await?;
            let read = async {
                let prepared = client.prepare_cached(statement).await?;
                client.query(&prepared, parameters).await
            };
            match tokio::time::timeout(self.deadline, read).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => {
                    let lost = is_lost(&error);
                    if lost {
                        drop(Object::take(client));
                    }
                    if !lost || tries >= READ_TRIES {
                        return Err(failed(&error));
                    }
                }
                Err(_) => {
                    drop(Object::take(client));
                    let seconds = self.deadline.as_secs();
                    return Err(KvError::Unavailable(
                        format!("PostgreSQL: no answer within {seconds} s").into(),
                    ));
                }
            }
        }
    }

    /// Closes connections nobody used that are too many or too old.
    pub(super) fn trim(&self) {
        let mut kept = 0;
        self.pool.retain(|_, metrics| {
            kept += 1;
            kept <= self.max_idle && metrics.created.elapsed() <= self.max_lifetime
        });
    }

    /// No more connections; those in use close when they are given back.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}
