//! Forms, and the hiding of what was sent.

use super::assertion::Signed;
use super::form::form;
use super::http::encode;
use super::*;
use crate::Secret;
use provider_template::{Autofill, Config, Flow};

fn entry(request: Request) -> Entry {
    let mut config = Config {
        client_id: "client".into(),
        client_secret: Secret::new("client-secret"),
        scope: "mail read".into(),
        ..Config::default()
    };
    config.requests.token_by_refresh_token = Some(request);
    Entry {
        name: "t".into(),
        valid: true,
        config,
        rest: serde_json::Map::default(),
    }
}

#[test]
fn a_form_holds_the_fixed_fields_the_filled_ones_and_what_the_grant_needs() {
    let request = Request {
        parameters: vec![
            ("grant_type".into(), "refresh_token".into()),
            ("resource".into(), "x&y=z".into()),
        ],
        autofilled: vec![
            ("client_id".into(), Autofill::ClientId),
            ("client_secret".into(), Autofill::ClientSecret),
            ("scope".into(), Autofill::Scope),
        ],
        ..Request::default()
    };
    let entry = entry(request.clone());
    let refresh_token = Secret::new("r+/=");
    let form = form(
        &entry,
        &request,
        Ask::Refresh {
            refresh_token: &refresh_token,
        },
        &Signed::default(),
    );
    assert_eq!(
        encode(&form),
        "grant_type=refresh_token&resource=x%26y%3Dz&client_id=client&client_secret=client-secret&scope=mail+read\
         &refresh_token=r%2B%2F%3D"
    );
    assert!(!format!("{form:?}").contains("client-secret"));
}

#[test]
fn an_empty_client_secret_is_not_sent() {
    let request = Request {
        autofilled: vec![
            ("client_secret".into(), Autofill::ClientSecret),
            ("rt".into(), Autofill::RefreshToken),
        ],
        ..Request::default()
    };
    let mut entry = entry(request.clone());
    entry.config.client_secret = Secret::default();
    let refresh_token = Secret::new("r");
    let form = form(
        &entry,
        &request,
        Ask::Refresh {
            refresh_token: &refresh_token,
        },
        &Signed::default(),
    );
    assert_eq!(encode(&form), "rt=r&grant_type=refresh_token");
}

#[test]
fn a_code_is_sent_with_its_redirect_uri_and_verifier() {
    let (code, verifier) = (Secret::new("c"), Secret::new("v"));
    let ask = Ask::Code {
        code: &code,
        redirect_uri: "http://localhost/cb",
        verifier: &verifier,
    };
    let request = Request::default();
    let form = form(&entry(request.clone()), &request, ask, &Signed::default());
    assert_eq!(
        encode(&form),
        "grant_type=authorization_code&code=c&redirect_uri=http%3A%2F%2Flocalhost%2Fcb&code_verifier=v"
    );
}

#[test]
fn what_was_sent_is_hidden_when_a_server_quotes_it() {
    let form: Form = vec![
        ("client_id".into(), Secret::new("client-one")),
        ("refresh_token".into(), Secret::new("refresh-one")),
    ];
    let trouble = Trouble {
        words: "client-one sent refresh-one".into(),
        advice: String::new(),
    };
    let Verdict::AskPerson(hidden) = finished(
        &entry(Request::default()),
        Verdict::AskPerson(trouble),
        &form,
    ) else {
        panic!("same verdict")
    };
    assert_eq!(hidden.words, "client-one sent ***");
}

#[test]
fn a_borrowed_request_gives_its_place_and_names_but_not_its_grant_type() {
    let request = Request {
        parameters: vec![("grant_type".into(), "authorization_code".into())],
        autofilled: vec![
            ("client_id".into(), Autofill::ClientId),
            ("code".into(), Autofill::AuthorizationCode),
            ("redirect_uri".into(), Autofill::RedirectUrl),
        ],
        ..Request::default()
    };
    let mut entry = entry(request.clone());
    entry.config.user = "anna".into();
    entry.config.password = Secret::new("pass word");
    let device_code = Secret::new("d");
    let sent = |ask, signed: &Signed| encode(&form(&entry, &request, ask, signed));
    assert_eq!(
        sent(
            Ask::DeviceCode {
                device_code: &device_code
            },
            &Signed::default()
        ),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id=client&device_code=d"
    );
    assert_eq!(
        sent(Ask::Password, &Signed::default()),
        "grant_type=password&client_id=client&username=anna&password=pass+word"
    );
    let signed = Signed {
        client: None,
        grant: Some(Secret::new("j.w.t")),
    };
    assert_eq!(
        sent(Ask::ServiceAccount { subject: "anna" }, &signed),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_id=client&assertion=j.w.t"
    );
}

#[test]
fn a_certificate_takes_the_place_of_the_client_secret() {
    let request = Request {
        autofilled: vec![("client_secret".into(), Autofill::ClientSecret)],
        ..Request::default()
    };
    let signed = Signed {
        client: Some(Secret::new("j.w.t")),
        grant: None,
    };
    let entry = entry(request.clone());
    let proof = "client_id=client&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion=j.w.t";
    let sent = form(&entry, &request, Ask::ClientCredentials, &signed);
    assert_eq!(
        encode(&sent),
        format!("grant_type=client_credentials&{proof}")
    );
    let beside = form::further_form(&entry, &[("token", "x")], &signed);
    assert_eq!(encode(&beside), format!("token=x&{proof}"));
    let beside = form::further_form(&entry, &[("token", "x")], &Signed::default());
    assert_eq!(
        encode(&beside),
        "token=x&client_id=client&client_secret=client-secret"
    );
}

#[test]
fn where_nobody_signs_in_a_refusal_says_what_to_check_and_a_short_password_is_hidden() {
    let form: Form = vec![
        ("username".into(), Secret::new("anna@example.com")),
        ("password".into(), Secret::new("geheim")),
    ];
    for (flow, told) in [
        (Flow::Password, "second factor"),
        (Flow::ServiceAccount, "domain-wide delegation"),
        (Flow::ClientCredentials, "client secret"),
    ] {
        let mut entry = entry(Request::default());
        entry.config.flow = flow;
        let trouble = Trouble {
            words: "no anna@example.com:geheim".into(),
            advice: "sign in".into(),
        };
        let Verdict::FixConfiguration(found) = finished(&entry, Verdict::AskPerson(trouble), &form)
        else {
            panic!("nobody can sign in")
        };
        assert_eq!(found.words, "no anna@example.com:***");
        assert!(found.advice.contains(told), "{}", found.advice);
    }
}
