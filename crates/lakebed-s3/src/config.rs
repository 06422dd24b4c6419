//! Settings of the door (`s3-gateway` §2.1).

use crate::FallbackUrl;
use crate::cors::CorsConfig;

/// How the gateway behaves. Keys are `gateways.s3.*`.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// `domain_name`: host names that are the gateway; `<bucket>.<domain>` is a bucket. Lower case, without port.
    pub domains: Vec<String>,
    /// `region`: the region we say to be in.
    pub region: String,
    /// `strict_region`: refuse requests that are signed for any other region, instead of accepting all.
    pub strict_region: bool,
    /// `verify_unsupported`: refuse sub-resources that are known but not served, instead of ignoring them.
    pub verify_unsupported: bool,
    /// `max_clock_skew`, in seconds: how far a request's date may be from ours.
    pub max_clock_skew_secs: i64,
    /// The least size of a part that is not the last, in bytes.
    pub min_part_bytes: u64,
    /// `max_put_size`, in bytes: the longest body of one PutObject, UploadPart or form.
    pub max_put_bytes: u64,
    /// `flat_mode`: a bucket is a repository's default branch, its keys are paths. For suites and tools that know
    /// buckets only.
    pub flat_mode: bool,
    /// `branch_buckets`: a bucket named `<ref>.<repository>` is that ref, its keys are paths.
    pub branch_buckets: bool,
    /// `list_branch_buckets`: ListBuckets shows them, too.
    pub list_branch_buckets: bool,
    /// `list_refs`: what the first level of a bucket shows.
    pub list_refs: ListedRefs,
    /// `strict_owner`: refuse requests that say they expect a bucket of somebody other than their sender.
    pub strict_owner: bool,
    /// `create_repository.*`: what CreateBucket makes; `None`: it makes nothing.
    pub create_repository: Option<RepositoryTemplate>,
    /// `allow_delete_repository`: DeleteBucket deletes a repository whose branches have no objects.
    pub allow_delete_repository: bool,
    /// `commit_header`: answers to reads say at which commit they read the same, also to those who do not ask.
    pub commit_header: bool,
    /// `cors.*`: which pages of other origins may read answers; `None`: none may.
    pub cors: Option<CorsConfig>,
    /// `fallback_url`: another S3 server, which is handed what is asked of buckets that are no repositories; `None`: there
    /// is none.
    pub fallback: Option<FallbackUrl>,
    /// `redirect.*`: which clients are sent to the object store for an object's bytes; by default none.
    pub redirect: RedirectConfig,
}

/// Refs that the first level of a bucket shows. Others can be named all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListedRefs {
    /// `branches`
    #[default]
    Branches,
    /// `branches+tags`
    BranchesAndTags,
}

/// What a repository made by CreateBucket is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryTemplate {
    /// `create_repository.storage_namespace_template`: where it keeps its objects; `{name}` stands for its name. If
    /// the namespace was used before, a random ending makes it a new one.
    pub storage_namespace: String,
    /// `create_repository.storage_id`: the store it is in, of several; empty: the one for repositories that name none.
    pub storage_id: String,
    /// `create_repository.default_branch`.
    pub default_branch: String,
}

/// Who follows a redirection to the object store (`s3-gateway` §15.12). Only clients that are known to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectConfig {
    /// `redirect.user_agents`: clients whose `User-Agent` contains one of these.
    pub user_agents: Vec<String>,
    /// `redirect.access_keys`: clients that sign with one of these.
    pub access_keys: Vec<String>,
    /// How long the URLs they are sent to are good.
    pub life: std::time::Duration,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            domains: vec!["s3.local.lakefs.io".to_owned()],
            region: "us-east-1".to_owned(),
            strict_region: false,
            verify_unsupported: true,
            max_clock_skew_secs: 900,
            min_part_bytes: 5 << 20,
            max_put_bytes: 5 << 30,
            flat_mode: false,
            branch_buckets: true,
            list_branch_buckets: false,
            list_refs: ListedRefs::default(),
            strict_owner: false,
            create_repository: None,
            allow_delete_repository: false,
            commit_header: false,
            cors: None,
            fallback: None,
            redirect: RedirectConfig::default(),
        }
    }
}
