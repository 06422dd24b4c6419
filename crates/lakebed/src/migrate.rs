//! `lakebed migrate`: the version of the database's schema, seen and raised.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use lakebed_core::SystemEntropy;
use lakebed_kv::PostgresKv;

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
    }
}

fn configured(options: &ConfigOptions) -> Result<Settings, Failure> {
    Ok(settings(&values(options)?, options)?.0)
}

fn up(settings: &Settings) -> Result<(), Failure> {
    let Database::Postgres(config) = &settings.database else {
        // Its files say themselves how they are to be read.
        println!("No migrations to apply.");
        return Ok(());
    };
    let migrated = runtime()?.block_on(PostgresKv::migrate(config, Arc::new(SystemEntropy)))?;
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
        Database::Local(path) => is_used(path).then_some(1),
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

/// Whether an embedded engine has been here.
fn is_used(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}
