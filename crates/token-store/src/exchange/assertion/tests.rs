//! Assertions as a provider reads them, with its own verification.

use super::*;
use jsonwebtoken::{DecodingKey, Validation};
use provider_template::{Assertion, Config};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::Value;

const TOKEN_ENDPOINT: &str = "https://id.example/token";

/// A config with a key of its own, and what verifies that key's signatures.
fn config() -> (Entry, DecodingKey) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["postern.example".into()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let public = DecodingKey::from_rsa_pem(key.public_key_pem().as_bytes()).unwrap();
    let mut config = Config {
        client_id: "client".into(),
        scope: "https://mail.google.com/".into(),
        private_key: Secret::new(key.serialize_pem()),
        ..Config::default()
    };
    config.postern.assertion = Some(Assertion {
        certificate: certificate.pem(),
        ..Assertion::default()
    });
    config.postern.service_account = Some(ServiceAccount {
        email: "postern@project.iam.example".into(),
        key_id: Some("k1".into()),
        audience: None,
    });
    let entry = Entry {
        name: "t".into(),
        valid: true,
        config,
        rest: serde_json::Map::default(),
    };
    (entry, public)
}

fn verified(jwt: &Secret, key: &DecodingKey, algorithm: Algorithm) -> (Header, Value) {
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[TOKEN_ENDPOINT]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    let read = jsonwebtoken::decode::<Value>(jwt.expose(), key, &validation).unwrap();
    (read.header, read.claims)
}

#[test]
fn a_certificate_signs_for_the_client_at_this_endpoint_for_minutes_and_once() {
    let (mut entry, key) = config();
    let now = SystemTime::now();
    let sign = |entry: &Entry| {
        sign_client(entry, TOKEN_ENDPOINT, now)
            .unwrap()
            .client
            .unwrap()
    };
    let (first, second) = (sign(&entry), sign(&entry));
    let (header, claims) = verified(&first, &key, Algorithm::PS256);
    let certificate = &entry.config.postern.assertion.as_ref().unwrap().certificate;
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&der));
    assert_eq!(header.x5t_s256, Some(thumbprint));
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!("client"), &json!("client"))
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        LIFE
    );
    assert_eq!(claims["nbf"], claims["iat"]);
    let (_, others) = verified(&second, &key, Algorithm::PS256);
    assert_ne!(claims["jti"], others["jti"]);

    let assertion = entry.config.postern.assertion.as_mut().unwrap();
    assertion.algorithm = provider_template::Algorithm::Rs256;
    assertion.audience = Some(TOKEN_ENDPOINT.into());
    verified(&sign(&entry), &key, Algorithm::RS256);
}

#[test]
fn a_service_account_signs_for_one_mailbox_user_with_the_scope_inside() {
    let (mut entry, key) = config();
    entry.config.postern.assertion = None;
    let subject = "anna@example.com";
    let signed = sign(
        &entry,
        Ask::ServiceAccount { subject },
        TOKEN_ENDPOINT,
        SystemTime::now(),
    )
    .unwrap();
    assert!(signed.client.is_none());
    let (header, claims) = verified(&signed.grant.unwrap(), &key, Algorithm::RS256);
    assert_eq!(header.kid.as_deref(), Some("k1"));
    assert_eq!(claims["iss"], "postern@project.iam.example");
    assert_eq!(claims["sub"], subject);
    assert_eq!(claims["scope"], "https://mail.google.com/");
}

#[test]
fn a_key_in_the_older_form_signs_too() {
    let (mut entry, key) = config();
    let inner = pkcs1(entry.config.private_key.expose());
    entry.config.private_key = Secret::new(inner);
    let signed = sign_client(&entry, TOKEN_ENDPOINT, SystemTime::now()).unwrap();
    verified(&signed.client.unwrap(), &key, Algorithm::PS256);
}

/// The PKCS#1 key inside a PKCS#8 one: what follows the 26 bytes of wrapping that a 2048 bit RSA key has.
fn pkcs1(pkcs8: &str) -> String {
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from_pem_slice(pkcs8.as_bytes()).unwrap();
    let inner = base64::engine::general_purpose::STANDARD.encode(&der.secret_pkcs8_der()[26..]);
    let lines: Vec<&str> = inner
        .as_bytes()
        .chunks(64)
        .map(|l| std::str::from_utf8(l).unwrap())
        .collect();
    format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
        lines.join("\n")
    )
}

#[test]
fn what_is_no_key_is_a_matter_of_configuration_and_is_not_quoted() {
    let (entry, _) = config();
    for (key, certificate) in [
        (Some("planted"), None),
        (
            Some("-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n"),
            None,
        ),
        (Some(""), None),
        (None, Some("planted")),
    ] {
        let mut entry = entry.clone();
        if let Some(key) = key {
            entry.config.private_key = Secret::new(key);
        }
        if let Some(text) = certificate {
            entry.config.postern.assertion.as_mut().unwrap().certificate = text.into();
        }
        let refused = sign_client(&entry, TOKEN_ENDPOINT, SystemTime::now()).unwrap_err();
        let Verdict::FixConfiguration(trouble) = refused else {
            panic!("{refused:?}")
        };
        assert!(!trouble.words.contains("planted"), "{}", trouble.words);
        assert!(
            trouble.words.contains(" of t can't be used"),
            "{}",
            trouble.words
        );
    }
}
