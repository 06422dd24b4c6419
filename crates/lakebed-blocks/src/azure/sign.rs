//! Signatures with the account's key: of requests (Shared Key) and of URLs (service SAS).

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use lakebed_core::Timestamp;
use sha2::Sha256;

use super::location::Location;
use super::{API_VERSION, SharedKey};
use crate::PresignedGet;
use crate::remote::names::encoded;

/// How far clocks may differ.
const SKEW_SECS: i64 = 300;

impl SharedKey {
    fn sign(&self, text: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    /// The `Authorization` of a request for `path` (as it is sent) with `query` (decoded pairs).
    pub(super) fn authorization(
        &self,
        method: &http::Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &HeaderMap,
        length: u64,
    ) -> String {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let length = if length == 0 { String::new() } else { length.to_string() };
        let standard = [
            method.as_str(),
            header("content-encoding"),
            header("content-language"),
            &length,
            header("content-md5"),
            header("content-type"),
            // The date is in x-ms-date.
            "",
            header("if-modified-since"),
            header("if-match"),
            header("if-none-match"),
            header("if-unmodified-since"),
            header("range"),
        ];
        let mut own = BTreeMap::new();
        for (name, value) in headers {
            if name.as_str().starts_with("x-ms-") {
                own.insert(name.as_str(), value.to_str().unwrap_or_default().trim());
            }
        }
        let mut text = standard.join("\n");
        for (name, value) in own {
            text.extend(["\n", name, ":", value]);
        }
        text.extend(["\n/", &self.account, path]);
        let mut query = query.to_vec();
        query.sort_unstable();
        for (name, value) in query {
            text.extend(["\n", name, ":", value]);
        }
        format!("SharedKey {}:{}", self.account, self.sign(&text))
    }

    /// The query of a URL that allows `permissions` on one blob until `life` has passed.
    pub(super) fn sas(
        &self,
        at: &Location<'_>,
        permissions: &str,
        wanted: &PresignedGet,
        now: Timestamp,
        life: Duration,
        https_only: bool,
    ) -> String {
        let time = |secs: i64| {
            jiff::Timestamp::from_second(secs).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        };
        let start = time(now.secs() - SKEW_SECS);
        let end = time(now.secs().saturating_add(i64::try_from(life.as_secs().max(1)).unwrap_or(i64::MAX)));
        let protocol = if https_only { "https" } else { "https,http" };
        let disposition = wanted.disposition.as_deref().unwrap_or_default();
        let content_type = wanted.content_type.as_deref().unwrap_or_default();
        let resource = format!("/blob/{}/{}/{}", at.account, at.container, at.name);
        let text = [
            permissions,
            &start,
            &end,
            &resource,
            // Stored policy and addresses of clients: none.
            "",
            "",
            protocol,
            API_VERSION,
            "b",
            // Snapshot time, encryption scope, Cache-Control.
            "",
            "",
            "",
            disposition,
            // Content-Encoding, Content-Language.
            "",
            "",
            content_type,
        ]
        .join("\n");
        let mut query = format!(
            "sv={API_VERSION}&spr={}&st={}&se={}&sr=b&sp={permissions}",
            encoded(protocol),
            encoded(&start),
            encoded(&end)
        );
        for (name, value) in [("rscd", disposition), ("rsct", content_type)] {
            if !value.is_empty() {
                query.extend(["&", name, "=", &encoded(value)]);
            }
        }
        query + "&sig=" + &encoded(&self.sign(&text))
    }
}
