//! Merge and merge base.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects_only::{optional_object, optional_objects};
use crate::{Metadata, Pagination, nullable};

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
    /// How single conflicts end, whatever the strategy (ours). With it, even empty, a conflict's answer names the paths.
    #[serde(default, deserialize_with = "optional_objects", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-lakebed" = true))]
    pub resolutions: Option<Vec<MergeResolution>>,
}

/// How the conflict at a path ends (ours).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergeResolution {
    /// The path.
    pub path: String,
    /// What is taken.
    pub take: MergeSide,
    /// The object for [`MergeSide::Object`].
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub object: Option<ResolvedObject>,
}

/// What a resolution takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MergeSide {
    /// The source's object, or its absence.
    Source,
    /// The destination's.
    Destination,
    /// The merge base's.
    Base,
    /// An object given here.
    Object,
}

/// An object made to resolve a conflict: its bytes are written already, as for a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolvedObject {
    /// The address as it was issued, or one outside the namespace.
    pub physical_address: String,
    /// ETag; quotes and blanks around it are dropped.
    pub checksum: String,
    /// Bytes.
    pub size_bytes: i64,
    /// Content type.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// User metadata.
    #[serde(default, deserialize_with = "nullable")]
    pub user_metadata: Metadata,
}

/// A path at which a merge would stop (ours). A side is `null` if it has no object there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergeConflict {
    /// The path.
    pub path: String,
    /// What both sides come from.
    #[schemars(extend("x-nullable" = true))]
    pub base: Option<ConflictSide>,
    /// What would be merged.
    #[schemars(extend("x-nullable" = true))]
    pub source: Option<ConflictSide>,
    /// What it would be merged into.
    #[schemars(extend("x-nullable" = true))]
    pub destination: Option<ConflictSide>,
}

/// One side of a conflict (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConflictSide {
    /// Where its bytes are.
    pub physical_address: String,
    /// ETag.
    pub checksum: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Unix seconds.
    pub mtime: i64,
    /// Content type.
    pub content_type: String,
    /// User metadata.
    pub metadata: Metadata,
}

/// A page of conflicts (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergeConflictList {
    /// Where the next page begins.
    pub pagination: Pagination,
    /// Conflicts by path.
    pub results: Vec<MergeConflict>,
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
    /// The first conflicting paths, if the request had `resolutions` (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-lakebed" = true))]
    pub conflicts: Option<Vec<String>>,
    /// How many there are (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-lakebed" = true))]
    pub conflict_count: Option<u64>,
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
