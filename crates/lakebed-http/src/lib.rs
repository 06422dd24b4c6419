//! What both doors need of HTTP: bodies that stream both ways ([`InBody`], [`AnswerBody`]), dates, a limit to a
//! client's silence ([`Heard`]), and a word to who counts and logs ([`Served`]).
//!
//! No protocol is known here: which headers, statuses and documents there are belongs to the doors.

mod body;
mod date;
mod patience;
mod served;
mod silence;

pub use body::{AnswerBody, BoxError, InBody, Taken, byte_stream};
pub use date::{http_date, parse_http_date};
pub use patience::Patience;
pub use served::Served;
pub use silence::{Heard, Silence};
