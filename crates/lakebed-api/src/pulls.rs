//! Pull requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullRequestStatus {
    /// Waiting.
    Open,
    /// Given up.
    Closed,
    /// Merged.
    Merged,
}

/// A change to a pull request: any subset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestBasic {
    /// New status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<PullRequestStatus>,
    /// New title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// New description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A pull request to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestCreation {
    /// Title; may be empty.
    pub title: String,
    /// Description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Branch merged from.
    pub source_branch: String,
    /// Branch merged into.
    pub destination_branch: String,
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequest {
    /// 20 characters.
    pub id: String,
    /// Where it stands.
    pub status: PullRequestStatus,
    /// Title; may be empty.
    pub title: String,
    /// Description; may be empty.
    pub description: String,
    /// Who made it.
    pub author: String,
    /// When it was made, a date-time.
    #[schemars(extend("format" = "date-time"))]
    pub creation_date: String,
    /// Branch merged from.
    pub source_branch: String,
    /// Branch merged into.
    pub destination_branch: String,
    /// When it was closed or merged last, a date-time; stays when it is opened again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub closed_date: Option<String>,
    /// Its merge commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_commit_id: Option<String>,
}

/// The answer to a pull request made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestCreationResponse {
    /// Its id.
    pub id: String,
}
