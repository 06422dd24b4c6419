//! Settings of the process itself: TLS, logs, how it stops (`operations.md` 2.2, 2.3, 3.1).

use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, Values};

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// How long stopping may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shutdown {
    pub(crate) grace: Duration,
    pub(crate) drain_timeout: Duration,
}

/// How long clients may keep the server waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connections {
    /// For more of a body that they send.
    pub(crate) receive_timeout: Duration,
    /// For taking something of what is sent to them.
    pub(crate) send_timeout: Duration,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogOutput {
    Stdout,
    Stderr,
    File(PathBuf),
}

/// What is logged, how and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    pub(crate) level: String,
    /// Records of requests are shown if this level is.
    pub(crate) audit_level: String,
    pub(crate) json: bool,
    pub(crate) outputs: Vec<LogOutput>,
    /// A file that would grow beyond this is put aside and begun anew.
    pub(crate) file_max_bytes: u64,
    /// How many files put aside are kept; 0: all.
    pub(crate) files_keep: usize,
}

pub(super) fn tls(
    values: &Values,
    expand: &dyn Fn(&str) -> PathBuf,
) -> Result<Option<TlsFiles>, ConfigError> {
    if values.bool("tls.enabled")? != Some(true) {
        return Ok(None);
    }
    match (values.text("tls.cert_file"), values.text("tls.key_file")) {
        (Some(chain), Some(key)) => Ok(Some(TlsFiles { chain: expand(chain), key: expand(key) })),
        (chain, key) => {
            let missing = [("tls.cert_file", chain), ("tls.key_file", key)];
            let keys = missing.into_iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key).collect();
            Err(ConfigError::Missing { keys, hint: ": tls.enabled needs both" })
        }
    }
}

fn time(values: &Values, key: &'static str, default: f64) -> Result<Duration, ConfigError> {
    let seconds = values.duration(key)?.unwrap_or(default);
    Ok(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

pub(super) fn shutdown(values: &Values) -> Result<Shutdown, ConfigError> {
    Ok(Shutdown {
        grace: time(values, "shutdown.grace", 5.0)?,
        drain_timeout: time(values, "shutdown.drain_timeout", 30.0)?,
    })
}

pub(super) fn connections(values: &Values) -> Result<Connections, ConfigError> {
    // Zero would cut off everybody at once: it is taken for no limit.
    let limit = |key| {
        time(values, key, 60.0).map(|time| if time.is_zero() { UNLIMITED } else { time.min(UNLIMITED) })
    };
    Ok(Connections {
        receive_timeout: limit("connections.receive_timeout")?,
        send_timeout: limit("connections.send_timeout")?,
    })
}

/// Longer than any connection: a timer of all of time would overflow.
const UNLIMITED: Duration = Duration::from_hours(10 * 365 * 24);

pub(super) fn logging(values: &Values, expand: &dyn Fn(&str) -> PathBuf) -> Result<Logging, ConfigError> {
    let mut outputs: Vec<LogOutput> = Vec::new();
    for output in values.list("logging.output") {
        let output = match output.as_str() {
            "-" => LogOutput::Stdout,
            "=" => LogOutput::Stderr,
            path => LogOutput::File(expand(path)),
        };
        if !outputs.contains(&output) {
            outputs.push(output);
        }
    }
    if outputs.is_empty() {
        outputs.push(LogOutput::Stdout);
    }
    // 0 would be a file for each line.
    let megabytes = values.int("logging.file_max_size_mb")?.filter(|size| *size > 0).unwrap_or(100);
    let keep = values.int("logging.files_keep")?.unwrap_or(0);
    Ok(Logging {
        level: values.text("logging.level").unwrap_or("INFO").to_lowercase(),
        audit_level: values.text("logging.audit_log_level").unwrap_or("DEBUG").to_lowercase(),
        json: values.text("logging.format").is_some_and(|format| format.eq_ignore_ascii_case("json")),
        outputs,
        file_max_bytes: megabytes.saturating_mul(1 << 20),
        files_keep: usize::try_from(keep).unwrap_or(usize::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(yaml: &str, of: impl Fn(&Values) -> T) -> T {
        let values = Values::from_yaml(yaml).unwrap();
        assert!(values.unknown.is_empty() && values.ignored.is_empty(), "{values:?}");
        of(&values)
    }

    fn plain(text: &str) -> PathBuf {
        PathBuf::from(text)
    }

    #[test]
    fn tls_needs_both_files() {
        let tls = |yaml| read(yaml, |values| super::tls(values, &plain));
        assert_eq!(tls("tls: {cert_file: a, key_file: b}").unwrap(), None);
        let files = tls("tls: {enabled: true, cert_file: a, key_file: b}").unwrap().unwrap();
        assert_eq!((files.chain, files.key), ("a".into(), "b".into()));
        let error = tls("tls: {enabled: true, cert_file: a}").unwrap_err().to_string();
        assert!(error.contains("[tls.key_file]"), "{error}");
    }

    #[test]
    fn several_outputs_are_a_list_and_one_with_commas_is_a_file() {
        let outputs = |yaml| read(yaml, |values| logging(values, &plain).unwrap().outputs);
        let both = vec![LogOutput::Stdout, LogOutput::File("x,y".into())];
        assert_eq!(outputs("logging: {output: ['-', 'x,y', '-']}"), both);
        assert_eq!(outputs("logging: {output: '-,='}"), [LogOutput::File("-,=".into())]);
        assert_eq!(outputs("logging: {output: '='}"), [LogOutput::Stderr]);
        assert_eq!(outputs("logging: {level: info}"), [LogOutput::Stdout]);
    }

    #[test]
    fn clients_are_waited_for_so_long() {
        let seconds = |yaml| {
            let connections = read(yaml, |values| super::connections(values).unwrap());
            (connections.receive_timeout.as_secs(), connections.send_timeout.as_secs())
        };
        assert_eq!(seconds("logging: {level: info}"), (60, 60));
        assert_eq!(seconds("connections: {receive_timeout: 5s, send_timeout: 2m}"), (5, 120));
        let unlimited = UNLIMITED.as_secs();
        assert_eq!(
            seconds("connections: {receive_timeout: 0s, send_timeout: 1000000h}"),
            (unlimited, unlimited)
        );
    }

    #[test]
    fn stopping_has_limits() {
        let shutdown = |yaml| read(yaml, |values| super::shutdown(values).unwrap());
        let usual = shutdown("logging: {level: info}");
        assert_eq!((usual.grace.as_secs(), usual.drain_timeout.as_secs()), (5, 30));
        let given = shutdown("shutdown: {grace: 0s, drain_timeout: 1m30s}");
        assert_eq!((given.grace.as_secs(), given.drain_timeout.as_secs()), (0, 90));
    }
}
