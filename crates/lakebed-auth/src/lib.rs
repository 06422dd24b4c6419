//! Users, credentials, tokens and the authorization decision. Does not know HTTP.
//!
//! Two questions are answered for every request: who is it ([`Auth::authenticate_key`], [`Auth::authenticate_token`], or
//! [`Auth::signing_key`] for doors that verify a signature themselves), and may they ([`Principal::authorize`]). A
//! [`Principal`] is what was read of the user for this one request, policies included: it is read once, and never kept for
//! the next. The rules are `auth.md`; whatever is not allowed is denied.

mod authority;
mod policy;
mod seal;

use std::sync::Arc;

use lakebed_core::{Clock, Entropy, Timestamp};
use lakebed_kv::{Kv, KvError};

pub use authority::Auth;
pub use policy::{Effect, Policy, Statement};

/// What the authority stands on.
pub struct AuthConfig {
    /// Where users and credentials are kept.
    pub kv: Arc<dyn Kv>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// `auth.encrypt.secret_key`: encrypts stored secrets and signs tokens. At least one byte.
    pub secret_key: Vec<u8>,
    /// How long a login token lives, in seconds.
    pub login_duration_secs: i64,
}

/// Who a request comes from, as read when the request was authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's id.
    pub user_id: String,
    /// The user's e-mail, if known.
    pub email: Option<String>,
    /// The user's friendly name, if known.
    pub friendly_name: Option<String>,
    /// When the user was made.
    pub created: Timestamp,
    /// What the user may do.
    policies: Vec<Policy>,
}

impl Principal {
    /// Whom commits name: the e-mail if known, else the id.
    pub fn committer(&self) -> &str {
        self.email.as_deref().unwrap_or(&self.user_id)
    }

    /// May this user do this? Denied unless a policy allows it.
    pub fn authorize(&self, needed: &Permission) -> Result<(), AuthError> {
        if policy::allows(&self.policies, &self.user_id, needed.action, &needed.resource) {
            return Ok(());
        }
        Err(AuthError::Denied { action: needed.action.to_owned(), resource: needed.resource.clone() })
    }
}

/// A key pair as given out once.
#[derive(Clone)]
pub struct Credentials {
    /// Public part.
    pub access_key_id: String,
    /// Secret part: never logged, `Debug` is not implemented on purpose.
    pub secret_access_key: String,
    /// When it was made.
    pub created: Timestamp,
}

/// A secret for verifying a signature, with whose it is.
#[derive(Clone)]
pub struct SigningKey {
    /// The secret access key.
    pub secret: Arc<str>,
    /// The user.
    pub principal: Arc<Principal>,
}

/// Whether the server has its administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupState {
    /// Not yet.
    NotInitialized,
    /// It has.
    Initialized,
}

/// One permission an operation needs: an action (`fs:ReadObject`) on a resource (`arn:lakefs:fs:::repository/x`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The action's name as in `auth.md` §9.2.
    pub action: &'static str,
    /// The resource's ARN.
    pub resource: String,
}

impl Permission {
    /// On everything.
    pub fn global(action: &'static str) -> Self {
        Self { action, resource: "*".to_owned() }
    }

    /// On a repository.
    pub fn repository(action: &'static str, repository: &str) -> Self {
        Self { action, resource: format!("arn:lakefs:fs:::repository/{repository}") }
    }

    /// On something of a repository: `kind` is `object`, `branch` or `tag`.
    pub fn within(action: &'static str, repository: &str, kind: &str, name: &str) -> Self {
        Self { action, resource: format!("arn:lakefs:fs:::repository/{repository}/{kind}/{name}") }
    }

    /// On an object, whatever ref it is read from or written to.
    pub fn object(action: &'static str, repository: &str, path: &str) -> Self {
        Self::within(action, repository, "object", path)
    }
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown key, wrong secret, bad or expired token. One error for all, on purpose.
    #[error("error authenticating request")]
    Unauthenticated,
    /// Known, but not allowed.
    #[error("insufficient permissions: {action} on {resource} is needed")]
    Denied {
        /// The action asked for.
        action: String,
        /// On what.
        resource: String,
    },
    /// Setup was done already.
    #[error("setup is already complete")]
    AlreadyInitialized,
    /// An argument is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The key-value engine failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A stored secret cannot be read: another `auth.encrypt.secret_key` made it.
    #[error("stored credentials cannot be decrypted: was auth.encrypt.secret_key changed?")]
    WrongKey,
    /// A stored record cannot be read or a new one not made.
    #[error("authentication records: {0}")]
    Damaged(String),
}

impl AuthError {
    /// Whether the key-value engine is out of reach or overloaded: the same may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Kv(KvError::Unavailable(_)))
    }
}
