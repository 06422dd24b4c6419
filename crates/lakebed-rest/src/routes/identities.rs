//! Operations on users, groups, credentials and policies.

use crate::access::{self, global, identity, new_identity};
use crate::handlers::{page, unserved};
use crate::operation::{Operation, delete, get, post, put};

pub(super) fn of_users() -> Vec<Operation> {
    let user = |action| identity(action, "user", "userId");
    let policy = |action| identity(action, "policy", "policyId");
    vec![
        get("listUsers", "/auth/users")
            .requires(global("auth:ListUsers"))
            .query(page)
            .does(unserved::administration),
        post("createUser", "/auth/users")
            .requires(new_identity("auth:CreateUser", "user", |user: &lakebed_api::UserCreation| &user.id))
            .json(unserved::new_user)
            .does(unserved::administration),
        get("getUser", "/auth/users/{userId}")
            .requires(user("auth:ReadUser"))
            .bare()
            .does(unserved::administration),
        delete("deleteUser", "/auth/users/{userId}")
            .requires(user("auth:DeleteUser"))
            .bare()
            .does(unserved::administration),
        get("listUserCredentials", "/auth/users/{userId}/credentials")
            .requires(identity("auth:ListCredentials", "user", "userId"))
            .query(page)
            .does(unserved::administration),
        post("createCredentials", "/auth/users/{userId}/credentials")
            .requires(user("auth:CreateCredentials"))
            .bare()
            .does(unserved::administration),
        get("getCredentials", "/auth/users/{userId}/credentials/{accessKeyId}")
            .requires(user("auth:ReadCredentials"))
            .bare()
            .does(unserved::administration),
        delete("deleteCredentials", "/auth/users/{userId}/credentials/{accessKeyId}")
            .requires(user("auth:DeleteCredentials"))
            .bare()
            .does(unserved::administration),
        get("listUserGroups", "/auth/users/{userId}/groups")
            .requires(identity("auth:ReadUser", "user", "userId"))
            .query(page)
            .does(unserved::administration),
        get("listUserPolicies", "/auth/users/{userId}/policies")
            .requires(identity("auth:ReadUser", "user", "userId"))
            .query(unserved::effective_policies)
            .does(unserved::administration),
        put("attachPolicyToUser", "/auth/users/{userId}/policies/{policyId}")
            .requires(user("auth:AttachPolicy"))
            .bare()
            .does(unserved::administration),
        delete("detachPolicyFromUser", "/auth/users/{userId}/policies/{policyId}")
            .requires(user("auth:DetachPolicy"))
            .bare()
            .does(unserved::administration),
        post("createUserExternalPrincipal", "/auth/users/{userId}/external/principals")
            .requires(identity("auth:CreateUserExternalPrincipal", "user", "userId"))
            .optional_json(unserved::new_principal)
            .does(unserved::administration),
        delete("deleteUserExternalPrincipal", "/auth/users/{userId}/external/principals")
            .requires(identity("auth:DeleteUserExternalPrincipal", "user", "userId"))
            .query(unserved::principal)
            .does(unserved::administration),
        get("listUserExternalPrincipals", "/auth/users/{userId}/external/principals/ls")
            .requires(identity("auth:ReadUser", "user", "userId"))
            .query(page)
            .does(unserved::administration),
        get("listPolicies", "/auth/policies")
            .requires(global("auth:ListPolicies"))
            .query(page)
            .does(unserved::administration),
        post("createPolicy", "/auth/policies")
            .requires(new_identity("auth:CreatePolicy", "policy", |policy: &lakebed_api::Policy| &policy.id))
            .json(unserved::policy)
            .does(unserved::administration),
        get("getPolicy", "/auth/policies/{policyId}")
            .requires(policy("auth:ReadPolicy"))
            .bare()
            .does(unserved::administration),
        put("updatePolicy", "/auth/policies/{policyId}")
            .requires(identity("auth:UpdatePolicy", "policy", "policyId"))
            .json(unserved::policy)
            .does(unserved::administration),
        delete("deletePolicy", "/auth/policies/{policyId}")
            .requires(policy("auth:DeletePolicy"))
            .bare()
            .does(unserved::administration),
    ]
}

pub(super) fn of_groups() -> Vec<Operation> {
    let group = |action| identity(action, "group", "groupId");
    vec![
        get("listGroups", "/auth/groups")
            .requires(global("auth:ListGroups"))
            .query(page)
            .does(unserved::administration),
        post("createGroup", "/auth/groups")
            .requires(new_identity("auth:CreateGroup", "group", |group: &lakebed_api::GroupCreation| {
                &group.id
            }))
            .json(unserved::new_group)
            .does(unserved::administration),
        get("getGroup", "/auth/groups/{groupId}")
            .requires(group("auth:ReadGroup"))
            .bare()
            .does(unserved::administration),
        delete("deleteGroup", "/auth/groups/{groupId}")
            .requires(group("auth:DeleteGroup"))
            .bare()
            .does(unserved::administration),
        get("listGroupMembers", "/auth/groups/{groupId}/members")
            .requires(identity("auth:ReadGroup", "group", "groupId"))
            .query(page)
            .does(unserved::administration),
        put("addGroupMembership", "/auth/groups/{groupId}/members/{userId}")
            .requires(group("auth:AddGroupMember"))
            .bare()
            .does(unserved::administration),
        delete("deleteGroupMembership", "/auth/groups/{groupId}/members/{userId}")
            .requires(group("auth:RemoveGroupMember"))
            .bare()
            .does(unserved::administration),
        get("listGroupPolicies", "/auth/groups/{groupId}/policies")
            .requires(identity("auth:ReadGroup", "group", "groupId"))
            .query(page)
            .does(unserved::administration),
        put("attachPolicyToGroup", "/auth/groups/{groupId}/policies/{policyId}")
            .requires(group("auth:AttachPolicy"))
            .bare()
            .does(unserved::administration),
        delete("detachPolicyFromGroup", "/auth/groups/{groupId}/policies/{policyId}")
            .requires(group("auth:DetachPolicy"))
            .bare()
            .does(unserved::administration),
        post("setGroupACL", "/auth/groups/{groupId}/acl")
            .requires(access::group_acl)
            .json(unserved::acl)
            .does(unserved::administration),
        get("getGroupACL", "/auth/groups/{groupId}/acl")
            .requires(group("auth:ReadGroup"))
            .bare()
            .does(unserved::administration),
    ]
}
