//! [`Auth`]: setup, credentials, tokens, over the key-value engine.
//!
//! A request's rows are read together, whenever it is known beforehand which they are: whose a key is tells what was read of
//! it last, and the row read now tells whether it still holds.

use std::sync::Arc;

use lakebed_core::{Clock, Entropy, Timestamp};
use lakebed_kv::{Check, Key, Kv, Outcome, Transaction, Version, Versioned};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::policy::{self, Policy};
use crate::seal::{Claims, Keys};
use crate::{AuthConfig, AuthError, Credentials, Principal, SetupState, SigningKey};

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
    users: Decoded<Arc<Principal>>,
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
        let inner = &self.0;
        let Some(key) = inner.fitting(credentials_key(access_key_id)) else { return Ok(None) };
        let guess = inner.secrets.get(&key).map(|(_, (user, _))| user);
        let mut wanted = vec![Key::from(key.clone())];
        wanted.extend(guess.as_deref().map(|user| Key::from(user_key(user))));
        let mut found = inner.kv.get_many(&wanted).await?.into_iter();
        let Some(row) = found.next().flatten() else { return Ok(None) };
        let (user, secret) = inner.secret(key, &row)?;
        let principal = if guess.as_ref() == Some(&user) {
            found.next().flatten().map(|row| inner.user(&user, &row)).transpose()?
        } else {
            inner.find_user(&user).await?
        };
        Ok(principal.map(|principal| SigningKey { secret, principal }))
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
        let inner = &self.0;
        let claims = inner.keys.verify(token).ok_or(AuthError::Unauthenticated)?;
        let now = inner.clock.now().secs();
        let current = claims.nbf <= now && now < claims.exp;
        let Some(user) = inner.fitting(user_key(&claims.sub)).filter(|_| current && claims.aud == LOGIN)
        else {
            return Err(AuthError::Unauthenticated);
        };
        let found = inner.kv.get_many(&[Key::from_static(INSTALLATION_KEY.as_bytes()), user.into()]).await?;
        match &found[..] {
            [Some(installation), Some(user)] if installation.value == claims.iss.as_bytes() => {
                inner.user(&claims.sub, user)
            }
            _ => Err(AuthError::Unauthenticated),
        }
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

    /// A key, unless it is longer than any there can be.
    fn fitting(&self, key: String) -> Option<String> {
        (key.len() <= self.kv.limits().max_key_bytes).then_some(key)
    }

    /// The user and secret of an access key, of its row as read now; only decrypting is saved.
    fn secret(&self, key: String, row: &Versioned) -> Result<(Arc<str>, Arc<str>), AuthError> {
        if let Some((version, known)) = self.secrets.get(&key)
            && version == row.version
        {
            return Ok(known);
        }
        let decoded: CredentialsRow = decode(&row.value)?;
        let secret = self.keys.open(&decoded.sealed).ok_or(AuthError::WrongKey)?;
        let known: (Arc<str>, Arc<str>) = (decoded.user.into(), secret.into());
        self.secrets.insert(key, (row.version, known.clone()));
        Ok(known)
    }

    async fn find_user(&self, id: &str) -> Result<Option<Arc<Principal>>, AuthError> {
        let Some(key) = self.fitting(user_key(id)) else { return Ok(None) };
        let row = self.kv.get(key.as_bytes()).await?;
        row.map(|row| self.user(id, &row)).transpose()
    }

    /// A user, of its row as read now.
    fn user(&self, id: &str, row: &Versioned) -> Result<Arc<Principal>, AuthError> {
        if let Some((version, user)) = self.users.get(id)
            && version == row.version
        {
            return Ok(user);
        }
        let decoded: UserRow = decode(&row.value)?;
        let user = Arc::new(Principal {
            user_id: id.to_owned(),
            email: decoded.email,
            friendly_name: decoded.friendly_name,
            created: Timestamp::from_millis(decoded.created_ms),
            policies: decoded.policies,
        });
        self.users.insert(id.to_owned(), (row.version, user.clone()));
        Ok(user)
    }
}
