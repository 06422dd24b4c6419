//! Runs of actions and their hooks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// A hook refused or broke.
    Failed,
    /// Every hook agreed.
    Completed,
}

/// A run of the actions of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionRun {
    /// Its id.
    pub run_id: String,
    /// The branch it ran for.
    pub branch: String,
    /// The commit it ran for.
    pub commit_id: String,
    /// The event: `pre-commit`, `post-merge` ...
    pub event_type: String,
    /// When it began, a date-time.
    #[schemars(extend("format" = "date-time"))]
    pub start_time: String,
    /// When it ended, a date-time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub end_time: Option<String>,
    /// How it ended.
    pub status: RunStatus,
}

/// A hook's part of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookRun {
    /// Its id.
    pub hook_run_id: String,
    /// The action the hook is of.
    pub action: String,
    /// The hook.
    pub hook_id: String,
    /// When it began, a date-time.
    #[schemars(extend("format" = "date-time"))]
    pub start_time: String,
    /// When it ended, a date-time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub end_time: Option<String>,
    /// How it ended.
    pub status: RunStatus,
}
