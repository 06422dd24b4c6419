//! The S3 protocol to catalog calls (`s3-gateway`): bucket = repository, key = `<ref>/<path>`.
//!
//! [`S3::handle`] answers one request that [`S3::wants`] claimed. What happens, in order:
//!
//! 1. Host and path say which bucket and key are meant ([`place`]), decoded exactly once.
//! 2. Who is it: the signature is verified over what arrived, in constant time ([`auth`]). It also says how the body is
//!    covered; the body is checked while it streams ([`payload`]), and nothing becomes visible before it held.
//! 3. Method, place, sub-resource and headers choose the operation ([`dispatch`]), never the verb alone.
//! 4. The operation's shape is read, its permissions are asked for, and it runs ([`operation`]): an operation without
//!    declared permissions does not compile. Operations are in [`ops`], by noun.
//! 5. Refusals become S3's codes in one place ([`error`]).

mod auth;
mod bucket;
mod call;
mod conditions;
mod config;
mod copy_source;
mod cors;
mod dispatch;
mod error;
mod fallback;
mod form;
#[cfg(test)]
mod hostile;
mod metadata;
mod operation;
mod ops;
mod parts;
mod patience;
mod payload;
mod place;
mod query;
mod range;
mod reply;
mod service;
mod stored;
mod tags;
mod write_conditions;
mod xml;

pub use config::{ListedRefs, RedirectConfig, RepositoryTemplate, S3Config};
pub use cors::CorsConfig;
pub use fallback::FallbackUrl;
pub use service::S3;
