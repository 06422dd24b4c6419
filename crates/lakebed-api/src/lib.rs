//! The wire types of the REST API, shared by server and client: one definition of the wire.
//!
//! Every type is a schema of the API description with the same name. What is required there is a plain field here and
//! its absence (or `null`) is refused; what is optional is an `Option` or has its documented default, and `null` counts
//! as absent. Unknown fields are ignored. Times are Unix seconds unless the field is a date-time text.
//!
//! ```
//! let new: lakebed_api::BranchCreation = serde_json::from_str(r#"{"name":"dev","source":"main","force":null}"#).unwrap();
//! assert!(!new.force);
//! assert!(serde_json::from_str::<lakebed_api::BranchCreation>(r#"{"name":"dev"}"#).is_err());
//! ```

mod actions;
mod auth;
mod branches;
mod commits;
mod config;
mod diffs;
mod iceberg;
mod merges;
mod objects;
mod objects_only;
mod pages;
mod pulls;
mod repositories;
mod settings;
mod staging;
mod statistics;
mod tasks;

pub use actions::{ActionRun, HookRun, RunStatus};
pub use auth::{
    AccessKeyCredentials, Acl, AuthCapabilities, AuthenticationToken, CommPrefsInput, Credentials,
    CredentialsWithSecret, CurrentUser, Effect, ErrorNoAcl, ExternalLoginInformation, ExternalPrincipal,
    ExternalPrincipalCreation, Group, GroupCreation, LoginConfig, LoginInformation, Policy, Setup,
    SetupState, Statement, StsAuthRequest, User, UserCreation,
};
pub use branches::{BranchCreation, Ref, ResetCreation, ResetType, TagCreation};
pub use commits::{
    CherryPickCreation, Commit, CommitCreation, CommitOverrides, CommitRecordCreation, RevertCreation,
};
pub use config::{
    CapabilitiesConfig, Config, CustomViewer, GarbageCollectionConfig, License, StorageConfig, UiConfig,
    VersionConfig,
};
pub use diffs::{Diff, DiffObjectStat, DiffType, PathType};
pub use iceberg::{IcebergLocalTable, IcebergPullRequest, IcebergPushRequest, IcebergRemoteTable};
pub use merges::{
    ConflictSide, FindMergeBaseResult, Merge, MergeConflict, MergeConflictList, MergeResolution, MergeResult,
    MergeSide, MergeSummary, ResolvedObject,
};
pub use objects::{
    ObjectCopyCreation, ObjectError, ObjectErrorList, ObjectStageCreation, ObjectStats, PathList, StorageUri,
    UnderlyingObjectProperties, UpdateObjectUserMetadata,
};
pub use pages::{Error, List, MAX_PER_PAGE, Pagination};
pub use pulls::{
    PullRequest, PullRequestBasic, PullRequestCreation, PullRequestCreationResponse, PullRequestStatus,
};
pub use repositories::{
    ImportCreation, ImportLocation, ImportLocationType, RefsRestore, Repository, RepositoryCreation,
    RepositoryMetadataKeys, RepositoryMetadataSet,
};
pub use settings::{BranchProtectionRule, GarbageCollectionRule, GarbageCollectionRules};
pub use staging::{
    AbortPresignMultipartUpload, CompletePresignMultipartUpload, CopyPartSource, PresignMultipartUpload,
    StagingLocation, StagingMetadata, UploadPart, UploadPartCopyFrom, UploadPartFrom, UploadTo,
};
pub use statistics::{InstallationUsageReport, StatsEvent, StatsEventsList, UsageReport};
pub use tasks::{
    AsyncTaskStatus, GarbageCollectionPrepareResponse, ImportStatus, PrepareGCUncommittedRequest,
    PrepareGCUncommittedResponse, RefsDump, RepositoryDumpStatus, RepositoryRestoreStatus, TaskInfo,
};

/// String to string, sorted, as user metadata and commit metadata travel.
pub type Metadata = std::collections::BTreeMap<String, String>;

/// Reads an optional field whose `null` means the same as its absence.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
