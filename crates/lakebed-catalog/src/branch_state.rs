//! The record of a branch, decoded (`protocol.md`, Records).

use bytes::Bytes;
use lakebed_core::{CommitId, Entropy, Incarnation, LayerId, NodeId};
use lakebed_kv::Version;

use crate::{CatalogError, wire};

/// A branch record as read at `version`.
#[derive(Clone, Debug)]
pub(crate) struct BranchState {
    pub(crate) key: Bytes,
    pub(crate) version: Version,
    pub(crate) incarnation: Incarnation,
    pub(crate) head: CommitId,
    /// Where staged writes go.
    pub(crate) current: LayerId,
    /// Exists in the engine while `current` may be written.
    pub(crate) gate: Incarnation,
    /// Oldest first.
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) reset_count: u64,
    pub(crate) sequence: u64,
    pub(crate) hidden: bool,
    /// Shows nothing new while its repository is being closed by this.
    pub(crate) closing: Option<Incarnation>,
}

/// A layer that takes no more writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) id: LayerId,
    pub(crate) content: Content,
    /// The layers folded into this one: a run of these counts as the run of their inputs.
    pub(crate) inputs: Vec<LayerId>,
    /// Of the oldest layer: what its head's tree becomes with it.
    pub(crate) over: Option<Over>,
}

/// A head's tree with the folded layers laid over it, made so that listings need not step over what is deleted. It
/// counts while the branch is at this head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) head: CommitId,
    /// New nodes are the layer's, the others the repository's.
    pub(crate) tree: NodeId,
}

/// What a sealed layer consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Rows in the key-value engine.
    Rows,
    /// An immutable tree of row values.
    Tree(NodeId),
    /// Below me, for these paths, only the head counts.
    Mask(Mask),
}

/// The paths a reset dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// All that start with this.
    Prefix(String),
    /// Just this one.
    Path(String),
}

impl Mask {
    pub(crate) fn covers(&self, path: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
            Self::Path(only) => path == only.as_bytes(),
        }
    }
}

impl Sealed {
    pub(crate) fn rows(id: LayerId) -> Self {
        Self { id, content: Content::Rows, inputs: Vec::new(), over: None }
    }

    /// Whether this layer is `id`, or was folded from it.
    fn stands_for(&self, id: &LayerId) -> bool {
        self.id == *id || self.inputs.contains(id)
    }
}

/// The ids of a branch that is to be made. Sent again they make the same one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BranchLife {
    pub(crate) incarnation: Incarnation,
    pub(crate) current: LayerId,
    pub(crate) gate: Incarnation,
}

impl BranchLife {
    pub(crate) fn fresh(entropy: &dyn Entropy) -> Self {
        Self {
            incarnation: Incarnation::random(entropy),
            current: LayerId::random(entropy),
            gate: Incarnation::random(entropy),
        }
    }
}

impl BranchState {
    pub(crate) fn from_row(
        row: &wire::BranchRow,
        key: Bytes,
        version: Version,
    ) -> Result<Self, CatalogError> {
        let sealed = row.sealed.iter().map(Sealed::from_row).collect::<Result<_, _>>()?;
        Ok(Self {
            key,
            version,
            incarnation: wire::id16(&row.incarnation, "branch")?,
            head: wire::commit_id(&row.head)?,
            current: wire::layer_id(&row.current)?,
            gate: wire::id16(&row.gate, "gate")?,
            sealed,
            reset_count: row.reset_count,
            sequence: row.sequence,
            hidden: row.hidden,
            closing: wire::optional_id16(&row.closing, "branch")?,
        })
    }

    /// The stored form.
    pub(crate) fn encode(&self) -> Bytes {
        let branch = wire::BranchRow {
            incarnation: self.incarnation.as_bytes().to_vec(),
            head: self.head.as_bytes().to_vec(),
            current: self.current.as_bytes().to_vec(),
            gate: self.gate.as_bytes().to_vec(),
            sealed: self.sealed.iter().map(Sealed::to_row).collect(),
            reset_count: self.reset_count,
            sequence: self.sequence,
            hidden: self.hidden,
            closing: self.closing.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        };
        wire::encode(&wire::RefRow { branch: Some(branch), ..wire::RefRow::default() })
    }

    /// The tree that stands for head and oldest layer together, if there is one for this head and nothing above it
    /// wants to see the head itself.
    pub(crate) fn over(&self) -> Option<(&LayerId, NodeId)> {
        let (oldest, above) = self.sealed.split_first()?;
        let over = oldest.over.filter(|over| over.head == self.head)?;
        let masked = above.iter().any(|layer| matches!(layer.content, Content::Mask(_)));
        (!masked).then_some((&oldest.id, over.tree))
    }

    /// Removes the run `folded` of oldest sealed layers, if the sealed layers still start with exactly it.
    /// A layer folded meanwhile counts as its inputs. `None`: they do not.
    pub(crate) fn without_run(&self, run: &[Sealed]) -> Option<Vec<Sealed>> {
        let mut wanted = run
            .iter()
            .flat_map(|layer| if layer.inputs.is_empty() { vec![layer.id] } else { layer.inputs.clone() });
        let mut wanted_left: Vec<LayerId> = wanted.by_ref().collect();
        let mut taken = 0;
        for layer in &self.sealed {
            if wanted_left.is_empty() {
                break;
            }
            let before = wanted_left.len();
            let ids = if layer.inputs.is_empty() { vec![layer.id] } else { layer.inputs.clone() };
            if ids.len() > before || !wanted_left.iter().zip(&ids).all(|(want, have)| want == have) {
                return None;
            }
            wanted_left.drain(..ids.len());
            taken += 1;
        }
        if wanted_left.is_empty() { Some(self.sealed[taken..].to_vec()) } else { None }
    }

    /// What of `run` is still sealed here, in order.
    pub(crate) fn remaining_of(&self, run: &[Sealed]) -> Vec<Sealed> {
        let in_run = |layer: &&Sealed| {
            run.iter().any(|old| layer.stands_for(&old.id) || old.inputs.iter().any(|i| layer.stands_for(i)))
        };
        self.sealed.iter().take_while(in_run).cloned().collect()
    }
}

impl Sealed {
    fn from_row(row: &wire::SealedRow) -> Result<Self, CatalogError> {
        let content = match (&row.mask_prefix, &row.mask_path) {
            (Some(prefix), _) => Content::Mask(Mask::Prefix(prefix.clone())),
            (None, Some(path)) => Content::Mask(Mask::Path(path.clone())),
            (None, None) if row.tree.is_empty() => Content::Rows,
            (None, None) => Content::Tree(wire::node_id(&row.tree)?),
        };
        let inputs = row.inputs.iter().map(|id| wire::layer_id(id)).collect::<Result<_, _>>()?;
        let over = match row.over_head.as_slice() {
            [] => None,
            head => Some(Over { head: wire::commit_id(head)?, tree: wire::node_id(&row.over_tree)? }),
        };
        Ok(Self { id: wire::layer_id(&row.id)?, content, inputs, over })
    }

    fn to_row(&self) -> wire::SealedRow {
        let mut row = wire::SealedRow {
            id: self.id.as_bytes().to_vec(),
            inputs: self.inputs.iter().map(|id| id.as_bytes().to_vec()).collect(),
            ..wire::SealedRow::default()
        };
        if let Some(over) = &self.over {
            row.over_head = over.head.as_bytes().to_vec();
            row.over_tree = over.tree.as_bytes().to_vec();
        }
        match &self.content {
            Content::Rows => {}
            Content::Tree(root) => row.tree = root.as_bytes().to_vec(),
            Content::Mask(Mask::Prefix(prefix)) => row.mask_prefix = Some(prefix.clone()),
            Content::Mask(Mask::Path(path)) => row.mask_path = Some(path.clone()),
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lakebed_core::SeededEntropy;

    fn state(sealed: Vec<Sealed>) -> BranchState {
        let entropy = SeededEntropy::new(9);
        BranchState {
            key: Bytes::new(),
            version: Version(1),
            incarnation: Incarnation::random(&entropy),
            head: CommitId::digest(b"h"),
            current: LayerId::random(&entropy),
            gate: Incarnation::random(&entropy),
            sealed,
            reset_count: 0,
            sequence: 0,
            hidden: false,
            closing: None,
        }
    }

    #[test]
    fn a_folded_layer_counts_as_its_inputs() {
        let entropy = SeededEntropy::new(3);
        let layers: Vec<Sealed> = (0..4).map(|_| Sealed::rows(LayerId::random(&entropy))).collect();
        let folded = Sealed {
            id: LayerId::random(&entropy),
            content: Content::Rows,
            inputs: vec![layers[0].id, layers[1].id],
            over: None,
        };
        let now = state(vec![folded.clone(), layers[2].clone(), layers[3].clone()]);
        assert_eq!(now.without_run(&layers[..3]).unwrap(), layers[3..]);
        assert_eq!(now.without_run(&layers[..1]), None, "half of a folded layer cannot leave");
        assert_eq!(now.without_run(&[]).unwrap(), now.sealed);
        assert_eq!(now.remaining_of(&layers[..3]), [folded, layers[2].clone()]);
        assert_eq!(state(vec![layers[1].clone()]).without_run(&layers[..2]), None);
    }

    #[test]
    fn a_tree_over_the_head_counts_at_that_head_and_under_no_mask() {
        let entropy = SeededEntropy::new(5);
        let head = CommitId::digest(b"h");
        let over = Some(Over { head, tree: NodeId::digest(b"o") });
        let oldest = Sealed { over, ..Sealed::rows(LayerId::random(&entropy)) };
        let above = Sealed::rows(LayerId::random(&entropy));
        let mask = Sealed { content: Content::Mask(Mask::Path("a".into())), ..above.clone() };
        let of = |sealed: &[&Sealed]| state(sealed.iter().map(|&layer| layer.clone()).collect());
        assert_eq!(of(&[&oldest, &above]).over(), Some((&oldest.id, NodeId::digest(b"o"))));
        assert_eq!(of(&[&oldest, &above, &mask]).over(), None);
        assert_eq!(of(&[&above]).over(), None);
        assert_eq!(of(&[]).over(), None);
        let moved = BranchState { head: CommitId::digest(b"other"), ..of(&[&oldest]) };
        assert_eq!(moved.over(), None);
    }

    #[test]
    fn records_round_trip() {
        let entropy = SeededEntropy::new(4);
        let mut all = state(vec![
            Sealed::rows(LayerId::random(&entropy)),
            Sealed {
                id: LayerId::random(&entropy),
                content: Content::Mask(Mask::Prefix(String::new())),
                inputs: vec![],
                over: None,
            },
            Sealed {
                id: LayerId::random(&entropy),
                content: Content::Mask(Mask::Path("a/b".into())),
                inputs: vec![],
                over: None,
            },
            Sealed {
                id: LayerId::random(&entropy),
                content: Content::Tree(NodeId::digest(b"t")),
                inputs: vec![LayerId::random(&entropy)],
                over: Some(Over { head: CommitId::digest(b"h"), tree: NodeId::digest(b"o") }),
            },
        ]);
        all.hidden = true;
        all.closing = Some(all.incarnation);
        let row: wire::RefRow = wire::decode(&all.encode(), "ref").unwrap();
        let back = BranchState::from_row(&row.branch.unwrap(), Bytes::new(), Version(1)).unwrap();
        assert_eq!((back.sealed, back.hidden, back.head), (all.sealed, true, all.head));
        assert_eq!(back.closing, all.closing);
    }
}
