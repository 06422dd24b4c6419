//! Derived signing keys.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::Cache;
use sha2::Sha256;

use super::v4::Credential;

/// Derived keys kept in memory.
const CACHED: usize = 1024;

/// The longest credential that is kept: clients write any region they like, and memory must not grow with it.
const LONGEST_CACHED: usize = 256;

/// A signing key of a day, region and service.
pub(crate) type SigningKey = [u8; 32];

/// Derived signing keys by the text of the credential (key id, date, region, service): deriving takes four HMACs. A key
/// counts only for the secret it was derived from.
pub(crate) struct KeyCache(Cache<Box<str>, (Arc<str>, SigningKey)>);

impl Default for KeyCache {
    fn default() -> Self {
        Self(Cache::new(CACHED))
    }
}

impl KeyCache {
    /// The key for a credential and its secret.
    pub(super) fn get(&self, credential: &Credential<'_>, secret: &Arc<str>) -> SigningKey {
        if let Some((known, key)) = self.0.get(credential.text)
            && known == *secret
        {
            return key;
        }
        let key = derive(secret, &credential.scope);
        if credential.text.len() <= LONGEST_CACHED {
            self.0.insert(credential.text.into(), (secret.clone(), key));
        }
        key
    }
}

/// What a credential is good for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// `yyyymmdd`.
    pub date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// HMAC-SHA256. Keys may have any length.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        // Not reached: HMAC takes keys of any length. A constant could be guessed, so nothing may match it.
        return [0; 32];
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The signing key of a secret.
pub(crate) fn derive(secret: &str, scope: &Scope<'_>) -> SigningKey {
    let date = hmac(format!("AWS4{secret}").as_bytes(), scope.date.as_bytes());
    let region = hmac(&date, scope.region.as_bytes());
    let service = hmac(&region, scope.service.as_bytes());
    hmac(&service, b"aws4_request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_key_is_derived() {
        let scope = Scope { date: "20130524", region: "us-east-1", service: "s3" };
        let key = derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope);
        assert_eq!(hex::encode(key), "dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378");
    }

    #[test]
    fn a_changed_secret_gets_its_own_key() {
        let cache = KeyCache::default();
        let credential = Credential::parse("K/20130524/r/s3/aws4_request").unwrap();
        let first = cache.get(&credential, &Arc::from("one"));
        assert_ne!(cache.get(&credential, &Arc::from("two")), first);
        assert_eq!(cache.get(&credential, &Arc::from("one")), first);
        assert_eq!(cache.0.len(), 1);
    }

    #[test]
    fn overlong_credentials_are_not_kept() {
        let cache = KeyCache::default();
        let long = format!("K/20130524/{}/s3/aws4_request", "r".repeat(LONGEST_CACHED));
        let credential = Credential::parse(&long).unwrap();
        assert_eq!(cache.get(&credential, &Arc::from("one")), derive("one", &credential.scope));
        assert_eq!(cache.0.len(), 0);
    }
}
