//! How the conflicts of one merge end: by what its request says of their paths, else by its strategy.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lakebed_tree::{Resolution, ThreeWay};

use crate::catalog::Inner;
use crate::{CatalogError, ConflictResolution, ErrorKind, MergeRequest, MergeStrategy, Repository};

/// How many conflicting paths an error names.
const CONFLICTS_NAMED: usize = 100;

/// The most paths a merge may be told about.
const MOST: usize = 1000;

/// What is taken at a path.
enum Taken {
    Source,
    Destination,
    Base,
    Entry(Bytes),
}

/// Decides each conflict of a merge, once for every time the merge is computed.
pub(crate) struct Resolutions {
    strategy: MergeStrategy,
    by_path: BTreeMap<Vec<u8>, Taken>,
    met: BTreeSet<Vec<u8>>,
    /// The first conflicts that nothing decided.
    open: Vec<String>,
}

impl Resolutions {
    /// By the strategy alone.
    pub(crate) fn by(strategy: MergeStrategy) -> Self {
        Self { strategy, by_path: BTreeMap::new(), met: BTreeSet::new(), open: Vec::new() }
    }

    /// Forgets what an earlier computation met.
    pub(crate) fn start(&mut self) {
        self.met.clear();
        self.open.clear();
    }

    pub(crate) fn decide(&mut self, path: &[u8], sides: ThreeWay<Option<&[u8]>>) -> Resolution {
        if let Some(taken) = self.by_path.get(path) {
            self.met.insert(path.to_vec());
            return match taken {
                Taken::Source => Resolution::Source,
                Taken::Destination => Resolution::Destination,
                Taken::Base => Resolution::Value(sides.base.map(Bytes::copy_from_slice)),
                Taken::Entry(entry) => Resolution::Value(Some(entry.clone())),
            };
        }
        match self.strategy {
            MergeStrategy::SourceWins => Resolution::Source,
            MergeStrategy::DestinationWins => Resolution::Destination,
            MergeStrategy::None => {
                if self.open.len() < CONFLICTS_NAMED {
                    self.open.push(String::from_utf8_lossy(path).into_owned());
                }
                Resolution::Conflict
            }
        }
    }

    /// What came of the computation: an error if conflicts stayed open, or if a path that was decided about is in no
    /// conflict. Whoever decided saw another state then, and what would be merged there is not what they chose.
    pub(crate) fn judge(&self, conflicts: u64, context: &str) -> Result<(), CatalogError> {
        if conflicts > 0 {
            return Err(CatalogError::Conflicts {
                context: context.to_owned(),
                count: conflicts,
                first: self.open.first().cloned().unwrap_or_default(),
                paths: self.open.clone(),
            });
        }
        match self.by_path.keys().find(|path| !self.met.contains(*path)) {
            Some(path) => Err(CatalogError::refused(
                ErrorKind::Invalid,
                format!(
                    "{context}: resolutions: '{}' is in no conflict (any more): look at the conflicts again and \
                     decide anew: validation error",
                    String::from_utf8_lossy(path)
                ),
            )),
            None => Ok(()),
        }
    }
}

impl Inner {
    /// What a merge's request says of its conflicts. Addresses are verified as a link's are.
    pub(crate) async fn resolutions(
        &self,
        repository: &Repository,
        request: &MergeRequest,
    ) -> Result<Resolutions, CatalogError> {
        if request.resolutions.len() > MOST {
            return Err(CatalogError::refused(
                ErrorKind::Invalid,
                format!(
                    "resolutions: {} paths, at most {MOST} are taken: use a strategy for the rest: validation error",
                    request.resolutions.len()
                ),
            ));
        }
        let mut resolutions = Resolutions::by(request.strategy);
        for (path, wanted) in &request.resolutions {
            let taken = match wanted {
                ConflictResolution::Source => Taken::Source,
                ConflictResolution::Destination => Taken::Destination,
                ConflictResolution::Base => Taken::Base,
                ConflictResolution::Object { address, draft } => {
                    let address = self.linkable(repository, address).await?;
                    let (_, entry) = self.entry(address, draft.clone(), path)?;
                    Taken::Entry(entry.as_bytes().clone())
                }
            };
            resolutions.by_path.insert(path.as_bytes().to_vec(), taken);
        }
        Ok(resolutions)
    }
}
