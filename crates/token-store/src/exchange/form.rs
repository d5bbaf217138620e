//! The form of a token request: what the config fixes, what is filled in, what proves who asks.

use super::assertion::Signed;
use super::verdict::{Trouble, Verdict};
use crate::Secret;
use provider_template::{Autofill, Entry, Flow, Request};

/// RFC 8628 section 3.4.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 7523 section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 7523 section 2.2.
const CLIENT_JWT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Which request of a token config is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask<'a> {
    Refresh {
        refresh_token: &'a Secret,
    },
    Code {
        code: &'a Secret,
        redirect_uri: &'a str,
        verifier: &'a Secret,
    },
    DeviceCode {
        device_code: &'a Secret,
    },
    ClientCredentials,
    /// For a mailbox user.
    ServiceAccount {
        subject: &'a str,
    },
    /// With the config's own user and password.
    Password,
}

impl<'a> Ask<'a> {
    /// The request that needs no person and no earlier token; None where there is no such.
    pub(crate) fn without_person(flow: Flow, subject: &'a str) -> Option<Self> {
        Some(match flow {
            Flow::ClientCredentials => Ask::ClientCredentials,
            Flow::ServiceAccount => Ask::ServiceAccount { subject },
            Flow::Password => Ask::Password,
            Flow::AuthorizationCode | Flow::DeviceCode => return None,
        })
    }

    fn grant_type(&self) -> &'static str {
        match self {
            Ask::Refresh { .. } => "refresh_token",
            Ask::Code { .. } => "authorization_code",
            Ask::DeviceCode { .. } => DEVICE_CODE,
            Ask::ClientCredentials => "client_credentials",
            Ask::ServiceAccount { .. } => JWT_BEARER,
            Ask::Password => "password",
        }
    }

    /// Whether the request is borrowed from another grant, whose `grant_type` it may fix.
    fn is_borrowed(&self) -> bool {
        matches!(
            self,
            Ask::DeviceCode { .. } | Ask::ServiceAccount { .. } | Ask::Password
        )
    }
}

/// The config's request for this, or its name when the config has none.
pub(super) fn request_for<'a>(entry: &'a Entry, ask: Ask<'_>) -> Result<&'a Request, &'static str> {
    let requests = &entry.config.requests;
    let (request, name) = match ask {
        Ask::Refresh { .. } => (&requests.token_by_refresh_token, "TokenByRefreshToken"),
        Ask::Code { .. } | Ask::DeviceCode { .. } => (
            &requests.token_by_authorization_code,
            "TokenByAuthorizationCode",
        ),
        Ask::ClientCredentials | Ask::ServiceAccount { .. } | Ask::Password => (
            &requests.token_by_client_credentials,
            "TokenByClientCredentials",
        ),
    };
    request.as_ref().ok_or(name)
}

/// The form's fields; a value is secret or not, but never printed.
pub(super) type Form = Vec<(String, Secret)>;

/// Adds a field, unless it is there already or empty.
fn put(form: &mut Form, field: &str, value: &str) {
    if !value.is_empty() && !form.iter().any(|(known, _)| known == field) {
        form.push((field.to_owned(), Secret::new(value)));
    }
}

/// Fixed parameters, then what is filled in, then what the grant needs and the config forgot.
pub(super) fn form(entry: &Entry, request: &Request, ask: Ask<'_>, signed: &Signed) -> Form {
    let config = &entry.config;
    let mut form = Form::new();
    if ask.is_borrowed() {
        put(&mut form, "grant_type", ask.grant_type());
    }
    for (field, value) in &request.parameters {
        put(&mut form, field, value);
    }
    for (field, what) in &request.autofilled {
        let value = match (what, ask) {
            (Autofill::ClientId, _) => &config.client_id,
            // A certificate stands in its place.
            (Autofill::ClientSecret, _) if signed.client.is_some() => "",
            (Autofill::ClientSecret, _) => config.client_secret.expose(),
            (Autofill::Scope, _) => &config.scope,
            (Autofill::RedirectUrl, Ask::Code { redirect_uri, .. }) => redirect_uri,
            (Autofill::AuthorizationCode, Ask::Code { code, .. }) => code.expose(),
            (Autofill::RefreshToken, Ask::Refresh { refresh_token }) => refresh_token.expose(),
            _ => "",
        };
        put(&mut form, field, value);
    }
    put(&mut form, "grant_type", ask.grant_type());
    put_grant(&mut form, entry, request, ask, signed);
    put_client_assertion(&mut form, entry, signed);
    form
}

/// What the grant itself needs, unless the config calls it by another name.
fn put_grant(form: &mut Form, entry: &Entry, request: &Request, ask: Ask<'_>, signed: &Signed) {
    let mapped = |what: Autofill| request.field(what).is_some();
    match ask {
        Ask::Refresh { refresh_token } => {
            if !mapped(Autofill::RefreshToken) {
                put(form, "refresh_token", refresh_token.expose());
            }
        }
        Ask::Code {
            code,
            redirect_uri,
            verifier,
        } => {
            if !mapped(Autofill::AuthorizationCode) {
                put(form, "code", code.expose());
            }
            if !mapped(Autofill::RedirectUrl) {
                put(form, "redirect_uri", redirect_uri);
            }
            put(form, "code_verifier", verifier.expose());
        }
        Ask::DeviceCode { device_code } => put(form, "device_code", device_code.expose()),
        Ask::ClientCredentials => {}
        Ask::ServiceAccount { .. } => {
            let assertion = signed.grant.as_ref().map_or("", Secret::expose);
            put(form, "assertion", assertion);
        }
        Ask::Password => {
            put(form, "username", &entry.config.user);
            put(form, "password", entry.config.password.expose());
        }
    }
}

fn put_client_assertion(form: &mut Form, entry: &Entry, signed: &Signed) {
    if let Some(assertion) = &signed.client {
        put(form, "client_id", &entry.config.client_id);
        put(form, "client_assertion_type", CLIENT_JWT);
        put(form, "client_assertion", assertion.expose());
    }
}

/// The form of an endpoint beside the token endpoint: these fields, and who asks.
pub(super) fn further_form(entry: &Entry, fields: &[(&str, &str)], signed: &Signed) -> Form {
    let mut form = Form::new();
    for (field, value) in fields {
        put(&mut form, field, value);
    }
    put(&mut form, "client_id", &entry.config.client_id);
    if signed.client.is_none() {
        put(
            &mut form,
            "client_secret",
            entry.config.client_secret.expose(),
        );
    }
    put_client_assertion(&mut form, entry, signed);
    form
}

/// What is left to do for a config: hide what was sent, name the config, and see whether there is a person to ask.
pub(super) fn finished(entry: &Entry, verdict: Verdict, form: &Form) -> Verdict {
    let mut verdict = match verdict {
        Verdict::AskPerson(Trouble { words, .. }) if !entry.config.flow.needs_person() => {
            Verdict::FixConfiguration(Trouble {
                words,
                advice: without_person(entry.config.flow).into(),
            })
        }
        other => other,
    };
    let trouble = match &mut verdict {
        Verdict::Granted(_) => return verdict,
        Verdict::Retry { trouble, .. }
        | Verdict::AskPerson(trouble)
        | Verdict::FixConfiguration(trouble) => trouble,
    };
    hide(trouble, form);
    trouble.advice = trouble.advice.replace("NAME", &entry.name);
    verdict
}

/// What to do where nobody signs in.
fn without_person(flow: Flow) -> &'static str {
    match flow {
        Flow::ServiceAccount => {
            "let the service account act for this user (Google: domain-wide delegation of this very scope to its client ID), and \
             check its key and this host's clock"
        }
        Flow::Password => {
            "check the user name and the password; an account that asks for a second factor can't sign in this way"
        }
        _ => {
            "nobody signs in for this flow: check client id, client secret and the permissions granted to the application"
        }
    }
}

/// A server may quote in its error what it was sent.
pub(super) fn hide(trouble: &mut Trouble, form: &Form) {
    let public = [
        "grant_type",
        "scope",
        "redirect_uri",
        "client_id",
        "client_assertion_type",
        "token_type_hint",
        "username",
    ];
    // Of a password, however short, nothing may be shown; other values that short are no secrets.
    let secret = |field: &str, value: &str| {
        !public.contains(&field) && (value.len() >= 8 || field == "password")
    };
    for (field, value) in form {
        if secret(field, value.expose()) {
            trouble.words = trouble.words.replace(value.expose(), "***");
        }
    }
}
