//! TLS terms: authorities, our certificate, versions, and what a failed handshake means.

mod files;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion,
    SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::errand::errand;
use super::{Applied, TlsSettings, TlsVersion, TransportError, TransportErrorKind};
use files::Stamps;

/// The terms on which TLS connections are made, shared by all workers.
///
/// Files are replaced while this runs, above all certificates that are good for a day. So each
/// connection is made on the terms that the files hold then.
#[derive(Debug)]
pub struct Tls {
    name: Option<ServerName<'static>>,
    terms: Arc<Terms>,
    /// The files as they were when they were read last; locked while that is done again.
    read: Arc<tokio::sync::Mutex<Stamps>>,
}

#[derive(Debug)]
struct Terms {
    settings: TlsSettings,
    config: Mutex<Arc<ClientConfig>>,
    /// Whether something was not accepted since the files were read: what the system trusts has no
    /// one file to look at, and may be another since.
    is_doubted: AtomicBool,
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
    pub fn load(settings: &TlsSettings) -> Result<Self, TransportSetupError> {
        if settings.insecure_skip_verify && settings.fingerprint.is_none() {
            tracing::warn!(
                "tls.insecure_skip_verify is on: certificates are NOT verified, anyone on the way \
                 can read and change what is sent"
            );
        }
        let name = settings.server_name.as_deref().map(server_name).transpose()?;
        let stamps = files::stamps(settings);
        let is_asked = Arc::default();
        let config = Mutex::new(Arc::new(config(settings, &is_asked)?));
        let is_doubted = AtomicBool::new(false);
        let terms = Terms { settings: settings.clone(), config, is_doubted, is_asked };
        let read = Arc::new(tokio::sync::Mutex::new(stamps));
        Ok(Self { name, terms: Arc::new(terms), read })
    }

    /// Shakes hands over a connection with the host of this name; `alpn` are the application
    /// protocols that are offered, best first (RFC 7301).
    ///
    /// No time limit: the caller has one for the whole connection.
    pub async fn connect(
        &self,
        host: &ServerName<'static>,
        tcp: TcpStream,
        alpn: &[&[u8]],
    ) -> Result<TlsStream<TcpStream>, TransportError> {
        self.renew().await;
        let shaken =
            self.shake_hands(host, tcp, alpn).await.map_err(|error| handshake_error(&error));
        shaken.inspect_err(|error| {
            if error.kind == TransportErrorKind::TlsRejected {
                self.terms.is_doubted.store(true, Ordering::Relaxed);
            }
        })
    }

    async fn shake_hands(
        &self,
        host: &ServerName<'static>,
        tcp: TcpStream,
        alpn: &[&[u8]],
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = self.name.as_ref().unwrap_or(host).clone();
        let connector = TlsConnector::from(Arc::clone(&self.terms.lock()));
        let mut stream = connector
            .with_alpn(alpn.iter().map(|protocol| protocol.to_vec()).collect())
            .connect_with(name, tcp, |session| session.set_buffer_limit(Some(SEND_BUFFER_BYTES)))
            .await?;
        if self.terms.is_asked.load(Ordering::Relaxed) {
            judged(&mut stream).await?;
        }
        Ok(stream)
    }

    /// Reads the files again where they are others. A disk that hangs leaves the terms as they are.
    async fn renew(&self) {
        let names_files = files::paths(&self.terms.settings).iter().any(Option::is_some);
        if !names_files && !self.terms.is_doubted.load(Ordering::Relaxed) {
            return;
        }
        let reading = async {
            let (mut stamps, terms) =
                (Arc::clone(&self.read).lock_owned().await, Arc::clone(&self.terms));
            errand("shrike-tls", move || terms.renew(&mut stamps)).await
        };
        if !matches!(timeout(READING_MAX, reading).await, Ok(Ok(()))) {
            tracing::warn!("TLS files were not looked at in time; the last ones are used");
        }
    }
}

impl Terms {
    fn renew(&self, stamps: &mut Stamps) {
        let now = files::stamps(&self.settings);
        let is_doubted = self.is_doubted.swap(false, Ordering::Relaxed);
        if now == *stamps && !is_doubted {
            return;
        }
        // Before they are read: what is written meanwhile shows at the next look.
        let is_other = now != *stamps;
        *stamps = now;
        match config(&self.settings, &self.is_asked) {
            Ok(config) => {
                *self.lock() = Arc::new(config);
                if is_other {
                    let [ca, certificate, key] = files::paths(&self.settings);
                    tracing::info!(?ca, ?certificate, ?key, "TLS files changed and were read");
                }
            }
            // Certificate and key are two files, and one of them is replaced first.
            Err(problem) => tracing::warn!(%problem, "TLS files changed; the last ones are used"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ClientConfig>> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The terms as settings and files have them.
fn config(
    settings: &TlsSettings,
    is_asked: &Arc<AtomicBool>,
) -> Result<ClientConfig, TransportSetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[_] = match settings.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .expect("the provider has suites for TLS 1.2 and 1.3");
    let builder = if let Some(digest) = settings.fingerprint {
        // The pin holds also where nobody else is asked.
        let authorities = settings.ca_cert_path.as_deref();
        let asked = authorities.filter(|_| !settings.insecure_skip_verify);
        let others = asked.map(|path| files::authority(path, &provider)).transpose()?;
        let signatures = Anyone(provider.signature_verification_algorithms);
        let pinned = Pinned { digest, others, signatures };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
    } else if settings.insecure_skip_verify {
        let anyone = Anyone(provider.signature_verification_algorithms);
        builder.dangerous().with_custom_certificate_verifier(Arc::new(anyone))
    } else {
        builder.with_root_certificates(files::roots(settings.ca_cert_path.as_deref())?)
    };
    let mut config = match files::identity(settings)? {
        None => builder.with_no_client_auth(),
        Some((chain, key, path)) => {
            builder.with_client_auth_cert(chain, key).map_err(|error| TransportSetupError::Pem {
                key: "tls.client_key_path",
                path,
                line: 1,
                problem: format!("the key cannot be used: {error}"),
                expected: "the private key of tls.client_cert_path's first certificate",
            })?
        }
    };
    // A server built with OpenSSL that asks for certificates and has set no context for its
    // sessions, as rsyslog, refuses whoever resumes one: every second connection would fail.
    config.resumption = match settings.client_cert_path {
        Some(_) => Resumption::disabled(),
        None => Resumption::in_memory_sessions(SESSIONS_MAX),
    };
    let certificates = Arc::clone(&config.client_auth_cert_resolver);
    let asked = Asked { certificates, is_asked: Arc::clone(is_asked) };
    config.client_auth_cert_resolver = Arc::new(asked);
    Ok(config)
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
            "the server shows the certificate of an authority, as one that signed itself is, for \
             its own; give it one that this authority signed, or set tls.fingerprint"
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

/// Sessions remembered for resumption; one exporter talks to few hosts.
const SESSIONS_MAX: usize = 64;
/// How long a connection waits for files to be read again: a healthy disk needs a few milliseconds.
const READING_MAX: Duration = Duration::from_secs(1);
/// How long a server may take to refuse a certificate: a round trip and its own work.
pub(super) const JUDGEMENT: Duration = Duration::from_millis(200);

/// Encrypted bytes that wait for the socket, at most: large enough that one call to the kernel
/// carries many records, small enough to stay in the core's cache between encrypting and sending.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
