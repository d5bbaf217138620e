//! TLS as a server: a certificate chain and its key from PEM files, read again when the files change.

mod pem;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
pub use tokio_rustls::server::TlsStream;

/// Nobody but the key's owner may write it, and not everybody may read it: its group may, since that is how a key is commonly given
/// to a service.
const TOO_OPEN: u32 = 0o027;
/// Longer files are none of these.
const LONGEST_FILE: u64 = 1 << 20;

/// What a server shows, and the proof that it may.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    stamps: [Stamp; 2],
}

/// What tells a file from what was there before: inode, length, time of the last change. None: it cannot be looked at.
type Stamp = Option<(u64, u64, SystemTime)>;

/// Why a certificate cannot be used: the file, the line where there is one, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {why}", .path.display(), .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct CertificateError {
    /// The file.
    pub path: PathBuf,
    /// The line in it.
    pub line: Option<usize>,
    /// What is wrong.
    pub why: String,
}

impl Certificate {
    /// Reads a chain, the server's own certificate first, and its private key.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let current = Current {
            stamps: [stamp(chain), stamp(key)],
            config: read(chain, key)?,
        };
        Ok(Self {
            chain: chain.to_owned(),
            key: key.to_owned(),
            current: Mutex::new(current),
        })
    }

    /// Looks whether the files have changed and reads them again if so. None: they have not. After an error the certificate of
    /// before is shown on, and the files are looked at again when they change once more.
    pub fn refresh(&self) -> Option<Result<(), CertificateError>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the reading: what changes meanwhile is seen the next time.
        let stamps = [stamp(&self.chain), stamp(&self.key)];
        if stamps == current.stamps {
            return None;
        }
        current.stamps = stamps;
        Some(read(&self.chain, &self.key).map(|config| current.config = config))
    }

    /// A server's TLS handshake over a stream; `limit` bounds the whole of it.
    ///
    /// # Errors
    /// The client went away, spoke something else, or took too long.
    pub async fn accept<S>(&self, stream: S, limit: Duration) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&current.config)
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        tokio::time::timeout(limit, handshake)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.modified().ok()?))
}

fn read(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let certificates = read_chain(chain)?;
    let private = read_key(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certified = CertifiedKey::from_der(certificates, private, &provider).map_err(|error| {
        let why = match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
                "this is not the key of the first certificate in {}; the server's own certificate comes first there",
                chain.display()
            ),
            other => format!("the key cannot be used: {other}"),
        };
        wrong(key, None, why)
    })?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has cipher suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    Ok(Arc::new(config))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read_text(path)?;
    let mut certificates = Vec::new();
    for part in pem::parts(&text).map_err(|line| no_end(path, line))? {
        if part.label != "CERTIFICATE" {
            continue;
        }
        let unusable = |why: &dyn fmt::Display| {
            let number = certificates.len() + 1;
            let why = format!("certificate {number}, which begins here, cannot be used: {why}");
            wrong(path, Some(part.line), why)
        };
        let certificate =
            CertificateDer::from_pem_slice(part.text.as_bytes()).map_err(|e| unusable(&e))?;
        ParsedCertificate::try_from(&certificate).map_err(|e| unusable(&e))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        let why =
            "there is no certificate in it; expected PEM, with a line -----BEGIN CERTIFICATE-----";
        return Err(wrong(path, None, why));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
    if mode & TOO_OPEN != 0 {
        let why = format!(
            "others may read or change this private key (its mode is {:04o}): chmod 0640 or less",
            mode & 0o7777
        );
        return Err(wrong(path, None, why));
    }
    let text = read_text(path)?;
    for part in pem::parts(&text).map_err(|line| no_end(path, line))? {
        match part.label {
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {}
            "ENCRYPTED PRIVATE KEY" => {
                let why = "the key is encrypted, and nobody is there to type its password; store it without one";
                return Err(wrong(path, Some(part.line), why));
            }
            _ => continue,
        }
        return PrivateKeyDer::from_pem_slice(part.text.as_bytes()).map_err(|error| {
            let why = format!("the key that begins here cannot be read: {error}");
            wrong(path, Some(part.line), why)
        });
    }
    let why =
        "there is no private key in it; expected PEM, with a line -----BEGIN PRIVATE KEY-----";
    Err(wrong(path, None, why))
}

fn read_text(path: &Path) -> Result<String, CertificateError> {
    let unreadable = |error: io::Error| wrong(path, None, format!("it cannot be read: {error}"));
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > LONGEST_FILE {
        return Err(wrong(
            path,
            None,
            format!("it holds {length} bytes, too many for PEM"),
        ));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| {
        let why = "it is not text; expected PEM (a DER file is converted with `openssl x509 -inform der`)";
        wrong(path, None, why)
    })
}

fn no_end(path: &Path, line: usize) -> CertificateError {
    wrong(path, Some(line), "what begins here has no line -----END")
}

fn wrong(path: &Path, line: Option<usize>, why: impl Into<String>) -> CertificateError {
    CertificateError {
        path: path.to_owned(),
        line,
        why: why.into(),
    }
}
