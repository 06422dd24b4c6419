//! Operations of the API description that this server does not do yet, in one place. Each checks its request and its
//! caller like every other, and then says so with 501 - or gives the answer that is right because nothing of the kind
//! can exist: an empty list, or 404 for a run or task.

use http::StatusCode;
use lakebed_api::{
    Acl, Effect, ExternalLoginInformation, ExternalPrincipalCreation, GroupCreation, List, Policy,
    StsAuthRequest, UserCreation,
};
use lakebed_catalog::PageRequest;

use super::page;
use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};
use crate::service::unknown_endpoint;

fn not_yet(what: &str) -> Reply {
    Err(RestError::not_implemented(format!("{what} is not implemented by this server yet")))
}

async fn in_repository(call: &Call) -> Result<(), RestError> {
    call.catalog().repository(&call.repository()?).await?;
    Ok(())
}

fn empty_list() -> Reply {
    reply::ok(&List::<()>::new(Vec::new(), false, String::new()))
}

// Users, groups, policies

pub(crate) async fn administration<I>(_: Call, _: I) -> Reply {
    not_yet("managing users, groups and policies")
}

/// Described, but not part of the free server our clients know.
pub(crate) async fn unknown(_: Call, (): ()) -> Reply {
    unknown_endpoint()
}

pub(crate) async fn external_login<I>(_: Call, _: I) -> Reply {
    not_yet("signing in with an external identity")
}

pub(crate) fn new_user(_: &Call, user: UserCreation) -> Result<UserCreation, RestError> {
    if user.id.is_empty() {
        return Err(RestError::bad_request("user id must not be empty: validation error"));
    }
    if user.invite_user {
        return Err(RestError::bad_request(
            "this server cannot invite users by e-mail: leave out invite_user",
        ));
    }
    Ok(user)
}

pub(crate) fn new_group(_: &Call, group: GroupCreation) -> Result<GroupCreation, RestError> {
    Ok(group)
}

pub(crate) fn policy(_: &Call, policy: Policy) -> Result<Policy, RestError> {
    if policy.statement.is_empty() {
        return Err(RestError::bad_request("request body has an error: statement needs at least one item"));
    }
    for statement in &policy.statement {
        let (Effect::Allow | Effect::Deny) = statement.effect;
        if statement.action.is_empty() {
            return Err(RestError::bad_request("request body has an error: action needs at least one item"));
        }
    }
    Ok(policy)
}

pub(crate) fn acl(_: &Call, acl: Acl) -> Result<Acl, RestError> {
    match acl.permission.as_str() {
        "Read" | "Write" | "Super" | "Admin" => Ok(acl),
        other => Err(RestError::bad_request(format!(
            "ACL permission '{other}' must be Read, Write, Super or Admin: validation error"
        ))),
    }
}

pub(crate) fn effective_policies(call: &Call) -> Result<PageRequest, RestError> {
    call.query().flag("effective")?;
    page(call)
}

pub(crate) fn principal(call: &Call) -> Result<String, RestError> {
    call.query().required("principalId")
}

pub(crate) fn new_principal(call: &Call, _: Option<ExternalPrincipalCreation>) -> Result<String, RestError> {
    principal(call)
}

pub(crate) fn external_login_input(
    _: &Call,
    login: ExternalLoginInformation,
) -> Result<ExternalLoginInformation, RestError> {
    Ok(login)
}

pub(crate) fn sts_login_input(_: &Call, login: StsAuthRequest) -> Result<StsAuthRequest, RestError> {
    Ok(login)
}

/// Nobody is signed in through an identity provider here; the provider's redirect finds an empty page.
pub(crate) async fn oidc_callback(_: Call, (): ()) -> Reply {
    Ok(reply::empty(StatusCode::OK))
}

// Hooks

pub(crate) fn runs_input(call: &Call) -> Result<PageRequest, RestError> {
    call.query().text("branch")?;
    call.query().text("commit")?;
    page(call)
}

/// No hook ever ran.
pub(crate) async fn runs(call: Call, _: PageRequest) -> Reply {
    in_repository(&call).await?;
    empty_list()
}

pub(crate) async fn unknown_run<I>(call: Call, _: I) -> Reply {
    in_repository(&call).await?;
    Err(RestError::not_found("run not found"))
}
