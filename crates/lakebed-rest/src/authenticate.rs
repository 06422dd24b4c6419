//! Who is calling (`auth.md` §3, §4): `Authorization` if it is there and readable, else a session cookie, else nobody.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lakebed_auth::{AuthError, Principal};

use crate::error::RestError;
use crate::service::Rest;

/// The session cookies, in the order they are tried.
const SESSION_COOKIES: [&str; 3] = [LOGIN_COOKIE, "oidc_auth_session", "saml_auth_session"];

/// The cookie a login sets.
pub(crate) const LOGIN_COOKIE: &str = "internal_auth_session";

/// Stands before the token in a cookie, so that a bare token is not a session and the form can change.
const COOKIE_VERSION: &str = "v1.";

/// How long browsers keep the cookie, in seconds. The token inside ends earlier.
const COOKIE_MAX_AGE_SECS: i64 = 30 * 24 * 3600;

/// A request extension: the connection is encrypted, by our own TLS or by a trusted proxy, so cookies are `Secure`.
#[derive(Clone, Copy, Debug)]
pub struct SecureConnection;

/// What was found out.
pub(crate) enum Identity {
    Known(Arc<Principal>),
    Anonymous,
}

enum Credentials {
    Key(String, String),
    Token(String),
}

/// Finds out who sends a request. Wrong credentials in `Authorization` are an error, whatever cookies say.
pub(crate) async fn identify(rest: &Rest, parts: &Parts) -> Result<Identity, RestError> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = values.next() {
        if values.next().is_some() {
            return Err(RestError::bad_request("more than one Authorization header"));
        }
        if let Some(credentials) = credentials(value) {
            let principal = match credentials {
                Credentials::Key(id, secret) => rest.auth().authenticate_key(&id, &secret).await?,
                Credentials::Token(token) => rest.auth().authenticate_token(&token).await?,
            };
            return Ok(Identity::Known(principal));
        }
    }
    for name in SESSION_COOKIES {
        let Some(token) = cookie(&parts.headers, name).and_then(|value| value.strip_prefix(COOKIE_VERSION))
        else {
            continue;
        };
        match rest.auth().authenticate_token(token).await {
            Ok(principal) => {
                refuse_foreign_site(parts)?;
                return Ok(Identity::Known(principal));
            }
            Err(AuthError::Unauthenticated) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Identity::Anonymous)
}

/// What a header says; `None` if it cannot be read, which counts as no header.
fn credentials(value: &HeaderValue) -> Option<Credentials> {
    let (scheme, rest) = value.to_str().ok()?.trim().split_once(' ')?;
    let rest = rest.trim();
    if rest.is_empty() {
        return None;
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Token(rest.to_owned()));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        return Some(Credentials::Key(id.to_owned(), secret.to_owned()));
    }
    None
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// A browser sends cookies with requests of other sites, too. Those may look, not touch.
fn refuse_foreign_site(parts: &Parts) -> Result<(), RestError> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let same = if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        matches!(site, "same-origin" | "none")
    } else if let Some(origin) = text(header::ORIGIN).or_else(|| text(header::REFERER)) {
        let host = text(header::HOST).or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
        let from = origin.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        host.is_some() && from == host
    } else {
        true
    };
    if same {
        Ok(())
    } else {
        Err(RestError::new(
            StatusCode::FORBIDDEN,
            "a session cookie does not count on a request from another site",
        ))
    }
}

/// The cookie of a fresh login.
pub(crate) fn login_cookie(token: &str, now_secs: i64, secure: bool) -> Option<HeaderValue> {
    let expires = lakebed_http::http_date(now_secs.saturating_add(COOKIE_MAX_AGE_SECS))?;
    let expires = expires.to_str().ok()?;
    let secure = if secure { "; Secure" } else { "" };
    let text = format!(
        "{LOGIN_COOKIE}={COOKIE_VERSION}{token}; Path=/; Expires={expires}; Max-Age={COOKIE_MAX_AGE_SECS}; \
         HttpOnly; SameSite=Lax{secure}"
    );
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(String, Option<String>)> {
        credentials(&HeaderValue::from_str(value).unwrap()).map(|credentials| match credentials {
            Credentials::Key(id, secret) => (id, Some(secret)),
            Credentials::Token(token) => (token, None),
        })
    }

    #[test]
    fn basic_splits_at_the_first_colon_only() {
        let encoded = STANDARD.encode("key:a:b");
        assert_eq!(read(&format!("basic {encoded}")), Some(("key".into(), Some("a:b".into()))));
    }

    #[test]
    fn headers_that_cannot_be_read_count_as_absent() {
        for value in ["Bearer", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Digest x", "token"] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(read("BEARER x.y.z"), Some(("x.y.z".into(), None)));
    }

    #[test]
    fn cookies_of_other_sites_may_not_write() {
        let parts = |method: &str, headers: &[(&str, &str)]| {
            let mut request = http::Request::builder().method(method).uri("/api/v1/repositories");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(()).unwrap().into_parts().0
        };
        assert!(refuse_foreign_site(&parts("GET", &[("sec-fetch-site", "cross-site")])).is_ok());
        assert!(refuse_foreign_site(&parts("POST", &[("sec-fetch-site", "cross-site")])).is_err());
        assert!(refuse_foreign_site(&parts("POST", &[("sec-fetch-site", "same-origin")])).is_ok());
        assert!(
            refuse_foreign_site(&parts("POST", &[("origin", "https://evil.test"), ("host", "lake.test")]))
                .is_err()
        );
        assert!(
            refuse_foreign_site(&parts("POST", &[("origin", "https://lake.test"), ("host", "lake.test")]))
                .is_ok()
        );
        assert!(refuse_foreign_site(&parts("POST", &[])).is_ok());
    }
}
