//! The files that TLS terms come from: authorities, our certificate, its key.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::TlsSettings;
use super::TransportSetupError;

/// What tells one content of the files from another; a link that points elsewhere shows as well.
pub(super) type Stamps = [Option<Stamp>; 3];

type Stamp = (u64, u64, i64, i64, u64);

/// The files as they are now.
pub(super) fn stamps(settings: &TlsSettings) -> Stamps {
    let of = |it: Metadata| (it.dev(), it.ino(), it.mtime(), it.mtime_nsec(), it.len());
    paths(settings).map(|path| fs::metadata(path?).ok().map(of))
}

/// The files that the settings name.
pub(super) fn paths(settings: &TlsSettings) -> [Option<&Path>; 3] {
    let TlsSettings { ca_cert_path, client_cert_path, client_key_path, .. } = settings;
    [ca_cert_path, client_cert_path, client_key_path].map(|path| path.as_deref())
}

/// The authorities of a file, or those of the system.
pub(super) fn roots(path: Option<&Path>) -> Result<RootCertStore, TransportSetupError> {
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

/// The verifier of certificates from these authorities.
pub(super) fn authority(
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

/// Our certificate chain, its key, and where that is.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, PathBuf);

/// What we show to servers that ask for a certificate.
pub(super) fn identity(settings: &TlsSettings) -> Result<Option<Identity>, TransportSetupError> {
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
