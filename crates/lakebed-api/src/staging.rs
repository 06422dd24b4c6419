//! Client-side upload: addresses, links, presigned multipart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objects_only::{object, objects};
use crate::{Metadata, nullable};

/// Where a client may write an object's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StagingLocation {
    /// The address, signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_address: Option<String>,
    /// A URL to PUT to, `null` without presigning.
    #[schemars(extend("x-nullable" = true))]
    #[serde(default)]
    pub presigned_url: Option<String>,
    /// When the URL ends, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presigned_url_expiry: Option<i64>,
    /// Always empty: clients before 1.0 refuse an answer without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// An object whose bytes the client has written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StagingMetadata {
    /// Where.
    #[serde(deserialize_with = "object")]
    pub staging: StagingLocation,
    /// ETag; quotes and blanks around it are dropped.
    pub checksum: String,
    /// Bytes.
    pub size_bytes: i64,
    /// User metadata.
    #[serde(default, deserialize_with = "nullable")]
    pub user_metadata: Metadata,
    /// Content type.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// Unix seconds; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<i64>,
    /// Write although the repository is read-only.
    #[serde(default, deserialize_with = "nullable")]
    pub force: bool,
}

/// A part that was uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadPart {
    /// 1 to 10,000.
    #[schemars(range(min = 1, max = 10_000))]
    pub part_number: i64,
    /// The store's ETag.
    pub etag: String,
}

/// A presigned multipart upload that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresignMultipartUpload {
    /// The store's name of it.
    pub upload_id: String,
    /// Its address, signed.
    pub physical_address: String,
    /// A URL for each part that was asked for, from the first on.
    #[serde(default)]
    pub presigned_urls: Vec<String>,
}

/// Where a part goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadTo {
    /// A URL to PUT to.
    pub presigned_url: String,
}

/// Which upload a part belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadPartFrom {
    /// The upload's address.
    pub physical_address: String,
}

/// An object part to copy from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopyPartSource {
    /// Its repository.
    pub repository: String,
    /// Its ref.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its path.
    pub path: String,
    /// `bytes=a-b`.
    #[schemars(regex(pattern = r"^bytes=((\d*-\d*,? ?)+)$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
}

/// A part copied from an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadPartCopyFrom {
    /// The upload's address.
    pub physical_address: String,
    /// What to copy.
    #[serde(deserialize_with = "object")]
    pub copy_source: CopyPartSource,
}

/// The end of a presigned multipart upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompletePresignMultipartUpload {
    /// The upload's address.
    pub physical_address: String,
    /// Its parts in order.
    #[serde(deserialize_with = "objects")]
    pub parts: Vec<UploadPart>,
    /// User metadata.
    #[serde(default, deserialize_with = "nullable")]
    pub user_metadata: Metadata,
    /// Content type.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub content_type: String,
}

/// The abandonment of a presigned multipart upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AbortPresignMultipartUpload {
    /// The upload's address.
    pub physical_address: String,
}
