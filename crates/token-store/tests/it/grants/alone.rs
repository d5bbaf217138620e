//! Grants without a person: certificates, service accounts, passwords.

use super::{ANNA, BERTA, House, key};
use crate::support::{mailbox, relay};
use provider_template::{Algorithm, Assertion, Flow, Secret};
use sandbox::{Fault, Service};
use token_store::accounts::{Auth, Declared};
use token_store::state::State;
use token_store::{Credential, TokenError, TokenId};

const ROBOT: &str = "postern@project.iam.sandbox.test";

/// A config that proves itself by a certificate; the private key.
async fn by_certificate(house: &House, name: &str, flow: Flow, algorithm: Algorithm) -> String {
    let (private, public, certificate) = key();
    house.provider.register_certificate(&certificate, &public);
    let signs_with = Secret::new(private.clone());
    house
        .config(name, |order| {
            order.flow = Some(flow);
            order.client_secret = Secret::default();
            order.private_key = signs_with;
            order.assertion = Some(Assertion {
                algorithm,
                certificate,
                audience: None,
            });
        })
        .await;
    private
}

#[tokio::test]
async fn a_certificate_stands_for_the_client_in_every_request() {
    let house = House::new().await;
    by_certificate(&house, "app", Flow::ClientCredentials, Algorithm::Ps256).await;
    house.tokens.access("app").await.unwrap();
    house.tokens.refresh("app").await.unwrap();
    assert_eq!(house.provider.counts().assertions, 2, "each used once");

    by_certificate(&house, "person", Flow::AuthorizationCode, Algorithm::Rs256).await;
    let planted = Secret::new(house.provider.consent(ANNA));
    house.tokens.seed("person", planted).await.unwrap();
    assert_eq!(house.user_of("person").await.as_deref(), Some(ANNA));
    assert_eq!(house.provider.counts().assertions, 3);
}

#[tokio::test]
async fn a_key_that_does_not_fit_the_certificate_is_a_matter_of_configuration() {
    let house = House::new().await;
    let private = by_certificate(&house, "app", Flow::ClientCredentials, Algorithm::Ps256).await;
    let (_, public, certificate) = key();
    // The registration moved on to another certificate.
    house.provider.register_certificate(&certificate, &public);
    let error = house.tokens.access("app").await.unwrap_err();
    assert!(matches!(error, TokenError::Broken { .. }), "{error:?}");
    let said = format!("{error} {error:?}");
    assert!(said.contains("x5t#S256"), "{said}");
    let line = private.lines().nth(1).unwrap();
    assert!(!said.contains(line) && !said.contains("eyJ"), "{said}");
}

/// A config for all mailboxes of the sandbox, whose account may act for Anna and Berta.
async fn service_account(house: &House) {
    let (private, public, _) = key();
    let users = [ANNA, BERTA];
    house
        .provider
        .register_service_account(ROBOT, &public, &users);
    let key_file = serde_json::json!({
        "type": "service_account",
        "client_email": ROBOT,
        "private_key_id": "k1",
        "private_key": private,
        "token_uri": format!("{}/token", house.provider.url()),
    });
    house
        .config("robot", |order| {
            order.flow = Some(Flow::ServiceAccount);
            order.client_id = String::new();
            order.client_secret = Secret::default();
            order.service_account = Secret::new(key_file.to_string());
        })
        .await;
}

async fn bearer(house: &House, user: &str) -> Result<String, TokenError> {
    let auth = Auth::Token("robot".into());
    match house.tokens.credential(&auth, user).await? {
        Credential::Bearer(token) => Ok(token.secret.expose().to_owned()),
        Credential::Password(_) => panic!("a bearer was asked for"),
    }
}

#[tokio::test]
async fn one_service_account_serves_many_mailboxes_each_with_a_token_of_its_own() {
    let house = House::new().await;
    service_account(&house).await;
    let (anna, berta) = (
        bearer(&house, ANNA).await.unwrap(),
        bearer(&house, BERTA).await.unwrap(),
    );
    assert_eq!(house.provider.user_of(&anna).as_deref(), Some(ANNA));
    assert_eq!(house.provider.user_of(&berta).as_deref(), Some(BERTA));
    assert_eq!(bearer(&house, ANNA).await.unwrap(), anna, "still good");
    assert_eq!(house.provider.counts().token_requests, 2);

    // One of them refused says nothing about the other.
    let id = TokenId::for_subject("robot", ANNA);
    let token = house.tokens.access(&id).await.unwrap();
    house.tokens.rejected(&token).await.unwrap();
    assert_ne!(bearer(&house, ANNA).await.unwrap(), anna);
    assert_eq!(bearer(&house, BERTA).await.unwrap(), berta);

    let stranger = bearer(&house, "carla@sandbox.test").await.unwrap_err();
    let said = stranger.to_string();
    assert!(said.contains("domain-wide delegation"), "{said}");
    assert!(said.contains("robot for carla@sandbox.test"), "{said}");
    let nobody = house.tokens.access("robot").await.unwrap_err().to_string();
    assert!(nobody.contains("--user"), "{nobody}");
}

#[tokio::test]
async fn the_tokens_of_a_service_account_are_shown_by_user_with_the_accounts_that_use_them() {
    let house = House::new().await;
    service_account(&house).await;
    let store = house.tokens.store();
    let unused = house.status("robot");
    assert_eq!((unused.subject.as_str(), unused.state), ("", State::Ready));
    let account = |name: &str, user: &str| {
        let mut account = mailbox(name, Auth::Token("robot".into()));
        account.user = user.into();
        account
    };
    let mut sending = relay("out", Auth::Token("robot".into()));
    sending.user = ANNA.into();
    let declared = Declared {
        mailboxes: vec![account("a", ANNA), account("b", BERTA)],
        relays: vec![sending],
        ..Declared::default()
    };
    store.declare("postern.yaml", declared).await.unwrap();
    for id in store.tokens_in_use("robot").unwrap() {
        house.tokens.access(&id).await.unwrap();
    }
    let shown: Vec<(String, Vec<String>)> = house
        .statuses("robot")
        .into_iter()
        .map(|status| (status.subject, status.used_by))
        .collect();
    let used = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            (ANNA.to_owned(), used(&["mailbox a", "relay out"])),
            (BERTA.to_owned(), used(&["mailbox b"])),
        ]
    );
    let declared = Declared {
        mailboxes: vec![account("a", ANNA)],
        ..Declared::default()
    };
    store.declare("postern.yaml", declared).await.unwrap();
    let left = house.statuses("robot");
    assert_eq!(left[0].used_by, ["mailbox a"]);
    assert!(left[1].used_by.is_empty(), "kept for a while, for scripts");
}

#[tokio::test]
async fn a_password_gets_a_token_and_stands_in_for_a_refresh_token_that_is_refused() {
    let house = House::new().await;
    house.provider.set_password(ANNA, "planted word");
    house
        .config("old", |order| {
            order.flow = Some(Flow::Password);
            order.user = ANNA.into();
            order.password = Secret::new("planted word");
        })
        .await;
    assert_eq!(house.user_of("old").await.as_deref(), Some(ANNA));
    house.tokens.refresh("old").await.unwrap();
    assert_eq!(house.provider.counts().refreshes, 1, "by refresh token");
    house.provider.revoke(ANNA);
    house.tokens.refresh("old").await.unwrap();
    assert_eq!(house.user_of("old").await.as_deref(), Some(ANNA));
    assert_eq!(house.provider.counts().refreshes, 1);
    // While the provider is away nothing else is tried.
    let away = Fault::http(503, "text/plain", &[], "later");
    house.provider.fault(Service::Oauth, "/token", 1, away);
    let before = house.provider.counts().token_requests;
    house.tokens.refresh("old").await.unwrap_err();
    assert_eq!(house.provider.counts().token_requests, before + 1);
}

#[tokio::test]
async fn a_wrong_password_is_never_shown_although_the_server_quotes_it() {
    let house = House::new().await;
    house.provider.set_password(ANNA, "another");
    house
        .config("old", |order| {
            order.flow = Some(Flow::Password);
            order.user = ANNA.into();
            order.password = Secret::new("geheim");
        })
        .await;
    let error = house.tokens.access("old").await.unwrap_err();
    let said = format!("{error} {error:?} {:?}", house.status("old"));
    assert!(
        said.contains("the password *** of anna@sandbox.test is wrong"),
        "{said}"
    );
    assert!(
        said.contains("second factor") && !said.contains("geheim"),
        "{said}"
    );
}
