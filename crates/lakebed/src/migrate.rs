//! `lakebed migrate`: the version of the database's schema, seen and raised.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use lakebed_blocks::{BlockStore, MemStore};
use lakebed_catalog::formats::{self, FormatError};
use lakebed_core::{SystemClock, SystemEntropy};
use lakebed_kv::{DynamoKv, Kv, PostgresKv};
use lakebed_server::Metrics;

use crate::assembly::{Opened, open_kv, open_stores};
use crate::config::{Database, Settings};
use crate::{ConfigOptions, Failure, runtime, settings, values};

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the schema to this binary's version; stop all servers first
    Up(UpOptions),
    /// Print the schema's version
    Version(VersionOptions),
    /// Print the data's format and the servers that share it
    Status(VersionOptions),
    /// Let all servers write the newest format this binary knows; there is no way back to an older binary then
    Finalize(VersionOptions),
}

#[derive(Args)]
struct UpOptions {
    #[command(flatten)]
    config: ConfigOptions,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    force: bool,
}

#[derive(Args)]
struct VersionOptions {
    #[command(flatten)]
    config: ConfigOptions,
}

const NOT_INITIALIZED: &str = "No version information - KV not initialized.";

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Up(options) => up(&configured(&options.config)?),
        Command::Version(options) => version(&configured(&options.config)?),
        Command::Status(options) => status(&configured(&options.config)?),
        Command::Finalize(options) => finalize(&configured(&options.config)?),
    }
}

fn configured(options: &ConfigOptions) -> Result<Settings, Failure> {
    Ok(settings(&values(options)?, options)?.0)
}

fn up(settings: &Settings) -> Result<(), Failure> {
    let migrated = match &settings.database {
        Database::Postgres(config) => {
            runtime()?.block_on(PostgresKv::migrate(config, Arc::new(SystemEntropy)))?
        }
        Database::Dynamo(config) => {
            runtime()?.block_on(DynamoKv::migrate(config, Arc::new(SystemEntropy)))?
        }
        // Their files and objects say themselves how they are to be read.
        Database::Local { .. } | Database::Object(_) | Database::Mem => {
            println!("No migrations to apply.");
            return Ok(());
        }
    };
    if migrated.from == migrated.to {
        println!("No migrations to apply.");
    } else {
        println!("Database schema version: {} (was {})", migrated.to, migrated.from);
    }
    Ok(())
}

fn version(settings: &Settings) -> Result<(), Failure> {
    let version = match &settings.database {
        Database::Postgres(config) => {
            runtime()?.block_on(PostgresKv::schema_version(config, Arc::new(SystemEntropy)))?
        }
        Database::Dynamo(config) => {
            runtime()?.block_on(DynamoKv::format_version(config, Arc::new(SystemEntropy)))?
        }
        Database::Local { path, .. } => is_used(path).then_some(1),
        // The objects say which version wrote them, each for itself.
        Database::Object(_) => Some(1),
        Database::Mem => None,
    };
    match version {
        Some(version) => {
            println!("Database schema version: {version}");
            Ok(())
        }
        None => Err(NOT_INITIALIZED.into()),
    }
}

/// Runs something on the engine, if there is one already.
fn on_engine<T>(
    settings: &Settings,
    run: impl AsyncFnOnce(&dyn Kv) -> Result<T, FormatError>,
) -> Result<T, Failure> {
    let made = match &settings.database {
        Database::Local { path, .. } => is_used(path),
        Database::Postgres(config) => {
            let version = PostgresKv::schema_version(config, Arc::new(SystemEntropy));
            runtime()?.block_on(version)?.is_some()
        }
        Database::Dynamo(config) => {
            let version = DynamoKv::format_version(config, Arc::new(SystemEntropy));
            runtime()?.block_on(version)?.is_some()
        }
        // It finds out itself, when it is opened.
        Database::Object(_) => true,
        Database::Mem => false,
    };
    if !made {
        return Err(NOT_INITIALIZED.into());
    }
    runtime()?.block_on(async {
        let metrics = Metrics::new()?;
        let blocks: Arc<dyn BlockStore> = match &settings.database {
            Database::Object(_) => Arc::new(open_stores(settings, &metrics).await?),
            // No other engine asks for a store, and a running server may have it.
            _ => Arc::new(MemStore::new()),
        };
        let Some(Opened { kv, blocks, .. }) = open_kv(settings, &metrics, blocks).await? else {
            return Err("told to stop before the metadata could be opened".into());
        };
        let result = run(&*kv).await;
        kv.close().await?;
        blocks.close().await?;
        Ok(result?)
    })
}

fn status(settings: &Settings) -> Result<(), Failure> {
    let (format, servers) = on_engine(settings, async |kv: &dyn Kv| formats::survey(kv, &SystemClock).await)?;
    let reads = |range: &std::ops::RangeInclusive<u32>| format!("{} to {}", range.start(), range.end());
    match format {
        Some(format) => println!("Data format: {format} (this binary reads {})", reads(&formats::SUPPORTED)),
        None => println!("Data format: none, nothing is stored"),
    }
    for server in servers {
        println!(
            "Server: {}, reads {}, seen {} s ago",
            server.version,
            reads(&server.reads),
            server.silent_secs
        );
    }
    Ok(())
}

fn finalize(settings: &Settings) -> Result<(), Failure> {
    let (from, to) = on_engine(settings, async |kv: &dyn Kv| {
        formats::finalize(kv, &SystemClock, formats::SUPPORTED).await
    })?;
    if from == to {
        println!("Nothing to finalize: the data has format {to}.");
    } else {
        println!("Data format: {to} (was {from})");
    }
    Ok(())
}

/// Whether an embedded engine has been here.
fn is_used(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}
