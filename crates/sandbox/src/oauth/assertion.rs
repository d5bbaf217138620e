//! Signed assertions (RFC 7523), verified as strictly as a provider does: signature, audience, dates, and each one once.
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// An assertion that lives longer is refused, as Google does.
const LONGEST_LIFE: u64 = 3600;

/// Who may sign, and what was signed already.
#[derive(Debug, Default)]
pub(crate) struct Signers {
    /// Of the client registration: `x5t#S256`, and the public key as PEM.
    certificate: Option<(String, String)>,
    accounts: Vec<ServiceAccount>,
    seen: HashSet<String>,
}

#[derive(Debug)]
struct ServiceAccount {
    email: String,
    public_key: String,
    users: Vec<String>,
}

impl Signers {
    pub(crate) fn register_certificate(&mut self, certificate: &str, public_key: &str) {
        let text: String = certificate
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let der = STANDARD.decode(text.trim()).unwrap_or_default();
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(der));
        self.certificate = Some((thumbprint, public_key.to_owned()));
    }

    pub(crate) fn register_account(&mut self, email: &str, public_key: &str, users: &[&str]) {
        self.accounts.push(ServiceAccount {
            email: email.to_owned(),
            public_key: public_key.to_owned(),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
        });
    }

    /// Whether an assertion proves this client (section 2.2, in Microsoft's form).
    pub(crate) fn proves_client(
        &mut self,
        assertion: &str,
        client_id: &str,
        audience: &str,
    ) -> Result<(), &'static str> {
        let (thumbprint, key) = self
            .certificate
            .as_ref()
            .ok_or("no certificate is registered")?;
        let header = jsonwebtoken::decode_header(assertion).map_err(|_| "it is no JWT")?;
        if header.x5t_s256.as_deref() != Some(thumbprint) {
            return Err("x5t#S256 is of another certificate");
        }
        let key = key.clone();
        let claims = self.verify(assertion, &key, audience)?;
        let is_client = |claim: &str| claims[claim].as_str() == Some(client_id);
        if is_client("iss") && is_client("sub") {
            Ok(())
        } else {
            Err("iss and sub are not the client")
        }
    }

    /// For which user an assertion asks (section 2.1 with a `sub`, in Google's form).
    pub(crate) fn grants_user(
        &mut self,
        assertion: &str,
        audience: &str,
    ) -> Result<String, &'static str> {
        let issuer = issuer(assertion).ok_or("it is no JWT")?;
        let account = self.accounts.iter().find(|account| account.email == issuer);
        let account = account.ok_or("no such service account")?;
        let (key, users) = (account.public_key.clone(), account.users.clone());
        let claims = self.verify(assertion, &key, audience)?;
        if claims["scope"].as_str().unwrap_or_default().is_empty() {
            return Err("it asks for no scope");
        }
        let subject = claims["sub"].as_str().unwrap_or_default().to_owned();
        if users.contains(&subject) {
            Ok(subject)
        } else {
            Err("the account may not act for this user")
        }
    }

    fn verify(&mut self, jwt: &str, key: &str, audience: &str) -> Result<Value, &'static str> {
        let key = DecodingKey::from_rsa_pem(key.as_bytes()).map_err(|_| "the key is none")?;
        let header = jsonwebtoken::decode_header(jwt).map_err(|_| "it is no JWT")?;
        if !matches!(header.alg, Algorithm::PS256 | Algorithm::RS256) {
            return Err("the algorithm is not allowed");
        }
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.validate_nbf = true;
        let read = jsonwebtoken::decode::<Value>(jwt, &key, &validation);
        let claims = read
            .map_err(|_| "signature, audience or dates are wrong")?
            .claims;
        let number = |claim: &str| claims[claim].as_u64().unwrap_or(0);
        if number("exp").saturating_sub(number("iat")) > LONGEST_LIFE {
            return Err("it lives too long");
        }
        let id = claims["jti"].as_str().unwrap_or_default();
        if id.is_empty() || !self.seen.insert(id.to_owned()) {
            return Err("its jti is missing, or was used before");
        }
        Ok(claims)
    }
}

/// Who says to have signed it; believed only once the signature was verified with that one's key.
fn issuer(jwt: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}
