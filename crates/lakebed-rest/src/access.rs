//! Who may call an operation: the requirements of `auth.md` §9.3.

use lakebed_auth::{AuthError, Permission, Principal};

use crate::call::Call;

/// What a call with its checked input needs.
pub(crate) type Needed<I> = Box<dyn Fn(&Call, &I) -> Requirement + Send + Sync>;

/// What an operation asks of its caller. `I` is the operation's checked input.
pub(crate) enum Access<I> {
    /// Open to everybody.
    Public,
    /// Anonymous callers are let in as such; wrong credentials are not.
    AnonymousToo,
    /// Any known caller.
    Authenticated,
    /// Any known caller; the handler asks for each item of the request by itself.
    EachItem,
    /// Callers with these permissions.
    Requires(Needed<I>),
}

/// Permissions joined.
pub(crate) enum Requirement {
    /// Every one is needed.
    All(Vec<Permission>),
    /// One is enough.
    Any(Vec<Permission>),
}

/// Decides a requirement.
pub(crate) fn decide(principal: &Principal, requirement: &Requirement) -> Result<(), AuthError> {
    match requirement {
        Requirement::All(permissions) => {
            for permission in permissions {
                principal.authorize(permission)?;
            }
            Ok(())
        }
        Requirement::Any(permissions) => {
            let mut refusal = AuthError::Unauthenticated;
            for permission in permissions {
                match principal.authorize(permission) {
                    Err(denied @ AuthError::Denied { .. }) => refusal = denied,
                    decided => return decided,
                }
            }
            Err(refusal)
        }
    }
}

fn permission(action: &'static str, resource: String) -> Permission {
    Permission { action, resource }
}

fn one(permission: Permission) -> Requirement {
    Requirement::All(vec![permission])
}

/// On the repository in the path.
fn on_repository(action: &'static str, call: &Call) -> Permission {
    Permission::repository(action, call.param("repository"))
}

/// On something of the repository in the path.
fn within(action: &'static str, call: &Call, kind: &str, name: &str) -> Permission {
    Permission::within(action, call.param("repository"), kind, name)
}

/// On everything.
pub(crate) fn global<I>(action: &'static str) -> impl Fn(&Call, &I) -> Requirement {
    move |_, _| one(Permission::global(action))
}

/// On the repository in the path.
pub(crate) fn repository<I>(action: &'static str) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| one(on_repository(action, call))
}

/// On the repository in the path, all of these.
pub(crate) fn repository_all<I>(actions: &'static [&'static str]) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| Requirement::All(actions.iter().map(|action| on_repository(action, call)).collect())
}

/// On the repository in the path, one of these.
pub(crate) fn repository_any<I>(actions: &'static [&'static str]) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| Requirement::Any(actions.iter().map(|action| on_repository(action, call)).collect())
}

/// On the branch named by a path parameter.
pub(crate) fn branch<I>(action: &'static str, param: &'static str) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| one(within(action, call, "branch", call.param(param)))
}

/// Merging: a commit on the destination, and writing whatever object the merge is given to resolve a conflict with.
pub(crate) fn merge(call: &Call, merge: &lakebed_api::Merge) -> Requirement {
    let mut needed = vec![within("fs:CreateCommit", call, "branch", call.param("destinationBranch"))];
    let given = merge.resolutions.iter().flatten().filter(|resolution| resolution.object.is_some());
    needed.extend(given.map(|resolution| within("fs:WriteObject", call, "object", &resolution.path)));
    Requirement::All(needed)
}

/// On every branch of the repository.
pub(crate) fn every_branch<I>(action: &'static str) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| one(within(action, call, "branch", "*"))
}

/// On the tag in the path.
pub(crate) fn tag<I>(action: &'static str) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| one(within(action, call, "tag", call.param("tag")))
}

/// Reading the log of a ref: the branch if it is one, or commits in general.
pub(crate) fn log<I>(param: &'static str) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| {
        Requirement::Any(vec![
            within("fs:ReadBranch", call, "branch", call.param(param)),
            on_repository("fs:ReadCommit", call),
        ])
    }
}

/// On the branch in the path, together with reading commits.
pub(crate) fn pick<I>(_: &()) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| {
        Requirement::All(vec![
            within("fs:CreateCommit", call, "branch", call.param("branch")),
            on_repository("fs:ReadCommit", call),
        ])
    }
}

/// Restoring refs.
pub(crate) fn restore<I>(call: &Call, _: &I) -> Requirement {
    Requirement::All(vec![
        within("fs:CreateTag", call, "tag", "*"),
        within("fs:CreateBranch", call, "branch", "*"),
        within("fs:CreateCommit", call, "branch", "*"),
    ])
}

/// On the user, group or policy named by a path parameter.
pub(crate) fn identity<I>(
    action: &'static str,
    kind: &'static str,
    param: &'static str,
) -> impl Fn(&Call, &I) -> Requirement {
    move |call, _| one(permission(action, format!("arn:lakefs:auth:::{kind}/{}", call.param(param))))
}

/// On the user, group or policy the body names.
pub(crate) fn new_identity<I>(
    action: &'static str,
    kind: &'static str,
    id: fn(&I) -> &str,
) -> impl Fn(&Call, &I) -> Requirement {
    move |_, input| one(permission(action, format!("arn:lakefs:auth:::{kind}/{}", id(input))))
}

/// Setting a group's ACL replaces its policies.
pub(crate) fn group_acl<I>(call: &Call, _: &I) -> Requirement {
    let group = || format!("arn:lakefs:auth:::group/{}", call.param("groupId"));
    Requirement::All(vec![permission("auth:AttachPolicy", group()), permission("auth:DetachPolicy", group())])
}

/// On the object whose path the input holds.
pub(crate) fn object<I>(action: &'static str, path: fn(&I) -> &str) -> impl Fn(&Call, &I) -> Requirement {
    move |call, input| one(within(action, call, "object", path(input)))
}

/// The permission to delete one object, for operations that delete many.
pub(crate) fn delete_object(call: &Call, path: &str) -> Permission {
    within("fs:DeleteObject", call, "object", path)
}

/// Making a repository on a namespace.
pub(crate) fn create_repository(name: &str, namespace: &str) -> Requirement {
    Requirement::All(vec![
        Permission::repository("fs:CreateRepository", name),
        permission("fs:AttachStorageNamespace", format!("arn:lakefs:fs:::namespace/{namespace}")),
    ])
}

/// Making a branch.
pub(crate) fn create_branch(call: &Call, name: &str) -> Requirement {
    one(within("fs:CreateBranch", call, "branch", name))
}

/// Making a tag.
pub(crate) fn create_tag(call: &Call, name: &str) -> Requirement {
    one(within("fs:CreateTag", call, "tag", name))
}

/// Copying within a repository.
pub(crate) fn copy_object(call: &Call, source: &str, destination: &str) -> Requirement {
    Requirement::All(vec![
        within("fs:ReadObject", call, "object", source),
        within("fs:WriteObject", call, "object", destination),
    ])
}

/// Copying a part from any repository.
pub(crate) fn copy_part(
    call: &Call,
    source_repository: &str,
    source: &str,
    destination: &str,
) -> Requirement {
    Requirement::All(vec![
        within("fs:WriteObject", call, "object", destination),
        Permission::object("fs:ReadObject", source_repository, source),
    ])
}

/// Registering an address the client names: outside the repository's own namespace that is an import.
pub(crate) fn stage_object(call: &Call, path: &str, address: &str) -> Requirement {
    Requirement::All(vec![
        within("fs:WriteObject", call, "object", path),
        permission("fs:ImportFromStorage", format!("arn:lakefs:fs:::namespace/{address}")),
    ])
}

/// Writing symlink manifests.
pub(crate) fn symlink(call: &Call, location: &str) -> Requirement {
    Requirement::All(vec![
        on_repository("fs:ListObjects", call),
        within("fs:WriteObject", call, "object", location),
    ])
}

/// Importing.
pub(crate) fn import(call: &Call, import: &lakebed_api::ImportCreation) -> Requirement {
    let mut all = Vec::with_capacity(import.paths.len() * 2 + 1);
    for location in &import.paths {
        all.push(permission("fs:ImportFromStorage", format!("arn:lakefs:fs:::namespace/{}", location.path)));
        all.push(within("fs:WriteObject", call, "object", &location.destination));
    }
    all.push(within("fs:CreateCommit", call, "branch", call.param("branch")));
    Requirement::All(all)
}

/// Committing to the branch a pull request names.
pub(crate) fn commit_to(call: &Call, branch: &str) -> Requirement {
    one(within("fs:CreateCommit", call, "branch", branch))
}

/// Merging a pull request. Which branch it merges into is in the pull request, so the handler asks for that.
pub(crate) fn merge_pull<I>(call: &Call, _: &I) -> Requirement {
    one(on_repository("pr:WritePullRequest", call))
}
