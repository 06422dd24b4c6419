//! The three-way merge (`versioning-api` §11): what the source changed since the base, laid over the destination.
//! Cost follows the source's change; whatever it did not touch is the destination's, node for node.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_core::NodeId;

use crate::{Cursor, Diff, Edit, EditSource, NodeStore, TreeError, edit};

/// The same thing in the base and on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreeWay<T> {
    /// What both come from.
    pub base: T,
    /// The side merged from.
    pub source: T,
    /// The side merged into.
    pub destination: T,
}

/// What "the same content" means: asked only where bytes differ.
pub trait Identity: Send + Sync {
    /// Whether two values count as the same.
    fn same(&self, a: &[u8], b: &[u8]) -> bool;
}

/// How a conflict ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The source's state is taken.
    Source,
    /// The destination's state is kept.
    Destination,
    /// This value is taken, or none: the base's, or one that neither side has.
    Value(Option<Bytes>),
    /// It stays a conflict: the merge fails, the others are still counted.
    Conflict,
}

/// What a merge made. `root` counts only if `conflicts` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The merged tree.
    pub root: NodeId,
    /// Keys new in the destination.
    pub added: u64,
    /// Keys whose value changed in the destination.
    pub changed: u64,
    /// Keys gone from the destination.
    pub removed: u64,
    /// Conflicts that were resolved.
    pub resolved: u64,
    /// Conflicts that were not.
    pub conflicts: u64,
}

/// Decides about one conflicting key.
pub type Resolve<'a> = dyn FnMut(&[u8], ThreeWay<Option<&[u8]>>) -> Resolution + Send + 'a;

/// Merges three trees. Nodes are saved as they close; the caller flushes the store.
pub async fn merge(
    store: Arc<dyn NodeStore>,
    trees: ThreeWay<NodeId>,
    identity: &dyn Identity,
    resolve: &mut Resolve<'_>,
) -> Result<Merged, TreeError> {
    let counts =
        Merged { root: trees.destination, added: 0, changed: 0, removed: 0, resolved: 0, conflicts: 0 };
    if trees.source == trees.base || trees.source == trees.destination {
        return Ok(counts);
    }
    let mut changes = Changes {
        diff: Diff::new(store.clone(), trees.base, trees.source),
        destination: Cursor::new(store.clone(), trees.destination),
        identity,
        resolve,
        counts,
    };
    if trees.destination == trees.base {
        // Only the source moved: its tree is the result, and what is left is to count.
        while changes.next().await?.is_some() {}
        return Ok(Merged { root: trees.source, ..changes.counts });
    }
    let edited = edit(&*store, &trees.destination, &mut changes).await?;
    Ok(Merged { root: edited.root, ..changes.counts })
}

/// What the merge changes on the destination, in key order.
struct Changes<'a, 'r> {
    diff: Diff,
    destination: Cursor,
    identity: &'a dyn Identity,
    resolve: &'a mut Resolve<'r>,
    counts: Merged,
}

impl Changes<'_, '_> {
    fn same(&self, a: Option<&Bytes>, b: Option<&Bytes>) -> bool {
        match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => a == b || self.identity.same(a, b),
            _ => false,
        }
    }
}

#[async_trait]
impl EditSource for Changes<'_, '_> {
    async fn next(&mut self) -> Result<Option<Edit>, TreeError> {
        while let Some(item) = self.diff.next().await? {
            let (base, mut source) = (item.left, item.right);
            if self.same(base.as_ref(), source.as_ref()) {
                continue;
            }
            self.destination.seek(&item.key).await?;
            let here = self.destination.key() == Some(&item.key);
            let destination = if here { self.destination.value() } else { None };
            if self.same(source.as_ref(), destination.as_ref()) {
                if source == destination {
                    continue;
                }
                // The same content on both sides: no change, but the source's entry is the one that stays.
                return Ok(Some(Edit { key: item.key.into(), value: source }));
            }
            if !self.same(base.as_ref(), destination.as_ref()) {
                let sides = ThreeWay {
                    base: base.as_deref(),
                    source: source.as_deref(),
                    destination: destination.as_deref(),
                };
                match (self.resolve)(&item.key, sides) {
                    Resolution::Source => self.counts.resolved += 1,
                    Resolution::Destination => {
                        self.counts.resolved += 1;
                        continue;
                    }
                    Resolution::Value(value) => {
                        self.counts.resolved += 1;
                        if value == destination {
                            continue;
                        }
                        source = value;
                    }
                    Resolution::Conflict => {
                        self.counts.conflicts += 1;
                        continue;
                    }
                }
            }
            match (&source, &destination) {
                (Some(_), None) => self.counts.added += 1,
                (Some(_), Some(_)) => self.counts.changed += 1,
                (None, _) => self.counts.removed += 1,
            }
            return Ok(Some(Edit { key: item.key.into(), value: source }));
        }
        Ok(None)
    }
}
