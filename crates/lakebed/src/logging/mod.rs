//! Structured logs: `text` or `json`, to standard output, standard error and files. Spans go elsewhere, if anywhere: to the
//! exporter of traces.

mod file;
mod format;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use lakebed_core::traces::SPAN;
use lakebed_traces::{Exporter, Traces};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::Failure;
use crate::config::{LogOutput, Settings};
use file::RotatingFile;
use format::Lines;

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
    // Targets of all spans of traces begin so; nothing of them is a line.
    Targets::new().with_default(main).with_target("audit", records).with_target(SPAN, LevelFilter::OFF)
}

/// One of the places a line goes to.
enum Output {
    Stdout,
    Stderr,
    File(Mutex<RotatingFile>),
}

/// All of them.
struct Outputs(Arc<[Output]>);

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self(self.0.clone())
    }
}

impl Write for Outputs {
    /// Writes one whole line everywhere. A place that fails does not keep it from the others.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut result = Ok(line.len());
        for output in self.0.iter() {
            let written = match output {
                Output::Stdout => io::stdout().write_all(line),
                Output::Stderr => io::stderr().write_all(line),
                // A thread that panicked while it wrote left at worst half a line.
                Output::File(file) => {
                    file.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write_line(line)
                }
            };
            result = result.and_then(|length| written.map(|()| length));
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The export of traces, before it begins.
#[derive(Default)]
pub(crate) struct Exports {
    pub(crate) traces: Traces,
    /// None if none are exported.
    pub(crate) exporter: Option<Exporter>,
}

/// Starts logging as configured, and takes spans if they are to be exported.
pub(crate) fn start(settings: &Settings) -> Result<Exports, Failure> {
    let logging = &settings.logging;
    let open =
        |output: &LogOutput| -> Result<Output, Failure> {
            Ok(match output {
                LogOutput::Stdout => Output::Stdout,
                LogOutput::Stderr => Output::Stderr,
                LogOutput::File(path) => {
                    let file = RotatingFile::open(path.clone(), logging.file_max_bytes, logging.files_keep);
                    Output::File(Mutex::new(file.map_err(|error| {
                        format!("logging.output: cannot open '{}': {error}", path.display())
                    })?))
                }
            })
        };
    let outputs = logging.outputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { json: logging.json })
        .with_writer(Outputs(outputs.into()));
    let filter = shown(&logging.level, &logging.audit_level);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    let (started, exports) = match settings.traces.clone() {
        None => (subscriber.try_init(), Exports::default()),
        Some(config) => {
            let (layer, traces, exporter) = lakebed_traces::start(config)?;
            (subscriber.with(layer).try_init(), Exports { traces, exporter: Some(exporter) })
        }
    };
    started.map_err(|error| format!("logging could not be started: {error}"))?;
    Ok(exports)
}

#[cfg(test)]
mod tests {
    use lakebed_core::traces::{REQUEST_SPAN, WORK_SPAN};
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
        for target in [SPAN, REQUEST_SPAN, WORK_SPAN] {
            assert!(!shown("trace", "trace").would_enable(target, &Level::ERROR), "{target}");
        }
    }
}
