//! Objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Metadata, PathType, nullable};

/// What is known of an object, or a folded prefix of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectStats {
    /// ETag without quotes; empty for prefixes.
    pub checksum: String,
    /// Content type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// User metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Unix seconds; 0 for prefixes.
    pub mtime: i64,
    /// Path or prefix.
    pub path: String,
    /// Which of the two.
    pub path_type: PathType,
    /// Where the bytes are, or a presigned URL; empty for prefixes.
    pub physical_address: String,
    /// When the presigned URL ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_address_expiry: Option<i64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// Paths of a bulk delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathList {
    /// At most 1000.
    #[schemars(length(max = 1000))]
    pub paths: Vec<String>,
}

/// One path that could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectError {
    /// Why.
    pub message: String,
    /// Which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The status a single delete would have had.
    pub status_code: u16,
}

/// What a bulk delete could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectErrorList {
    /// One for each path that failed.
    pub errors: Vec<ObjectError>,
}

/// A copy to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectCopyCreation {
    /// The source's path.
    pub src_path: String,
    /// The source's ref; empty = the destination branch.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub src_ref: String,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
    /// Share the bytes.
    #[serde(default, deserialize_with = "nullable")]
    pub shallow: bool,
}

/// An object whose bytes are at a known address (deprecated form of linking).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectStageCreation {
    /// Where the bytes are.
    pub physical_address: String,
    /// ETag, kept as sent.
    pub checksum: String,
    /// Bytes.
    pub size_bytes: i64,
    /// Unix seconds; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<i64>,
    /// User metadata.
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// Content type.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
}

/// User metadata that replaces an object's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpdateObjectUserMetadata {
    /// The whole new map.
    pub set: Metadata,
}

/// What the block store says of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnderlyingObjectProperties {
    /// Its storage class, `null` if the store has none.
    #[schemars(extend("x-nullable" = true))]
    pub storage_class: Option<String>,
}

/// A place in the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StorageURI")]
pub struct StorageUri {
    /// The place.
    pub location: String,
}
