//! Structured logs: `text` or `json`, to standard output, standard error or a file.

use std::fs::File;
use std::sync::Mutex;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::Failure;
use crate::config::Settings;

/// A level by its configured name.
fn level(name: &str) -> Option<LevelFilter> {
    Some(match name {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        "none" | "panic" | "fatal" => LevelFilter::OFF,
        _ => return None,
    })
}

/// What is shown. Records of requests are, if the level they are given is: with the defaults (`info` and `debug`) they
/// are not. An unknown level is the default one.
fn shown(main: &str, audit: &str) -> Targets {
    let main = level(main).unwrap_or(LevelFilter::INFO);
    let audit = level(audit).unwrap_or(LevelFilter::DEBUG);
    let records =
        if audit != LevelFilter::OFF && audit <= main { LevelFilter::INFO } else { LevelFilter::OFF };
    Targets::new().with_default(main).with_target("audit", records)
}

/// Starts logging as configured.
pub(crate) fn start(settings: &Settings) -> Result<(), Failure> {
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
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let lines = if settings.log_json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    let filter = shown(&settings.log_level, &settings.audit_log_level);
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    started.map_err(|error| format!("logging could not be started: {error}").into())
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn records_are_shown_if_their_level_is() {
        for (main, audit, wanted) in [
            ("info", "debug", false),
            ("info", "info", true),
            ("debug", "debug", true),
            ("warn", "error", true),
            ("info", "none", false),
            ("none", "error", false),
            ("unknown", "info", true),
        ] {
            let shown = shown(main, audit);
            assert_eq!(shown.would_enable("audit", &Level::INFO), wanted, "{main}, {audit}");
        }
        assert!(shown("warn", "debug").would_enable("lakebed_catalog", &Level::WARN));
        assert!(!shown("warn", "debug").would_enable("lakebed_catalog", &Level::INFO));
    }
}
