//! Diffs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Metadata;

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiffType {
    /// Only right has it.
    Added,
    /// Only left has it.
    Removed,
    /// Both have it, differently.
    Changed,
    /// Both changed it, differently.
    Conflict,
    /// Something under this prefix differs.
    PrefixChanged,
}

/// An object or everything that starts with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathType {
    /// A folded prefix.
    CommonPrefix,
    /// One object.
    Object,
}

/// One line of a diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// The path or prefix.
    pub path: String,
    /// Which of the two.
    pub path_type: PathType,
    /// The right side's object, on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<DiffObjectStat>,
    /// Bytes; absent for prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// How it differs.
    #[serde(rename = "type")]
    pub kind: DiffType,
}

/// The right side of a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiffObjectStat {
    /// ETag without quotes.
    pub checksum: String,
    /// Content type.
    #[schemars(required)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// User metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Unix seconds.
    pub mtime: i64,
}
