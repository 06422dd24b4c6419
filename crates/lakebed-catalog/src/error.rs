//! What the catalog refuses, and why. Each edge maps [`ErrorKind`] in one place.

use lakebed_blocks::BlockError;
use lakebed_core::{NameError, PathError, RefExprError};
use lakebed_kv::KvError;
use lakebed_tree::TreeError;

/// One kind per meaning. REST statuses: `versioning-api` §18; S3 codes: `s3-gateway` §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument is malformed.
    Invalid,
    /// The repository does not exist.
    RepositoryNotFound,
    /// The branch does not exist.
    BranchNotFound,
    /// A write names a tag or commit where only a branch can be written.
    NotABranch,
    /// The tag does not exist.
    TagNotFound,
    /// The ref expression resolves to nothing.
    RefNotFound,
    /// The prefix of a commit id is that of several.
    AmbiguousRef,
    /// The object does not exist in that state.
    ObjectNotFound,
    /// The entry exists, its bytes are gone.
    ObjectGone,
    /// The multipart upload does not exist.
    UploadNotFound,
    /// Something else named does not exist (rules, tree, task).
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The namespace cannot be used.
    NamespaceRefused,
    /// The branch is protected.
    Protected,
    /// The repository is read-only.
    ReadOnly,
    /// The operation is never allowed (deleting the default branch).
    Forbidden,
    /// There is nothing to commit or merge.
    NoChanges,
    /// The branch has uncommitted changes.
    Dirty,
    /// Both sides changed the same path.
    MergeConflict,
    /// The state does not allow it (reverting a merge without a parent number).
    Conflict,
    /// An idempotency key came with another request before.
    KeyReused,
    /// `If-Match` / `If-None-Match` did not hold.
    PreconditionFailed,
    /// A part named in a completion is missing or differs.
    InvalidPart,
    /// Parts are not in ascending order.
    InvalidPartOrder,
    /// A part other than the last is too small.
    PartTooSmall,
    /// The store or server cannot do this.
    Unsupported,
    /// Too much contention; try again.
    Busy,
    /// The engine did not say whether a write happened, and it was not there when looked for.
    OutcomeUnknown,
    /// A task whose server went away, or that took too long without a sign of life.
    Expired,
    /// A task that was cancelled.
    Cancelled,
    /// The request body broke off; the source is the edge's own error.
    Body,
    /// The object store is out of reach or overloaded; try again.
    StoreUnavailable,
    /// The object store refuses what was asked, for a reason its operator can remove; the message says which.
    StoreFailed,
    /// The key-value engine is out of reach or overloaded; try again.
    EngineUnavailable,
    /// A fault of ours or of an engine below.
    Internal,
}

impl ErrorKind {
    /// Every kind.
    const ALL: [Self; 35] = [
        Self::Invalid,
        Self::RepositoryNotFound,
        Self::BranchNotFound,
        Self::NotABranch,
        Self::TagNotFound,
        Self::RefNotFound,
        Self::AmbiguousRef,
        Self::ObjectNotFound,
        Self::ObjectGone,
        Self::UploadNotFound,
        Self::NotFound,
        Self::AlreadyExists,
        Self::NamespaceRefused,
        Self::Protected,
        Self::ReadOnly,
        Self::Forbidden,
        Self::NoChanges,
        Self::Dirty,
        Self::MergeConflict,
        Self::Conflict,
        Self::KeyReused,
        Self::PreconditionFailed,
        Self::InvalidPart,
        Self::InvalidPartOrder,
        Self::PartTooSmall,
        Self::Unsupported,
        Self::Busy,
        Self::OutcomeUnknown,
        Self::Expired,
        Self::Cancelled,
        Self::Body,
        Self::StoreUnavailable,
        Self::StoreFailed,
        Self::EngineUnavailable,
        Self::Internal,
    ];

    /// The name under which a kind is stored (a failed task keeps its). Never renamed.
    pub(crate) fn stored(self) -> String {
        format!("{self:?}")
    }

    /// The kind with this stored name; one that a newer version knows is [`ErrorKind::Internal`].
    pub(crate) fn from_stored(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.stored() == name).unwrap_or(Self::Internal)
    }
}

/// Why the catalog refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A refusal with its kind and a sentence for the client.
    #[error("{message}")]
    Refused {
        /// What kind of refusal.
        kind: ErrorKind,
        /// What was wrong and what to do.
        message: String,
    },
    /// A merge, revert or cherry-pick met conflicts; nothing was changed.
    #[error("{context}: conflict found ({count} conflicting paths, first: {first})")]
    Conflicts {
        /// The operation, e.g. `update branch main`.
        context: String,
        /// How many paths conflict.
        count: u64,
        /// The first of them.
        first: String,
        /// The first conflicting paths, at most 100.
        paths: Vec<String>,
    },
    /// A part other than the last is too small for a completion; nothing was changed.
    #[error("part {number} has {size} bytes: every part but the last needs at least {least}")]
    PartTooSmall {
        /// Which part.
        number: u32,
        /// Its ETag.
        etag: String,
        /// Its bytes.
        size: u64,
        /// The fewest it could have.
        least: u64,
    },
    /// The key-value engine failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The object store failed.
    #[error(transparent)]
    Blocks(#[from] BlockError),
    /// A tree could not be read or written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A stored record does not decode.
    #[error("stored {what} is damaged or from a newer version")]
    Damaged {
        /// Which record.
        what: &'static str,
    },
    /// A stored record says more than this version understands.
    #[error("stored {what} was written by a newer version: upgrade this server; nothing was changed")]
    Newer {
        /// Which record.
        what: &'static str,
    },
}

impl CatalogError {
    /// A refusal.
    pub fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Refused { kind, message: message.into() }
    }

    /// What kind of error this is, for the edge to map.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::Conflicts { .. } => ErrorKind::MergeConflict,
            Self::PartTooSmall { .. } => ErrorKind::PartTooSmall,
            Self::Blocks(BlockError::Body(_)) => ErrorKind::Body,
            Self::Blocks(BlockError::NotFound(_)) => ErrorKind::ObjectGone,
            Self::Blocks(BlockError::OutOfRange(_)) => ErrorKind::PreconditionFailed,
            Self::Blocks(BlockError::Refused { .. }) => ErrorKind::Forbidden,
            Self::Blocks(BlockError::Unsupported(_)) => ErrorKind::Unsupported,
            Self::Blocks(BlockError::Unavailable { .. }) => ErrorKind::StoreUnavailable,
            Self::Blocks(BlockError::Io { .. }) => ErrorKind::StoreFailed,
            Self::Kv(KvError::Unavailable(_)) => ErrorKind::EngineUnavailable,
            Self::Kv(_) | Self::Blocks(_) | Self::Tree(_) | Self::Damaged { .. } | Self::Newer { .. } => {
                ErrorKind::Internal
            }
        }
    }
}

macro_rules! invalid_from {
    ($($error:ty),*) => { $(
        impl From<$error> for CatalogError {
            fn from(error: $error) -> Self { Self::refused(ErrorKind::Invalid, error.to_string()) }
        }
    )* };
}
invalid_from!(NameError, PathError, RefExprError);

#[cfg(test)]
mod tests {
    use super::ErrorKind;

    #[test]
    fn stored_names_are_read_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_stored(&kind.stored()), kind);
        }
        assert_eq!(ErrorKind::from_stored("PreconditionFailed"), ErrorKind::PreconditionFailed);
        assert_eq!(ErrorKind::from_stored("of a later version"), ErrorKind::Internal);
    }
}
