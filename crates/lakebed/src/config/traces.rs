//! Traces: our keys, and the variables that every OpenTelemetry program knows. Our keys win.
//!
//! Exporting begins when somebody says where to: `tracing.otlp.endpoint` or one of the standard variables. Until then
//! nothing is read but for the types of our keys.

use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use lakebed_traces::{Sampling, TracesConfig};
use percent_encoding::percent_decode_str;

use super::{ConfigError, Values};

/// The standard variables that are read.
pub(super) const STANDARD: &[&str] = &[
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
];

const ENDPOINT: &str = "tracing.otlp.endpoint";
const HEADERS: &str = "tracing.otlp.headers";
const TIMEOUT: &str = "tracing.otlp.timeout";
const RATIO: &str = "tracing.sample_ratio";
const PATHS: &str = "tracing.paths";

/// Where a collector on the same machine listens.
const LOCAL: &str = "http://localhost:4318";

/// Below an endpoint that is for all signals.
const OF_TRACES: &str = "/v1/traces";

/// What is wrong with the value of a key or variable; secret ones are not repeated.
fn wrong(name: &str, value: &str, expected: impl Into<String>) -> ConfigError {
    ConfigError::WrongType { key: name.to_owned(), value: value.to_owned(), expected: expected.into() }
}

/// The first of these variables that is set, and its value.
fn first<'a>(values: &'a Values, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
    names.iter().find_map(|name| Some((*name, values.standard(name)?)))
}

pub(super) fn traces(values: &Values) -> Result<Option<TracesConfig>, ConfigError> {
    let ratio = values.text(RATIO).map(|text| ratio(RATIO, text)).transpose()?;
    let paths = values.bool(PATHS)?.unwrap_or(false);
    let timeout = values.duration(TIMEOUT)?;
    let headers = values.list(HEADERS);
    let Some(endpoint) = endpoint(values)? else { return Ok(None) };
    check_transport(values)?;
    Ok(Some(TracesConfig {
        endpoint,
        headers: headers_of(values, &headers)?,
        timeout: timeout_of(values, timeout)?,
        sampling: match ratio {
            Some(ratio) => sampling(RATIO, ratio, true)?,
            None => standard_sampling(values)?,
        },
        resource: resource(values)?,
        queue: count(values, "OTEL_BSP_MAX_QUEUE_SIZE", 2048)?,
        batch: count(values, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?,
        delay: Duration::from_millis(number(values, "OTEL_BSP_SCHEDULE_DELAY", 5000)?),
        paths,
    }))
}

/// Where spans go; `None`: nowhere.
fn endpoint(values: &Values) -> Result<Option<Uri>, ConfigError> {
    if let Some(disabled) = values.standard("OTEL_SDK_DISABLED")
        && disabled.eq_ignore_ascii_case("true")
    {
        return Ok(None);
    }
    if let Some(text) = values.text(ENDPOINT) {
        return address(ENDPOINT, text, true).map(Some);
    }
    match values.standard("OTEL_TRACES_EXPORTER") {
        Some("none") => return Ok(None),
        None | Some("otlp") => {}
        Some(other) => return Err(wrong("OTEL_TRACES_EXPORTER", other, "otlp or none: there is no other")),
    }
    let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
    match first(values, &["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", all]) {
        Some((name, text)) => address(name, text, name == all).map(Some),
        None if values.standard("OTEL_TRACES_EXPORTER").is_some() => address(ENDPOINT, LOCAL, true).map(Some),
        None => Ok(None),
    }
}

/// An address to post to. `base`: the path of traces comes below it.
fn address(name: &str, text: &str, base: bool) -> Result<Uri, ConfigError> {
    const EXPECTED: &str = "the address of a collector, like http://collector:4318";
    let uri: Uri = text.parse().map_err(|_| wrong(name, text, EXPECTED))?;
    let mut parts = uri.into_parts();
    let known =
        parts.scheme.as_ref().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    let authority = parts.authority.as_ref().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        let expected = format!("an address without a password: put credentials in '{HEADERS}'");
        return Err(wrong(name, "the address given", expected));
    }
    if !known || authority.is_empty() {
        return Err(wrong(name, text, EXPECTED));
    }
    let path = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
    if base {
        if path.contains('?') {
            return Err(wrong(name, text, format!("an address that '{OF_TRACES}' can be put behind")));
        }
        let path = format!("{}{OF_TRACES}", path.trim_end_matches('/'));
        parts.path_and_query = Some(path.parse().map_err(|_| wrong(name, text, EXPECTED))?);
    }
    Uri::from_parts(parts).map_err(|_| wrong(name, text, EXPECTED))
}

/// Refuses what the exporter cannot do, rather than doing something else.
fn check_transport(values: &Values) -> Result<(), ConfigError> {
    let protocol = first(values, &["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
    if let Some((name, other)) = protocol.filter(|(_, protocol)| *protocol != "http/protobuf") {
        return Err(wrong(
            name,
            other,
            "http/protobuf, the only protocol here (port 4318 of most collectors)",
        ));
    }
    let compression =
        first(values, &["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"]);
    if let Some((name, other)) = compression.filter(|(_, how)| *how != "none") {
        return Err(wrong(name, other, "none: batches are not compressed here"));
    }
    let certificates = [
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    ];
    match first(values, &certificates) {
        Some((name, file)) => {
            let expected = "supported: put the collector's authority among the system's (SSL_CERT_FILE)";
            Err(wrong(name, file, expected))
        }
        None => Ok(()),
    }
}

/// Our items, or else those of a standard variable: `name=value` each, percent-encoded.
fn headers_of(values: &Values, ours: &[String]) -> Result<HeaderMap, ConfigError> {
    let variable = first(values, &["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]);
    let (from, items): (_, Vec<&str>) = match variable {
        Some((name, list)) if ours.is_empty() => (name, list.split(',').collect()),
        _ => (HEADERS, ours.iter().map(String::as_str).collect()),
    };
    let mut headers = HeaderMap::new();
    for item in items.into_iter().map(str::trim).filter(|item| !item.is_empty()) {
        let header = || {
            let (name, value) = item.split_once('=')?;
            let name: HeaderName = name.trim().parse().ok()?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        };
        let expected = "a list of headers, 'name=value' separated by commas, percent-encoded";
        let (name, value) = header().ok_or_else(|| wrong(from, "what is there", expected))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn timeout_of(values: &Values, ours: Option<f64>) -> Result<Duration, ConfigError> {
    if let Some(seconds) = ours {
        let timeout = Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero());
        return timeout.ok_or_else(|| wrong(TIMEOUT, &format!("{seconds} s"), "a time longer than nothing"));
    }
    let names = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let name = first(values, &names).map_or(names[1], |(name, _)| name);
    match number(values, name, 10_000)? {
        0 => Err(wrong(name, "0", "a number of milliseconds above 0")),
        milliseconds => Ok(Duration::from_millis(milliseconds)),
    }
}

fn ratio(name: &str, text: &str) -> Result<f64, ConfigError> {
    let ratio = text.parse().map_err(|_| wrong(name, text, "a number from 0 (none) to 1 (all)"))?;
    sampling(name, ratio, true)?;
    Ok(ratio)
}

fn sampling(name: &str, ratio: f64, asks_parent: bool) -> Result<Sampling, ConfigError> {
    Sampling::new(ratio, asks_parent).map_err(|bad| wrong(name, &ratio.to_string(), bad.to_string()))
}

fn standard_sampling(values: &Values) -> Result<Sampling, ConfigError> {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let sampler = values.standard(SAMPLER).unwrap_or("parentbased_always_on");
    let (asks_parent, root) = match sampler.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, sampler),
    };
    let share = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => values.standard(ARGUMENT).map_or(Ok(1.0), |text| ratio(ARGUMENT, text))?,
        _ => {
            let expected = "always_on, always_off or traceidratio, or one of these behind 'parentbased_'";
            return Err(wrong(SAMPLER, sampler, expected));
        }
    };
    sampling(SAMPLER, share, asks_parent)
}

/// What is said of this server with each batch.
fn resource(values: &Values) -> Result<Vec<(String, String)>, ConfigError> {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut resource: Vec<(String, String)> = vec![
        ("service.name".to_owned(), "lakebed".to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut set = |name: String, value: String| {
        resource.retain(|(known, _)| *known != name);
        resource.push((name, value));
    };
    let given = values.standard(ATTRIBUTES).unwrap_or_default();
    for item in given.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let attribute = || {
            let (name, value) = item.split_once('=')?;
            let decode = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
            let name = decode(name).filter(|name| !name.is_empty())?;
            Some((name, decode(value)?))
        };
        let expected = "of the form 'name=value', percent-encoded, separated by commas";
        let (name, value) = attribute().ok_or_else(|| wrong(ATTRIBUTES, item, expected))?;
        set(name, value);
    }
    if let Some(name) = values.standard("OTEL_SERVICE_NAME") {
        set("service.name".to_owned(), name.to_owned());
    }
    Ok(resource)
}

fn number(values: &Values, name: &str, default: u64) -> Result<u64, ConfigError> {
    match values.standard(name) {
        Some(text) => text.parse().map_err(|_| wrong(name, text, "a whole number")),
        None => Ok(default),
    }
}

/// A number of spans, at least one and not so many that they would be another server's memory.
fn count(values: &Values, name: &str, default: u64) -> Result<usize, ConfigError> {
    let count = number(values, name, default)?;
    usize::try_from(count)
        .ok()
        .filter(|count| (1..=1 << 17).contains(count))
        .ok_or_else(|| wrong(name, &count.to_string(), "a number from 1 to 131072"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str, standard: &[(&str, &str)]) -> Result<Option<TracesConfig>, ConfigError> {
        let mut values = Values::from_yaml(yaml).unwrap();
        assert!(values.unknown.is_empty() && values.ignored.is_empty(), "{values:?}");
        values.read_standard(|name| {
            standard.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        traces(&values)
    }

    fn on(yaml: &str, standard: &[(&str, &str)]) -> TracesConfig {
        of(yaml, standard).unwrap().unwrap()
    }

    fn refused(yaml: &str, standard: &[(&str, &str)]) -> String {
        of(yaml, standard).err().unwrap().to_string()
    }

    const HERE: &str = "tracing: {otlp: {endpoint: 'http://c:4318'}}";

    #[test]
    fn nothing_is_exported_unless_somebody_says_where_to() {
        assert!(of("", &[]).unwrap().is_none());
        assert!(of("tracing: {sample_ratio: 0.5, paths: true}", &[]).unwrap().is_none());
        assert!(
            of("", &[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "nonsense")]).unwrap().is_none()
        );
        assert!(of(HERE, &[("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        let here = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        assert!(of("", &[here, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        assert!(of("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap().is_none(), "empty counts as unset");
    }

    #[test]
    fn the_endpoint_is_a_base_but_for_the_one_of_traces() {
        let endpoint = |yaml, standard: &[_]| on(yaml, standard).endpoint.to_string();
        assert_eq!(endpoint(HERE, &[]), "http://c:4318/v1/traces");
        assert_eq!(endpoint("tracing: {otlp: {endpoint: 'https://c/a/'}}", &[]), "https://c/a/v1/traces");
        assert_eq!(endpoint("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c")]), "http://c/v1/traces");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d/x?y=1");
        assert_eq!(endpoint("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), traces]), "http://d/x?y=1");
        assert_eq!(endpoint(HERE, &[traces]), "http://c:4318/v1/traces");
        let local = endpoint("", &[("OTEL_TRACES_EXPORTER", "otlp")]);
        assert_eq!(local, "http://localhost:4318/v1/traces");
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        for (name, value, says) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "http://collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c", "http://collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/?x", "/v1/traces"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip", "none"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem", "SSL_CERT_FILE"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "whole number"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "above 0"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote", "traceidratio"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a", "name=value"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "131072"),
        ] {
            let mut standard = vec![(name, value)];
            if name != "OTEL_EXPORTER_OTLP_ENDPOINT" {
                standard.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"));
            }
            let error = refused("", &standard);
            assert!(error.contains(name) && error.contains(says), "{error}");
        }
        let error = refused("tracing: {sample_ratio: 2}", &[]);
        assert!(error.contains("tracing.sample_ratio") && error.contains("0 (none)"), "{error}");
        let error = refused("tracing: {otlp: {endpoint: 'http://c', timeout: 0s}}", &[]);
        assert!(error.contains(TIMEOUT), "{error}");
    }

    #[test]
    fn secrets_are_not_in_messages() {
        let error = refused("tracing: {otlp: {endpoint: 'http://user:hidden@c'}}", &[]);
        assert!(error.contains(HEADERS) && !error.contains("hidden"), "{error}");
        for bad in ["hidden", "na me=hidden", "a=hidden%0a"] {
            let error = refused(HERE, &[("OTEL_EXPORTER_OTLP_HEADERS", bad)]);
            assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && !error.contains("hidden"), "{error}");
        }
        let shown = format!("{:?}", on(HERE, &[("OTEL_EXPORTER_OTLP_HEADERS", "key=hidden")]));
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn headers_are_lists_with_encoded_values() {
        let headers = |yaml, standard: &[_]| on(yaml, standard).headers;
        let given = headers(
            "",
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "a=x%20y, Authorization=Bearer t=="),
            ],
        );
        assert_eq!(
            (&given["a"], &given["authorization"]),
            (&"x y".parse().unwrap(), &"Bearer t==".parse().unwrap())
        );
        let ours = "tracing: {otlp: {endpoint: 'http://c', headers: [a=1, 'b=2']}}";
        let given = headers(ours, &[("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=3")]);
        assert_eq!(given.len(), 2);
        assert_eq!(given["a"], "1");
    }

    #[test]
    fn samplers_have_their_standard_names() {
        let sampling = |yaml, standard: &[_]| on(yaml, standard).sampling;
        let of = |ratio, asks_parent| Sampling::new(ratio, asks_parent).unwrap();
        assert_eq!(sampling(HERE, &[]), of(1.0, true));
        let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
        assert_eq!(sampling(HERE, &[sampler, ("OTEL_TRACES_SAMPLER_ARG", "0.25")]), of(0.25, false));
        assert_eq!(sampling(HERE, &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]), of(0.0, true));
        let ours = "tracing: {sample_ratio: 0.1, otlp: {endpoint: 'http://c'}}";
        assert_eq!(sampling(ours, &[sampler]), of(0.1, true));
    }

    #[test]
    fn the_resource_names_the_service() {
        let resource = |standard: &[_]| on(HERE, standard).resource;
        let named = |name: &str| ("service.name".to_owned(), name.to_owned());
        assert!(resource(&[]).contains(&named("lakebed")));
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=lake,deployment.environment.name=a%2Cb");
        let given = resource(&[attributes]);
        assert!(given.contains(&named("lake")) && given.iter().any(|(_, value)| value == "a,b"), "{given:?}");
        let given = resource(&[attributes, ("OTEL_SERVICE_NAME", "pond")]);
        assert_eq!(given.iter().filter(|(name, _)| name == "service.name").count(), 1);
        assert!(given.contains(&named("pond")));
    }
}
