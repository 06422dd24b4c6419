//! HTTPS on the server's own port: TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2 by ALPN (`operations.md` §2.2, §3.0).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::taking::Taking;

/// The first byte of whoever begins a handshake.
const HANDSHAKE: u8 = 0x16;

/// What anybody else is told.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
Content-Length: 66\r\n\r\nthis port speaks HTTPS only: use an address that begins https://\r\n";

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{key}: '{path}' holds no usable {what}: {why}")]
    File {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Chain and key do not belong together.
    #[error("tls.cert_file and tls.key_file do not go together: {0}")]
    Mismatch(#[source] rustls::Error),
}

/// A certificate chain and its key, ready for connections. Cheap to clone.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads a certificate chain (PEM, the server's own first) and its private key (PEM; PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    ///
    /// One of them cannot be read, or they do not belong together.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let file = |key, path: &Path, what| {
            let path = path.to_owned();
            move |why: rustls::pki_types::pem::Error| TlsError::File { key, path, what, why: why.to_string() }
        };
        let chain_failed = || file("tls.cert_file", chain, "certificate chain");
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(chain_failed())?;
        if certificates.is_empty() {
            return Err(chain_failed()(rustls::pki_types::pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(file("tls.key_file", key, "private key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(TlsError::Mismatch)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The encrypted connection, whose client may take nothing for `send`; `None` if it did not get that far in time. One that speaks plain HTTP is told
    /// so.
    pub(crate) async fn accept(
        &self,
        mut stream: TcpStream,
        limit: Duration,
        send: Duration,
    ) -> Option<TlsStream<Taking<TcpStream>>> {
        let handshake = async {
            let mut first = [0];
            if stream.peek(&mut first).await.ok()? == 0 {
                return None;
            }
            if first[0] != HANDSHAKE {
                refuse_plain(&mut stream).await;
                return None;
            }
            match self.0.accept(Taking::of(stream, send)).await {
                Ok(stream) => Some(stream),
                // A scan, a client that does not trust us: their affair.
                Err(error) => {
                    tracing::debug!(%error, "TLS handshake");
                    None
                }
            }
        };
        tokio::time::timeout(limit, handshake).await.ok().flatten()
    }
}

/// Says that this is no place for plain HTTP. What the client still sends is read for a moment: closed on unread bytes,
/// the answer could be lost.
async fn refuse_plain(stream: &mut TcpStream) {
    let _ = stream.write_all(PLAIN).await;
    let _ = stream.shutdown().await;
    let mut rest = [0; 4096];
    let read = async {
        let mut left = 64 << 10;
        while left > 0 {
            match stream.read(&mut rest).await {
                Ok(0) | Err(_) => break,
                Ok(read) => left -= read.min(left),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_says_its_own_length() {
        let text = std::str::from_utf8(PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_key() {
        let error = Tls::load(Path::new("/nowhere/chain.pem"), Path::new("/nowhere/key.pem")).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("tls.cert_file") && said.contains("/nowhere/chain.pem"), "{said}");
    }
}
