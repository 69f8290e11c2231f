//! The certificate that a listener shows: other files, or other content, need no other listener.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files of a listener's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file of the certificate chain.
    pub cert_path: PathBuf,
    /// PEM file of its key.
    pub key_path: PathBuf,
}

/// What a listener shows to whoever connects next; without files it speaks plain HTTP.
#[derive(Debug, Default)]
pub struct ServerIdentity(Mutex<Shown>);

#[derive(Debug, Default)]
struct Shown {
    files: Option<ServerTls>,
    /// The files as they were when they were read last, whatever came of it.
    stamps: [Option<Stamp>; 2],
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// What tells one content of a file from another; a link that points elsewhere shows as well.
type Stamp = (u64, u64, i64, i64, u64);

impl ServerIdentity {
    /// Reads the certificate of these files.
    ///
    /// # Errors
    /// When a file cannot be read, or they are no pair; the error names the file.
    pub fn open(files: Option<ServerTls>) -> io::Result<Self> {
        let identity = Self::default();
        identity.show(files)?;
        Ok(identity)
    }

    /// What the next connection is answered with; none for plain HTTP.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.lock().tls.clone()
    }

    /// The files of the certificate that is shown; none for plain HTTP.
    #[must_use]
    pub fn files(&self) -> Option<ServerTls> {
        self.lock().files.clone()
    }

    /// Shows the certificate of these files from now on; connections stay as they are.
    ///
    /// # Errors
    /// As [`Self::open`]; what was shown before is shown on.
    pub fn show(&self, files: Option<ServerTls>) -> io::Result<()> {
        let stamps = stamps(files.as_ref());
        let tls = files.as_ref().map(read).transpose()?;
        *self.lock() = Shown { files, stamps, tls };
        Ok(())
    }

    /// Reads the files again where they are others than last time; says whether they were.
    ///
    /// # Errors
    /// As [`Self::open`], once for each change: certificate and key are two files, and one of them
    /// is replaced first. What was shown before is shown on.
    pub fn renew(&self) -> io::Result<bool> {
        let mut shown = self.lock();
        let Some(files) = shown.files.clone() else { return Ok(false) };
        let now = stamps(Some(&files));
        if now == shown.stamps {
            return Ok(false);
        }
        // Before they are read: what is written meanwhile shows at the next look.
        shown.stamps = now;
        shown.tls = Some(read(&files)?);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(files: Option<&ServerTls>) -> [Option<Stamp>; 2] {
    let Some(ServerTls { cert_path, key_path }) = files else { return [None; 2] };
    [cert_path, key_path].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
    })
}

fn read(files: &ServerTls) -> io::Result<Arc<rustls::ServerConfig>> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| {
        let text = format!("{}: {error}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let ServerTls { cert_path, key_path } = files;
    let certificates = CertificateDer::pem_file_iter(cert_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(cert_path, &error))?;
    if certificates.is_empty() {
        return Err(wrong(cert_path, &"holds no certificate; expected a chain as PEM"));
    }
    let private =
        PrivateKeyDer::from_pem_file(key_path).map_err(|error| wrong(key_path, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, private))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let text = format!("is of another key than the one in {}", key_path.display());
                wrong(cert_path, &text)
            }
            error => wrong(cert_path, &error),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
