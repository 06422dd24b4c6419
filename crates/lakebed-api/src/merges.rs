//! Merge and merge base.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Metadata, nullable};

/// A merge to be; every field is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Merge {
    /// Message; empty = `Merge '<source>' into '<destination>'`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Metadata.
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// `source-wins`, `dest-wins`, or empty.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub strategy: String,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
    /// Commit even when the source brings nothing.
    #[serde(default, deserialize_with = "nullable")]
    pub allow_empty: bool,
    /// One parent only.
    #[serde(default, deserialize_with = "nullable")]
    pub squash_merge: bool,
}

/// What a merge made; on a conflict the reference is empty and there is a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergeResult {
    /// The merge commit.
    pub reference: String,
    /// What changed: only for clients of the time when this was part of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<MergeSummary>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Paths a merge changed on its destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergeSummary {
    /// New.
    pub added: u64,
    /// Different.
    pub changed: u64,
    /// In conflict.
    pub conflict: u64,
    /// Gone.
    pub removed: u64,
}

/// A merge base. The names are swapped on the wire: `source_commit_id` is the *destination*'s commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindMergeBaseResult {
    /// The best common ancestor; empty if there is none.
    pub base_commit_id: String,
    /// The commit of the path's source ref.
    pub destination_commit_id: String,
    /// The commit of the path's destination.
    pub source_commit_id: String,
}
