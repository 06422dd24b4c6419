//! Pull requests.

use lakebed_api::{List, MergeResult, PullRequest, PullRequestCreationResponse};

use crate::description::operation::{Described, empty, json, op};
use crate::description::parameters::{AFTER, AMOUNT, Absent, IDEMPOTENCY_KEY, Kind, PREFIX, Parameter};

const TAG: &[&str] = &["pulls", "experimental"];
const STATUS: Parameter =
    Parameter::query("status", Kind::Word(&["open", "closed", "all"]), "Only those in this state.")
        .absent(Absent::Word("all"));

pub(super) const OPERATIONS: &[Described] = &[
    op("listPullRequests", TAG, "List pull requests")
        .says("Newest first.")
        .takes(&[PREFIX, AFTER, AMOUNT, STATUS])
        .answers(&[json::<List<PullRequest>>(200, "A page of pull requests.")]),
    op("createPullRequest", TAG, "Propose a merge")
        .answers(&[json::<PullRequestCreationResponse>(201, "Its id.")])
        .refuses(&[403, 409]),
    op("getPullRequest", TAG, "One pull request").answers(&[json::<PullRequest>(200, "The pull request.")]),
    op("updatePullRequest", TAG, "Change a pull request")
        .says("Its title, description or state; what is absent stays.")
        .answers(&[
            empty(204, "Changed."),
            empty(200, "Changed: described so; this server answers 204, as lakeFS does."),
        ]),
    op("mergePullRequest", TAG, "Merge a pull request")
        .says("In one step with its state: it is merged if and only if the branch has the merge.")
        .takes(&[IDEMPOTENCY_KEY])
        .answers(&[
            json::<MergeResult>(200, "The merge commit."),
            json::<MergeResult>(409, "A conflict; nothing was changed."),
        ])
        .refuses(&[412, 422]),
];
