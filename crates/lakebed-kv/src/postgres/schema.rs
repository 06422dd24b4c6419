//! The schema and its versions. A server makes it on an empty database and refuses one it does not know.

use tokio_postgres::GenericClient;

use super::connections::{Connections, failed};
use crate::KvError;

/// Each leads from the version before it to its own, its place in the list.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql")];

/// The version of this binary.
pub(super) const CURRENT: u32 = MIGRATIONS.len() as u32;

/// Whoever makes or changes the schema holds this, until the end of its transaction.
const LOCK: i64 = 0x6c61_6b65_6265_6421;

/// Where the schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Before; 0: there was none.
    pub from: u32,
    /// Now.
    pub to: u32,
}

/// The version of the schema that is there.
pub(super) async fn version(client: &impl GenericClient) -> Result<Option<u32>, KvError> {
    // Asked of the catalog's rows: looking a name up may answer from what the session remembers of it.
    let there = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = 'lakebed_schema' AND n.nspname = ANY (current_schemas(false)))",
            &[],
        )
        .await;
    if !there.and_then(|row| row.try_get::<_, bool>(0)).map_err(|error| failed(&error))? {
        return Ok(None);
    }
    let rows =
        client.query("SELECT version FROM lakebed_schema", &[]).await.map_err(|error| failed(&error))?;
    let [row] = &rows[..] else {
        return Err(KvError::Engine("PostgreSQL: the table lakebed_schema must have one row".into()));
    };
    let version: i32 = row.try_get(0).map_err(|error| failed(&error))?;
    Ok(u32::try_from(version).ok())
}

fn newer(found: u32) -> KvError {
    KvError::Engine(
        format!(
            "the database has schema version {found}, this binary knows {CURRENT}: start the binary that migrated it, or a \
             later one"
        )
        .into(),
    )
}

/// Brings the schema to this binary's version, whatever it is. Only one of several that come at once does it.
pub(super) async fn migrate(connections: &Connections) -> Result<Migrated, KvError> {
    let mut client = connections.get().await?;
    let transaction = client.transaction().await.map_err(|error| failed(&error))?;
    let lock = transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await;
    lock.map_err(|error| failed(&error))?;
    let from = version(&*transaction).await?.unwrap_or(0);
    if from > CURRENT {
        return Err(newer(from));
    }
    for (at, migration) in MIGRATIONS.iter().enumerate().skip(from as usize) {
        transaction.batch_execute(migration).await.map_err(|error| failed(&error))?;
        let to = at + 1;
        let mark = if at == 0 {
            "CREATE TABLE lakebed_schema (version integer NOT NULL); INSERT INTO lakebed_schema VALUES (1)"
                .to_owned()
        } else {
            format!("UPDATE lakebed_schema SET version = {to}")
        };
        transaction.batch_execute(&mark).await.map_err(|error| failed(&error))?;
    }
    transaction.commit().await.map_err(|error| failed(&error))?;
    Ok(Migrated { from, to: CURRENT })
}

/// Makes the schema of an empty database; refuses one that is not this binary's.
pub(super) async fn ensure(connections: &Connections) -> Result<(), KvError> {
    let client = connections.get().await?;
    let found = version(&**client).await?;
    drop(client);
    match found {
        None => {
            let made = migrate(connections).await?;
            tracing::info!(version = made.to, "made the schema of an empty database");
            Ok(())
        }
        Some(CURRENT) => Ok(()),
        Some(found) if found > CURRENT => Err(newer(found)),
        Some(found) => Err(KvError::Engine(
            format!(
                "the database has schema version {found}, this binary needs {CURRENT}: stop all servers, run 'lakebed \
                 migrate up', then start them"
            )
            .into(),
        )),
    }
}
