//! Runs of actions.

use lakebed_api::{ActionRun, HookRun, List};

use crate::description::operation::{Described, bytes, json, op};
use crate::description::parameters::{AFTER, AMOUNT, Kind, PREFIX, Parameter};

const TAG: &[&str] = &["actions"];
const BRANCH: Parameter =
    Parameter::query("branch", Kind::Text, "Only runs for this branch, which need not exist any more.")
        .may_be_empty();
const COMMIT: Parameter = Parameter::query("commit", Kind::Text, "Only runs for this commit.").may_be_empty();

pub(super) const OPERATIONS: &[Described] =
    &[
        op("listRepositoryRuns", TAG, "List runs of actions")
            .says("Newest first.")
            .takes(&[PREFIX.ours(), AFTER, AMOUNT, BRANCH, COMMIT])
            .answers(&[json::<List<ActionRun>>(200, "A page of runs.")]),
        op("getRun", TAG, "One run").answers(&[json::<ActionRun>(200, "The run.")]),
        op("listRunHooks", TAG, "List a run's hooks")
            .takes(&[PREFIX.ours(), AFTER, AMOUNT])
            .answers(&[json::<List<HookRun>>(200, "A page of hooks.")]),
        op("getRunHookOutput", TAG, "What a hook said").answers(&[bytes(200, "Its log.")]),
    ];
