//! Settings of a repository: branch protection, collection rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects_only::objects;

/// A pattern whose branches are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchProtectionRule {
    /// Glob with `*` and `?`; not empty.
    #[schemars(length(min = 1))]
    pub pattern: String,
}

/// How long one branch keeps what it no longer shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageCollectionRule {
    /// The branch.
    pub branch_id: String,
    /// Days.
    pub retention_days: i64,
}

/// How long branches keep what they no longer show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageCollectionRules {
    /// One rule for each branch that differs.
    #[serde(deserialize_with = "objects")]
    pub branches: Vec<GarbageCollectionRule>,
    /// Days for all others.
    pub default_retention_days: i64,
}
