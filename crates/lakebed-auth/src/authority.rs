//! [`Auth`]: setup, credentials, tokens, over the key-value engine.

use std::sync::Arc;

use lakebed_core::{Clock, Entropy, Timestamp};
use lakebed_kv::{Check, Kv, Outcome, Transaction, Version};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::policy::{self, Policy};
use crate::seal::{Claims, Keys};
use crate::{AuthConfig, AuthError, Credentials, Permission, Principal, SetupState, SigningKey};

/// Decrypted credentials and users kept in memory, each.
const CACHED: usize = 1024;

/// What login tokens are for.
const LOGIN: &str = "login";

/// Users, credentials, tokens, permissions. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

/// A decoded row and the version it was decoded from: counts only while the engine says that version, so a deleted or
/// changed credential is refused at once.
type Decoded<T> = Cache<String, (Version, T)>;

struct Inner {
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    keys: Keys,
    login_secs: i64,
    secrets: Decoded<(Arc<str>, Arc<str>)>,
    users: Decoded<User>,
}

#[derive(Serialize, Deserialize)]
// A field of a later version is refused, not lost when the row is written again.
#[serde(deny_unknown_fields)]
struct CredentialsRow {
    user: String,
    sealed: Vec<u8>,
    created_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRow {
    email: Option<String>,
    friendly_name: Option<String>,
    created_ms: i64,
    policies: Vec<Policy>,
}

#[derive(Clone)]
struct User {
    principal: Arc<Principal>,
    policies: Arc<Vec<Policy>>,
}

// All keys start with `a`: the catalog leaves it to us.
const SETUP_KEY: &str = "auth/setup";
const INSTALLATION_KEY: &str = "auth/installation";

fn credentials_key(id: &str) -> String {
    format!("auth/credentials/{id}")
}

fn user_key(id: &str) -> String {
    format!("auth/user/{id}")
}

fn encode(row: &impl Serialize) -> Result<Vec<u8>, AuthError> {
    serde_json::to_vec(row).map_err(|error| AuthError::Damaged(error.to_string()))
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, AuthError> {
    serde_json::from_slice(bytes).map_err(|error| AuthError::Damaged(error.to_string()))
}

const KEY_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

impl Auth {
    /// An authority over this configuration.
    pub fn new(config: AuthConfig) -> Self {
        Self(Arc::new(Inner {
            keys: Keys::derive(&config.secret_key),
            kv: config.kv,
            clock: config.clock,
            entropy: config.entropy,
            login_secs: config.login_duration_secs,
            secrets: Cache::new(CACHED),
            users: Cache::new(CACHED),
        }))
    }

    /// Whether setup was done.
    pub async fn setup_state(&self) -> Result<SetupState, AuthError> {
        Ok(match self.0.kv.get(SETUP_KEY.as_bytes()).await? {
            Some(_) => SetupState::Initialized,
            None => SetupState::NotInitialized,
        })
    }

    /// Makes the administrator, with the key pair given or a fresh one. Exactly one caller ever succeeds.
    pub async fn setup(
        &self,
        user: &str,
        key_pair: Option<(String, String)>,
    ) -> Result<Credentials, AuthError> {
        let inner = &self.0;
        if self.setup_state().await? == SetupState::Initialized {
            return Err(AuthError::AlreadyInitialized);
        }
        if user.is_empty() {
            return Err(AuthError::Invalid("argument username: required value".to_owned()));
        }
        let (access_key_id, secret_access_key) = match key_pair {
            Some((id, secret)) => {
                check_key_pair(&id, &secret)?;
                (id, secret)
            }
            None => inner.fresh_key_pair(),
        };
        let created = inner.clock.now();
        let user_row = UserRow {
            email: None,
            friendly_name: None,
            created_ms: created.millis(),
            policies: policy::administrator(),
        };
        let sealed = inner
            .keys
            .seal(&*inner.entropy, &secret_access_key)
            .ok_or_else(|| AuthError::Damaged("the secret could not be encrypted".to_owned()))?;
        let credentials = CredentialsRow { user: user.to_owned(), sealed, created_ms: created.millis() };
        // One transaction: a crash leaves nothing or everything, and one of many callers wins.
        let transaction = Transaction::new()
            .check(SETUP_KEY, Check::Absent)
            .put(SETUP_KEY, created.millis().to_string())
            .put(user_key(user), encode(&user_row)?)
            .put(credentials_key(&access_key_id), encode(&credentials)?);
        match inner.kv.transact(transaction).await? {
            Outcome::Done(_) => Ok(Credentials { access_key_id, secret_access_key, created }),
            Outcome::Refused(_) => Err(AuthError::AlreadyInitialized),
            Outcome::Unknown => Err(AuthError::Damaged(
                "the outcome of setup is unknown: look whether it is done, or try again".to_owned(),
            )),
        }
    }

    /// A UUID made at the first start, the same ever after.
    pub async fn installation_id(&self) -> Result<String, AuthError> {
        let inner = &self.0;
        loop {
            if let Some(row) = inner.kv.get(INSTALLATION_KEY.as_bytes()).await? {
                return Ok(String::from_utf8_lossy(&row.value).into_owned());
            }
            let mut random = [0; 16];
            inner.entropy.fill(&mut random);
            let id = uuid::Builder::from_random_bytes(random).into_uuid().to_string();
            let transaction =
                Transaction::new().check(INSTALLATION_KEY, Check::Absent).put(INSTALLATION_KEY, id.clone());
            // Refused or unknown: read what is there now.
            if let Outcome::Done(_) = inner.kv.transact(transaction).await? {
                return Ok(id);
            }
        }
    }

    /// The secret behind an access key id; `None` if unknown.
    pub async fn signing_key(&self, access_key_id: &str) -> Result<Option<SigningKey>, AuthError> {
        let Some((user, secret)) = self.0.secret(access_key_id).await? else {
            return Ok(None);
        };
        let Some(user) = self.0.user(&user).await? else {
            return Ok(None);
        };
        Ok(Some(SigningKey { secret, principal: user.principal }))
    }

    /// Basic authentication; the comparison takes constant time.
    pub async fn authenticate_key(
        &self,
        access_key_id: &str,
        secret: &str,
    ) -> Result<Arc<Principal>, AuthError> {
        match self.signing_key(access_key_id).await? {
            Some(known) if bool::from(known.secret.as_bytes().ct_eq(secret.as_bytes())) => {
                Ok(known.principal)
            }
            _ => Err(AuthError::Unauthenticated),
        }
    }

    /// A login: a token and when it expires.
    pub async fn login(&self, access_key_id: &str, secret: &str) -> Result<(String, Timestamp), AuthError> {
        let principal = self.authenticate_key(access_key_id, secret).await?;
        let inner = &self.0;
        let now = inner.clock.now().secs();
        let claims = Claims {
            iss: self.installation_id().await?,
            aud: LOGIN.to_owned(),
            sub: principal.user_id.clone(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(inner.login_secs),
            jti: format!("{:016x}{:016x}", inner.entropy.next_u64(), inner.entropy.next_u64()),
        };
        let token = inner
            .keys
            .sign(&claims)
            .ok_or_else(|| AuthError::Damaged("the token could not be signed".to_owned()))?;
        Ok((token, Timestamp::from_secs(claims.exp)))
    }

    /// Bearer or cookie authentication.
    pub async fn authenticate_token(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        let claims = self.0.keys.verify(token).ok_or(AuthError::Unauthenticated)?;
        let now = self.0.clock.now().secs();
        let current = claims.nbf <= now && now < claims.exp;
        if !current || claims.aud != LOGIN || claims.iss != self.installation_id().await? {
            return Err(AuthError::Unauthenticated);
        }
        let user = self.0.user(&claims.sub).await?.ok_or(AuthError::Unauthenticated)?;
        Ok(user.principal)
    }

    /// May this user do this? Denied unless a policy allows it.
    pub async fn authorize(&self, principal: &Principal, needed: &Permission) -> Result<(), AuthError> {
        let user = self.0.user(&principal.user_id).await?;
        let allowed = user.is_some_and(|user| {
            policy::allows(&*user.policies, &principal.user_id, needed.action, &needed.resource)
        });
        if allowed {
            return Ok(());
        }
        Err(AuthError::Denied { action: needed.action.to_owned(), resource: needed.resource.clone() })
    }
}

/// A pair that works through Basic and SigV4, or is refused: never accepted and useless (`auth.md` §2.1).
fn check_key_pair(id: &str, secret: &str) -> Result<(), AuthError> {
    let id_is_good = (3..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.@-".contains(&b));
    if !id_is_good {
        return Err(AuthError::Invalid(
            "argument key.access_key_id: 3 to 128 characters A-Z, a-z, 0-9, '_', '.', '@', '-': validation error"
                .to_owned(),
        ));
    }
    if !(8..=256).contains(&secret.len()) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(AuthError::Invalid(
            "argument key.secret_access_key: 8 to 256 printable ASCII characters: validation error"
                .to_owned(),
        ));
    }
    Ok(())
}

impl Inner {
    fn fresh_key_pair(&self) -> (String, String) {
        use base64::Engine;
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let id: String = random.iter().map(|byte| char::from(KEY_ALPHABET[usize::from(byte % 32)])).collect();
        let mut secret = [0; 30];
        self.entropy.fill(&mut secret);
        (format!("AKIA{id}"), base64::engine::general_purpose::STANDARD.encode(secret))
    }

    /// The user and secret of an access key. The row is read every time; only decrypting is saved.
    async fn secret(&self, id: &str) -> Result<Option<(Arc<str>, Arc<str>)>, AuthError> {
        let key = credentials_key(id);
        if key.len() > self.kv.limits().max_key_bytes {
            return Ok(None);
        }
        let Some(row) = self.kv.get(key.as_bytes()).await? else {
            return Ok(None);
        };
        if let Some((version, known)) = self.secrets.get(&key)
            && version == row.version
        {
            return Ok(Some(known));
        }
        let decoded: CredentialsRow = decode(&row.value)?;
        let secret = self.keys.open(&decoded.sealed).ok_or(AuthError::WrongKey)?;
        let known: (Arc<str>, Arc<str>) = (decoded.user.into(), secret.into());
        self.secrets.insert(key, (row.version, known.clone()));
        Ok(Some(known))
    }

    async fn user(&self, id: &str) -> Result<Option<User>, AuthError> {
        let key = user_key(id);
        if key.len() > self.kv.limits().max_key_bytes {
            return Ok(None);
        }
        let Some(row) = self.kv.get(key.as_bytes()).await? else {
            return Ok(None);
        };
        if let Some((version, user)) = self.users.get(&key)
            && version == row.version
        {
            return Ok(Some(user));
        }
        let decoded: UserRow = decode(&row.value)?;
        let principal = Principal {
            user_id: id.to_owned(),
            email: decoded.email,
            friendly_name: decoded.friendly_name,
            created: Timestamp::from_millis(decoded.created_ms),
        };
        let user = User { principal: Arc::new(principal), policies: Arc::new(decoded.policies) };
        self.users.insert(key, (row.version, user.clone()));
        Ok(Some(user))
    }
}
