//! The record of a branch, decoded (`protocol.md`, Records).

use bytes::Bytes;
use lakebed_core::{CommitId, Incarnation, LayerId, NodeId};
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
}

/// A layer that takes no more writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) id: LayerId,
    pub(crate) content: Content,
    /// The layers folded into this one: a run of these counts as the run of their inputs.
    pub(crate) inputs: Vec<LayerId>,
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
        Self { id, content: Content::Rows, inputs: Vec::new() }
    }

    /// Whether this layer is `id`, or was folded from it.
    fn stands_for(&self, id: &LayerId) -> bool {
        self.id == *id || self.inputs.contains(id)
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
        };
        wire::encode(&wire::RefRow { branch: Some(branch), tag: Vec::new() })
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
        Ok(Self { id: wire::layer_id(&row.id)?, content, inputs })
    }

    fn to_row(&self) -> wire::SealedRow {
        let mut row = wire::SealedRow {
            id: self.id.as_bytes().to_vec(),
            inputs: self.inputs.iter().map(|id| id.as_bytes().to_vec()).collect(),
            ..wire::SealedRow::default()
        };
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
        };
        let now = state(vec![folded.clone(), layers[2].clone(), layers[3].clone()]);
        assert_eq!(now.without_run(&layers[..3]).unwrap(), layers[3..]);
        assert_eq!(now.without_run(&layers[..1]), None, "half of a folded layer cannot leave");
        assert_eq!(now.without_run(&[]).unwrap(), now.sealed);
        assert_eq!(now.remaining_of(&layers[..3]), [folded, layers[2].clone()]);
        assert_eq!(state(vec![layers[1].clone()]).without_run(&layers[..2]), None);
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
            },
            Sealed {
                id: LayerId::random(&entropy),
                content: Content::Mask(Mask::Path("a/b".into())),
                inputs: vec![],
            },
            Sealed {
                id: LayerId::random(&entropy),
                content: Content::Tree(NodeId::digest(b"t")),
                inputs: vec![LayerId::random(&entropy)],
            },
        ]);
        all.hidden = true;
        let row: wire::RefRow = wire::decode(&all.encode(), "ref").unwrap();
        let back = BranchState::from_row(&row.branch.unwrap(), Bytes::new(), Version(1)).unwrap();
        assert_eq!((back.sealed, back.hidden, back.head), (all.sealed, true, all.head));
    }
}
