//! What the catalog keeps and shows: repositories, branches, tags, commits, uploads.

use std::collections::BTreeMap;

use lakebed_blocks::Namespace;
use lakebed_core::{
    BranchId, CommitId, Incarnation, NodeId, ObjectName, ObjectPath, RepositoryId, TagId, Timestamp,
};

use crate::EntryDraft;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its name.
    pub id: RepositoryId,
    /// The life of its refs and commits. A restore writes another one and puts it in this one's place, at one instant.
    pub incarnation: Incarnation,
    /// This life of the name: its settings and tasks belong to it.
    pub birth: Incarnation,
    /// The incarnation that a running restore writes.
    pub restoring: Option<Incarnation>,
    /// Where its bytes are.
    pub storage_namespace: Namespace,
    /// Its default branch.
    pub default_branch: String,
    /// When it was made.
    pub created: Timestamp,
    /// Refuses writes unless forced.
    pub read_only: bool,
    /// Made without root commit and branch.
    pub bare: bool,
    /// Free key/value metadata.
    pub metadata: BTreeMap<String, String>,
    /// Whoever is about to delete it if it is empty.
    pub closing: Option<Closing>,
}

/// A repository is being looked at to be deleted if it is empty: what a branch shows does not change meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Also in the record of each branch that is closed. Never used again.
    pub id: Incarnation,
    /// When it began.
    pub since: Timestamp,
}

/// A branch as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Its name.
    pub id: BranchId,
    /// Its committed head.
    pub head: CommitId,
    /// Left out of lists unless asked for.
    pub hidden: bool,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub id: TagId,
    /// Its commit.
    pub commit: CommitId,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Digest of its canonical encoding.
    pub id: CommitId,
    /// None for the root, `[destination, source]` for a merge.
    pub parents: Vec<CommitId>,
    /// The tree; `None` only for the root commit of a new repository.
    pub tree: Option<NodeId>,
    /// Who made it.
    pub committer: String,
    /// Message.
    pub message: String,
    /// Creation date, Unix seconds; clients may set any.
    pub created_secs: i64,
    /// Milliseconds within that second, for the order of the log. Not shown and no part of the id.
    pub created_millis: u32,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// 1 + the greatest of the parents'.
    pub generation: u64,
    /// Version of the record's shape as clients see it: 1.
    pub version: u32,
}

impl Commit {
    /// The tree id as the REST API shows it: `""` for the root commit.
    pub fn meta_range_id(&self) -> String {
        self.tree.map(NodeId::to_hex).unwrap_or_default()
    }
}

/// Paths a merge changed on the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeSummary {
    /// New there.
    pub added: u64,
    /// Gone there.
    pub removed: u64,
    /// Different there.
    pub changed: u64,
    /// Conflicts resolved by the strategy.
    pub conflicts: u64,
}

/// What a merge made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeOutcome {
    /// The commit.
    pub reference: CommitId,
    /// What it changed.
    pub summary: MergeSummary,
}

/// Where a pull request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// Waiting.
    Open,
    /// Given up.
    Closed,
    /// Merged, here or elsewhere.
    Merged,
}

/// A wish to merge one branch into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its id; newer ones sort first.
    pub id: ObjectName,
    /// Where it stands.
    pub status: PullStatus,
    /// Title; may be empty.
    pub title: String,
    /// Description; may be empty.
    pub description: String,
    /// Who made it.
    pub author: String,
    /// Branch merged from.
    pub source: BranchId,
    /// Branch merged into.
    pub destination: BranchId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was closed or merged last; stays when it is opened again.
    pub closed: Option<Timestamp>,
    /// Its merge commit.
    pub merged: Option<CommitId>,
}

/// A multipart upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id: 32 hex digits.
    pub id: String,
    /// The branch it will be linked on.
    pub branch: BranchId,
    /// The path it will be linked at.
    pub path: ObjectPath,
    /// When it began.
    pub initiated: Timestamp,
    /// What the object will say of itself (size and checksum are filled in on completion).
    pub draft: EntryDraft,
    /// What the edge wants to remember of the upload, and not of the object.
    pub options: BTreeMap<String, String>,
}

/// A part that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadPart {
    /// 1 to 10,000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// MD5, hex: the part's ETag.
    pub etag: String,
    /// When it arrived.
    pub modified: Timestamp,
    /// Checksums kept by the edge, by header name.
    pub checksums: BTreeMap<String, String>,
}
