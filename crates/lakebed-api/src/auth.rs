//! Setup, sign-in, users, groups, policies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nullable;
use crate::objects_only::{objects, optional_object};

/// A key pair of the caller's choice.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessKeyCredentials {
    /// Public part.
    #[schemars(length(min = 1))]
    pub access_key_id: String,
    /// Secret part.
    #[schemars(length(min = 1))]
    pub secret_access_key: String,
}

/// The first administrator.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Setup {
    /// Their id.
    pub username: String,
    /// Their keys; fresh ones if absent.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub key: Option<AccessKeyCredentials>,
    /// Their e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// First name; taken and dropped.
    #[serde(default, rename = "firstName", skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Last name; taken and dropped.
    #[serde(default, rename = "lastName", skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Company; taken and dropped.
    #[serde(default, rename = "companyName", skip_serializing_if = "Option::is_none")]
    pub company_name: Option<String>,
    /// Wants news of features; taken and dropped.
    #[serde(default, rename = "featureUpdates", skip_serializing_if = "Option::is_none")]
    pub feature_updates: Option<bool>,
    /// Wants news of security; taken and dropped.
    #[serde(default, rename = "securityUpdates", skip_serializing_if = "Option::is_none")]
    pub security_updates: Option<bool>,
}

/// Whether the server is set up, and how one signs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetupState {
    /// Whether communication preferences should be asked for.
    #[serde(default)]
    pub comm_prefs_missing: bool,
    /// How one signs in.
    pub login_config: LoginConfig,
    /// `initialized` or `not_initialized`.
    #[schemars(extend("enum" = ["initialized", "not_initialized"]))]
    pub state: String,
}

/// How one signs in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginConfig {
    /// Which access model: `none`, `simplified`, `internal`, `external`.
    #[serde(rename = "RBAC")]
    #[schemars(extend("enum" = ["none", "simplified", "internal", "external"]))]
    pub rbac: String,
    /// The session cookies.
    pub login_cookie_names: Vec<String>,
    /// What to say to wrong credentials.
    pub login_failed_message: String,
    /// Where to sign in; empty = the own form.
    pub login_url: String,
    /// `none`, `redirect` or `select`.
    #[schemars(extend("enum" = ["none", "redirect", "select"]))]
    pub login_url_method: String,
    /// Where to sign out; empty = the own place.
    pub logout_url: String,
    /// What the form's first field asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_ui_placeholder: Option<String>,
    /// What the form's second field asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_ui_placeholder: Option<String>,
    /// Another place to sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_login_url: Option<String>,
    /// What to call that place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_login_label: Option<String>,
}

/// Communication preferences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommPrefsInput {
    /// E-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// First name.
    #[serde(default, rename = "firstName", skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Last name.
    #[serde(default, rename = "lastName", skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Company.
    #[serde(default, rename = "companyName", skip_serializing_if = "Option::is_none")]
    pub company_name: Option<String>,
    /// Wants news of features.
    #[serde(rename = "featureUpdates")]
    pub feature_updates: bool,
    /// Wants news of security.
    #[serde(rename = "securityUpdates")]
    pub security_updates: bool,
}

/// A key pair without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Credentials {
    /// Public part.
    pub access_key_id: String,
    /// When it was made, Unix seconds.
    pub creation_date: i64,
}

/// A key pair as given out once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct CredentialsWithSecret {
    /// Public part.
    pub access_key_id: String,
    /// When it was made.
    pub creation_date: i64,
    /// Secret part.
    pub secret_access_key: String,
}

/// A sign-in with a key pair.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoginInformation {
    /// Public part.
    pub access_key_id: String,
    /// Secret part.
    pub secret_access_key: String,
}

/// A session.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct AuthenticationToken {
    /// Goes behind `Authorization: Bearer`.
    pub token: String,
    /// When it ends, Unix seconds.
    pub token_expiration: i64,
}

/// A sign-in with an identity of elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExternalLoginInformation {
    /// Wanted lifetime in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expiration_duration: Option<i64>,
    /// What proves the identity.
    #[serde(rename = "identityRequest")]
    pub identity_request: serde_json::Map<String, serde_json::Value>,
}

/// A sign-in with a code of an identity provider.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StsAuthRequest {
    /// The code.
    pub code: String,
    /// The state sent along.
    pub state: String,
    /// Where the provider sent the user.
    pub redirect_uri: String,
    /// Wanted lifetime in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<i64>,
}

/// A user. Both texts are absent only for the anonymous caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// When they were made.
    pub creation_date: i64,
    /// E-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// Their id; empty = nobody.
    pub id: String,
}

/// Who is asking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CurrentUser {
    /// The user.
    pub user: User,
}

/// What user administration can do beyond the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthCapabilities {
    /// Whether users can be invited by e-mail.
    #[serde(default)]
    pub invite_user: bool,
    /// Whether a forgotten password can be replaced by e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgot_password: Option<bool>,
}

/// A user to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserCreation {
    /// Their id.
    pub id: String,
    /// Invite them by e-mail.
    #[serde(default, deserialize_with = "nullable")]
    pub invite_user: bool,
}

/// A group to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupCreation {
    /// Its id.
    pub id: String,
    /// Text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// When it was made, Unix seconds.
    pub creation_date: i64,
    /// Text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its id.
    pub id: String,
    /// Its name; the same as its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies.
    Deny,
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Statement {
    /// Allow or deny.
    pub effect: Effect,
    /// On what: an ARN, `*`, or a JSON list of ARNs in a string.
    pub resource: String,
    /// Which actions; at least one.
    #[schemars(length(min = 1))]
    pub action: Vec<String>,
    /// When it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<BTreeMap<String, BTreeMap<String, Vec<String>>>>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// Its id.
    pub id: String,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_date: Option<i64>,
    /// Its rules; at least one.
    #[serde(deserialize_with = "objects")]
    #[schemars(length(min = 1))]
    pub statement: Vec<Statement>,
}

/// A group's rights in the simplified model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ACL")]
pub struct Acl {
    /// `Read`, `Write`, `Super` or `Admin`.
    pub permission: String,
}

/// Settings of an external principal.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ExternalPrincipalCreation {
    /// Free settings.
    #[serde(default, deserialize_with = "nullable")]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// A user's identity elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalPrincipal {
    /// What it is called there.
    pub id: String,
    /// The user it signs in as.
    pub user_id: String,
    /// Free settings. Left out when there are none: published clients take the description, which calls them an object
    /// with items, for a list.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// Why a group has no rights in the simplified model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ErrorNoACL")]
pub struct ErrorNoAcl {
    /// What was wrong.
    pub message: String,
    /// True if the group is there, but has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_acl: Option<bool>,
}
