//! Branches and tags.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nullable;

/// A branch or tag and its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ref {
    /// The commit.
    pub commit_id: String,
    /// The name.
    pub id: String,
}

/// A branch to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchCreation {
    /// Its name.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][-A-Za-z0-9_]*$"), length(max = 4000))]
    pub name: String,
    /// Any ref; only its commit is taken.
    pub source: String,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
    /// Leave it out of lists.
    #[serde(default, deserialize_with = "nullable")]
    pub hidden: bool,
}

/// A tag to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagCreation {
    /// Its name.
    pub id: String,
    /// Any ref.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
}

/// What a reset drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetType {
    /// The change at one path.
    Object,
    /// Every change under a prefix.
    CommonPrefix,
    /// Every change.
    Reset,
}

/// A reset of uncommitted changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResetCreation {
    /// What to drop.
    #[serde(rename = "type")]
    pub kind: ResetType,
    /// The path or prefix.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
}
