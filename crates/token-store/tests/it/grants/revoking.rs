//! Taking a grant back, and asking what a token is good for.

use super::{ANNA, House};
use sandbox::{Fault, Service};
use std::time::Duration;
use token_store::TokenError;
use token_store::state::State;

async fn house() -> House {
    let house = House::new().await;
    house.config("t", |_| {}).await;
    let planted = house.provider.consent(ANNA);
    house
        .tokens
        .seed("t", token_store::Secret::new(planted))
        .await
        .unwrap();
    house
}

#[tokio::test]
async fn a_grant_is_taken_back_at_the_provider_first_and_then_gone_here() {
    let house = house().await;
    let token = house.tokens.access("t").await.unwrap();
    for fault in [Fault::http(503, "text/plain", &[], "later"), Fault::Drop] {
        house.provider.fault(Service::Oauth, "/revoke", 1, fault);
        let error = house.tokens.revoke("t", false).await.unwrap_err();
        assert!(matches!(error, TokenError::Later { .. }), "{error:?}");
        house.tokens.refresh("t").await.unwrap();
    }
    house.tokens.revoke("t", false).await.unwrap();
    assert_eq!(house.provider.counts().revocations, 1);
    assert_eq!(house.provider.user_of(token.secret.expose()), None);
    let status = house.status("t");
    assert_eq!(status.state, State::NeedsConsent);
    assert_eq!(status.refresh_token, "none yet");
    assert!(house.tokens.access("t").await.is_err());
    let again = house.tokens.revoke("t", false).await.unwrap_err();
    assert!(
        again.to_string().contains("no token to take back"),
        "{again}"
    );
}

#[tokio::test]
async fn a_refresh_under_way_ends_before_and_brings_no_token_that_outlives_it() {
    let house = house().await;
    let late = Fault::Withhold(Duration::from_millis(200));
    house.provider.fault(Service::Oauth, "/token", 1, late);
    let (refreshed, revoked) = tokio::join!(house.tokens.refresh("t"), async {
        crate::support::eventually("the refresh is on its way", || {
            house.provider.counts().token_requests == 1
        })
        .await;
        house.tokens.revoke("t", false).await
    });
    revoked.unwrap();
    let brought = refreshed.unwrap();
    assert_eq!(house.provider.user_of(brought.secret.expose()), None);
    assert_eq!(house.status("t").state, State::NeedsConsent);
}

#[tokio::test]
async fn without_an_endpoint_it_says_where_to_do_it_and_forgets_on_request() {
    let house = House::new().await;
    let url = house.provider.url();
    house
        .config("plain", |order| {
            order.endpoints.discovery = None;
            order.endpoints.authorize = Some(format!("{url}/authorize"));
            order.endpoints.token = Some(format!("{url}/token"));
        })
        .await;
    let planted = house.provider.consent(ANNA);
    house
        .tokens
        .seed("plain", token_store::Secret::new(planted))
        .await
        .unwrap();
    let said = house
        .tokens
        .revoke("plain", false)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("connected apps") && said.contains("--forget"),
        "{said}"
    );
    house.tokens.access("plain").await.unwrap();
    house.tokens.revoke("plain", true).await.unwrap();
    assert_eq!(house.status("plain").state, State::NeedsConsent);
    assert_eq!(house.provider.counts().revocations, 0);
    let said = house
        .tokens
        .introspect("plain")
        .await
        .unwrap_err()
        .to_string();
    assert!(!said.is_empty());
}

#[tokio::test]
async fn introspection_says_what_the_provider_knows_of_a_token() {
    let house = house().await;
    let known = house.tokens.introspect("t").await.unwrap();
    assert!(known.active);
    assert_eq!(known.sub.as_deref(), Some(ANNA));
    assert_eq!(known.scope.as_deref(), Some("mail offline_access"));
    assert!(known.exp.unwrap() > 1_700_000_000);
    house.provider.expire_access_tokens();
    assert!(!house.tokens.introspect("t").await.unwrap().active);
}
