//! Counts and sizes of a key range, from the aggregates of inner nodes: two paths are read, whatever the range holds.

use lakebed_core::NodeId;

use crate::cursor::{load, load_child};
use crate::node::NodeCursor;
use crate::{NodeStore, TreeError};

/// How much lies in a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    /// Entries.
    pub count: u64,
    /// Bytes of the objects they name.
    pub bytes: u64,
}

/// The entries from `start` up to `end` (exclusive; `None` = no end).
pub async fn aggregate(
    store: &dyn NodeStore,
    root: &NodeId,
    start: &[u8],
    end: Option<&[u8]>,
) -> Result<Aggregate, TreeError> {
    let before = up_to(store, root, Some(start)).await?;
    let all = up_to(store, root, end).await?;
    Ok(Aggregate {
        count: all.count.saturating_sub(before.count),
        bytes: all.bytes.saturating_sub(before.bytes),
    })
}

/// Everything before `end`.
async fn up_to(store: &dyn NodeStore, root: &NodeId, end: Option<&[u8]>) -> Result<Aggregate, TreeError> {
    let mut total = Aggregate::default();
    let mut cursor = NodeCursor::first(load(store, root).await?);
    loop {
        let level = cursor.node().level();
        while !cursor.is_end() && end.is_none_or(|end| cursor.key() < end) {
            if level == 0 {
                total.count += 1;
                total.bytes = total.bytes.saturating_add(store.object_size(cursor.value()));
            } else {
                let child = cursor.child()?;
                total.count += child.count;
                total.bytes = total.bytes.saturating_add(child.bytes);
            }
            cursor.advance();
        }
        // The entry stood on is the first whose last key is not before the end: part of it may be.
        if cursor.is_end() || level == 0 {
            return Ok(total);
        }
        cursor = NodeCursor::first(load_child(store, &cursor).await?);
    }
}
