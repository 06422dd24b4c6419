//! Load generator: starts the server binary on a temporary directory, runs the operations of the speed budget and
//! prints what each costs. Server CPU per operation is the yardstick: it is steadier than rates on a shared machine.
//!
//! `README.md` beside this crate has the command and the latest figures.

mod http;
mod load;
mod report;
mod rest;
mod rows;
mod server;
mod sigv4;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::report::Report;
use crate::rows::{Bench, Group};
use crate::server::Server;

/// Whatever ends a run, as a sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures what each operation of the speed budget costs the server
#[derive(Parser)]
pub(crate) struct Options {
    /// The server's binary
    #[arg(long, default_value = "target/release/lakebed")]
    server: PathBuf,
    /// Which rows [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Group>,
    /// Parallel clients
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Objects of the large repository
    #[arg(long, default_value_t = 400_000)]
    objects: usize,
    /// Branches, and commits, of the row with many of them
    #[arg(long, default_value_t = 100_000)]
    many: usize,
    /// Bytes of the large object
    #[arg(long, default_value_t = 1 << 30)]
    large_bytes: usize,
    /// Factor on the number of operations of the small rows
    #[arg(long, default_value_t = 1.0)]
    effort: f64,
    /// Keep the metadata in this empty database of PostgreSQL (postgres://user@host:port/name) instead of the embedded engine
    #[arg(long)]
    database: Option<String>,
    /// Servers over that database; clients are dealt out evenly
    #[arg(long, default_value_t = 1, requires = "database")]
    servers: usize,
    /// Where the server's directory is made [default: the system's temporary directory]
    #[arg(long)]
    directory: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn run(options: &Options) -> Result<(), Failure> {
    let directory = match &options.directory {
        Some(base) => tempfile::tempdir_in(base)?,
        None => tempfile::tempdir()?,
    };
    let server = match &options.database {
        None => Server::start(&options.server, directory.path())?,
        Some(database) => Server::start_over(database, options.servers, &options.server, directory.path())?,
    };
    eprintln!("servers are the processes {:?}", server.process_ids());
    let mut groups = options.rows.clone();
    if groups.is_empty() {
        groups = Group::value_variants().to_vec();
    }
    let report = Report::new(options.output == Output::Json);
    let mut bench = Bench { server: &server, options, report };
    for group in groups {
        bench.run(group)?;
    }
    bench.report.end();
    Ok(())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lakebed-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
