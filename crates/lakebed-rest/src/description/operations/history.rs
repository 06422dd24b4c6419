//! Commits, merges, diffs.

use lakebed_api::{
    AsyncTaskStatus, Commit, Diff, FindMergeBaseResult, List, MergeConflictList, MergeResult, TaskInfo,
};

use crate::description::operation::{Described, empty, json, op};
use crate::description::parameters::{
    AFTER, AMOUNT, Absent, DELIMITER, IDEMPOTENCY_KEY, Kind, PREFIX, Parameter,
};

const COMMITS: &[&str] = &["commits"];
const BRANCHES: &[&str] = &["branches"];
const REFS: &[&str] = &["refs"];
const EXPERIMENTAL: &[&str] = &["experimental"];

const OBJECTS: Parameter =
    Parameter::query("objects", Kind::Texts, "Only commits that changed one of these objects.");
const PREFIXES: Parameter =
    Parameter::query("prefixes", Kind::Texts, "Only commits that changed something under one of these.");
const LIMIT: Parameter = Parameter::query(
    "limit",
    Kind::Boolean,
    "Stop as soon as `amount` were found, without finding out whether there are more.",
);
const FIRST_PARENT: Parameter =
    Parameter::query("first_parent", Kind::Boolean, "Follow first parents only: the branch's own history.");
const SINCE: Parameter =
    Parameter::query("since", Kind::DateTime, "Stop at the first commit older than this.").may_be_empty();
const STOP_AT: Parameter =
    Parameter::query("stop_at", Kind::Text, "Stop behind the commit of this ref, which is shown.")
        .may_be_empty();
const SOURCE_METARANGE: Parameter = Parameter::query(
    "source_metarange",
    Kind::Text,
    "Commit this tree instead of what is staged; the branch must have no uncommitted changes.",
);
const DIFF_TYPE: Parameter = Parameter::query(
    "type",
    Kind::Word(&["two_dot", "three_dot"]),
    "`three_dot`: what merging the right side into the left would bring; `two_dot`: how the right side differs.",
)
.absent(Absent::Word("three_dot"));
const RIGHT_STATS: Parameter =
    Parameter::flag("include_right_stats", "Show the right side's objects: checksum, time, type, metadata.");

const CONFLICT: &str = "A conflict; nothing was changed. The message counts and names the paths.";

pub(super) const OPERATIONS: &[Described] = &[
    op("logCommits", REFS, "The commits of a ref")
        .says("Each ancestor once, newest first. Page by `after`, the last commit of the page before.")
        .takes(&[AFTER, AMOUNT, OBJECTS, PREFIXES, LIMIT, FIRST_PARENT, SINCE, STOP_AT])
        .answers(&[json::<List<Commit>>(200, "A page of commits.")]),
    op("logBranchCommits", BRANCHES, "The commits of a branch")
        .says("As clients before 0.110 ask for it. To all others it is an unknown endpoint.")
        .deprecated()
        .ours()
        .takes(&[AFTER, AMOUNT, OBJECTS, PREFIXES, LIMIT, FIRST_PARENT, SINCE, STOP_AT])
        .answers(&[json::<List<Commit>>(200, "A page of commits.")]),
    op("commit", COMMITS, "Commit what is staged")
        .says("Everything acknowledged before the call is in the commit, and nothing of it is left out.")
        .takes(&[SOURCE_METARANGE, IDEMPOTENCY_KEY])
        .answers(&[json::<Commit>(201, "The commit.")])
        .refuses(&[403, 409, 412, 422]),
    op("commitAsync", EXPERIMENTAL, "Commit in the background")
        .says("For clients that would wait too long: the task goes on when they hang up.")
        .takes(&[SOURCE_METARANGE, IDEMPOTENCY_KEY])
        .answers(&[json::<TaskInfo>(202, "The task to ask for.")])
        .refuses(&[501]),
    op("commitAsyncStatus", EXPERIMENTAL, "How a commit in the background goes")
        .says("Kept for a day. A failure has the message and the status that the commit would have answered.")
        .answers(&[json::<AsyncTaskStatus<Commit>>(200, "Its state.")])
        .refuses(&[403, 409, 412, 422, 501]),
    op("CreateCommitRecord", &["internal"], "Store a commit as another server made it")
        .says("For replication: no branch moves, and the parents need not be there.")
        .answers(&[empty(204, "Stored.")])
        .refuses(&[403, 409]),
    op("getCommit", COMMITS, "One commit")
        .says("Any ref expression may stand for the id.")
        .answers(&[json::<Commit>(200, "The commit.")]),
    op("revertBranch", BRANCHES, "Undo a commit")
        .says("With a new commit on the branch that applies the reverse of another one.")
        .takes(&[IDEMPOTENCY_KEY])
        .answers(&[empty(204, "Undone.").with(&[("X-Lakebed-Commit-Id", "The new commit.")])])
        .refuses(&[403, 409, 412, 422]),
    op("cherryPick", BRANCHES, "Apply a commit again")
        .says("With a new commit on the branch that applies the change of another one.")
        .takes(&[IDEMPOTENCY_KEY])
        .answers(&[json::<Commit>(201, "The new commit.")])
        .refuses(&[403, 409, 412, 422]),
    op("mergeIntoBranch", REFS, "Merge into a branch")
        .says(
            "Always with a new commit. What only one side changed since the best common ancestor is taken; what \
             both changed differently is a conflict, unless a strategy says whose state wins, or a resolution of its path \
             what is taken.",
        )
        .takes(&[IDEMPOTENCY_KEY])
        .answers(&[json::<MergeResult>(200, "The merge commit."), json::<MergeResult>(409, CONFLICT)])
        .refuses(&[403, 412, 422]),
    op("mergeIntoBranchAsync", EXPERIMENTAL, "Merge in the background")
        .says("For clients that would wait too long: the task goes on when they hang up.")
        .takes(&[IDEMPOTENCY_KEY])
        .answers(&[json::<TaskInfo>(202, "The task to ask for.")])
        .refuses(&[501]),
    op("mergeIntoBranchAsyncStatus", EXPERIMENTAL, "How a merge in the background goes")
        .says("Kept for a day. A failure has the message and the status that the merge would have answered.")
        .answers(&[json::<AsyncTaskStatus<MergeResult>>(200, "Its state.")])
        .refuses(&[403, 409, 412, 422, 501]),
    op("listMergeConflicts", REFS, "What a merge would stop at")
        .says("Each path that both sides changed differently, with what the base and both sides have there.")
        .ours()
        .takes(&[PREFIX, AFTER, AMOUNT])
        .answers(&[json::<MergeConflictList>(200, "A page of conflicts, by path.")]),
    op("findMergeBase", REFS, "The best common ancestor")
        .says("Of any two refs. The two names of the answer are swapped, as clients know it.")
        .answers(&[json::<FindMergeBaseResult>(200, "Three commit ids.")]),
    op("diffBranch", BRANCHES, "What is uncommitted")
        .takes(&[AFTER, AMOUNT, PREFIX, DELIMITER])
        .answers(&[json::<List<Diff>>(200, "A page of differences, by path.")]),
    op("diffRefs", REFS, "How two refs differ")
        .says("It costs as much as there is to say: equal parts are not looked at.")
        .takes(&[AFTER, AMOUNT, PREFIX, DELIMITER, DIFF_TYPE, RIGHT_STATS])
        .answers(&[json::<List<Diff>>(200, "A page of differences, by path.")]),
];
