//! What the server tells its clients about itself.

use std::time::Duration;

use lakebed_api::{StorageConfig, VersionConfig};
use lakebed_blocks::StoreInfo;
use lakebed_catalog::Repository;

/// A block store as clients need to know it.
#[derive(Clone, Debug)]
pub struct ShownStore {
    /// What `GET /config` says of it.
    pub storage: StorageConfig,
    /// How long presigned URLs of it hold.
    pub presign_life: Duration,
}

impl ShownStore {
    /// What follows from a store; presigning for user interfaces follows what the store can do.
    pub fn of(info: &StoreInfo) -> Self {
        let (example, pattern) = match info.kind {
            "azure" => (
                "https://mystorageaccount.blob.core.windows.net/container/".to_owned(),
                "^https?://".to_owned(),
            ),
            _ => (format!("{}://example-bucket/", info.scheme), format!("^{}://", info.scheme)),
        };
        let default_prefix = matches!(info.kind, "local" | "mem").then(|| format!("{}://", info.scheme));
        Self {
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
        }
    }
}

/// The configuration the REST door shows and follows.
#[derive(Clone, Debug)]
pub struct RestConfig {
    /// The version of the API as clients compare it, e.g. `1.84.0`.
    pub version: String,
    /// The family of servers the version counts in. Clients look for `lakeFS`.
    pub version_context: String,
    /// The block store, or the one of several that repositories without a storage id are in.
    pub store: ShownStore,
    /// All block stores, when there are several.
    pub several: Vec<ShownStore>,
    /// How long a collector must leave an uncommitted object alone, in seconds.
    pub gc_grace_period_secs: u32,
}

impl RestConfig {
    /// A server with this store.
    pub fn for_store(info: &StoreInfo, version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            version_context: "lakeFS".to_owned(),
            store: ShownStore::of(info),
            several: Vec::new(),
            gc_grace_period_secs: 24 * 3600,
        }
    }

    /// The store of a repository. Those of a store that is not here are found by nobody.
    pub(crate) fn store_of(&self, repository: &Repository) -> &ShownStore {
        let id = repository.storage_namespace.store();
        let named = self.several.iter().find(|store| store.storage.blockstore_id == id.as_str());
        named.unwrap_or(&self.store)
    }

    pub(crate) fn version_config(&self) -> VersionConfig {
        VersionConfig {
            version: self.version.clone(),
            version_context: self.version_context.clone(),
            ..VersionConfig::default()
        }
    }
}
