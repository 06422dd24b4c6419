//! TLS towards the database, as `sslmode` asks for it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Target, Trust};
use crate::KvError;

/// Looks at the chain as far as asked, and never at the name.
#[derive(Debug)]
struct NameIgnored {
    /// `None`: whoever it is.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NameIgnored {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The name is looked at last: the chain is in order.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn unusable(what: &str, path: &Path, error: impl std::fmt::Display) -> KvError {
    KvError::Engine(format!("{what} '{}': {error}", path.display()).into())
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, KvError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unusable(what, path, "no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(what, path, error)),
    }
}

fn roots(target: &Target) -> Result<RootCertStore, KvError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &target.root {
        for certificate in certificates("sslrootcert", path)? {
            roots.add(certificate).map_err(|error| unusable("sslrootcert", path, error))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(KvError::Engine(
                "this machine has no certificates of authorities: name them in sslrootcert".into(),
            ));
        }
    }
    Ok(roots)
}

/// The connector for a target.
pub(super) fn connector(target: &Target) -> Result<MakeRustlsConnect, KvError> {
    let failed = |error: &dyn std::fmt::Display| KvError::Engine(format!("TLS: {error}").into());
    let provider = Arc::new(ring::default_provider());
    let chain = match target.trust {
        Trust::Authority | Trust::Host => {
            let built =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(target)?), provider.clone())
                    .build();
            Some(built.map_err(|error| failed(&error))?)
        }
        Trust::Anyone | Trust::Disabled => None,
    };
    let verifier: Arc<dyn ServerCertVerifier> = match (target.trust, chain) {
        (Trust::Host, Some(chain)) => chain,
        (_, chain) => Arc::new(NameIgnored { chain, provider: provider.clone() }),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &target.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("sslcert", certificate)?;
            let private =
                PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("sslkey", key, error))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| unusable("sslcert", certificate, error))?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}
