//! Signed assertions (RFC 7523): a certificate instead of a client secret, and a service account acting for a mailbox user.
//!
//! Each is made for one request, lives for minutes, and is told apart from every other by its `jti`.

use super::form::Ask;
use super::verdict::{Trouble, Verdict};
use crate::{Secret, seal};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use provider_template::{Entry, ServiceAccount};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};

/// Long enough for clocks that differ by minutes, short enough to be of little use to who steals one. Microsoft asks for
/// five to ten minutes, Google for an hour at most.
const LIFE: u64 = 300;

/// What was signed for a request.
#[derive(Debug, Default)]
pub(super) struct Signed {
    /// Proves the client, instead of its secret.
    pub(super) client: Option<Secret>,
    /// Is the grant itself.
    pub(super) grant: Option<Secret>,
}

/// Signs what the config and the request call for.
pub(super) fn sign(
    entry: &Entry,
    ask: Ask<'_>,
    token_endpoint: &str,
    now: SystemTime,
) -> Result<Signed, Verdict> {
    let mut signed = sign_client(entry, token_endpoint, now)?;
    if let (Ask::ServiceAccount { subject }, Some(account)) =
        (ask, &entry.config.postern.service_account)
    {
        signed.grant = Some(grant(entry, account, subject, token_endpoint, now)?);
    }
    Ok(signed)
}

/// The same for an endpoint beside the token endpoint; the audience stays the token endpoint (RFC 7523 section 3).
pub(super) fn sign_client(
    entry: &Entry,
    token_endpoint: &str,
    now: SystemTime,
) -> Result<Signed, Verdict> {
    let config = &entry.config;
    let Some(assertion) = &config.postern.assertion else {
        return Ok(Signed::default());
    };
    let certificate = CertificateDer::from_pem_slice(assertion.certificate.as_bytes())
        .map_err(|e| unusable(entry, "certificate", &e))?;
    let mut header = Header::new(match assertion.algorithm {
        provider_template::Algorithm::Ps256 => Algorithm::PS256,
        provider_template::Algorithm::Rs256 => Algorithm::RS256,
    });
    header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)));
    let now = seconds(now);
    let claims = json!({
        "iss": config.client_id,
        "sub": config.client_id,
        "aud": assertion.audience.as_deref().unwrap_or(token_endpoint),
        "jti": jti(entry)?,
        "iat": now,
        "nbf": now,
        "exp": now + LIFE,
    });
    Ok(Signed {
        client: Some(encode(entry, &header, &claims)?),
        grant: None,
    })
}

/// Google's form: the scope stands in the assertion.
fn grant(
    entry: &Entry,
    account: &ServiceAccount,
    subject: &str,
    token_endpoint: &str,
    now: SystemTime,
) -> Result<Secret, Verdict> {
    let mut header = Header::new(Algorithm::RS256);
    header.kid.clone_from(&account.key_id);
    let now = seconds(now);
    let claims = json!({
        "iss": account.email,
        "sub": subject,
        "scope": entry.config.scope,
        "aud": account.audience.as_deref().unwrap_or(token_endpoint),
        "jti": jti(entry)?,
        "iat": now,
        "exp": now + LIFE,
    });
    encode(entry, &header, &claims)
}

fn encode(entry: &Entry, header: &Header, claims: &serde_json::Value) -> Result<Secret, Verdict> {
    let key = EncodingKey::from_rsa_pem(entry.config.private_key.expose().as_bytes());
    let key = key.map_err(|e| unusable(entry, "private key", &e))?;
    let signed = jsonwebtoken::encode(header, claims, &key);
    signed
        .map(Secret::new)
        .map_err(|e| unusable(entry, "private key", &e))
}

fn jti(entry: &Entry) -> Result<String, Verdict> {
    let text = seal::random_text().map_err(|e| unusable(entry, "assertion", &e))?;
    Ok(text.expose().to_owned())
}

fn unusable(entry: &Entry, what: &str, error: &dyn std::fmt::Display) -> Verdict {
    Verdict::FixConfiguration(Trouble {
        words: format!("the {what} of {} can't be used: {error}", entry.name),
        advice: "give an RSA key as PEM (PKCS#8 or PKCS#1, without a passphrase) and its certificate as PEM".into(),
    })
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests;
