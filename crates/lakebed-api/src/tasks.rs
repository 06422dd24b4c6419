//! Long operations: how they are named while they run, and what they say of themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Commit, Error};

/// A task that was begun. (`TaskInfo`, `TaskCreation` and `ImportCreationResponse` of the description.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskInfo {
    /// Its id.
    pub id: String,
}

/// A commit, merge or preparation in the background; `T` is what it makes. (`CommitAsyncStatus`, `MergeAsyncStatus` and
/// `PrepareGarbageCollectionCommitsStatus` of the description.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}AsyncStatus")]
pub struct AsyncTaskStatus<T> {
    /// Its id.
    pub task_id: String,
    /// Whether it has ended, well or badly.
    pub completed: bool,
    /// Its last sign of life, a date-time.
    #[schemars(extend("format" = "date-time"))]
    pub update_time: String,
    /// What it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<T>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// The status the operation would have answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
}

/// The trees of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefsDump {
    /// Branches.
    pub branches_meta_range_id: String,
    /// Commits.
    pub commits_meta_range_id: String,
    /// Tags.
    pub tags_meta_range_id: String,
}

/// A dump.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryDumpStatus {
    /// Its id.
    pub id: String,
    /// Whether it has ended, well or badly.
    pub done: bool,
    /// Its last sign of life, a date-time.
    #[schemars(extend("format" = "date-time"))]
    pub update_time: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refs: Option<RefsDump>,
}

/// A restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryRestoreStatus {
    /// Its id.
    pub id: String,
    /// Whether it has ended, well or badly.
    pub done: bool,
    /// Its last sign of life, a date-time.
    #[schemars(extend("format" = "date-time"))]
    pub update_time: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportStatus {
    /// Whether it has ended, well or badly.
    pub completed: bool,
    /// Its last sign of life, a date-time.
    #[schemars(extend("format" = "date-time"))]
    pub update_time: String,
    /// Objects taken so far.
    #[serde(default)]
    pub ingested_objects: u64,
    /// The tree of its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metarange_id: Option<String>,
    /// Its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// A list of the commits that a collector must keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageCollectionPrepareResponse {
    /// The run it was made for.
    pub run_id: String,
    /// The file.
    pub gc_commits_location: String,
    /// Where the run's addresses belong.
    pub gc_addresses_location: String,
    /// The file for clients without access to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_commits_presigned_url: Option<String>,
}

/// Asks for a page of uncommitted addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrepareGCUncommittedRequest {
    /// From the page before; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation_token: Option<String>,
}

/// A page of uncommitted addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrepareGCUncommittedResponse {
    /// The run it was made for.
    pub run_id: String,
    /// Where the run's files are; empty if this page has none.
    pub gc_uncommitted_location: String,
    /// Asks for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation_token: Option<String>,
}
