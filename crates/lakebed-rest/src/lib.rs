//! REST handlers: wire types to catalog calls, error mapping.
//!
//! [`Rest::handle`] answers one request under `/api/v1`. What happens, in order (`versioning-api` §1):
//!
//! 1. The path is matched against the table of operations (`routes`); whatever is not in it is 404.
//! 2. The request's shape is checked: query, headers, JSON body. A malformed request is 400, whoever sends it.
//! 3. Who is it (`authenticate`), and may they (`access`): every operation declares its access; without one it does
//!    not compile.
//! 4. The handler calls the catalog. Its refusals become statuses in one place (`error`).
//!
//! Bodies of objects stream both ways; a JSON body is read whole, at most 10 MiB.

mod access;
mod authenticate;
mod call;
mod config;
mod description;
mod disposition;
mod error;
mod handlers;
mod idempotency;
mod json;
mod object_json;
mod operation;
mod presign;
mod query;
mod range;
mod reply;
mod router;
mod routes;
mod sample;
mod service;
mod usage;

pub use authenticate::SecureConnection;
pub use config::{RestConfig, ShownStore};
pub use sample::{SampleError, load_sample_data};
pub use service::Rest;
