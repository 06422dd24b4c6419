//! Users, their keys, and policies.

use lakebed_api::{Credentials, CredentialsWithSecret, ExternalPrincipal, Group, List, Policy, User};

use super::callers::PRINCIPAL;
use crate::description::operation::{Described, empty, json, op};
use crate::description::parameters::{AFTER, AMOUNT, PREFIX, Parameter};

const AUTH: &[&str] = &["auth"];
const EXTERNAL: &[&str] = &["auth", "external", "experimental"];
const EFFECTIVE: Parameter =
    Parameter::flag("effective", "Also the policies of the groups that the user is a member of.");

pub(super) const OPERATIONS: &[Described] = &[
    op("listUsers", AUTH, "List users").not_yet().takes(&[PREFIX, AFTER, AMOUNT]).answers(&[json::<
        List<User>,
    >(
        200,
        "A page of users.",
    )]),
    op("createUser", AUTH, "Make a user")
        .not_yet()
        .answers(&[json::<User>(201, "The user.")])
        .refuses(&[409]),
    op("getUser", AUTH, "One user").not_yet().answers(&[json::<User>(200, "The user.")]),
    op("deleteUser", AUTH, "Delete a user")
        .says("With their keys and memberships.")
        .not_yet()
        .answers(&[empty(204, "Gone.")]),
    op("listUserCredentials", AUTH, "List a user's keys")
        .says("Without their secrets.")
        .not_yet()
        .takes(&[PREFIX, AFTER, AMOUNT])
        .answers(&[json::<List<Credentials>>(200, "A page of keys.")]),
    op("createCredentials", AUTH, "Make a key pair")
        .says("The secret is shown here only.")
        .not_yet()
        .answers(&[json::<CredentialsWithSecret>(201, "The key pair.")]),
    op("getCredentials", AUTH, "One of a user's keys")
        .not_yet()
        .answers(&[json::<Credentials>(200, "The key, without its secret.")]),
    op("deleteCredentials", AUTH, "Delete a key pair").not_yet().answers(&[empty(204, "Gone.")]),
    op("listUserGroups", AUTH, "List a user's groups")
        .not_yet()
        .takes(&[PREFIX, AFTER, AMOUNT])
        .answers(&[json::<List<Group>>(200, "A page of groups.")]),
    op("listUserPolicies", AUTH, "List a user's policies")
        .not_yet()
        .takes(&[PREFIX, AFTER, AMOUNT, EFFECTIVE])
        .answers(&[json::<List<Policy>>(200, "A page of policies.")]),
    op("attachPolicyToUser", AUTH, "Attach a policy to a user").not_yet().answers(&[empty(201, "Attached.")]),
    op("detachPolicyFromUser", AUTH, "Detach a policy from a user")
        .not_yet()
        .answers(&[empty(204, "Detached.")]),
    op("createUserExternalPrincipal", EXTERNAL, "Give a user an identity of elsewhere")
        .not_yet()
        .takes(&[PRINCIPAL])
        .answers(&[empty(201, "Given.")])
        .refuses(&[409]),
    op("deleteUserExternalPrincipal", EXTERNAL, "Take an identity of elsewhere away")
        .not_yet()
        .takes(&[PRINCIPAL])
        .answers(&[empty(204, "Taken away.")]),
    op("listUserExternalPrincipals", EXTERNAL, "List a user's identities elsewhere")
        .not_yet()
        .takes(&[PREFIX, AFTER, AMOUNT])
        .answers(&[json::<List<ExternalPrincipal>>(200, "A page of identities.")]),
    op("listPolicies", AUTH, "List policies").not_yet().takes(&[PREFIX, AFTER, AMOUNT]).answers(&[json::<
        List<Policy>,
    >(
        200,
        "A page of policies.",
    )]),
    op("createPolicy", AUTH, "Make a policy")
        .not_yet()
        .answers(&[json::<Policy>(201, "The policy.")])
        .refuses(&[409]),
    op("getPolicy", AUTH, "One policy").not_yet().answers(&[json::<Policy>(200, "The policy.")]),
    op("updatePolicy", AUTH, "Replace a policy")
        .not_yet()
        .answers(&[json::<Policy>(200, "The policy as it is now.")]),
    op("deletePolicy", AUTH, "Delete a policy").not_yet().answers(&[empty(204, "Gone.")]),
];
