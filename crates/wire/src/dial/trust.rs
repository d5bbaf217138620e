//! Whom a TLS peer must be vouched for by: the system's roots, and a CA file where an account names one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;

use super::DialError;

/// What a TLS peer must prove: the system's roots, plus a CA file where an account names one. Cheap to clone; TLS sessions are
/// resumed among its clones.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    /// Neither the system nor a CA file gave a root: no certificate can be believed, and the error says why.
    rootless: bool,
}

impl Trust {
    /// Builds the verifier once for an account. A machine without system roots still gets a Trust (plain connections to loopback work
    /// without any); its TLS handshakes fail with an error that says so, unless a CA file vouches for the peer.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, DialError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let extra = match ca_file {
            Some(path) => read_ca_file(path)?,
            None => Vec::new(),
        };
        // The platform's verifier refuses to exist without a single root; every certificate of `extra` has been tried before.
        let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).ok();
        Ok(Self::over(verifier, provider))
    }

    /// `verifier` None is a machine without roots.
    pub(super) fn over(verifier: Option<Verifier>, provider: Arc<CryptoProvider>) -> Self {
        let rootless = verifier.is_none();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has cipher suites for TLS 1.2 and 1.3");
        let builder = match verifier {
            Some(verifier) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier)),
            None => builder.with_root_certificates(RootCertStore::empty()),
        };
        Self {
            config: Arc::new(builder.with_no_client_auth()),
            rootless,
        }
    }

    /// The same trust for a client of another protocol over TLS, such as HTTPS.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        (*self.config).clone()
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.config))
    }

    pub(super) fn is_rootless(&self) -> bool {
        self.rootless
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("rootless", &self.rootless)
            .finish_non_exhaustive()
    }
}

/// Every certificate of a PEM file; each is tried as a root here, so that the error can say which one is bad.
fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let wrong = |why: String| DialError::CaFile {
        path: path.to_owned(),
        why,
    };
    let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let mut certificates = Vec::new();
    let mut roots = RootCertStore::empty();
    for (index, item) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let number = index + 1;
        let certificate =
            item.map_err(|e| wrong(format!("certificate {number} cannot be read: {e}")))?;
        roots
            .add(certificate.clone())
            .map_err(|e| wrong(format!("certificate {number} cannot be used: {e}")))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(wrong(
            "there is no certificate in it; expected PEM, beginning with -----BEGIN CERTIFICATE-----"
                .to_owned(),
        ));
    }
    Ok(certificates)
}
