//! One port: routes S3, REST and the page; health, metrics, limits, shutdown. Knows no versioning rule.
//!
//! [`Server::bind`] takes the port, [`Server::run`] serves until told to stop, then lets the requests in flight finish.

mod audit;
mod debug;
mod health;
mod linger;
mod metrics;
mod page;
mod progress;
mod record;
mod router;
mod server;
mod stop;
mod taking;
mod tls;
mod traces;
mod waiting_room;

pub use metrics::Metrics;
pub use router::{Doors, Router};
pub use server::{Server, ServerConfig, ServerError};
pub use stop::Stop;
pub use tls::{Tls, TlsError};
pub use waiting_room::WaitingRoom;
