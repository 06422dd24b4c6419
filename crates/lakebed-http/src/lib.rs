//! What both doors need of HTTP: bodies that stream both ways ([`InBody`], [`AnswerBody`]) and dates.
//!
//! No protocol is known here: which headers, statuses and documents there are belongs to the doors.

mod body;
mod date;

pub use body::{AnswerBody, BoxError, InBody, byte_stream};
pub use date::{http_date, parse_http_date};
