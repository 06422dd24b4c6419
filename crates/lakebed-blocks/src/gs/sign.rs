//! URLs signed with the service account's key (V4): whoever has one may do one thing for a while.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::GsStore;
use super::location::Location;
use crate::remote::names::{encoded, encoded_path};
use crate::{BlockAddress, BlockError};

/// What the service allows at most.
const LONGEST: Duration = Duration::from_hours(7 * 24);

impl GsStore {
    /// `method` on the object, with `parameters` in the query.
    pub(super) fn signed(
        &self,
        method: &str,
        address: &BlockAddress,
        parameters: &[(&str, &str)],
        life: Duration,
    ) -> Result<String, BlockError> {
        let account = self.inner.credentials.account().filter(|_| self.presigns());
        let account = account.ok_or(BlockError::Unsupported("presigned URLs"))?;
        let at = Location::of(address)?;
        let now = self.inner.sources.clock.now().secs();
        let time =
            jiff::Timestamp::from_second(now).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/auto/storage/goog4_request", &time[..8]);
        let life = life.clamp(Duration::from_secs(1), LONGEST).as_secs().to_string();
        let credential = format!("{}/{scope}", account.email);
        let mut pairs: Vec<(String, String)> = [
            ("X-Goog-Algorithm", "GOOG4-RSA-SHA256"),
            ("X-Goog-Credential", credential.as_str()),
            ("X-Goog-Date", &time),
            ("X-Goog-Expires", &life),
            ("X-Goog-SignedHeaders", "host"),
        ]
        .iter()
        .chain(parameters)
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
        pairs.sort();
        let query = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let path = format!("{}/{}/{}", self.inner.base_path(), at.bucket, encoded_path(at.name));
        let host = self.inner.host();
        let canonical = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let hash = hex::encode(Sha256::digest(canonical));
        let signature = account.sign(format!("GOOG4-RSA-SHA256\n{time}\n{scope}\n{hash}").as_bytes())?;
        let origin = self.inner.origin();
        Ok(format!("{origin}{path}?{query}&X-Goog-Signature={}", hex::encode(signature)))
    }
}
