//! Long operations: dump, restore, import, preparing garbage collection.

use lakebed_api::{
    AsyncTaskStatus, GarbageCollectionPrepareResponse, ImportStatus, PrepareGCUncommittedResponse, RefsDump,
    RepositoryDumpStatus, RepositoryRestoreStatus, TaskInfo,
};

use crate::description::operation::{Described, empty, json, op};
use crate::description::parameters::{Kind, Parameter};

const REPOSITORIES: &[&str] = &["repositories"];
const IMPORT: &[&str] = &["import"];
const INTERNAL: &[&str] = &["internal"];
const TASK: Parameter = Parameter::query("task_id", Kind::Text, "The task.").required();
const ID: Parameter = Parameter::query("id", Kind::Text, "The task.").required();

pub(super) const OPERATIONS: &[Described] = &[
    op("dumpSubmit", REPOSITORIES, "Dump a repository's refs")
        .says("Writes its branches, tags and commits as three trees that another repository can be restored from.")
        .answers(&[json::<TaskInfo>(202, "The task to ask for.")]),
    op("dumpStatus", REPOSITORIES, "How a dump goes")
        .takes(&[TASK])
        .answers(&[json::<RepositoryDumpStatus>(200, "Its state, and the trees when it is done.")]),
    op("restoreSubmit", REPOSITORIES, "Restore a repository's refs")
        .says("Into a bare repository, from the trees of a dump.")
        .answers(&[json::<TaskInfo>(202, "The task to ask for.")]),
    op("restoreStatus", REPOSITORIES, "How a restore goes")
        .takes(&[TASK])
        .answers(&[json::<RepositoryRestoreStatus>(200, "Its state.")]),
    op("dumpRefs", INTERNAL, "Dump a repository's refs and wait")
        .answers(&[json::<RefsDump>(201, "The three trees.")]),
    op("restoreRefs", INTERNAL, "Restore a repository's refs and wait")
        .answers(&[empty(200, "Restored.")]),
    op("importStart", IMPORT, "Import objects without copying them")
        .says("What lies elsewhere in the block store becomes objects of the branch, in one commit.")
        .not_yet()
        .answers(&[json::<TaskInfo>(202, "The task to ask for.")])
        .refuses(&[403]),
    op("importStatus", IMPORT, "How an import goes")
        .takes(&[ID])
        .answers(&[json::<ImportStatus>(200, "Its state.")]),
    op("importCancel", IMPORT, "Give an import up")
        .takes(&[ID])
        .answers(&[empty(204, "Given up.")])
        .refuses(&[403, 409]),
    op("prepareGarbageCollectionCommits", INTERNAL, "List the commits that a collector must keep, and wait")
        .not_yet()
        .answers(&[json::<GarbageCollectionPrepareResponse>(201, "The lists.")])
        .refuses(&[403]),
    op("prepareGarbageCollectionCommitsAsync", INTERNAL, "List the commits that a collector must keep")
        .not_yet()
        .answers(&[json::<TaskInfo>(202, "The task to ask for.")])
        .refuses(&[403]),
    op("prepareGarbageCollectionCommitsStatus", INTERNAL, "How such a list goes")
        .takes(&[ID])
        .answers(&[json::<AsyncTaskStatus<GarbageCollectionPrepareResponse>>(200, "Its state.")])
        .refuses(&[403]),
    op("prepareGarbageCollectionUncommitted", INTERNAL, "List uncommitted objects for a collector")
        .says("Page by page, by the continuation token of the page before.")
        .not_yet()
        .answers(&[json::<PrepareGCUncommittedResponse>(201, "A page.")])
        .refuses(&[403]),
];
