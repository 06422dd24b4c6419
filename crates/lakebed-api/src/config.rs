//! What a server says of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything in one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// What optional things the server can do.
    pub capabilities_config: CapabilitiesConfig,
    /// Its block store.
    pub storage_config: StorageConfig,
    /// Its block stores, when there are several.
    #[serde(default)]
    pub storage_config_list: Vec<StorageConfig>,
    /// What the user interface should know.
    pub ui_config: UiConfig,
    /// Its version.
    pub version_config: VersionConfig,
}

/// What optional things the server can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CapabilitiesConfig {
    /// Whether commit and merge can run in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub async_ops: Option<bool>,
}

/// What the user interface should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "UIConfig")]
pub struct UiConfig {
    /// Pages that show objects of some kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_viewers: Vec<CustomViewer>,
}

/// A page that shows objects of some kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomViewer {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Of objects with these endings.
    #[serde(default)]
    pub extensions: Vec<String>,
    /// Of objects of these types.
    #[serde(default)]
    pub content_types: Vec<String>,
}

/// A server's version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionConfig {
    /// The version of the API it speaks.
    #[serde(default)]
    pub version: String,
    /// The family of servers the version counts in.
    #[serde(default)]
    pub version_context: String,
    /// The newest version there is; this server does not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_version: Option<String>,
    /// Whether one should upgrade; this server does not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_recommended: Option<bool>,
    /// Where to upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_url: Option<String>,
}

/// A block store as clients need to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StorageConfig {
    /// Text for people.
    #[serde(default)]
    pub blockstore_description: String,
    /// Its id; empty with a single store.
    #[serde(default)]
    pub blockstore_id: String,
    /// What a namespace must match.
    #[serde(rename = "blockstore_namespace_ValidityRegex")]
    pub blockstore_namespace_validity_regex: String,
    /// What a namespace looks like.
    pub blockstore_namespace_example: String,
    /// `local`, `s3`, `gs`, `azure`, `mem`.
    pub blockstore_type: String,
    /// What user interfaces offer as a start of a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_namespace_prefix: Option<String>,
    /// Whether objects can be imported without copying.
    pub import_support: bool,
    /// What an import source must match.
    pub import_validity_regex: String,
    /// Whether parts of multipart uploads can be presigned.
    #[serde(default)]
    pub pre_sign_multipart_upload: bool,
    /// Whether URLs can be presigned.
    pub pre_sign_support: bool,
    /// Whether the user interface should use them.
    pub pre_sign_support_ui: bool,
}

/// What collectors must keep their hands off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageCollectionConfig {
    /// Seconds an uncommitted object is safe after it was written.
    pub grace_period: u32,
}

/// A licence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct License {
    /// The licence, signed.
    pub token: String,
}
