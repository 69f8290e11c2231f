//! Certificates made on the spot.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The generator failed.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused what was made.
    #[error("the TLS library refused a fresh certificate: {0}")]
    Config(#[from] rustls::Error),
    /// It refused the authority that clients are held against.
    #[error("the TLS library refused a fresh authority: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// A certificate authority of our own; clients are given its certificate to trust.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate as PEM.
    pub(super) pem: String,
    /// Offered protocols, best first (RFC 7301).
    alpn: Vec<Vec<u8>>,
    /// Whether clients have to show a certificate that it issued.
    pub(super) needs_certificate: bool,
}

impl Authority {
    pub(super) fn new(alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "loadgen authority");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem: certificate.pem(),
            alpn,
            needs_certificate: false,
        })
    }

    /// A server that shows a fresh certificate for the loopback names.
    pub(super) fn server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        let chain = vec![CertificateDer::from(leaf.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = match self.needs_certificate {
            false => config.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                let own = CertificateDer::from_pem_slice(self.pem.as_bytes());
                roots.add(own.expect("we wrote it ourselves"))?;
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                config.with_client_cert_verifier(verifier?)
            }
        };
        let mut config = config.with_single_cert(chain, key)?;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }

    /// A fresh certificate for a client and its key, as PEM.
    pub(super) fn client(&self) -> Result<(String, String), TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "loadgen client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}
