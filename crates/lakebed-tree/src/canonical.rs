//! The local proof that a tree is the one its entries give: no node has a cut inside, and every node but the last of its
//! level ends in one (`formats.md`, Boundaries). For `fsck` and fuzzing.

use lakebed_core::NodeId;

use crate::boundary::{Rule, weight};
use crate::cursor::{load, load_child};
use crate::node::NodeCursor;
use crate::{NodeStore, TreeError};

/// Checks every node of a tree: boundaries, levels, keys and aggregates. Reads the whole tree.
pub async fn check_canonical(store: &dyn NodeStore, root: &NodeId) -> Result<(), TreeError> {
    check_by(Rule::FORMAT, store, root).await
}

pub(crate) async fn check_by(rule: Rule, store: &dyn NodeStore, root: &NodeId) -> Result<(), TreeError> {
    let root_node = load(store, root).await?;
    if root_node.level() > 0 && root_node.len() < 2 {
        return Err(TreeError::Damaged { id: *root, why: "a root with a single child" });
    }
    // A path of cursors; whether each node is the last of its level.
    let mut path = vec![(NodeCursor::first(root_node), true)];
    check_node(rule, &path[0].0, true)?;
    while let Some((top, last)) = path.last_mut() {
        if top.is_end() || top.node().level() == 0 {
            path.pop();
            if let Some((parent, _)) = path.last_mut() {
                parent.advance();
            }
            continue;
        }
        let child = load_child(store, top).await?;
        let entry = top.child()?;
        let is_last = *last && top.index() as usize + 1 == top.node().len();
        if child.last_key() != top.key() {
            return Err(TreeError::Damaged { id: entry.id, why: "its last key is not what its parent says" });
        }
        let cursor = NodeCursor::first(child);
        let (count, bytes) = check_node_totals(store, rule, &cursor, is_last)?;
        if (count, bytes) != (entry.count, entry.bytes) {
            return Err(TreeError::Damaged { id: entry.id, why: "its totals are not what its parent says" });
        }
        path.push((cursor, is_last));
    }
    Ok(())
}

fn check_node(rule: Rule, at: &NodeCursor, last: bool) -> Result<(), TreeError> {
    let node = at.node();
    let mut cursor = NodeCursor::first(node.clone());
    let mut sum = 0;
    while !cursor.is_end() {
        let weight = weight(cursor.key(), cursor.value());
        sum += weight;
        let closes = rule.closes(node.level(), cursor.key(), weight, sum, cursor.index() + 1);
        let at_end = cursor.index() as usize + 1 == node.len();
        if closes && !at_end {
            return Err(TreeError::Damaged { id: *node.id(), why: "a cut inside" });
        }
        if at_end && !closes && !last {
            return Err(TreeError::Damaged { id: *node.id(), why: "no cut at its end" });
        }
        cursor.advance();
    }
    Ok(())
}

fn check_node_totals(
    store: &dyn NodeStore,
    rule: Rule,
    at: &NodeCursor,
    last: bool,
) -> Result<(u64, u64), TreeError> {
    check_node(rule, at, last)?;
    let (mut count, mut bytes) = (0, 0);
    let mut cursor = NodeCursor::first(at.node().clone());
    while !cursor.is_end() {
        if cursor.node().level() == 0 {
            count += 1;
            bytes += store.object_size(cursor.value());
        } else {
            let child = cursor.child()?;
            count += child.count;
            bytes += child.bytes;
        }
        cursor.advance();
    }
    Ok((count, bytes))
}
