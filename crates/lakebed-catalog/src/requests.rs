//! What the edges ask for and get: typed requests, pages and tickets.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lakebed_blocks::BlockAddress;
use lakebed_core::{BranchId, Incarnation, ObjectPath, RefExpr, RepositoryId, Timestamp};

use crate::staging::Writable;
use crate::{Entry, EntryBytes, PullStatus, Repository};

/// A page of something ordered by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Only ids that start with this.
    pub prefix: String,
    /// Only ids greater than this (exclusive); need not exist.
    pub after: String,
    /// At most this many, 1 to 1000.
    pub amount: usize,
}

/// A page. `next_offset` is the last item's id when there is more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether more follow.
    pub has_more: bool,
    /// Pass as `after` to go on; empty when `has_more` is false.
    pub next_offset: String,
}

/// A repository to be.
#[derive(Clone, Debug)]
pub struct NewRepository {
    /// Its name.
    pub id: RepositoryId,
    /// `scheme://bucket/prefix`; a trailing slash is insignificant.
    pub storage_namespace: String,
    /// The store it is in, of several; empty: the one for repositories that name none.
    pub storage_id: String,
    /// Its default branch; `main` when `None`.
    pub default_branch: Option<String>,
    /// No root commit, no branch.
    pub bare: bool,
    /// Refuses all writes unless forced.
    pub read_only: bool,
}

/// A branch to be.
#[derive(Clone, Debug)]
pub struct BranchCreation {
    /// Its name.
    pub name: BranchId,
    /// Where it starts.
    pub source: RefExpr,
    /// Left out of lists unless asked for.
    pub hidden: bool,
    /// Write although the repository is read-only.
    pub force: bool,
}

/// What must hold of the path in the branch's working state for a write to happen. Atomic with the write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Anything.
    #[default]
    None,
    /// No object there (`If-None-Match: *`).
    Absent,
    /// An object with this checksum, unquoted (`If-Match`).
    Matches(String),
    /// Any object (`If-Match: *`).
    Exists,
    /// No object with this checksum (`If-None-Match: <etag>`).
    Differs(String),
    /// An object of this many bytes.
    Size(u64),
    /// An object modified in this second (Unix time).
    ModifiedAt(i64),
    /// All of these.
    All(Vec<Precondition>),
    /// At least one of these.
    Any(Vec<Precondition>),
}

/// Permission to write one object, from [`crate::Catalog::begin_write`].
#[derive(Clone, Debug)]
pub struct WriteTicket {
    /// The repository.
    pub repository: RepositoryId,
    /// Its incarnation when the ticket was given.
    pub incarnation: Incarnation,
    /// The branch.
    pub branch: BranchId,
    /// Its incarnation when the ticket was given.
    pub branch_incarnation: Incarnation,
    /// The path.
    pub path: ObjectPath,
    /// Where the bytes go: a fresh address in the namespace.
    pub address: BlockAddress,
    /// The address as entries keep it, relative to the namespace.
    pub relative_address: String,
    /// What must hold when it is linked.
    pub precondition: Precondition,
    /// Write although the repository is read-only.
    pub force: bool,
    /// What was read for it.
    pub(crate) begun: Writable,
}

impl WriteTicket {
    /// The repository as it was when the ticket was given.
    pub fn record(&self) -> &Arc<Repository> {
        &self.begun.repository
    }
}

/// Bytes that are durable but belong to no path yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBody {
    /// Bytes.
    pub size: u64,
    /// MD5, lower-case hex.
    pub md5: String,
}

/// What an object will say of itself, apart from address and time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryDraft {
    /// Bytes.
    pub size: u64,
    /// ETag without quotes.
    pub checksum: String,
    /// Content type; empty = `application/octet-stream` when read.
    pub content_type: String,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// What else an edge keeps with the object: `cache-control`, `content-encoding`, `x-amz-checksum-crc32` ...
    pub headers: BTreeMap<String, String>,
    /// Modification time; now when `None`.
    pub mtime: Option<Timestamp>,
}

/// A copy of one object. The source must be in the same or another repository of this catalog.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// Where from.
    pub source_repository: RepositoryId,
    /// Which state.
    pub source_ref: RefExpr,
    /// Which object.
    pub source_path: ObjectPath,
    /// Where to.
    pub repository: RepositoryId,
    /// Branch written.
    pub branch: BranchId,
    /// Path written.
    pub path: ObjectPath,
    /// The copy shares the source's bytes instead of getting its own, within a repository.
    pub shallow: bool,
    /// What must hold of the destination.
    pub precondition: Precondition,
    /// Write although the repository is read-only.
    pub force: bool,
}

/// A page of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Plain string prefix.
    pub prefix: String,
    /// Exclusive lower bound: a path or a common prefix (then everything under it is skipped).
    pub after: String,
    /// Folds keys sharing the text up to it, after the prefix; empty = no folding.
    pub delimiter: String,
    /// At most this many objects and prefixes together, 0 to 1000.
    pub amount: usize,
}

/// One line of an object listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedObject {
    /// An object.
    Object {
        /// Its path.
        path: String,
        /// Its entry, not decoded yet.
        entry: EntryBytes,
    },
    /// Everything that starts with this, folded; ends with the delimiter.
    Prefix(String),
}

/// How a commit is made.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// Message; may be empty.
    pub message: String,
    /// Who commits.
    pub committer: String,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Overrides the creation date (Unix seconds).
    pub date: Option<i64>,
    /// Make a commit even when nothing changed.
    pub allow_empty: bool,
    /// Take the content of this tree instead of what is staged; the branch must be clean.
    pub source_metarange: Option<String>,
    /// Write although the repository is read-only.
    pub force: bool,
    /// Happen once, however often it is sent.
    pub once: Option<Once>,
}

/// How conflicts are resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeStrategy {
    /// They fail the merge.
    #[default]
    None,
    /// The source's state is taken.
    SourceWins,
    /// The destination's state is kept.
    DestinationWins,
}

/// How a merge is made.
#[derive(Clone, Debug, Default)]
pub struct MergeRequest {
    /// Message; empty = `Merge '<source>' into '<destination>'`.
    pub message: String,
    /// Who merges.
    pub committer: String,
    /// Metadata; the strategy is added under `.lakefs.merge.strategy`.
    pub metadata: BTreeMap<String, String>,
    /// What to do with conflicts.
    pub strategy: MergeStrategy,
    /// What to do with the conflict at a path, whatever the strategy says. Each must meet a conflict.
    pub resolutions: BTreeMap<ObjectPath, ConflictResolution>,
    /// One parent only.
    pub squash: bool,
    /// Make a commit even when the source brings nothing.
    pub allow_empty: bool,
    /// Write although the repository is read-only.
    pub force: bool,
    /// Happen once, however often it is sent.
    pub once: Option<Once>,
}

/// How one conflict ends (ours, no other server has it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictResolution {
    /// The source's object, or none if the source has none.
    Source,
    /// The destination's.
    Destination,
    /// The merge base's: neither side's change.
    Base,
    /// An object made for the purpose: its address as it was issued, or outside the namespace.
    Object {
        /// Where its bytes are.
        address: String,
        /// What it says of itself.
        draft: EntryDraft,
    },
}

/// A path at which a merge would stop, with all three sides. A side without an object there is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeConflict {
    /// The path.
    pub path: String,
    /// What both sides come from.
    pub base: Option<EntryBytes>,
    /// What would be merged.
    pub source: Option<EntryBytes>,
    /// What it would be merged into.
    pub destination: Option<EntryBytes>,
}

/// How a revert is made.
#[derive(Clone, Debug)]
pub struct RevertRequest {
    /// The commit to undo.
    pub commit: RefExpr,
    /// 0 for a plain commit, 1-based for a merge.
    pub parent_number: i64,
    /// Who reverts.
    pub committer: String,
    /// Overrides the message; empty = default.
    pub message: String,
    /// Overrides the metadata.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Make a commit even when nothing changes.
    pub allow_empty: bool,
    /// Write although the repository is read-only.
    pub force: bool,
    /// Happen once, however often it is sent.
    pub once: Option<Once>,
}

/// How a cherry-pick is made.
#[derive(Clone, Debug)]
pub struct PickRequest {
    /// The commit to apply.
    pub commit: RefExpr,
    /// 1-based parent of a merge commit.
    pub parent_number: Option<i64>,
    /// Who picks.
    pub committer: String,
    /// Overrides the message; empty = the picked commit's.
    pub message: String,
    /// Overrides the metadata.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Write although the repository is read-only.
    pub force: bool,
    /// Happen once, however often it is sent.
    pub once: Option<Once>,
}

/// Where an import takes objects from, and where it puts them. Addresses are full ones of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportSource {
    /// Every object whose address starts so.
    Prefix {
        /// A plain prefix, `scheme://...`.
        address: String,
        /// What takes the prefix's place in the paths; everything under it that the source does not have goes.
        under: String,
    },
    /// One object.
    Object {
        /// Its address.
        address: String,
        /// Its path.
        path: String,
    },
}

/// An import to be.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// The sources; of one path the later counts.
    pub sources: Vec<ImportSource>,
    /// Message of the commit; empty = `Import objects`.
    pub message: String,
    /// Who imports.
    pub committer: String,
    /// Metadata; the strategy is added under `.lakefs.merge.strategy`.
    pub metadata: BTreeMap<String, String>,
    /// Write although the repository is read-only.
    pub force: bool,
}

/// What a reset drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetTarget {
    /// Every uncommitted change.
    All,
    /// Those under a prefix.
    Prefix(String),
    /// The one at a path.
    Object(ObjectPath),
}

/// A page of the log.
#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    /// Continue behind this commit (a ref expression); empty = from the start.
    pub after: String,
    /// At most this many commits.
    pub amount: usize,
    /// Only commits that changed one of these paths.
    pub objects: Vec<String>,
    /// Only commits that changed a path under one of these prefixes.
    pub prefixes: Vec<String>,
    /// Follow first parents only.
    pub first_parent: bool,
    /// Stop at the first commit older than this.
    pub since: Option<Timestamp>,
    /// Stop at this commit, included.
    pub stop_at: Option<RefExpr>,
    /// Do not look whether more follow.
    pub limit: bool,
}

/// Which comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiffMode {
    /// Left against right.
    TwoDot,
    /// What right changed since the merge base.
    #[default]
    ThreeDot,
}

/// A page of a diff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffRequest {
    /// Plain string prefix.
    pub prefix: String,
    /// Exclusive lower bound: a path or a common prefix.
    pub after: String,
    /// Folds paths; empty = no folding.
    pub delimiter: String,
    /// At most this many.
    pub amount: usize,
}

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffKind {
    /// Only right has it.
    Added,
    /// Only left has it.
    Removed,
    /// Both have it, differently.
    Changed,
    /// Both changed it, differently, since the base.
    Conflict,
    /// A folded prefix with changes.
    PrefixChanged,
}

/// One line of a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffEntry {
    /// The path, or a folded prefix.
    pub path: String,
    /// How it differs.
    pub kind: DiffKind,
    /// The right side's entry; of a removed path the entry that was removed; `None` for prefixes.
    pub entry: Option<EntryBytes>,
}

/// Names a multipart upload as clients do: an id counts only for the object it was begun for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadTarget {
    /// The repository.
    pub repository: RepositoryId,
    /// The branch it will be linked on.
    pub branch: BranchId,
    /// The path it will be linked at.
    pub path: ObjectPath,
    /// Its id.
    pub id: String,
}

/// A page of open multipart uploads, in order of `<branch>/<path>`, then of the time they were begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadsRequest {
    /// Only those whose `<branch>/<path>` starts with this.
    pub prefix: String,
    /// Only those behind this `<branch>/<path>`.
    pub after: String,
    /// Those of `after` itself that were begun behind the upload of this id count, too.
    pub after_id: Option<String>,
    /// At most this many.
    pub amount: usize,
}

/// Makes a request that moves a head happen once, however often it is sent within a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Digest of the client's key and of who it is: one client's keys mean nothing to another.
    pub key: [u8; 32],
    /// Digest of the request; the same key with another request is refused.
    pub request: [u8; 32],
}

/// A pull request to be.
#[derive(Clone, Debug)]
pub struct NewPullRequest {
    /// Title; may be empty.
    pub title: String,
    /// Description; may be empty.
    pub description: String,
    /// Who makes it.
    pub author: String,
    /// Branch merged from.
    pub source: BranchId,
    /// Branch merged into.
    pub destination: BranchId,
}

/// What changes in a pull request; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct PullRequestChange {
    /// New status.
    pub status: Option<PullStatus>,
    /// New title.
    pub title: Option<String>,
    /// New description.
    pub description: Option<String>,
}

/// Which pull requests a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullFilter {
    /// Every one.
    #[default]
    All,
    /// Open ones.
    Open,
    /// Closed and merged ones.
    Closed,
}

/// A part named by the client when it completes a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// 1 to 10,000.
    pub number: u32,
    /// ETag as given, unquoted.
    pub etag: String,
}

/// What makes a multipart upload an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The parts, in ascending order; at least one.
    pub parts: Vec<CompletedPart>,
    /// The fewest bytes of a part that is not the last.
    pub least_part_bytes: u64,
    /// What must hold of the path.
    pub precondition: Precondition,
}

impl Entry {
    /// The draft that would make this entry again.
    pub fn to_draft(&self) -> EntryDraft {
        EntryDraft {
            size: self.size,
            checksum: self.checksum.clone(),
            content_type: self.content_type.clone(),
            metadata: self.metadata.clone(),
            headers: self.headers.clone(),
            mtime: None,
        }
    }
}

/// Raw bytes used as key-value keys and values.
pub(crate) type Raw = Bytes;
