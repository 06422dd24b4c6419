//! Git-like version control for data lakes: the server and its commands.

mod assembly;
mod config;
mod logging;
mod migrate;
mod quickstart;
mod standby;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Settings, Values};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Git-like version control for data lakes.
#[derive(Parser)]
#[command(name = "lakebed", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a server with everything embedded, an administrator and a sample repository
    Quickstart(quickstart::Options),
    /// Start a server from a configuration file and the environment
    Run(RunOptions),
    /// Make the administrator of a server that was never set up
    Setup(SetupOptions),
    /// Look at the version of the database's schema, or bring it to this binary's
    Migrate(migrate::Options),
}

#[derive(Args)]
pub(crate) struct ConfigOptions {
    /// Configuration file; without it the first of ./config.yaml, ~/lakefs/config.yaml, ~/lakebed/config.yaml,
    /// /etc/lakefs/config.yaml, /etc/lakebed/config.yaml, ~/.lakefs.yaml
    #[arg(long, short = 'c')]
    config: Option<PathBuf>,
    /// Refuse unknown keys instead of warning
    #[arg(long)]
    strict_config: bool,
}

#[derive(Args)]
struct RunOptions {
    #[command(flatten)]
    config: ConfigOptions,
    /// Everything embedded under ~/lakefs, without a configuration file
    #[arg(long)]
    local_settings: bool,
    /// As `lakebed quickstart`
    #[arg(long)]
    quickstart: bool,
}

#[derive(Args)]
struct SetupOptions {
    #[command(flatten)]
    config: ConfigOptions,
    /// The administrator's name
    #[arg(long)]
    user_name: String,
    /// Access key id; made up if not given
    #[arg(long, requires = "secret_access_key")]
    access_key_id: Option<String>,
    /// Secret access key; made up if not given
    #[arg(long, requires = "access_key_id")]
    secret_access_key: Option<String>,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    no_check: bool,
}

/// Whatever ends a command early, as a sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| !home.as_os_str().is_empty())
}

pub(crate) fn values(options: &ConfigOptions) -> Result<Values, Failure> {
    let file = config::file(options.config.as_deref(), home().as_deref());
    let mut values = config::read(file.as_deref())?;
    values.overlay(|name| std::env::var(name).ok());
    values.read_standard(|name| std::env::var(name).ok());
    Ok(values)
}

pub(crate) fn settings(values: &Values, options: &ConfigOptions) -> Result<(Settings, Vec<String>), Failure> {
    let unknown = config::report(values, options.strict_config)?;
    Ok((Settings::resolve(values, home().as_deref())?, unknown))
}

fn run(options: &RunOptions) -> Result<(), Failure> {
    if options.quickstart {
        return quickstart::run(&quickstart::Options::default());
    }
    let mut values = if options.local_settings {
        let mut values = Values::default();
        values.overlay(|name| std::env::var(name).ok());
        values.read_standard(|name| std::env::var(name).ok());
        values
    } else {
        values(&options.config)?
    };
    if options.local_settings {
        let base = home().ok_or("HOME is not set: where should ~/lakefs be?")?.join("lakefs");
        values.default_to("database.type", "local");
        values.default_to("blockstore.type", "local");
        let secret = quickstart::secret_key(&base)?;
        values.default_to("auth.encrypt.secret_key", &secret);
    }
    let (settings, unknown) = settings(&values, &options.config)?;
    let exports = logging::start(&settings)?;
    for key in unknown {
        tracing::warn!("unknown configuration key {key}: ignored");
    }
    if !values.ignored.is_empty() {
        tracing::info!(keys = values.ignored.join(", "), "configuration keys accepted without effect");
    }
    if options.local_settings {
        tracing::warn!("local settings keep everything on this machine: not for production");
    }
    runtime()?.block_on(async {
        let Some(lake) = assembly::Lake::open(&settings).await? else { return Ok(()) };
        lake.install(&settings).await?;
        lake.serve(&settings, exports, |address| tracing::info!("listening on {address}")).await
    })
}

fn setup(options: SetupOptions) -> Result<(), Failure> {
    let (settings, _) = settings(&values(&options.config)?, &options.config)?;
    runtime()?.block_on(async {
        let Some(lake) = assembly::Lake::open(&settings).await? else { return Ok(()) };
        let pair = options.access_key_id.zip(options.secret_access_key);
        let result = lake.auth.setup(&options.user_name, pair).await;
        lake.close(&lakebed_server::Stop::new()).await?;
        let made = result?;
        println!("credentials:");
        println!("  access_key_id: {}", made.access_key_id);
        println!("  secret_access_key: {}", made.secret_access_key);
        Ok(())
    })
}

/// How many threads wait for files. Every one keeps memory of its own, half a megabyte after a while, and none waits for
/// a client or for another one: what finds none free waits its turn.
const FILE_THREADS: usize = 64;

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().max_blocking_threads(FILE_THREADS).enable_all().build()?)
}

fn main() -> ExitCode {
    // The allocator asks for huge pages, and the kernel clears and counts two megabytes where a few kilobytes are used:
    // a quarter more resident memory and a slower commit (`docs/src/design/speed.md`). It works as well without.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let result = match Cli::parse().command {
        Command::Quickstart(options) => quickstart::run(&options),
        Command::Run(options) => run(&options),
        Command::Setup(options) => setup(options),
        Command::Migrate(options) => migrate::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lakebed: {error}");
            ExitCode::FAILURE
        }
    }
}
