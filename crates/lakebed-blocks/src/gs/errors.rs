//! What the service says, as errors that say what to do.

use http::StatusCode;

use crate::remote::client::Answer;
use crate::remote::xml::Element;
use crate::{BlockAddress, BlockError};

/// Code and text of a refusal: JSON of one API, XML of the other.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
}

impl Said {
    pub(super) async fn by(answer: Answer) -> Self {
        let status = answer.status;
        let body = answer.refusal().await;
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&body) {
            let error = &json["error"];
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            // Token endpoints say `{"error": "invalid_grant", "error_description": "…"}`.
            let code = text(&error["errors"][0]["reason"]).or_else(|| text(error)).unwrap_or_default();
            let message = text(&error["message"]).or_else(|| text(&json["error_description"]));
            return Self { status, code, message: message.unwrap_or_default() };
        }
        if let Ok(error) = Element::parse(&body) {
            let text = |name| error.text_of(name).unwrap_or_default().to_owned();
            return Self { status, code: text("Code"), message: text("Message") };
        }
        let message = String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
        Self { status, code: String::new(), message: message.trim().to_owned() }
    }

    pub(super) fn no_upload(&self) -> bool {
        self.code == "NoSuchUpload" || (self.status == StatusCode::NOT_FOUND && !self.no_bucket())
    }

    fn no_bucket(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.code == "NoSuchBucket"
            || (!message.starts_with("no such object")
                && message.contains("bucket")
                && (message.contains("not exist") || message.contains("not found")))
    }

    /// As an error of what was being done at an address.
    pub(super) fn error(self, what: &'static str, address: &BlockAddress) -> BlockError {
        let help = match self.status.as_u16() {
            // What is written or listed has no other reason not to be there.
            404 if self.no_bucket() || matches!(what, "put" | "begin upload" | "list") => {
                "create the bucket first"
            }
            404 => return BlockError::NotFound(address.clone()),
            412 => return BlockError::Exists(address.clone()),
            416 => return BlockError::OutOfRange(address.clone()),
            400 if self.code.contains("CustomerEncryptionKey") => {
                "the object is encrypted with another key than \
                 blockstore.gs.server_side_encryption_customer_supplied"
            }
            401 => "check blockstore.gs.credentials_file or the environment the credentials come from",
            403 => {
                "the server's account may not do this there, give it the role Storage Object User on the bucket"
            }
            408 | 429 | 500 | 502 | 503 | 504 => {
                let why = self.text(address);
                return BlockError::Unavailable { what, why };
            }
            _ => "",
        };
        let colon = if help.is_empty() { "" } else { ": " };
        let source = std::io::Error::other(format!("{}{colon}{help}", self.text(address)));
        BlockError::Io { what, source }
    }

    fn text(&self, address: &BlockAddress) -> String {
        let Self { status, code, message } = self;
        format!("{status} {code} {message} at {address}").replace("  ", " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, code: &str, message: &str) -> BlockError {
        said_to("get", status, code, message)
    }

    fn said_to(what: &'static str, status: u16, code: &str, message: &str) -> BlockError {
        let status = StatusCode::from_u16(status).unwrap();
        let said = Said { status, code: code.to_owned(), message: message.to_owned() };
        said.error(what, &BlockAddress::new("gs://bucket/x"))
    }

    #[test]
    fn refusals_say_what_to_do() {
        assert!(matches!(
            said(404, "notFound", "No such object: bucket/bucket not found"),
            BlockError::NotFound(_)
        ));
        let none = said(404, "notFound", "The specified bucket does not exist.").to_string();
        assert!(none.contains("create the bucket"), "{none}");
        let none = said_to("put", 404, "notFound", "Not Found").to_string();
        assert!(none.contains("create the bucket"), "{none}");
        assert!(said(403, "forbidden", "no").to_string().contains("Storage Object User"));
        assert!(matches!(said(412, "conditionNotMet", ""), BlockError::Exists(_)));
        assert!(matches!(said(503, "backendError", ""), BlockError::Unavailable { .. }));
    }
}
