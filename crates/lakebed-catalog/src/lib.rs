//! Repositories, refs, staging, commits, merge: every versioning rule.
//!
//! [`Catalog`] is the one entrance for both doors (REST and S3). It knows no protocol: requests come in as typed
//! structs, answers go out as records, and every refusal is a [`CatalogError`] whose [`CatalogError::kind`] each edge
//! maps once to its own status and body. The protocol followed, step by step, is `protocol.md` of the design pages.
//!
//! How an object is written, by either door:
//!
//! 1. [`Catalog::begin_write`]: may this branch be written, is the precondition met, which address.
//! 2. [`Catalog::store_body`]: the bytes, streamed and durable, invisible so far.
//! 3. [`Catalog::link`]: one staged write that checks everything again, atomically.

mod ancestry;
mod background;
mod branch_state;
mod branches;
mod bucket;
mod catalog;
mod changed_paths;
mod client_uploads;
mod closing;
mod collection;
mod collection_staged;
mod commit_log;
mod commits;
mod completion;
mod diffs;
mod dump;
mod entry;
mod error;
mod export;
mod figures;
mod fold;
pub mod formats;
mod freeing;
mod import;
mod jumps;
mod keys;
mod layers;
mod listing;
mod log_frontier;
mod lost_uploads;
mod merge_preview;
mod merges;
mod multipart;
mod namespaces;
mod neighbours;
mod nodes;
mod objects;
mod once;
mod paging;
mod probe;
mod publish;
mod pulls;
mod records;
mod ref_trees;
mod refs;
mod repositories;
mod requests;
mod resolutions;
mod restore;
mod settings;
mod spool;
mod staged_edits;
mod staging;
mod sweep;
mod tags;
mod task_runner;
mod tasks;
mod three_way;
mod tidy;
mod tree_files;
mod turns;
mod wire;
mod working;

pub use catalog::{Catalog, CatalogConfig};
pub use client_uploads::ClientUpload;
pub use collection::RetentionRules;
pub use collection_staged::StagedAddresses;
pub use entry::{DEFAULT_CONTENT_TYPE, Entry, EntryBytes, EntryView};
pub use error::{CatalogError, ErrorKind};
pub use figures::{CacheFigures, Observer};
pub use listing::Listed;
pub use records::{
    Branch, Closing, Commit, MergeOutcome, MergeSummary, PullRequest, PullStatus, Repository, Tag, Upload,
    UploadPart,
};
pub use requests::{
    BranchCreation, CommitRequest, CompletedPart, Completion, ConflictResolution, CopyRequest, DiffEntry,
    DiffKind, DiffMode, DiffRequest, EntryDraft, ImportRequest, ImportSource, ListRequest, ListedObject,
    LogRequest, MergeConflict, MergeRequest, MergeStrategy, NewPullRequest, NewRepository, Once, Page,
    PageRequest, PickRequest, Precondition, PullFilter, PullRequestChange, ResetTarget, RevertRequest,
    StoredBody, UploadTarget, UploadsRequest, WriteTicket,
};
pub use restore::{RestoreRequest, RestoreSource};
pub use tasks::{DumpedRefs, PreparedCommits, Task, TaskKind, TaskResult, TaskState};
