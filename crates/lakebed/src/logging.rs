//! Structured logs: `text` or `json`, to standard output, standard error or a file.

use std::fs::File;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::Failure;
use crate::config::Settings;

/// Starts logging as configured. An unknown level is the default one.
pub(crate) fn start(settings: &Settings) -> Result<(), Failure> {
    let level = match settings.log_level.as_str() {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warn" | "warning" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        "none" | "panic" | "fatal" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    };
    let output = settings.log_outputs.first().map_or("-", String::as_str);
    let writer = match output {
        "-" => BoxMakeWriter::new(std::io::stdout),
        "=" => BoxMakeWriter::new(std::io::stderr),
        path => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(|error| format!("logging.output: cannot open '{path}': {error}"))?;
            BoxMakeWriter::new(Mutex::new(file))
        }
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(writer).with_ansi(false);
    let started = if settings.log_json { builder.json().try_init() } else { builder.try_init() };
    started.map_err(|error| format!("logging could not be started: {error}").into())
}
