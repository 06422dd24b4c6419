//! What a source changed since the merge base, with what is there in the destination: the walk that a three-dot diff and
//! the conflicts of a merge have in common (`versioning-api` §10, §11).

use std::sync::Arc;

use bytes::Bytes;
use lakebed_kv::successor;
use lakebed_tree::{Cursor, Diff};

use crate::catalog::Inner;
use crate::entry::same_content;
use crate::{CatalogError, Commit, Repository};

/// A path at which the destination does not have the source's change.
pub(crate) struct Sides {
    pub(crate) path: Vec<u8>,
    pub(crate) base: Option<Bytes>,
    pub(crate) source: Option<Bytes>,
    pub(crate) destination: Option<Bytes>,
}

impl Sides {
    /// Whether the destination changed the path, too, and differently.
    pub(crate) fn conflict(&self) -> bool {
        !same(self.base.as_ref(), self.destination.as_ref())
    }
}

fn same(a: Option<&Bytes>, b: Option<&Bytes>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same_content(a, b),
        _ => false,
    }
}

/// The walk, in path order. Cost follows the source's change.
pub(crate) struct ThreeWayWalk {
    source: Diff,
    destination: Cursor,
}

impl ThreeWayWalk {
    pub(crate) fn seek(&mut self, path: &[u8]) {
        self.source.seek(path);
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Sides>, CatalogError> {
        while let Some(item) = self.source.next().await? {
            let (base, source) = (item.left, item.right);
            if same(base.as_ref(), source.as_ref()) {
                continue;
            }
            self.destination.seek(&item.key).await?;
            let here = self.destination.key() == Some(&item.key);
            let destination = if here { self.destination.value() } else { None };
            // The same change on both sides: merging brings nothing here.
            if !same(source.as_ref(), destination.as_ref()) {
                return Ok(Some(Sides { path: item.key, base, source, destination }));
            }
        }
        Ok(None)
    }
}

impl Inner {
    /// The walk from the best common ancestor of two commits, or from nothing if they have none, up to the last path
    /// with a prefix.
    pub(crate) async fn three_way_walk(
        &self,
        repository: &Repository,
        source: &Arc<Commit>,
        destination: &Arc<Commit>,
        prefix: &str,
    ) -> Result<ThreeWayWalk, CatalogError> {
        let base = self.best_common_ancestor(repository, destination, source).await?;
        let tree = |commit: &Commit| commit.tree.unwrap_or_else(lakebed_tree::empty_tree);
        let base = base.map_or_else(lakebed_tree::empty_tree, |base| tree(&base));
        let nodes = self.nodes(repository);
        Ok(ThreeWayWalk {
            source: Diff::new(nodes.clone(), base, tree(source)).until(successor(prefix.as_bytes())),
            destination: Cursor::new(nodes, tree(destination)),
        })
    }
}
