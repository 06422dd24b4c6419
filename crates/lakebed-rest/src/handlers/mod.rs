//! The operations, by noun. A handler gets a checked request and calls the catalog; it knows no storage.

pub(crate) mod background;
pub(crate) mod branches;
pub(crate) mod client_uploads;
pub(crate) mod commits;
pub(crate) mod diffs;
pub(crate) mod dumps;
pub(crate) mod identity;
pub(crate) mod merges;
pub(crate) mod object_reads;
pub(crate) mod object_writes;
pub(crate) mod pulls;
pub(crate) mod repositories;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod staging;
pub(crate) mod symlink;
pub(crate) mod tags;
pub(crate) mod trees;
pub(crate) mod unserved;
pub(crate) mod uploads;

use lakebed_api::List;
use lakebed_catalog::{Page, PageRequest};
use lakebed_core::{RefExpr, Timestamp};

use crate::call::Call;
use crate::error::RestError;

/// The page parameters most lists share.
pub(crate) fn page(call: &Call) -> Result<PageRequest, RestError> {
    let query = call.query();
    Ok(PageRequest { prefix: query.text("prefix")?, after: query.text("after")?, amount: query.amount()? })
}

/// A page as it travels.
fn list<T, U>(page: Page<T>, convert: impl FnMut(T) -> U) -> List<U> {
    List::new(page.items.into_iter().map(convert).collect(), page.has_more, page.next_offset)
}

/// A time as the description's date-time.
fn date_time(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.millis()).unwrap_or_default().to_string()
}

/// A ref in a body or query: what cannot be a name at all is not found, what is malformed is refused.
fn reference(text: &str) -> Result<RefExpr, RestError> {
    text.parse().map_err(|error: lakebed_core::RefExprError| {
        if text.contains(' ') {
            RestError::not_found(format!("ref '{text}' not found"))
        } else {
            error.into()
        }
    })
}
