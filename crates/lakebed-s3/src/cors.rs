//! Cross-origin requests of browsers (`s3-gateway` §8.12). Off by default; one set of rules for all buckets, from the
//! configuration. A preflight is not signed: it asks what may be asked, and is told no more than the rules.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::error::{Code, S3Error};
use crate::reply::{self, Reply};
use crate::xml::Writer;

/// What answers a page may read unless configured otherwise.
const EXPOSED: &str = "ETag, x-amz-*";

/// Which pages of other origins may use the gateway. Keys are `gateways.s3.cors.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsConfig {
    /// `allowed_origins`: as `https://app.example`; one `*` in each stands for anything.
    pub allowed_origins: Vec<String>,
    /// `allowed_methods`: of GET, HEAD, PUT, POST and DELETE.
    pub allowed_methods: Vec<String>,
    /// `allowed_headers`: names a request may have; one `*` in each stands for anything.
    pub allowed_headers: Vec<String>,
    /// `expose_headers`: names of an answer that a page may read.
    pub expose_headers: Vec<String>,
    /// `max_age`: how long a browser may remember a preflight's answer, in seconds.
    pub max_age_secs: Option<u64>,
}

/// Whether a text has the shape of a pattern with at most one `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

fn of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// Whether a request asks before a cross-origin request.
pub(crate) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The refusal of an OPTIONS that does not say what it asks.
pub(crate) fn not_asked(headers: &HeaderMap) -> S3Error {
    let message = if headers.contains_key(header::ORIGIN) {
        "Invalid Access-Control-Request-Method: null"
    } else {
        "Insufficient information. Origin request header needed."
    };
    S3Error::new(Code::BadRequest, message)
}

impl CorsConfig {
    /// What an origin is told to be allowed: itself, or everyone.
    fn allowed_origin(&self, origin: &str) -> Option<String> {
        if self.allowed_origins.iter().any(|allowed| allowed == "*") {
            return Some("*".to_owned());
        }
        self.allowed_origins.iter().any(|allowed| fits(allowed, origin)).then(|| origin.to_owned())
    }

    fn allows_method(&self, method: &str) -> bool {
        self.allowed_methods.iter().any(|allowed| allowed == method)
    }

    /// The headers asked for, if all of them may be sent.
    fn allowed(&self, asked: &str) -> Option<Vec<String>> {
        let names = asked.split(',').map(|name| name.trim().to_ascii_lowercase());
        let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
        let may = |name: &String| {
            self.allowed_headers.iter().any(|allowed| fits(&allowed.to_ascii_lowercase(), name))
        };
        names.iter().all(may).then_some(names)
    }

    /// Answers a preflight, or refuses it with 403.
    pub(crate) fn preflight(&self, parts: &Parts) -> Reply {
        let headers = &parts.headers;
        let refused = || S3Error::of(Code::AccessForbidden);
        let asked = of(headers, &header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_default();
        let origin = of(headers, &header::ORIGIN).and_then(|origin| self.allowed_origin(origin));
        let origin = origin.filter(|_| self.allows_method(asked)).ok_or_else(refused)?;
        let names = of(headers, &header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let names = self.allowed(names).ok_or_else(refused)?;
        let mut response = reply::empty(StatusCode::OK);
        let answered = response.headers_mut();
        self.say(&origin, answered);
        put(answered, header::ACCESS_CONTROL_ALLOW_METHODS, &self.allowed_methods.join(", "));
        if !names.is_empty() {
            put(answered, header::ACCESS_CONTROL_ALLOW_HEADERS, &names.join(", "));
        }
        if let Some(secs) = self.max_age_secs {
            answered.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(secs));
        }
        put(answered, header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
        Ok(response)
    }

    /// Lets a page read the answer to its request, if its origin may.
    pub(crate) fn expose(&self, request: &HeaderMap, method: &Method, answered: &mut HeaderMap) {
        // Whatever the origin: a cache must not give one's answer to another.
        answered.append(header::VARY, HeaderValue::from_static("Origin"));
        let origin = of(request, &header::ORIGIN).and_then(|origin| self.allowed_origin(origin));
        if let Some(origin) = origin
            && self.allows_method(method.as_str())
        {
            self.say(&origin, answered);
        }
    }

    fn say(&self, origin: &str, answered: &mut HeaderMap) {
        put(answered, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if origin != "*" {
            put(answered, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        let exposed = self.expose_headers.join(", ");
        let exposed = if exposed.is_empty() { EXPOSED.to_owned() } else { exposed };
        // Browsers take `*` at an end for a letter: the names that are there are said.
        let names = exposed.split(',').map(str::trim).flat_map(|pattern| {
            if !pattern.contains('*') {
                return vec![pattern.to_owned()];
            }
            let fitting = answered.keys().map(HeaderName::as_str);
            fitting.filter(|name| fits(&pattern.to_ascii_lowercase(), name)).map(str::to_owned).collect()
        });
        let names: Vec<String> = names.collect();
        put(answered, header::ACCESS_CONTROL_EXPOSE_HEADERS, &names.join(", "));
    }

    /// The rules as `GET ?cors` shows them.
    pub(crate) fn document(&self) -> String {
        let mut xml = Writer::result("CORSConfiguration");
        xml.open("CORSRule");
        for (element, values) in [
            ("AllowedOrigin", &self.allowed_origins),
            ("AllowedMethod", &self.allowed_methods),
            ("AllowedHeader", &self.allowed_headers),
            ("ExposeHeader", &self.expose_headers),
        ] {
            for value in values {
                xml.text(element, value);
            }
        }
        if let Some(secs) = self.max_age_secs {
            xml.value("MaxAgeSeconds", secs);
        }
        xml.close("CORSRule");
        xml.finish("CORSConfiguration")
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> CorsConfig {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CorsConfig {
            allowed_origins: list(&["https://*.app.example", "http://localhost"]),
            allowed_methods: list(&["GET", "PUT"]),
            allowed_headers: list(&["Authorization", "x-amz-*"]),
            expose_headers: Vec::new(),
            max_age_secs: Some(600),
        }
    }

    fn preflight(origin: &str, method: &str, headers: &str) -> Result<HeaderMap, Code> {
        let request = http::Request::options("/repo/main/a")
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", headers);
        let parts = request.body(()).unwrap().into_parts().0;
        assert!(is_preflight(&parts));
        rules().preflight(&parts).map(|mut answer| std::mem::take(answer.headers_mut())).map_err(|e| e.code())
    }

    #[test]
    fn a_preflight_is_told_what_it_may() {
        let headers = preflight("https://a.app.example", "PUT", "authorization, X-Amz-Date").unwrap();
        assert_eq!(headers["access-control-allow-origin"], "https://a.app.example");
        assert_eq!(headers["access-control-allow-methods"], "GET, PUT");
        assert_eq!(headers["access-control-allow-headers"], "authorization, x-amz-date");
        assert_eq!(headers["access-control-max-age"], "600");
        for (origin, method, names) in [
            ("https://app.example", "PUT", ""),
            ("https://.app.example.evil", "PUT", ""),
            ("http://localhost:1", "GET", ""),
            ("http://localhost", "DELETE", ""),
            ("http://localhost", "GET", "cookie"),
        ] {
            assert_eq!(
                preflight(origin, method, names).err(),
                Some(Code::AccessForbidden),
                "{origin} {method}"
            );
        }
    }

    #[test]
    fn answers_are_exposed_to_those_who_may_read_them() {
        let exposed = |origin: &'static str| {
            let mut request = HeaderMap::new();
            request.insert("origin", HeaderValue::from_static(origin));
            let mut answered = HeaderMap::new();
            answered.insert("x-amz-request-id", HeaderValue::from_static("1"));
            rules().expose(&request, &Method::GET, &mut answered);
            answered
        };
        let answered = exposed("http://localhost");
        assert_eq!(answered["access-control-allow-origin"], "http://localhost");
        assert_eq!(answered["access-control-expose-headers"], "ETag, x-amz-request-id");
        assert_eq!(answered["vary"], "Origin");
        let answered = exposed("http://other");
        assert!(!answered.contains_key("access-control-allow-origin"));
        assert_eq!(answered["vary"], "Origin");
    }
}
