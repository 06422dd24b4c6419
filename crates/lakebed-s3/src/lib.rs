//! The S3 protocol to catalog calls.
#![allow(missing_docs, clippy::all, clippy::pedantic)]
use lakebed_auth::Auth;
use lakebed_catalog::Catalog;
#[derive(Clone, Debug, Default)]
pub struct S3Config { pub domains: Vec<String>, pub region: String, pub verify_unsupported: bool, pub strict_region: bool, pub max_clock_skew_secs: i64 }
#[derive(Clone)]
pub struct S3;
impl S3 {
    pub fn new(_: Catalog, _: Auth, _: S3Config) -> Self { Self }
    pub fn claims(&self, _: &http::request::Parts) -> bool { false }
    pub async fn handle<B>(&self, _: http::Request<B>) -> http::Response<http_body_util::Full<bytes::Bytes>> { http::Response::new(Default::default()) }
}
