//! Tables of remote Iceberg catalogs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table of a remote catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IcebergRemoteTable {
    /// Its namespace, level by level.
    pub namespace: Vec<String>,
    /// Its name.
    pub table: String,
}

/// A table of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IcebergLocalTable {
    /// Its namespace, level by level.
    pub namespace: Vec<String>,
    /// Its name.
    pub table: String,
    /// The repository.
    pub repository_id: String,
    /// The ref.
    pub reference_id: String,
}

/// A table to be pushed to a remote catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IcebergPushRequest {
    /// Which table.
    pub source: IcebergLocalTable,
    /// Where to.
    pub destination: IcebergRemoteTable,
    /// Replace what is there.
    #[serde(default)]
    pub force_update: bool,
    /// Make the namespace if it is not there.
    #[serde(default)]
    pub create_namespace: bool,
}

/// A table to be pulled from a remote catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IcebergPullRequest {
    /// Which table.
    pub source: IcebergRemoteTable,
    /// Where to.
    pub destination: IcebergLocalTable,
    /// Replace what is there.
    #[serde(default)]
    pub force_update: bool,
    /// Make the namespace if it is not there.
    #[serde(default)]
    pub create_namespace: bool,
}
