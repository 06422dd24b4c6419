//! Who the server is to Azure where no key of the account is configured: an application, a workload, or the machine.

use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use lakebed_core::Clock;
use serde::Deserialize;

use super::errors::Said;
use crate::remote::client::{Call, Http, Sent};
use crate::remote::names::{encoded, query};
use crate::remote::token::{Given, HeldToken};
use crate::{BlockAddress, BlockError};

const RESOURCE: &str = "https://storage.azure.com/";
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// Where machines of Azure's are told who they are.
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// The longest answer of a token endpoint.
const TOKEN_ANSWER: usize = 64 << 10;

/// Where tokens come from, found in the environment as Azure's own clients do.
enum Source {
    /// `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, and `AZURE_CLIENT_SECRET` or `AZURE_FEDERATED_TOKEN_FILE`.
    Application { tenant: String, client: String, proof: Proof },
    /// A managed identity as App Service and the like offer it: `IDENTITY_ENDPOINT`, `IDENTITY_HEADER`.
    Service { endpoint: String, header: String, client: Option<String> },
    /// A managed identity of a virtual machine.
    Machine { client: Option<String> },
}

enum Proof {
    Secret(String),
    /// Read anew each time: it is replaced while the server runs.
    File(PathBuf),
}

/// The identity and its current token.
pub(super) struct Identity {
    source: Source,
    authority: String,
    token: HeldToken,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    /// A number, or one in quotes.
    #[serde(default)]
    expires_in: serde_json::Value,
}

fn unusable(why: impl std::fmt::Display) -> BlockError {
    let source = std::io::Error::other(format!("Azure identity: {why}"));
    BlockError::Io { what: "open", source }
}

impl Identity {
    /// As the environment has it, read by `variable`.
    pub(super) fn find(variable: impl Fn(&str) -> Option<String>, clock: Arc<dyn Clock>) -> Self {
        let client = variable("AZURE_CLIENT_ID");
        let proof = variable("AZURE_CLIENT_SECRET")
            .map(Proof::Secret)
            .or_else(|| variable("AZURE_FEDERATED_TOKEN_FILE").map(|path| Proof::File(path.into())));
        let source = match (variable("AZURE_TENANT_ID"), client, proof) {
            (Some(tenant), Some(client), Some(proof)) => Source::Application { tenant, client, proof },
            (_, client, _) => match (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
                (Some(endpoint), Some(header)) => Source::Service { endpoint, header, client },
                _ => Source::Machine { client },
            },
        };
        let authority = variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
        let authority = authority.trim_end_matches('/').to_owned();
        Self { source, authority, token: HeldToken::new(clock) }
    }

    /// The token to show.
    pub(super) async fn token(&self, http: &Http) -> Result<String, BlockError> {
        let fetch = async |_| {
            let Token { access_token: token, expires_in } = self.fetch(http).await?;
            let life_secs = expires_in.as_i64().or_else(|| expires_in.as_str()?.parse().ok()).unwrap_or(0);
            Ok(Given { token, life_secs })
        };
        self.token.get(fetch).await
    }

    async fn fetch(&self, http: &Http) -> Result<Token, BlockError> {
        let managed = |base: &str, version: &str, client: &Option<String>| {
            let mut asked = vec![("api-version", version), ("resource", RESOURCE)];
            asked.extend(client.as_deref().map(|client| ("client_id", client)));
            Call::new(Method::GET, format!("{base}{}", query(&asked)))
        };
        let call = match &self.source {
            Source::Application { tenant, client, proof } => {
                let proof = match proof {
                    Proof::Secret(secret) => format!("client_secret={}", encoded(secret)),
                    Proof::File(path) => {
                        let token = tokio::fs::read_to_string(path).await.map_err(|error| {
                            unusable(format!("'{}' cannot be read: {error}", path.display()))
                        })?;
                        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                        format!(
                            "client_assertion_type={}&client_assertion={}",
                            encoded(kind),
                            encoded(token.trim())
                        )
                    }
                };
                let scope = encoded(&format!("{RESOURCE}.default"));
                let client = encoded(client);
                let body = format!("grant_type=client_credentials&client_id={client}&scope={scope}&{proof}");
                Call::new(Method::POST, format!("{}/{}/oauth2/v2.0/token", self.authority, encoded(tenant)))
                    .with("content-type", "application/x-www-form-urlencoded")
                    .with_body(Sent::Bytes(body.into()))
            }
            Source::Service { endpoint, header, client } => {
                managed(endpoint, "2019-08-01", client).with("x-identity-header", header)
            }
            Source::Machine { client } => managed(METADATA, "2018-02-01", client).with("metadata", "true"),
        };
        let from = BlockAddress::new(call.uri.split('?').next().unwrap_or_default());
        let answer = http.send(call).await.map_err(|error| BlockError::Unavailable {
            what: "get a token",
            why: match self.source {
                Source::Machine { .. } => format!(
                    "{}: this is no machine of Azure's, set blockstore.azure.storage_access_key or AZURE_TENANT_ID, \
                     AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
                    error.0
                ),
                _ => format!("{} at {from}", error.0),
            },
        })?;
        if !answer.status.is_success() {
            return Err(unusable(format!("no token: {}", Said::by(answer).await.text(&from))));
        }
        let body = answer.bytes(TOKEN_ANSWER).await.map_err(|error| unusable(error.0))?;
        serde_json::from_slice(&body).map_err(|error| unusable(format!("the token from {from}: {error}")))
    }
}
