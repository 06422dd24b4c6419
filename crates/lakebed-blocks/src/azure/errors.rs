//! What the service says, as errors that say what to do.

use http::StatusCode;

use crate::remote::client::Answer;
use crate::remote::xml::Element;
use crate::{BlockAddress, BlockError};

/// Code and text of a refusal.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) code: String,
    message: String,
}

impl Said {
    pub(super) async fn by(answer: Answer) -> Self {
        let status = answer.status;
        let code = answer.header("x-ms-error-code").unwrap_or_default().to_owned();
        let body = answer.refusal().await;
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&body) {
            // Of endpoints of tokens.
            let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
            return Self { status, code: text("error"), message: first_line(&text("error_description")) };
        }
        let message = match Element::parse(&body) {
            Ok(error) => first_line(error.text_of("Message").unwrap_or_default()),
            Err(_) => first_line(&String::from_utf8_lossy(&body)),
        };
        Self { status, code, message }
    }

    /// As an error of what was being done at an address.
    pub(super) fn error(self, what: &'static str, address: &BlockAddress) -> BlockError {
        let help = match (self.code.as_str(), self.status.as_u16()) {
            ("ContainerNotFound" | "ContainerBeingDeleted", _) => "create the container first",
            ("BlobNotFound" | "ResourceNotFound" | "CannotVerifyCopySource" | "", 404) => {
                return BlockError::NotFound(address.clone());
            }
            ("BlobAlreadyExists", _) | (_, 412) => return BlockError::Exists(address.clone()),
            ("InvalidRange", _) | (_, 416) => return BlockError::OutOfRange(address.clone()),
            ("AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation", _)
            | (_, 401) => {
                "check blockstore.azure.storage_account and storage_access_key, or the identity this server runs as"
            }
            (
                "AuthorizationPermissionMismatch" | "AuthorizationFailure" | "InsufficientAccountPermissions",
                _,
            )
            | (_, 403) => {
                "the server's identity may not do this there, give it the role Storage Blob Data Contributor"
            }
            (_, 408 | 429 | 500 | 502 | 503 | 504) => {
                let why = self.text(address);
                return BlockError::Unavailable { what, why };
            }
            _ => "",
        };
        let colon = if help.is_empty() { "" } else { ": " };
        let source = std::io::Error::other(format!("{}{colon}{help}", self.text(address)));
        BlockError::Io { what, source }
    }

    pub(super) fn text(&self, address: &BlockAddress) -> String {
        let Self { status, code, message } = self;
        format!("{status} {code} {message} at {address}").replace("  ", " ")
    }
}

/// What follows are request ids and times.
fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().chars().take(300).collect()
}
