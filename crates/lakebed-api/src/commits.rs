//! Commits, revert, cherry-pick.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects_only::optional_object;
use crate::{Metadata, nullable};

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// Who made it.
    pub committer: String,
    /// When, Unix seconds.
    pub creation_date: i64,
    /// 1 + the greatest of the parents'.
    #[serde(default)]
    pub generation: u64,
    /// 64 hex digits.
    pub id: String,
    /// Message.
    pub message: String,
    /// The tree; empty for a root commit.
    pub meta_range_id: String,
    /// Metadata.
    #[serde(default)]
    pub metadata: Metadata,
    /// `[]`, `[head]` or `[destination, source]`.
    pub parents: Vec<String>,
    /// 0 or 1.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub version: u32,
}

/// A commit to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitCreation {
    /// Message; may be empty, must be given.
    pub message: String,
    /// Metadata.
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// Overrides the creation date, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<i64>,
    /// Commit even when nothing changed.
    #[serde(default, deserialize_with = "nullable")]
    pub allow_empty: bool,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
}

/// A commit record as another server made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitRecordCreation {
    /// Its id.
    pub commit_id: String,
    /// 0 or 1.
    #[schemars(range(min = 0, max = 1))]
    pub version: i64,
    /// Who made it.
    pub committer: String,
    /// Message.
    pub message: String,
    /// Its tree.
    pub metarange_id: String,
    /// When, Unix seconds.
    pub creation_date: i64,
    /// Its parents; they need not exist.
    pub parents: Vec<String>,
    /// Metadata.
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// Its generation.
    #[schemars(range(min = 0))]
    pub generation: i64,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
}

/// What replaces the defaults of a revert or cherry-pick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitOverrides {
    /// Message; empty = the default.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The whole metadata map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// A revert to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevertCreation {
    /// The commit to undo.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Replaces the defaults.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub commit_overrides: Option<CommitOverrides>,
    /// 0, or the 1-based parent of a merge commit.
    pub parent_number: i64,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
    /// Commit even when nothing changes.
    #[serde(default, deserialize_with = "nullable")]
    pub allow_empty: bool,
}

/// A cherry-pick to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CherryPickCreation {
    /// The commit to apply.
    #[serde(rename = "ref")]
    pub reference: String,
    /// 1-based parent of a merge commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_number: Option<i64>,
    /// Replaces the defaults.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub commit_overrides: Option<CommitOverrides>,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
}
