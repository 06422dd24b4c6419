//! Repositories, and what is asked of a repository as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects_only::{object, objects};
use crate::{CommitCreation, Metadata, nullable};

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    /// When it was made.
    pub creation_date: i64,
    /// Its default branch.
    pub default_branch: String,
    /// Its name.
    pub id: String,
    /// Whether it refuses writes; left out of the answer to a bare creation, as the recorded server does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// The block store it is on; empty with a single store.
    #[serde(default)]
    pub storage_id: String,
    /// Where its bytes are.
    pub storage_namespace: String,
    /// Its metadata; lists leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// A repository to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryCreation {
    /// Its name.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{2,62}$"))]
    pub name: String,
    /// The block store; empty with a single store.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub storage_id: String,
    /// Where its bytes go.
    #[schemars(regex(pattern = r"^(s3|gs|https?|mem|local|transient)://.*$"))]
    pub storage_namespace: String,
    /// Its default branch; empty = `main`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub default_branch: String,
    /// Fill it with sample data.
    #[serde(default, deserialize_with = "nullable")]
    pub sample_data: bool,
    /// Refuse writes from the start.
    #[serde(default, deserialize_with = "nullable")]
    pub read_only: bool,
}

/// Metadata to add or overwrite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryMetadataSet {
    /// Keys and values.
    pub metadata: Metadata,
}

/// Metadata keys to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryMetadataKeys {
    /// The keys; unknown ones are ignored.
    pub keys: Vec<String>,
}

/// What a restore reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefsRestore {
    /// Tree of commit records.
    pub commits_meta_range_id: String,
    /// Tree of tags.
    pub tags_meta_range_id: String,
    /// Tree of branches.
    pub branches_meta_range_id: String,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
    /// `bucket`: from what the bucket alone says, whatever the trees. Not in lakeFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// With `source`: the name the repository had, if it is not the one it has now. Not in lakeFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

/// Whether an import source is one object or everything under a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportLocationType {
    /// Every object whose key starts with the path.
    CommonPrefix,
    /// Exactly this object.
    Object,
}

/// One source of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportLocation {
    /// Prefix or object.
    #[serde(rename = "type")]
    pub kind: ImportLocationType,
    /// URI in the block store.
    pub path: String,
    /// Where in the branch.
    pub destination: String,
}

/// An import to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportCreation {
    /// The sources.
    #[serde(deserialize_with = "objects")]
    pub paths: Vec<ImportLocation>,
    /// The commit it ends with.
    #[serde(deserialize_with = "object")]
    pub commit: CommitCreation,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
}
