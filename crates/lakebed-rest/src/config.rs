//! What the server tells its clients about itself.

use std::time::Duration;

use lakebed_api::{StorageConfig, VersionConfig};
use lakebed_blocks::StoreInfo;

/// The configuration the REST door shows and follows.
#[derive(Clone, Debug)]
pub struct RestConfig {
    /// The version of the API as clients compare it, e.g. `1.84.0`.
    pub version: String,
    /// The family of servers the version counts in. Clients look for `lakeFS`.
    pub version_context: String,
    /// The block store as clients need to know it.
    pub storage: StorageConfig,
    /// How long presigned URLs hold.
    pub presign_life: Duration,
    /// How long a collector must leave an uncommitted object alone, in seconds.
    pub gc_grace_period_secs: u32,
}

impl RestConfig {
    /// What follows from a store; presigning for user interfaces follows what the store can do.
    pub fn for_store(info: &StoreInfo, version: impl Into<String>) -> Self {
        let (example, pattern) = match info.kind {
            "azure" => (
                "https://mystorageaccount.blob.core.windows.net/container/".to_owned(),
                "^https?://".to_owned(),
            ),
            _ => (format!("{}://example-bucket/", info.scheme), format!("^{}://", info.scheme)),
        };
        let default_prefix = matches!(info.kind, "local" | "mem").then(|| format!("{}://", info.scheme));
        Self {
            version: version.into(),
            version_context: "lakeFS".to_owned(),
            storage: StorageConfig {
                blockstore_description: String::new(),
                blockstore_id: String::new(),
                import_validity_regex: pattern.clone(),
                blockstore_namespace_validity_regex: pattern,
                blockstore_namespace_example: example,
                blockstore_type: info.kind.to_owned(),
                default_namespace_prefix: default_prefix,
                import_support: info.import,
                pre_sign_multipart_upload: info.presign_multipart,
                pre_sign_support: info.presign,
                pre_sign_support_ui: info.presign,
            },
            presign_life: Duration::from_mins(15),
            gc_grace_period_secs: 24 * 3600,
        }
    }

    pub(crate) fn version_config(&self) -> VersionConfig {
        VersionConfig {
            version: self.version.clone(),
            version_context: self.version_context.clone(),
            ..VersionConfig::default()
        }
    }
}
