//! How a line of the log looks: the field names that tools made for lakeFS's logs know (`operations.md` §2.3, §3.3).
//!
//! `time="2026-11-26T23:05:10.123Z" level=info msg="listening" target=lakebed port=8000`, or an object with the same
//! fields.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format of lines.
pub(super) struct Lines {
    pub(super) json: bool,
}

/// What the fields of every line are called.
const OWN: [&str; 4] = ["time", "level", "msg", "target"];

/// The fields of an event, in their order.
struct Fields {
    message: String,
    others: Vec<(Cow<'static, str>, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => {
                self.message = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                }
            }
            // One that has a name of ours is shown beside it.
            name if OWN.contains(&name) => self.others.push((format!("fields.{name}").into(), value)),
            name => self.others.push((name.into(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

fn name_of(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields { message: String::new(), others: Vec::new() };
        event.record(&mut fields);
        // So that logs and traces meet.
        if let Some((trace, span)) = lakebed_traces::current() {
            fields.others.push(("trace_id".into(), trace.into()));
            fields.others.push(("span_id".into(), span.into()));
        }
        let line =
            line(self.json, Timestamp::now(), *event.metadata().level(), event.metadata().target(), fields);
        writer.write_str(&line)
    }
}

fn line(json: bool, now: Timestamp, level: Level, target: &str, fields: Fields) -> String {
    let time = now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let own = [time, name_of(level).to_owned(), fields.message, target.to_owned()];
    let own = OWN.iter().map(|name| Cow::Borrowed(*name)).zip(own.map(Value::String));
    let mut line = String::new();
    for (name, value) in own.chain(fields.others) {
        // Quoted as in JSON in both forms: one line stays one, whatever a client sent.
        let _ = match value {
            value if json => {
                line.push(if line.is_empty() { '{' } else { ',' });
                write!(line, "{}:{value}", Value::String(name.into_owned()))
            }
            Value::String(text) if is_plain(&text) && name != "msg" && name != "time" => {
                write!(line, "{}{name}={text}", if line.is_empty() { "" } else { " " })
            }
            value => write!(line, "{}{name}={value}", if line.is_empty() { "" } else { " " }),
        };
    }
    line.push_str(if json { "}\n" } else { "\n" });
    line
}

/// Whether a text needs no quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/@^+:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(json: bool) -> String {
        let others = vec![
            ("user".into(), "a b".into()),
            ("path".into(), "/x\n\"forged\"".into()),
            ("status_code".into(), 200.into()),
            ("log_audit".into(), true.into()),
        ];
        let fields = Fields { message: "HTTP call ended".into(), others };
        line(json, Timestamp::from_millisecond(1_800_000_000_123).unwrap(), Level::INFO, "audit", fields)
    }

    #[test]
    fn json_has_the_fields_that_tools_know() {
        let text = sample(true);
        assert_eq!(text.matches('\n').count(), 1);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["time"], "2027-01-15T08:00:00.123Z");
        assert_eq!(read["level"], "info");
        assert_eq!(read["msg"], "HTTP call ended");
        assert_eq!((&read["log_audit"], &read["status_code"]), (&true.into(), &200.into()));
        assert_eq!(read["path"], "/x\n\"forged\"");
    }

    #[test]
    fn text_is_one_line_whatever_is_in_it() {
        let text = sample(false);
        assert!(
            text.starts_with(
                "time=\"2027-01-15T08:00:00.123Z\" level=info msg=\"HTTP call ended\" target=audit "
            ),
            "{text}"
        );
        assert!(
            text.ends_with("user=\"a b\" path=\"/x\\n\\\"forged\\\"\" status_code=200 log_audit=true\n"),
            "{text}"
        );
        assert_eq!(text.matches('\n').count(), 1);
    }
}
