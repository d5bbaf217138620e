//! What proves who asks for a token: certificates, service accounts, passwords.

use provider_template::{Algorithm, Assertion, Secret};

use super::super::accounts::{Known, secret};
use super::super::reader::{Field, Section};
use super::super::surroundings::Secrets;

/// What stands where a key, a key file or a certificate was left out, and looks like one.
const KEY_LEFT_OUT: &str = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----";
const KEY_FILE_LEFT_OUT: &str = r#"{"client_email": "left-out@invalid", "private_key": "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"}"#;
const CERTIFICATE_LEFT_OUT: &str = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----";

/// What a token config gives beside client ID and client secret.
#[derive(Default)]
pub(super) struct Proof {
    pub(super) private_key: Secret,
    pub(super) assertion: Option<Assertion>,
    pub(super) service_account: Secret,
    pub(super) user: String,
    pub(super) password: Secret,
}

/// Reads it; None when there is a mistake in it, which is reported.
pub(super) fn read(section: &Section<'_>, known: &Known<'_>) -> Option<Proof> {
    let certificate = section.get("client_certificate");
    let key = section.get("client_key");
    let algorithm = section.get("client_algorithm");
    let account = section.get("service_account");
    let user = section.get("user");
    let password = section.get("password");

    let mut proof = Proof::default();
    let mut right = true;
    if let Some(field) = &account {
        match standing(field, KEY_FILE_LEFT_OUT, known) {
            Some(read) => proof.service_account = read,
            None => right = false,
        }
    }
    if certificate.is_some() || key.is_some() {
        let assertion = assertion(certificate.as_ref(), algorithm.as_ref(), known);
        right &= assertion.is_some();
        proof.assertion = assertion;
    } else if let Some(field) = &algorithm {
        field.mistake("says how a client certificate signs, and there is none");
        right = false;
    }
    if let Some(field) = &key {
        match standing(field, KEY_LEFT_OUT, known) {
            Some(key) => proof.private_key = key,
            None => right = false,
        }
    }
    if let Some(field) = &user {
        match field.text("the name to sign in with") {
            Some(text) => text.clone_into(&mut proof.user),
            None => right = false,
        }
    }
    if let Some(field) = &password {
        match secret(field, known.surroundings) {
            Some(password) => proof.password = password,
            None => right = false,
        }
    }
    right.then_some(proof)
}

fn assertion(
    certificate: Option<&Field<'_>>,
    algorithm: Option<&Field<'_>>,
    known: &Known<'_>,
) -> Option<Assertion> {
    let algorithms = [Algorithm::Ps256, Algorithm::Rs256].map(|a| (a.name(), a));
    let algorithm = algorithm.map_or(Some(Algorithm::default()), |field| {
        field.one_of(&algorithms)
    });
    let certificate = certificate.map_or(Some(Secret::default()), |field| {
        standing(field, CERTIFICATE_LEFT_OUT, known)
    });
    Some(Assertion {
        algorithm: algorithm?,
        certificate: certificate?.expose().to_owned(),
        audience: None,
    })
}

/// A secret, or what stands for it.
fn standing(field: &Field<'_>, left_out: &str, known: &Known<'_>) -> Option<Secret> {
    let read = secret(field, known.surroundings)?;
    Some(match known.surroundings.secrets {
        Secrets::Needed => read,
        Secrets::LeftOut => Secret::new(left_out),
    })
}
