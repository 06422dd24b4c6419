//! A look into the process at work, for administrators and only where it is switched on (`debug.enabled`,
//! `operations.md` §3.1): where its time goes, what it holds.

use std::collections::HashMap;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use lakebed_auth::Permission;
use lakebed_catalog::Catalog;
use lakebed_http::AnswerBody;
use lakebed_rest::Rest;
use prost::Message;
use serde_json::json;

use crate::metrics::Metrics;
use crate::router::text;

/// What administrators may do and others not.
const ACTION: &str = "auth:DebugServer";

/// Samples a second of each thread that works. No divisor of common periods, so that nothing is seen in step.
const FREQUENCY: i32 = 99;

/// The longest profile, in seconds.
const LONGEST: u64 = 60;

/// One profile at a time: the timer and its signal are the process's.
static PROFILING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Answers a request under `/_debug/`.
pub(crate) async fn answer(
    rest: &Rest,
    catalog: &Catalog,
    metrics: &Metrics,
    parts: &Parts,
) -> Response<AnswerBody> {
    if let Err(refusal) = rest.permit(parts, &Permission::global(ACTION)).await {
        return *refusal;
    }
    let plain = |status, message: &str| text(status, "text/plain; charset=utf-8", message.to_owned());
    if parts.method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET");
    }
    match parts.uri.path() {
        "/_debug/runtime" => text(StatusCode::OK, "application/json", runtime(catalog, metrics)),
        "/_debug/pprof/profile" => {
            let Some(seconds) = seconds(parts.uri.query().unwrap_or_default()) else {
                return plain(StatusCode::BAD_REQUEST, "seconds: a number from 1 to 60");
            };
            let Ok(_turn) = PROFILING.try_lock() else {
                return plain(
                    StatusCode::CONFLICT,
                    "another profile is being taken: try again when it is done",
                );
            };
            match profile(Duration::from_secs(seconds)).await {
                Ok(profile) => {
                    let mut response = text(StatusCode::OK, "application/octet-stream", profile);
                    let name = HeaderValue::from_static("attachment; filename=\"profile.pb\"");
                    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
                    response
                }
                Err(error) => {
                    tracing::error!(%error, "profile");
                    plain(StatusCode::INTERNAL_SERVER_ERROR, "no profile could be taken: the log says more")
                }
            }
        }
        _ => plain(StatusCode::NOT_FOUND, "there is /_debug/runtime and /_debug/pprof/profile?seconds=N"),
    }
}

/// `seconds=N` of a query; 10 if it is not there.
fn seconds(query: &str) -> Option<u64> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("seconds="));
    given.map_or(Some(10), |text| text.parse().ok()).filter(|seconds| (1..=LONGEST).contains(seconds))
}

/// What the process holds.
fn runtime(catalog: &Catalog, metrics: &Metrics) -> String {
    let tokio = tokio::runtime::Handle::current().metrics();
    let caches: Vec<_> = catalog
        .caches()
        .into_iter()
        .map(|cache| {
            json!({"tier": cache.tier, "hits": cache.hits, "misses": cache.misses, "entries": cache.entries,
                   "bytes": cache.bytes})
        })
        .collect();
    let busy: Vec<_> = (0..tokio.num_workers())
        .map(|worker| tokio.worker_total_busy_duration(worker).as_secs_f64())
        .collect();
    let figures = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "workers": tokio.num_workers(),
        "worker_busy_seconds": busy,
        "tasks": tokio.num_alive_tasks(),
        "task_queue_depth": tokio.global_queue_depth(),
        "connections": metrics.open_connections(),
        "caches": caches,
    });
    format!("{figures:#}\n")
}

/// Samples the stacks of working threads for so long; a profile in pprof's form (`profile.proto`), not compressed, which
/// its tools read as well.
async fn profile(length: Duration) -> Result<Vec<u8>, pprof::Error> {
    let guard = pprof::ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        // Unwinding from within the unwinder's own locks would wait for itself.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()?;
    tokio::time::sleep(length).await;
    // Names are looked up in the binary's own tables: that is work, and none for a thread that serves.
    let report = tokio::task::spawn_blocking(move || {
        let report = guard.report().build();
        drop(guard);
        report
    });
    let report = report.await.map_err(|_| pprof::Error::NotRunning)??;
    let mut strings = Strings::new();
    Ok(encode(&report, length, &mut strings).encode_to_vec())
}

/// Texts by number, as the profile names them; number 0 is the empty one.
struct Strings {
    numbers: HashMap<String, i64>,
    table: Vec<String>,
}

impl Strings {
    fn new() -> Self {
        let mut strings = Self { numbers: HashMap::new(), table: Vec::new() };
        strings.number("");
        strings
    }

    fn number(&mut self, text: &str) -> i64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.table.len() as i64;
        self.numbers.insert(text.to_owned(), number);
        self.table.push(text.to_owned());
        number
    }
}

fn encode(report: &pprof::Report, length: Duration, strings: &mut Strings) -> Profile {
    let mut functions: HashMap<(i64, i64), u64> = HashMap::new();
    let mut locations: HashMap<(u64, i64), u64> = HashMap::new();
    let mut profile = Profile::default();
    let period = 1_000_000_000 / i64::from(FREQUENCY);
    for (frames, count) in &report.data {
        let mut sample = Sample::default();
        // The innermost frame first, as the form wants it.
        for symbol in frames.frames.iter().flatten() {
            let (name, file) = (strings.number(&symbol.name()), strings.number(&symbol.filename()));
            let next = functions.len() as u64 + 1;
            let function = *functions.entry((name, file)).or_insert_with(|| {
                profile.function.push(Function { id: next, name, system_name: name, filename: file });
                next
            });
            let line = i64::from(symbol.lineno());
            let next = locations.len() as u64 + 1;
            let location = *locations.entry((function, line)).or_insert_with(|| {
                profile
                    .location
                    .push(Location { id: next, line: vec![Line { function_id: function, line }] });
                next
            });
            sample.location_id.push(location);
        }
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        sample.value = vec![count, count.saturating_mul(period)];
        let thread = (strings.number("thread"), strings.number(&frames.thread_name));
        sample.label.push(Label { key: thread.0, text: thread.1 });
        profile.sample.push(sample);
    }
    let mut kind =
        |kind: &str, unit: &str| ValueType { kind: strings.number(kind), unit: strings.number(unit) };
    profile.sample_type = vec![kind("samples", "count"), kind("cpu", "nanoseconds")];
    profile.period_type = Some(kind("cpu", "nanoseconds"));
    profile.period = period;
    profile.duration_nanos = i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
    profile.string_table = std::mem::take(&mut strings.table);
    profile
}

/// What is used of `profile.proto`.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_a_number_within_bounds() {
        assert_eq!((seconds(""), seconds("x=1&seconds=3")), (Some(10), Some(3)));
        for bad in ["seconds=0", "seconds=61", "seconds=", "seconds=-1", "seconds=1.5"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
