//! Two trees walked together, skipping what they share (`architecture.md` §3): cost follows the difference.

use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::NodeId;

use crate::cursor::{load, load_child};
use crate::node::NodeCursor;
use crate::{NodeStore, TreeError};

/// A key whose value bytes differ between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffItem {
    /// The key.
    pub key: Vec<u8>,
    /// Its value in the left tree.
    pub left: Option<Bytes>,
    /// Its value in the right tree.
    pub right: Option<Bytes>,
}

/// The differences between two trees in key order. Holds one node per level and side.
pub struct Diff {
    store: Arc<dyn NodeStore>,
    roots: [NodeId; 2],
    /// The first key looked at.
    from: Vec<u8>,
    /// The first key not looked at any more.
    end: Option<Vec<u8>>,
    sides: Option<[Side; 2]>,
}

/// One side's position: what comes next is the entry the top cursor stands on, a whole subtree if the node is an inner
/// one. Cursors below the top stand on the child above them, which is being walked.
struct Side(Vec<NodeCursor>);

impl Side {
    fn top(&self) -> Option<&NodeCursor> {
        self.0.last().filter(|top| !top.is_end())
    }

    /// Steps over the entry or subtree that comes next.
    fn skip(&mut self) {
        while let Some(top) = self.0.last_mut() {
            top.advance();
            if !top.is_end() {
                return;
            }
            self.0.pop();
        }
    }

    /// Steps over the rest of the leaf walked.
    fn skip_leaf(&mut self) {
        self.0.pop();
        self.skip();
    }

    /// Enters the subtree that comes next, at the first entry that is not before `from`.
    async fn enter(&mut self, store: &dyn NodeStore, from: &[u8]) -> Result<(), TreeError> {
        if let Some(top) = self.top() {
            let child = load_child(store, top).await?;
            self.0.push(NodeCursor::at(child, from));
        }
        Ok(())
    }
}

impl Diff {
    /// The differences between two trees, from the first key on.
    pub fn new(store: Arc<dyn NodeStore>, left: NodeId, right: NodeId) -> Self {
        Self { store, roots: [left, right], from: Vec::new(), end: None, sides: None }
    }

    /// Ends before the first key at or after `end`: nothing is loaded only to find a difference there. `None`: no end.
    #[must_use]
    pub fn until(mut self, end: Option<Vec<u8>>) -> Self {
        self.end = end;
        self
    }

    /// Goes on with the first difference at or after `key`, forwards or backwards. Nothing is loaded yet: the way to the
    /// key is walked by [`Diff::next`], and only as far down as the two trees differ.
    pub fn seek(&mut self, key: &[u8]) {
        self.from.clear();
        self.from.extend_from_slice(key);
        self.sides = None;
    }

    /// The next difference.
    pub async fn next(&mut self) -> Result<Option<DiffItem>, TreeError> {
        if self.roots[0] == self.roots[1] {
            return Ok(None);
        }
        let store = &*self.store;
        if self.sides.is_none() {
            let left = Side(vec![NodeCursor::at(load(store, &self.roots[0]).await?, &self.from)]);
            let right = Side(vec![NodeCursor::at(load(store, &self.roots[1]).await?, &self.from)]);
            self.sides = Some([left, right]);
        }
        let Some([left, right]) = &mut self.sides else { return Ok(None) };
        let from = self.from.as_slice();
        let past = |key: &[u8]| self.end.as_ref().is_some_and(|end| key >= end.as_slice());
        loop {
            let (l, r) = match (left.top(), right.top()) {
                (None, None) => return Ok(None),
                (Some(l), None) => {
                    if l.node().level() > 0 {
                        left.enter(store, from).await?;
                        continue;
                    }
                    if past(l.key()) {
                        return Ok(None);
                    }
                    let item = DiffItem { key: l.key().to_vec(), left: Some(l.value_bytes()), right: None };
                    left.skip();
                    return Ok(Some(item));
                }
                (None, Some(r)) => {
                    if r.node().level() > 0 {
                        right.enter(store, from).await?;
                        continue;
                    }
                    if past(r.key()) {
                        return Ok(None);
                    }
                    let item = DiffItem { key: r.key().to_vec(), left: None, right: Some(r.value_bytes()) };
                    right.skip();
                    return Ok(Some(item));
                }
                (Some(l), Some(r)) => (l, r),
            };
            match (l.node().level(), r.node().level()) {
                (0, 0) => {
                    if l.node().id() == r.node().id() && l.index() == r.index() {
                        // The same leaf at the same place: its rest is the same.
                        if past(l.node().last_key()) {
                            return Ok(None);
                        }
                        left.skip_leaf();
                        right.skip_leaf();
                        continue;
                    }
                    if past(l.key().min(r.key())) {
                        return Ok(None);
                    }
                    match l.key().cmp(r.key()) {
                        std::cmp::Ordering::Less => {
                            let key = l.key().to_vec();
                            let item = DiffItem { key, left: Some(l.value_bytes()), right: None };
                            left.skip();
                            return Ok(Some(item));
                        }
                        std::cmp::Ordering::Greater => {
                            let key = r.key().to_vec();
                            let item = DiffItem { key, left: None, right: Some(r.value_bytes()) };
                            right.skip();
                            return Ok(Some(item));
                        }
                        std::cmp::Ordering::Equal => {
                            let item = (l.value() != r.value()).then(|| DiffItem {
                                key: l.key().to_vec(),
                                left: Some(l.value_bytes()),
                                right: Some(r.value_bytes()),
                            });
                            left.skip();
                            right.skip();
                            if item.is_some() {
                                return Ok(item);
                            }
                        }
                    }
                }
                (a, b) if a == b => {
                    // Both come next in key order: equal ids are equal content, wherever the boundaries lie.
                    if l.child()?.id == r.child()?.id {
                        if past(l.key()) {
                            return Ok(None);
                        }
                        left.skip();
                        right.skip();
                    } else {
                        left.enter(store, from).await?;
                        right.enter(store, from).await?;
                    }
                }
                (a, b) if a > b => left.enter(store, from).await?,
                _ => right.enter(store, from).await?,
            }
        }
    }
}
