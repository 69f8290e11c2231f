//! TLS terms: authorities, our certificate, versions, and what a failed handshake means.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion,
    RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Applied, TlsSettings, TlsVersion, TransportError, TransportErrorKind};

/// The terms on which TLS connections are made, read once and shared by all workers.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    /// Whether the server has asked for a certificate of ours.
    is_asked: Arc<AtomicBool>,
}

/// Why a transport could not be set up: a mistake in the configuration or in a file it names.
#[derive(Debug, thiserror::Error)]
pub enum TransportSetupError {
    /// A file could not be read.
    #[error("{key}: cannot read {}: {source}; expected a readable PEM file", path.display())]
    File {
        /// The configuration key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{key}: {} line {line}: {problem}; expected {expected}", path.display())]
    Pem {
        /// The configuration key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is there.
        problem: String,
        /// What should be there, and how to get it.
        expected: &'static str,
    },
    /// A value cannot be used.
    #[error("{key}: {problem}; expected {expected}")]
    Value {
        /// The configuration key.
        key: String,
        /// What is wrong with it; never the value of a secret.
        problem: String,
        /// What should be there.
        expected: &'static str,
    },
    /// The system has no authorities to trust.
    #[error(
        "no trusted authorities found on this system ({problem}); install its CA certificates or \
         set tls.ca_cert_path"
    )]
    Roots {
        /// What the search ran into.
        problem: String,
    },
}

impl Tls {
    /// Reads the files that the settings name, or the system's authorities where they name none.
    ///
    /// `alpn` lists the application protocols to offer, best first (RFC 7301).
    pub fn load(settings: &TlsSettings, alpn: &[&[u8]]) -> Result<Self, TransportSetupError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions: &[_] = match settings.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("the provider has suites for TLS 1.2 and 1.3");
        let builder = if settings.insecure_skip_verify {
            tracing::warn!(
                "tls.insecure_skip_verify is on: certificates are NOT verified, anyone on the way \
                 can read and change what is sent"
            );
            let anyone = Anyone(provider.signature_verification_algorithms);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(anyone))
        } else if let Some(digest) = settings.fingerprint {
            let others = settings.ca_cert_path.as_deref().map(|path| authority(path, &provider));
            let signatures = Anyone(provider.signature_verification_algorithms);
            let pinned = Pinned { digest, others: others.transpose()?, signatures };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
        } else {
            builder.with_root_certificates(roots(settings.ca_cert_path.as_deref())?)
        };
        let mut config = match identity(settings)? {
            None => builder.with_no_client_auth(),
            Some((chain, key, path)) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    TransportSetupError::Pem {
                        key: "tls.client_key_path",
                        path,
                        line: 1,
                        problem: format!("the key cannot be used: {error}"),
                        expected: "the private key of tls.client_cert_path's first certificate",
                    }
                })?
            }
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // A server built with OpenSSL that asks for certificates and has set no context for its
        // sessions, as rsyslog, refuses whoever resumes one: every second connection would fail.
        config.resumption = match settings.client_cert_path {
            Some(_) => Resumption::disabled(),
            None => Resumption::in_memory_sessions(SESSIONS_MAX),
        };
        let is_asked = Arc::new(AtomicBool::new(false));
        let certificates = Arc::clone(&config.client_auth_cert_resolver);
        let asked = Asked { certificates, is_asked: Arc::clone(&is_asked) };
        config.client_auth_cert_resolver = Arc::new(asked);
        let name = settings.server_name.as_deref().map(server_name).transpose()?;
        Ok(Self { config: Arc::new(config), name, is_asked })
    }

    /// Shakes hands over a connection with the host of this name.
    ///
    /// No time limit: the caller has one for the whole connection.
    pub async fn connect(
        &self,
        host: &ServerName<'static>,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TransportError> {
        let name = self.name.as_ref().unwrap_or(host).clone();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let mut stream = connector
            .connect_with(name, tcp, |session| session.set_buffer_limit(Some(SEND_BUFFER_BYTES)))
            .await
            .map_err(|error| handshake_error(&error))?;
        if self.is_asked.load(Ordering::Relaxed) {
            judged(&mut stream).await.map_err(|error| handshake_error(&error))?;
        }
        Ok(stream)
    }
}

/// Waits until the server has judged our certificate, as far as it shows.
///
/// With TLS 1.3 a client has finished before (RFC 8446 4.4.3). What it sent by then is lost with
/// the connection, and often the server's reason as well: a system that closes a socket with
/// unread bytes takes back what it had sent. A ticket shows that all is well; a server that sends
/// none is waited for a moment.
async fn judged(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    let (tcp, session) = stream.get_mut();
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    let told = async {
        while session.tls13_tickets_received() == 0 {
            tcp.readable().await?;
            match session.read_tls(&mut AtOnce(tcp)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            let state = session.process_new_packets();
            let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if state.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        Ok(())
    };
    timeout(JUDGEMENT, told).await.unwrap_or(Ok(()))
}

/// A socket as far as it gives and takes without waiting.
pub(super) struct AtOnce<'a>(pub(super) &'a TcpStream);

impl io::Read for AtOnce<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl io::Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Our certificates, and a note that the server asked for one.
#[derive(Debug)]
struct Asked {
    certificates: Arc<dyn ResolvesClientCert>,
    is_asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Asked {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.certificates.resolve(root_hint_subjects, sigschemes)
    }

    fn has_certs(&self) -> bool {
        self.certificates.has_certs()
    }
}

/// Whether the peer refused our certificate, or what it asked of TLS, after the handshake: those
/// that look at it later still.
pub(super) fn late_rejection(error: &io::Error) -> Option<TransportError> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(alert) = inner else { return None };
    let words = rejection_words(*alert)?;
    Some(TransportError {
        kind: TransportErrorKind::TlsRejected,
        applied: Applied::No,
        detail: words.to_owned(),
    })
}

/// The name that a certificate must carry for a host, as the configuration or a URL writes it.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, TransportSetupError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TransportSetupError::Value {
        key: "tls.server_name".to_owned(),
        problem: format!("{bare:?} is not a name that a certificate can carry"),
        expected: "a DNS name or an IP address",
    })
}

fn handshake_error(error: &io::Error) -> TransportError {
    let (kind, detail) = match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(inner) => handshake_verdict(inner),
        None => (TransportErrorKind::TlsIo, format!("the connection broke: {}", io_words(error))),
    };
    TransportError { kind, applied: Applied::No, detail }
}

/// What stays as it is until somebody changes a setting is rejected; what may heal is IO.
fn handshake_verdict(error: &rustls::Error) -> (TransportErrorKind, String) {
    use TransportErrorKind::{TlsIo, TlsRejected};
    match error {
        rustls::Error::InvalidCertificate(why) => (TlsRejected, certificate_words(why)),
        rustls::Error::NoCertificatesPresented => {
            (TlsRejected, "the server presented no certificate".to_owned())
        }
        rustls::Error::AlertReceived(alert) => match rejection_words(*alert) {
            Some(words) => (TlsRejected, words.to_owned()),
            None => (TlsIo, format!("the server sent the alert {alert:?}")),
        },
        rustls::Error::PeerIncompatible(why) => (
            TlsRejected,
            format!("no common TLS terms with the server ({why:?}); check tls.min_version"),
        ),
        rustls::Error::InvalidMessage(_) => {
            (TlsIo, "the answer is not TLS; is the port a plaintext one?".to_owned())
        }
        // The texts of the remaining errors are fixed phrases of the library.
        other => (TlsIo, other.to_string()),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    use CertificateError as C;
    match error {
        // A signature that does not fit is that of another authority with the same name.
        C::UnknownIssuer | C::BadSignature => {
            "the server's certificate is signed by no trusted authority; set \
                             tls.ca_cert_path to the authority's PEM file"
                .to_owned()
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "the server's certificate is for another name; correct the URL or set tls.server_name"
                .to_owned()
        }
        C::Expired | C::ExpiredContext { .. } => {
            "the server's certificate has expired; renew it, or correct this host's clock"
                .to_owned()
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; correct this host's clock".to_owned()
        }
        C::ApplicationVerificationFailure => {
            "the server's certificate is not the one of tls.fingerprint; if it was renewed, set \
             the new one"
                .to_owned()
        }
        C::Revoked => "the server's certificate has been revoked".to_owned(),
        // The texts of the verifier's own errors are the names of its variants.
        C::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows the certificate of an authority, as one that signed itself is, for              its own; give it one that this authority signed, or set tls.fingerprint"
                .to_owned()
        }
        other => format!("the server's certificate cannot be verified: {other}"),
    }
}

/// Words for the alerts (RFC 8446 6.2) that are verdicts on settings.
fn rejection_words(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::CertificateRequired | A::NoCertificate => {
            "the server requires a client certificate; set tls.client_cert_path and \
             tls.client_key_path"
        }
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::DecryptError
        | A::AccessDenied => {
            "the server refused our client certificate; check tls.client_cert_path"
        }
        A::UnknownCA => {
            "the server does not know the authority of our client certificate; check \
             tls.client_cert_path"
        }
        A::HandshakeFailure => {
            "the server refused the handshake: it wants a client certificate (set \
             tls.client_cert_path) or other ciphers"
        }
        A::ProtocolVersion | A::InsufficientSecurity => {
            "no common TLS version with the server; check tls.min_version"
        }
        A::UnrecognisedName => "the server does not know the name asked for; check tls.server_name",
        A::NoApplicationProtocol => {
            "the server speaks none of the HTTP versions offered; check connection.http2"
        }
        _ => return None,
    })
}

/// What the system said, without anything that a peer wrote.
pub(super) fn io_words(error: &io::Error) -> String {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::UnexpectedEof, _) => "closed by the peer".to_owned(),
        (_, Some(code)) => io::Error::from_raw_os_error(code).to_string(),
        (kind, None) => kind.to_string(),
    }
}

fn roots(path: Option<&Path>) -> Result<RootCertStore, TransportSetupError> {
    let mut store = RootCertStore::empty();
    let Some(path) = path else {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let problem = found
                .errors
                .first()
                .map_or_else(|| "none are installed".to_owned(), std::string::ToString::to_string);
            return Err(TransportSetupError::Roots { problem });
        }
        return Ok(store);
    };
    let key = "tls.ca_cert_path";
    let expected = "PEM certificates of authorities";
    for (line, certificate) in certificates(key, path, expected)? {
        store.add(certificate).map_err(|error| TransportSetupError::Pem {
            key,
            path: path.to_owned(),
            line,
            problem: format!("not a certificate of an authority ({error})"),
            expected,
        })?;
    }
    Ok(store)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, PathBuf);

fn identity(settings: &TlsSettings) -> Result<Option<Identity>, TransportSetupError> {
    let (cert_path, key_path) = match (&settings.client_cert_path, &settings.client_key_path) {
        (None, None) => return Ok(None),
        (Some(cert_path), Some(key_path)) => (cert_path, key_path),
        (cert_path, _) => {
            let missing = if cert_path.is_some() { "client_key_path" } else { "client_cert_path" };
            return Err(TransportSetupError::Value {
                key: format!("tls.{missing}"),
                problem: "missing".to_owned(),
                expected: "both tls.client_cert_path and tls.client_key_path, or neither",
            });
        }
    };
    let expected = "our certificate in PEM, then those between it and the authority";
    let chain = certificates("tls.client_cert_path", cert_path, expected)?;
    let chain = chain.into_iter().map(|(_, certificate)| certificate).collect();
    Ok(Some((chain, private_key(key_path)?, key_path.clone())))
}

fn certificates(
    key: &'static str,
    path: &Path,
    expected: &'static str,
) -> Result<Vec<(usize, CertificateDer<'static>)>, TransportSetupError> {
    let wrong = |line, problem: String| TransportSetupError::Pem {
        key,
        path: path.to_owned(),
        line,
        problem,
        expected,
    };
    let text = read(key, path)?;
    let mut found = Vec::new();
    for section in sections(&text) {
        if section.label != "CERTIFICATE" {
            continue;
        }
        let certificate = CertificateDer::from_pem_slice(section.text)
            .map_err(|error| wrong(section.line, format!("a damaged certificate ({error})")))?;
        found.push((section.line, certificate));
    }
    if found.is_empty() {
        return Err(wrong(1, "no certificate in the file".to_owned()));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TransportSetupError> {
    let wrong = |line, problem: String| TransportSetupError::Pem {
        key: "tls.client_key_path",
        path: path.to_owned(),
        line,
        problem,
        expected: "an unencrypted PKCS#8, PKCS#1 or SEC1 key in PEM (openssl pkey -in KEY -out \
                   KEY.pem makes one)",
    };
    let text = zeroize::Zeroizing::new(read("tls.client_key_path", path)?);
    for section in sections(&text) {
        if section.label == "ENCRYPTED PRIVATE KEY" {
            return Err(wrong(section.line, "the key is encrypted".to_owned()));
        }
        if section.label.ends_with("PRIVATE KEY") {
            return PrivateKeyDer::from_pem_slice(section.text)
                .map_err(|_| wrong(section.line, "a damaged key".to_owned()));
        }
    }
    Err(wrong(1, "no private key in the file".to_owned()))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TransportSetupError> {
    std::fs::read(path).map_err(|source| TransportSetupError::File {
        key,
        path: path.to_owned(),
        source,
    })
}

/// One `BEGIN` to `END` of a PEM file (RFC 7468).
struct Section<'a> {
    line: usize,
    label: &'a str,
    text: &'a [u8],
}

/// The sections of a file; one without an end reaches to the end of the file.
///
/// The library's reader does the decoding, but tells no line numbers.
fn sections(text: &[u8]) -> Vec<Section<'_>> {
    let mut found: Vec<Section<'_>> = Vec::new();
    let mut open: Option<(usize, usize, &str)> = None;
    let mut start = 0;
    for (number, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let end = start + line.len();
        let words = std::str::from_utf8(line).unwrap_or_default().trim();
        if let Some(label) = marker(words, "-----BEGIN ") {
            open = Some((number + 1, start, label));
        } else if marker(words, "-----END ").is_some()
            && let Some((line, from, label)) = open.take()
        {
            found.push(Section { line, label, text: &text[from..end] });
        }
        start = end;
    }
    found.extend(open.map(|(line, from, label)| Section { line, label, text: &text[from..] }));
    found
}

fn marker<'a>(line: &'a str, opening: &str) -> Option<&'a str> {
    line.strip_prefix(opening)?.strip_suffix("-----")
}

/// Accepts any certificate; signatures are still checked, so that the peer holds the key it shows.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Accepts one certificate, by its digest (RFC 5425, 4.2.2), and asks the authorities too where
/// some are named.
#[derive(Debug)]
struct Pinned {
    digest: [u8; 32],
    others: Option<Arc<WebPkiServerVerifier>>,
    signatures: Anyone,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(end_entity.as_ref()).as_slice() != self.digest {
            let wrong = CertificateError::ApplicationVerificationFailure;
            return Err(rustls::Error::InvalidCertificate(wrong));
        }
        match &self.others {
            None => Ok(ServerCertVerified::assertion()),
            Some(others) => others.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

/// The verifier of certificates from these authorities.
fn authority(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TransportSetupError> {
    let roots = Arc::new(roots(Some(path))?);
    let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
    built.map_err(|error| TransportSetupError::Value {
        key: "tls.ca_cert_path".to_owned(),
        problem: error.to_string(),
        expected: "PEM certificates of authorities",
    })
}

/// Sessions remembered for resumption; one exporter talks to few hosts.
const SESSIONS_MAX: usize = 64;
/// How long a server may take to refuse a certificate: a round trip and its own work.
pub(super) const JUDGEMENT: Duration = Duration::from_millis(200);

/// Encrypted bytes that wait for the socket, at most: large enough that one call to the kernel
/// carries many records, small enough to stay in the core's cache between encrypting and sending.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
