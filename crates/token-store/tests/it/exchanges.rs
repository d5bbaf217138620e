//! What token endpoints answer and where they are: nonsense, refusals, discovery, TLS, applications without a person.

use crate::endpoint::Endpoint;
use crate::support::Rig;
use token_store::accounts::{Auth, Declared};
use token_store::state::State;
use token_store::{Credential, Secret, TokenError, Tokens, TokensOptions};

#[tokio::test]
async fn nonsense_pages_and_refusals_never_cost_the_refresh_token() {
    let rig = Rig::seeded().await;
    let huge = format!(r#"{{"padding":"{}"}}"#, "x".repeat(10_000_000));
    let answers = [
        (
            200,
            "Content-Type: text/html\r\n",
            "<html><title>Proxy</title>",
        ),
        (200, "", huge.as_str()),
        (302, "Location: https://elsewhere.example/\r\n", ""),
        (400, "", r#"{"error":"invalid_grant"}"#),
        (401, "", r#"{"error":"invalid_client"}"#),
        (429, "Retry-After: 7\r\n", ""),
        (500, "", "oops"),
    ];
    for (status, headers, body) in answers {
        rig.endpoint
            .world()
            .canned
            .push_back((status, headers.into(), body.into()));
        rig.tokens.refresh("t").await.unwrap_err();
    }
    let token = rig.tokens.refresh("t").await.unwrap();
    assert!(token.secret.expose().starts_with("planted-access"));
    assert_eq!(rig.status("t").state, State::Ready);
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let rig = Rig::seeded().await;
    rig.endpoint
        .world()
        .canned
        .push_back((429, "Retry-After: 77\r\n".into(), String::new()));
    for _ in 0..3 {
        let error = rig.tokens.access("t").await.unwrap_err();
        let TokenError::Later { after, .. } = error else {
            panic!("{error}")
        };
        assert!((70..=77).contains(&after.as_secs()), "{after:?}");
    }
    assert_eq!(rig.endpoint.count(), 1);
}

#[tokio::test]
async fn client_credentials_get_a_token_without_a_person() {
    let rig = Rig::new().await;
    rig.import(rig.app_entry("app")).await;
    let Credential::Bearer(token) = rig
        .tokens
        .credential(&Auth::Token("app".into()), "support@example.com")
        .await
        .unwrap()
    else {
        panic!("a token config gives a bearer token");
    };
    assert!(token.secret.expose().starts_with("planted-access"));
    assert_eq!(
        rig.endpoint.world().requests[0]["grant_type"],
        "client_credentials"
    );
    let begun = rig
        .tokens
        .begin(
            "app",
            "http://localhost/cb",
            "s",
            token_store::SignIn::Anybody,
        )
        .await;
    assert!(matches!(begun, Err(TokenError::Broken { .. })), "{begun:?}");
    let refused = rig.tokens.seed("app", Secret::new("r")).await;
    assert!(refused.is_err(), "there is nothing to seed");
}

#[tokio::test]
async fn without_a_person_a_refused_client_is_a_matter_of_configuration() {
    let rig = Rig::new().await;
    rig.import(rig.app_entry("app")).await;
    rig.endpoint.world().canned.push_back((
        401,
        String::new(),
        r#"{"error":"invalid_client"}"#.into(),
    ));
    let error = rig.tokens.access("app").await.unwrap_err();
    assert!(matches!(error, TokenError::Broken { .. }), "{error}");
    assert_eq!(rig.status("app").state, State::Broken);
    // A new secret is tried at once.
    let mut mended = rig.app_entry("app");
    mended.config.client_secret = Secret::new("another");
    rig.import(mended).await;
    rig.tokens.access("app").await.unwrap();
    assert_eq!(rig.status("app").state, State::Ready);
}

#[tokio::test]
async fn endpoints_are_discovered_once_and_only_from_their_own_issuer() {
    let rig = Rig::seeded().await;
    let issuer = rig.endpoint.url("/realm");
    let document = |issuer: &str| {
        let (authorize, token) = (rig.endpoint.url("/authorize"), rig.endpoint.url("/token"));
        format!(
            r#"{{"issuer":"{issuer}","authorization_endpoint":"{authorize}","token_endpoint":"{token}"}}"#
        )
    };
    let mut entry = rig.entry("found");
    entry.config.postern.discovery = Some(issuer.clone());
    let requests = &mut entry.config.requests;
    for request in [
        &mut requests.authorization_code,
        &mut requests.token_by_authorization_code,
        &mut requests.token_by_refresh_token,
    ] {
        request.as_mut().unwrap().url.clear();
    }
    rig.import(entry).await;
    let planted = rig.endpoint.world().plant();
    rig.tokens
        .seed("found", Secret::new(planted))
        .await
        .unwrap();

    rig.endpoint.world().discovery = "<html>starting up</html>".into();
    assert!(matches!(
        rig.tokens.refresh("found").await,
        Err(TokenError::Later { .. })
    ));
    rig.endpoint.world().discovery = document("https://evil.example");
    assert!(matches!(
        rig.tokens.refresh("found").await,
        Err(TokenError::Broken { .. })
    ));
    rig.endpoint.world().discovery = document(&issuer);
    rig.tokens.refresh("found").await.unwrap();
    rig.tokens.refresh("found").await.unwrap();
    let url = rig
        .tokens
        .begin(
            "found",
            "http://localhost/cb",
            "s",
            token_store::SignIn::Anybody,
        )
        .await
        .unwrap();
    assert!(url.starts_with(&rig.endpoint.url("/authorize?")), "{url}");
    let fetched = rig.endpoint.world().fetched.clone();
    assert_eq!(
        fetched, ["/realm/.well-known/openid-configuration"; 3],
        "cached after the good one"
    );
}

#[tokio::test]
async fn http_beyond_loopback_is_refused_before_anything_is_sent() {
    let rig = Rig::seeded().await;
    let mut entry = rig.entry("t");
    entry
        .config
        .requests
        .token_by_refresh_token
        .as_mut()
        .unwrap()
        .url = "http://192.0.2.1/token".into();
    let declared = Declared {
        token_configs: vec![("generic".into(), entry)],
        ..Declared::default()
    };
    rig.store().declare("a.yaml", declared).await.unwrap();
    rig.tokens.seed("t", Secret::new("r")).await.unwrap();
    let error = rig.tokens.refresh("t").await.unwrap_err();
    assert!(matches!(&error, TokenError::Broken { .. }), "{error}");
    assert!(error.to_string().contains("https://"), "{error}");
}

#[tokio::test]
async fn a_refused_application_is_a_matter_of_configuration_since_nobody_can_consent() {
    let rig = Rig::new().await;
    rig.import(rig.app_entry("app")).await;
    let refused = r#"{"error":"invalid_grant","error_description":"no"}"#;
    rig.endpoint
        .world()
        .canned
        .push_back((400, String::new(), refused.into()));
    let error = rig.tokens.access("app").await.unwrap_err();
    assert!(matches!(&error, TokenError::Broken { .. }), "{error}");
    assert!(error.to_string().contains(". Nobody signs in"), "{error}");
}

#[tokio::test]
async fn a_token_endpoint_on_tls_is_trusted_by_its_ca_file_alone() {
    let rig = Rig::new().await;
    let (endpoint, pem) = Endpoint::start_tls().await;
    let ca_file = rig.database().with_file_name("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    let mut entry = rig.entry("t");
    entry
        .config
        .requests
        .token_by_refresh_token
        .as_mut()
        .unwrap()
        .url = endpoint.url("/token");
    rig.import(entry).await;
    let planted = endpoint.world().plant();
    rig.tokens.seed("t", Secret::new(planted)).await.unwrap();
    let error = rig.tokens.refresh("t").await.unwrap_err();
    assert!(
        matches!(&error, TokenError::Later { .. }) && error.to_string().contains("certificate"),
        "{error}"
    );
    assert_eq!(endpoint.count(), 0, "nothing was sent to a stranger");
    let options = TokensOptions {
        ca_file: Some(ca_file.clone()),
    };
    Tokens::new(rig.store().clone(), options.clone())
        .unwrap()
        .refresh("t")
        .await
        .unwrap();
    std::fs::write(&ca_file, "no certificate").unwrap();
    let error = Tokens::new(rig.store().clone(), options)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("ca.pem"), "{error}");
}

#[tokio::test]
async fn a_servers_words_never_quote_our_secrets_back() {
    let rig = Rig::seeded().await;
    let planted = rig.endpoint.world().living.iter().next().unwrap().clone();
    let echo = format!(
        r#"{{"error":"invalid_grant","error_description":"{planted} of planted-client-secret is spent"}}"#
    );
    rig.endpoint
        .world()
        .canned
        .push_back((400, String::new(), echo));
    let error = rig.tokens.access("t").await.unwrap_err().to_string();
    assert!(error.contains("*** of *** is spent"), "{error}");
    assert!(error.contains("`postern token request t`"), "{error}");
}
