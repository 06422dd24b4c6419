//! Signing S3 requests with version 4: a signer of our own, so that a mistake of the server's verifier cannot be
//! shared with it.

use std::fmt::Write;
use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::Failure;
use crate::server::{KEY, SECRET};

const REGION: &str = "us-east-1";

/// Signs for one day, one server, one key.
pub(crate) struct Signer {
    host: String,
    /// `20261126T120000Z`
    time: String,
    key: Vec<u8>,
}

fn mac(key: &[u8], text: &str) -> Result<Vec<u8>, Failure> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

impl Signer {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, Failure> {
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut key = format!("AWS4{SECRET}").into_bytes();
        for part in [&time[..8], REGION, "s3", "aws4_request"] {
            key = mac(&key, part)?;
        }
        Ok(Self { host: address.to_string(), time, key })
    }

    /// The header lines of a request. `query` is already canonical: sorted, encoded, `key=value` each.
    pub(crate) fn headers(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Result<String, Failure> {
        let payload = hex::encode(Sha256::digest(body));
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{}\nx-amz-content-sha256:{payload}\nx-amz-date:{}\n\n{signed}\n{payload}",
            self.host, self.time
        );
        let scope = format!("{}/{REGION}/s3/aws4_request", &self.time[..8]);
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let signature =
            hex::encode(mac(&self.key, &format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{digest}", self.time))?);
        let mut out = String::with_capacity(512);
        write!(
            out,
            "host: {}\r\nx-amz-date: {}\r\nx-amz-content-sha256: {payload}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={KEY}/{scope}, SignedHeaders={signed}, Signature={signature}\r\n",
            self.host, self.time
        )?;
        Ok(out)
    }
}
