//! Who the server is to Google: a service account's key, a user's, or the machine it runs on.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use lakebed_core::Clock;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::errors::Said;
use crate::remote::client::{Call, Http, Sent};
use crate::remote::names::encoded;
use crate::remote::token::{Given, HeldToken};
use crate::{BlockAddress, BlockError};

/// What may be done with a token: objects, no settings of buckets.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// The longest answer of a token endpoint.
const TOKEN_ANSWER: usize = 64 << 10;
/// Where machines of Google's are told who they are.
const METADATA: &str = "metadata.google.internal";

/// Where the credentials come from (`operations.md` 2.7).
#[derive(Clone, Default)]
pub enum GsCredentials {
    /// A file of credentials.
    File(PathBuf),
    /// Its content.
    Json(String),
    /// The usual places: the file named by `GOOGLE_APPLICATION_CREDENTIALS`, the one `gcloud` left, the machine.
    #[default]
    Environment,
}

impl std::fmt::Debug for GsCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Json(_) => f.write_str("Json"),
            Self::Environment => f.write_str("Environment"),
        }
    }
}

/// A file of credentials, as far as it matters.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount {
        client_email: String,
        private_key: String,
        #[serde(default)]
        private_key_id: String,
        #[serde(default = "google_tokens")]
        token_uri: String,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        #[serde(default = "google_tokens")]
        token_uri: String,
    },
}

fn google_tokens() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

/// A service account whose key is here: it can sign.
pub(super) struct Account {
    pub(super) email: String,
    key: RsaKeyPair,
    key_id: String,
    token_uri: String,
}

impl Account {
    /// RSA PKCS #1 with SHA-256.
    pub(super) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, BlockError> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)
            .map_err(|_| unusable("the private key does not sign"))?;
        Ok(signature)
    }

    /// The request for a token, signed.
    fn assertion(&self, now_secs: i64) -> Result<String, BlockError> {
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = serde_json::json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now_secs, "exp": now_secs + 3600,
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

enum Identity {
    Account(Box<Account>),
    User {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        token_uri: String,
    },
    /// By the host of its metadata service.
    Machine(String),
    /// An emulator, which asks nobody.
    Nobody,
}

/// The identity and its current token.
pub(super) struct Credentials {
    identity: Identity,
    token: HeldToken,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    #[serde(default)]
    expires_in: i64,
}

fn unusable(why: impl std::fmt::Display) -> BlockError {
    let source = std::io::Error::other(format!("Google credentials: {why}"));
    BlockError::Io { what: "open", source }
}

impl Credentials {
    /// Finds them. `plain` says that the store's endpoint is not encrypted: the environment's tokens are not for it.
    pub(super) fn find(
        wanted: &GsCredentials,
        plain: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BlockError> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .map_err(|error| unusable(format!("'{}' cannot be read: {error}", path.display())))
        };
        let identity = match wanted {
            GsCredentials::File(path) => Identity::of_json(&read(path)?)?,
            GsCredentials::Json(json) => Identity::of_json(json)?,
            GsCredentials::Environment if plain => Identity::Nobody,
            GsCredentials::Environment => {
                let named =
                    std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.is_empty());
                let left = std::env::var_os("HOME")
                    .map(|home| {
                        PathBuf::from(home).join(".config/gcloud/application_default_credentials.json")
                    })
                    .filter(|path| path.is_file());
                match named.map(PathBuf::from).or(left) {
                    Some(path) => Identity::of_json(&read(&path)?)?,
                    None => Identity::Machine(
                        std::env::var("GCE_METADATA_HOST").unwrap_or_else(|_| METADATA.to_owned()),
                    ),
                }
            }
        };
        Ok(Self { identity, token: HeldToken::new(clock) })
    }

    /// The account that can sign, if the credentials are one.
    pub(super) fn account(&self) -> Option<&Account> {
        match &self.identity {
            Identity::Account(account) => Some(account),
            _ => None,
        }
    }

    /// The token to show; none for an emulator.
    pub(super) async fn token(&self, http: &Http) -> Result<Option<String>, BlockError> {
        if matches!(self.identity, Identity::Nobody) {
            return Ok(None);
        }
        let fetch = async |now| {
            let Token { access_token: token, expires_in: life_secs } = self.fetch(http, now).await?;
            Ok(Given { token, life_secs })
        };
        self.token.get(fetch).await.map(Some)
    }

    async fn fetch(&self, http: &Http, now_secs: i64) -> Result<Token, BlockError> {
        let form = |uri: &str, fields: &[(&str, &str)]| {
            let body: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
            Call::new(Method::POST, uri.to_owned())
                .with("content-type", "application/x-www-form-urlencoded")
                .with_body(Sent::Bytes(body.join("&").into()))
        };
        let call = match &self.identity {
            Identity::Account(account) => form(
                &account.token_uri,
                &[
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", &account.assertion(now_secs)?),
                ],
            ),
            Identity::User { client_id, client_secret, refresh_token, token_uri } => form(
                token_uri,
                &[
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret),
                    ("refresh_token", refresh_token),
                ],
            ),
            Identity::Machine(host) => Call::new(
                Method::GET,
                format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token"),
            )
            .with("metadata-flavor", "Google"),
            Identity::Nobody => return Err(unusable("none are needed")),
        };
        let from = BlockAddress::new(call.uri.clone());
        let answer = http.send(call).await.map_err(|error| BlockError::Unavailable {
            what: "get a token",
            why: match self.identity {
                Identity::Machine(_) => {
                    format!("{}: this is no machine of Google's, set blockstore.gs.credentials_file", error.0)
                }
                _ => format!("{} at {from}", error.0),
            },
        })?;
        if !answer.status.is_success() {
            let Said { status, code, message } = Said::by(answer).await;
            return Err(unusable(format!("{from} gives no token: {status} {code} {message}")));
        }
        let body = answer.bytes(TOKEN_ANSWER).await.map_err(|error| unusable(error.0))?;
        serde_json::from_slice(&body).map_err(|error| unusable(format!("the token from {from}: {error}")))
    }
}

impl Identity {
    fn of_json(json: &str) -> Result<Self, BlockError> {
        let file: File = serde_json::from_str(json).map_err(|error| {
            // The text may hold secrets: only where it is wrong is told.
            unusable(format!(
                "they are no JSON of a service_account or an authorized_user (line {}, column {}: {:?} error)",
                error.line(),
                error.column(),
                error.classify()
            ))
        })?;
        Ok(match file {
            File::ServiceAccount { client_email, private_key, private_key_id, token_uri } => {
                let der = PrivatePkcs8KeyDer::from_pem_slice(private_key.as_bytes())
                    .map_err(|_| unusable("private_key is no PEM of a PKCS #8 key"))?;
                let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
                    .map_err(|error| unusable(format!("private_key: {error}")))?;
                let account = Account { email: client_email, key, key_id: private_key_id, token_uri };
                Self::Account(Box::new(account))
            }
            File::AuthorizedUser { client_id, client_secret, refresh_token, token_uri } => {
                Self::User { client_id, client_secret, refresh_token, token_uri }
            }
        })
    }
}
