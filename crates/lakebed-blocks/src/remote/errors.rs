//! What goes wrong with every service alike.

use crate::remote::client::NoAnswer;
use crate::{BlockAddress, BlockError, BlockStore};

/// No answer, as an error of what was being done at an address.
pub(crate) fn unanswered(what: &'static str, address: &BlockAddress, error: &NoAnswer) -> BlockError {
    BlockError::Unavailable { what, why: format!("{} at {address}: is the store reachable?", error.0) }
}

/// An answer that makes no sense.
pub(crate) fn senseless(what: &'static str, why: impl std::fmt::Display) -> BlockError {
    BlockError::Io {
        what,
        source: std::io::Error::other(format!("the store's answer makes no sense: {why}")),
    }
}

/// What came of a completion that the service knows no upload for: if the object is there, an earlier try completed it
/// and its answer was lost.
pub(crate) async fn or_completed_before(
    store: &dyn BlockStore,
    address: &BlockAddress,
    completed: Result<(), BlockError>,
) -> Result<(), BlockError> {
    let Err(BlockError::NoSuchUpload(upload)) = completed else { return completed };
    match store.head(address).await {
        Ok(_) => Ok(()),
        Err(BlockError::NotFound(_)) => Err(BlockError::NoSuchUpload(upload)),
        Err(error) => Err(error),
    }
}
