//! TLS towards token endpoints: the system's roots and one optional CA file, with one crypto provider.

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;

/// # Errors
/// When the CA file can't be read or holds no certificate, in words.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let extra = match ca_file {
        Some(path) => certificates(path)?,
        None => Vec::new(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?;
    let mut config = match verifier(extra, provider) {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth(),
        // A host without any root certificates can still use loopback endpoints; https fails as untrusted.
        Err(why) => {
            tracing::warn!(%why, "no root certificates: token endpoints on https will not be trusted");
            builder
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(
    extra: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    Ok(Arc::new(
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider)?,
    ))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong =
        |e: &dyn std::fmt::Display| format!("the CA file {} can't be used: {e}", path.display());
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(&e))?;
    if found.is_empty() {
        return Err(wrong(&"it holds no certificate"));
    }
    Ok(found)
}
