//! Secrets at rest and signed tokens: keys derived from `auth.encrypt.secret_key`, one per purpose.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit as _, Mac};
use lakebed_core::Entropy;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The keys of one installation.
pub(crate) struct Keys {
    secrets: XChaCha20Poly1305,
    tokens: [u8; 32],
}

const NONCE: usize = 24;

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(message);
            mac.finalize().into_bytes().into()
        }
        // HMAC takes keys of every length.
        Err(_) => [0; 32],
    }
}

/// What a login token says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The installation that made it.
    pub(crate) iss: String,
    /// What it is for.
    pub(crate) aud: String,
    /// The user.
    pub(crate) sub: String,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) exp: i64,
    pub(crate) jti: String,
}

/// The one header made and accepted: no other algorithm, `none` included, is ever looked at.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

impl Keys {
    /// The keys that follow from the installation's secret.
    pub(crate) fn derive(secret: &[u8]) -> Self {
        let secrets = mac(secret, b"lakebed stored secrets v1");
        Self {
            secrets: XChaCha20Poly1305::new((&secrets).into()),
            tokens: mac(secret, b"lakebed session tokens v1"),
        }
    }

    /// Encrypts a secret for storage.
    pub(crate) fn seal(&self, entropy: &dyn Entropy, secret: &str) -> Option<Vec<u8>> {
        let mut out = vec![0; NONCE];
        entropy.fill(&mut out);
        let sealed = self.secrets.encrypt(XNonce::from_slice(&out), secret.as_bytes()).ok()?;
        out.extend_from_slice(&sealed);
        Some(out)
    }

    /// The secret back; `None` if another key made it or it was tampered with.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<String> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let secret = self.secrets.decrypt(XNonce::from_slice(nonce), sealed).ok()?;
        String::from_utf8(secret).ok()
    }

    /// A signed token.
    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        let payload = serde_json::to_vec(claims).ok()?;
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(mac(&self.tokens, signed.as_bytes()));
        Some(format!("{signed}.{signature}"))
    }

    /// What a token says, if its signature is ours. Times are the caller's to check.
    pub(crate) fn verify(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !bool::from(mac(&self.tokens, signed.as_bytes()).ct_eq(&signature)) {
            return None;
        }
        let (header, payload) = signed.split_once('.')?;
        if URL_SAFE_NO_PAD.decode(header).ok()? != HEADER.as_bytes() {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lakebed_core::SeededEntropy;

    fn claims() -> Claims {
        let text = |text: &str| text.to_owned();
        Claims { iss: text("i"), aud: text("login"), sub: text("u"), iat: 1, nbf: 1, exp: 2, jti: text("j") }
    }

    #[test]
    fn secrets_open_only_with_their_key_and_untouched() {
        let (keys, entropy) = (Keys::derive(b"one"), SeededEntropy::new(1));
        let mut sealed = keys.seal(&entropy, "secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(keys.open(&sealed).as_deref(), Some("secret"));
        assert_eq!(Keys::derive(b"two").open(&sealed), None);
        *sealed.last_mut().unwrap() ^= 1;
        assert_eq!(keys.open(&sealed), None);
        assert_eq!(keys.open(b"short"), None);
    }

    #[test]
    fn only_our_own_untouched_tokens_count() {
        let keys = Keys::derive(b"one");
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.verify(&token), Some(claims()));
        assert_eq!(Keys::derive(b"two").verify(&token), None);
        let none =
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), token.split('.').nth(1).unwrap());
        for bad in ["", ".", "a.b.c", &token[..token.len() - 2], &none] {
            assert_eq!(keys.verify(bad), None, "{bad}");
        }
    }
}
