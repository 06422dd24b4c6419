//! Branch protection and collection rules.

use lakebed_api::{BranchProtectionRule, Error, GarbageCollectionRules};

use crate::description::operation::{Described, empty, json, op};
use crate::description::parameters::{IF_MATCH, Parameter};

const TAG: &[&str] = &["repositories"];
const INTERNAL: &[&str] = &["internal"];
const RULES_ETAG: Parameter =
    IF_MATCH.says("Only if the rules still have this ETag; that of no rules is empty.");

pub(super) const OPERATIONS: &[Described] = &[
    op("getBranchProtectionRules", TAG, "Which branches are protected").answers(&[json::<
        Vec<BranchProtectionRule>,
    >(
        200, "Their patterns."
    )
    .with(&[("ETag", "For `If-Match` of a change.")])]),
    op("setBranchProtectionRules", TAG, "Replace which branches are protected")
        .says("What a pattern matches can be written by merges only. In force from the moment of the answer.")
        .takes(&[RULES_ETAG])
        .answers(&[empty(204, "In force.")])
        .refuses(&[412]),
    op("internalGetBranchProtectionRules", INTERNAL, "Which branches are protected")
        .says("Use getBranchProtectionRules instead.")
        .deprecated()
        .answers(&[json::<Vec<BranchProtectionRule>>(200, "Their patterns.")
            .with(&[("ETag", "For `If-Match` of a change.")])]),
    op("internalCreateBranchProtectionRule", INTERNAL, "Protect more branches")
        .says("Use setBranchProtectionRules instead.")
        .deprecated()
        .answers(&[empty(204, "In force.")]),
    op("internalDeleteBranchProtectionRule", INTERNAL, "Protect fewer branches")
        .says("Use setBranchProtectionRules instead.")
        .deprecated()
        .answers(&[
            empty(204, "In force."),
            json::<Error>(404, "No such repository; without a body, no such rule."),
        ]),
    op("createBranchProtectionRulePreflight", INTERNAL, "May I change which branches are protected?")
        .answers(&[empty(204, "Yes.")])
        .refuses(&[409]),
    op("getGCRules", TAG, "How long branches keep what they no longer show").answers(&[json::<
        GarbageCollectionRules,
    >(
        200, "The rules."
    )]),
    op("setGCRules", TAG, "Replace the collection rules").answers(&[empty(204, "Set.")]),
    op("deleteGCRules", TAG, "Remove the collection rules").answers(&[empty(204, "Removed.")]),
    op("internalGetGarbageCollectionRules", INTERNAL, "How long branches keep what they no longer show")
        .says("Use getGCRules instead.")
        .deprecated()
        .answers(&[json::<GarbageCollectionRules>(200, "The rules.")]),
    op("internalSetGarbageCollectionRules", INTERNAL, "Replace the collection rules")
        .says("Use setGCRules instead.")
        .deprecated()
        .answers(&[empty(204, "Set.")]),
    op("internalDeleteGarbageCollectionRules", INTERNAL, "Remove the collection rules")
        .says("Use deleteGCRules instead.")
        .deprecated()
        .answers(&[empty(204, "Removed.")]),
    op("setGarbageCollectionRulesPreflight", INTERNAL, "May I change the collection rules?")
        .answers(&[empty(204, "Yes.")]),
];
