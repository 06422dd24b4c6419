//! Stored forms of the catalog's records: protobuf, with room to evolve. Fields are never renumbered.

mod convert;

use std::collections::BTreeMap;

use bytes::Bytes;
use lakebed_core::{CommitId, Incarnation, LayerId, NodeId};
use prost::Message;

use crate::CatalogError;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RepositoryRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) incarnation: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) storage_namespace: String,
    #[prost(string, tag = "3")]
    pub(crate) default_branch: String,
    #[prost(int64, tag = "4")]
    pub(crate) created_ms: i64,
    #[prost(bool, tag = "5")]
    pub(crate) read_only: bool,
    #[prost(bool, tag = "6")]
    pub(crate) bare: bool,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(crate) metadata: BTreeMap<String, String>,
    /// Its first incarnation; empty: the present one.
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) birth: Vec<u8>,
    /// The incarnation a restore is writing; empty: none.
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) restoring: Vec<u8>,
    /// The store of the namespace; empty: the one for repositories that name none.
    #[prost(string, tag = "10")]
    pub(crate) storage_id: String,
    /// It is being closed to be deleted if it is empty; empty: it is not.
    #[prost(bytes = "vec", tag = "11")]
    pub(crate) closing: Vec<u8>,
    #[prost(int64, tag = "12")]
    pub(crate) closing_since_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RefRow {
    #[prost(message, optional, tag = "1")]
    pub(crate) branch: Option<BranchRow>,
    /// The commit of a tag.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) tag: Vec<u8>,
    /// The call that made a tag.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) call: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BranchRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) incarnation: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) head: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) current: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) gate: Vec<u8>,
    /// Oldest first.
    #[prost(message, repeated, tag = "5")]
    pub(crate) sealed: Vec<SealedRow>,
    #[prost(uint64, tag = "6")]
    pub(crate) reset_count: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) sequence: u64,
    #[prost(bool, tag = "8")]
    pub(crate) hidden: bool,
    /// Shows nothing new while its repository is being closed by this; empty: it was not closed.
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) closing: Vec<u8>,
}

/// A place in the line of those who wait to move a branch's head.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlaceRow {
    /// How long its turn lasts.
    #[prost(uint32, tag = "1")]
    pub(crate) lease_ms: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SealedRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    /// A mask over this prefix instead of rows.
    #[prost(string, optional, tag = "2")]
    pub(crate) mask_prefix: Option<String>,
    /// A mask over this one path instead of rows.
    #[prost(string, optional, tag = "3")]
    pub(crate) mask_path: Option<String>,
    /// An immutable tree instead of rows.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) tree: Vec<u8>,
    /// The layers folded into this one.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub(crate) inputs: Vec<Vec<u8>>,
    /// What the head `over_head` with this layer and all below it laid over is: a tree. Empty if it was not made.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) over_head: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) over_tree: Vec<u8>,
}

/// The hashed part of a commit. Encoded with ascending fields and sorted maps, so equal commits have equal bytes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CommitRecord {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) parents: Vec<Vec<u8>>,
    /// Empty for the root commit of a new repository.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) tree: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(crate) committer: String,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
    #[prost(sint64, tag = "5")]
    pub(crate) created_secs: i64,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) metadata: BTreeMap<String, String>,
    #[prost(uint32, tag = "7")]
    pub(crate) version: u32,
}

/// A commit as stored: the record and what is outside its hash.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CommitRow {
    #[prost(message, optional, tag = "1")]
    pub(crate) record: Option<CommitRecord>,
    #[prost(uint64, tag = "2")]
    pub(crate) generation: u64,
    /// The id, for records whose id was given by a client and is not ours to compute.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) id: Vec<u8>,
    /// Milliseconds within the second of creation.
    #[prost(uint32, tag = "4")]
    pub(crate) created_millis: u32,
}

/// How a commit came about, beside its record and no part of its id. Written by the publish; commits that were made
/// otherwise have none.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TraceRow {
    /// The filter of the paths changed against the only parent (`changed_paths.rs`); empty: the trees must be asked.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) changed_paths: Vec<u8>,
    /// The incarnation of the branch it became head of.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) branch: Vec<u8>,
    /// Where in the branch's reflog.
    #[prost(uint64, tag = "3")]
    pub(crate) sequence: u64,
}

/// How a walk jumps from a commit (`jumps.rs`), and word that generations rise up to it. A row beside the trace and no
/// field of it: versions without the field would refuse the trace.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct JumpRow {
    /// The commit's own.
    #[prost(uint64, tag = "1")]
    pub(crate) generation: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) height: u64,
    /// Empty: the commit has no parent, or several.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) to: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub(crate) to_generation: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReflogRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) old_head: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) new_head: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(crate) operation: String,
    #[prost(int64, tag = "4")]
    pub(crate) at_ms: i64,
    /// The call that deleted the branch, so that one that did not hear the outcome knows its own.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) call: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UploadRow {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) branch: String,
    #[prost(string, tag = "3")]
    pub(crate) path: String,
    /// Relative physical address.
    #[prost(string, tag = "4")]
    pub(crate) address: String,
    /// The store's own name for the upload.
    #[prost(string, tag = "5")]
    pub(crate) store_upload: String,
    #[prost(int64, tag = "6")]
    pub(crate) initiated_ms: i64,
    #[prost(string, tag = "7")]
    pub(crate) content_type: String,
    #[prost(btree_map = "string, string", tag = "8")]
    pub(crate) metadata: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "9")]
    pub(crate) headers: BTreeMap<String, String>,
    /// Digest of the numbers and ETags of the parts being joined; non-empty = completing.
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) completing: Vec<u8>,
    /// The entry made; non-empty = done.
    #[prost(bytes = "vec", tag = "11")]
    pub(crate) done: Vec<u8>,
    #[prost(int64, tag = "12")]
    pub(crate) done_ms: i64,
    #[prost(btree_map = "string, string", tag = "13")]
    pub(crate) options: BTreeMap<String, String>,
    /// The incarnation of the branch it was begun on.
    #[prost(bytes = "vec", tag = "14")]
    pub(crate) branch_incarnation: Vec<u8>,
    /// What is left of it is being removed.
    #[prost(bool, tag = "15")]
    pub(crate) aborted: bool,
    /// What the address is relative to.
    #[prost(string, tag = "16")]
    pub(crate) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartRow {
    #[prost(uint64, tag = "1")]
    pub(crate) size: u64,
    #[prost(string, tag = "2")]
    pub(crate) md5: String,
    #[prost(string, tag = "3")]
    pub(crate) tag: String,
    #[prost(int64, tag = "4")]
    pub(crate) modified_ms: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) checksums: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RulesRow {
    #[prost(string, repeated, tag = "1")]
    pub(crate) patterns: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PullRow {
    /// 0 open, 1 closed, 2 merged.
    #[prost(uint32, tag = "1")]
    pub(crate) status: u32,
    #[prost(string, tag = "2")]
    pub(crate) title: String,
    #[prost(string, tag = "3")]
    pub(crate) description: String,
    #[prost(string, tag = "4")]
    pub(crate) author: String,
    #[prost(string, tag = "5")]
    pub(crate) source: String,
    #[prost(string, tag = "6")]
    pub(crate) destination: String,
    #[prost(int64, tag = "7")]
    pub(crate) created_ms: i64,
    /// When it was closed or merged last.
    #[prost(int64, optional, tag = "8")]
    pub(crate) closed_ms: Option<i64>,
    /// The merge commit.
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) merged: Vec<u8>,
}

/// What a request with an idempotency key made.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OnceRow {
    /// Digest of the request.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) request: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) commit: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(crate) added: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) removed: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) changed: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) conflicts: u64,
}

/// A namespace that was given up with its repository.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct FreeingRow {
    #[prost(int64, tag = "1")]
    pub(crate) given_up_ms: i64,
    /// Everything that was there was deleted once; what was on its way is still to come.
    #[prost(bool, tag = "2")]
    pub(crate) passed: bool,
}

/// The format in which everything is written.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FormatRow {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
}

/// A server that shares the data.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServerRow {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    /// The formats it reads.
    #[prost(uint32, tag = "2")]
    pub(crate) oldest: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) newest: u32,
    /// Its last sign of life.
    #[prost(int64, tag = "4")]
    pub(crate) seen_ms: i64,
}

/// A task.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskRow {
    /// See `TaskKind::stored`.
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    /// The life of the server that runs it.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) owner: Vec<u8>,
    /// The repository's name.
    #[prost(string, tag = "3")]
    pub(crate) repository: String,
    /// The branch it moves; empty: none.
    #[prost(string, tag = "4")]
    pub(crate) branch: String,
    #[prost(int64, tag = "5")]
    pub(crate) created_ms: i64,
    /// Last sign of life; of a finished task its end.
    #[prost(int64, tag = "6")]
    pub(crate) updated_ms: i64,
    /// Things done so far.
    #[prost(uint64, tag = "7")]
    pub(crate) progress: u64,
    /// Set: it is finished, well.
    #[prost(message, optional, tag = "8")]
    pub(crate) result: Option<TaskResultRow>,
    /// Set: it is finished, badly.
    #[prost(message, optional, tag = "9")]
    pub(crate) error: Option<TaskErrorRow>,
    /// A layer whose tree holds what the task collects; it goes when the task ends.
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) spool: Vec<u8>,
    /// The incarnation a restore writes; it becomes the repository's, or goes.
    #[prost(bytes = "vec", tag = "11")]
    pub(crate) restoring: Vec<u8>,
    /// The namespace of the repository.
    #[prost(string, tag = "12")]
    pub(crate) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskResultRow {
    /// The commit of a commit, merge or import.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) commit: Vec<u8>,
    /// The trees of a dump: commits, tags, branches.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) trees: Vec<Vec<u8>>,
    /// The run of a prepared collection.
    #[prost(string, tag = "3")]
    pub(crate) run: String,
    /// Where it wrote its commits.
    #[prost(string, tag = "4")]
    pub(crate) commits_location: String,
    /// Where its collector may write addresses.
    #[prost(string, tag = "5")]
    pub(crate) addresses_location: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskErrorRow {
    /// See `ErrorKind::stored`.
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// What a tree of refs or commits is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RefTreeHeader {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// 1 commits, 2 tags, 3 branches.
    #[prost(uint32, tag = "2")]
    pub(crate) listed: u32,
}

/// A tag or branch in such a tree.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DumpedRef {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) commit: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(crate) hidden: bool,
}

/// What an export of refs and settings consists of.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportManifest {
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// The repository's name.
    #[prost(string, tag = "2")]
    pub(crate) repository: String,
    #[prost(string, tag = "3")]
    pub(crate) default_branch: String,
    #[prost(int64, tag = "4")]
    pub(crate) created_ms: i64,
    #[prost(bool, tag = "5")]
    pub(crate) read_only: bool,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) metadata: BTreeMap<String, String>,
    /// The tree of branches.
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) branches: Vec<u8>,
    /// The tree of tags.
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) tags: Vec<u8>,
    /// Branch protection as stored (a `RulesRow`); absent: never set.
    #[prost(bytes = "vec", optional, tag = "9")]
    pub(crate) rules: Option<Vec<u8>>,
    /// Collection rules as stored; absent: not set.
    #[prost(bytes = "vec", optional, tag = "10")]
    pub(crate) gc_rules: Option<Vec<u8>>,
    #[prost(int64, tag = "11")]
    pub(crate) exported_ms: i64,
}

/// Where a page of staged addresses begins.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StagedToken {
    #[prost(string, tag = "1")]
    pub(crate) run: String,
    /// Files of the run so far.
    #[prost(uint64, tag = "2")]
    pub(crate) files: u64,
    /// With a layer: in the middle of this branch. Without: behind it.
    #[prost(string, tag = "3")]
    pub(crate) branch: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) layer: Vec<u8>,
    /// Behind this path of the layer; behind this upload.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) path: Vec<u8>,
    /// All branches are done.
    #[prost(bool, tag = "6")]
    pub(crate) in_uploads: bool,
}

/// Decodes a stored record. One with a field that this version does not know is refused, not read without it: written
/// again it would lose the field, and nobody says that what is left is true by itself. All fields that are known encode in
/// exactly one length, so what is longer holds another.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8], what: &'static str) -> Result<M, CatalogError> {
    let message = M::decode(bytes).map_err(|_| CatalogError::Damaged { what })?;
    if message.encoded_len() == bytes.len() { Ok(message) } else { Err(CatalogError::Newer { what }) }
}

/// Decodes a document that says its format's number, which the caller checks: fields that are not known are passed over.
pub(crate) fn decode_numbered<M: Message + Default>(
    bytes: &[u8],
    what: &'static str,
) -> Result<M, CatalogError> {
    M::decode(bytes).map_err(|_| CatalogError::Damaged { what })
}

/// Encodes a record.
pub(crate) fn encode<M: Message>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}

pub(crate) fn id16(bytes: &[u8], what: &'static str) -> Result<Incarnation, CatalogError> {
    Incarnation::from_slice(bytes).ok_or(CatalogError::Damaged { what })
}

/// [`id16`] of a field that may be empty.
pub(crate) fn optional_id16(bytes: &[u8], what: &'static str) -> Result<Option<Incarnation>, CatalogError> {
    if bytes.is_empty() { Ok(None) } else { id16(bytes, what).map(Some) }
}

pub(crate) fn layer_id(bytes: &[u8]) -> Result<LayerId, CatalogError> {
    LayerId::from_slice(bytes).ok_or(CatalogError::Damaged { what: "layer id" })
}

pub(crate) fn commit_id(bytes: &[u8]) -> Result<CommitId, CatalogError> {
    let bytes = bytes.try_into().map_err(|_| CatalogError::Damaged { what: "commit id" })?;
    Ok(CommitId::from_bytes(bytes))
}

pub(crate) fn node_id(bytes: &[u8]) -> Result<NodeId, CatalogError> {
    let bytes = bytes.try_into().map_err(|_| CatalogError::Damaged { what: "tree id" })?;
    Ok(NodeId::from_bytes(bytes))
}
