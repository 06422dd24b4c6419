//! Groups.

use lakebed_api::{Acl, ErrorNoAcl, Group, List, Policy, User};

use crate::description::operation::{Described, empty, json, op};
use crate::description::parameters::{AFTER, AMOUNT, PREFIX};

const AUTH: &[&str] = &["auth"];

pub(super) const OPERATIONS: &[Described] = &[
    op("listGroups", AUTH, "List groups").not_yet().takes(&[PREFIX, AFTER, AMOUNT]).answers(&[json::<
        List<Group>,
    >(
        200,
        "A page of groups.",
    )]),
    op("createGroup", AUTH, "Make a group")
        .not_yet()
        .answers(&[json::<Group>(201, "The group.")])
        .refuses(&[404, 409]),
    op("getGroup", AUTH, "One group").not_yet().answers(&[json::<Group>(200, "The group.")]),
    op("deleteGroup", AUTH, "Delete a group")
        .says("Its members stay users.")
        .not_yet()
        .answers(&[empty(204, "Gone.")]),
    op("listGroupMembers", AUTH, "List a group's members")
        .not_yet()
        .takes(&[PREFIX, AFTER, AMOUNT])
        .answers(&[json::<List<User>>(200, "A page of users.")]),
    op("addGroupMembership", AUTH, "Add a member")
        .says("Adding a member again changes nothing.")
        .not_yet()
        .answers(&[empty(201, "Added.")]),
    op("deleteGroupMembership", AUTH, "Remove a member").not_yet().answers(&[empty(204, "Removed.")]),
    op("listGroupPolicies", AUTH, "List a group's policies")
        .not_yet()
        .takes(&[PREFIX, AFTER, AMOUNT])
        .answers(&[json::<List<Policy>>(200, "A page of policies.")]),
    op("attachPolicyToGroup", AUTH, "Attach a policy to a group")
        .not_yet()
        .answers(&[empty(201, "Attached.")]),
    op("detachPolicyFromGroup", AUTH, "Detach a policy from a group")
        .not_yet()
        .answers(&[empty(204, "Detached.")]),
    op("setGroupACL", AUTH, "Set a group's rights")
        .says("In the simplified model, where a group has one of four levels of rights.")
        .not_yet()
        .answers(&[empty(201, "Set.")]),
    op("getGroupACL", AUTH, "A group's rights")
        .says("In the simplified model, where a group has one of four levels of rights.")
        .not_yet()
        .answers(&[
            json::<Acl>(200, "The rights."),
            json::<ErrorNoAcl>(404, "No such group, or one without rights of this kind."),
        ]),
];
