//! Forms, dates and the hiding of what was sent.

use super::*;
use provider_template::Config;

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
    let form = form(&entry(request.clone()), &request, ask);
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
fn retry_after_is_seconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_514_400);
    let read = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, now)
    };
    assert_eq!(read("120"), Some(Duration::from_secs(120)));
    assert_eq!(
        read("Tue, 24 Nov 2026 10:01:00 GMT"),
        Some(Duration::from_secs(60))
    );
    assert_eq!(read("Tue, 24 Nov 2026 09:00:00 GMT"), None, "it is over");
    assert_eq!(read("-5"), None);
    assert_eq!(read("soon"), None);
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
}
