//! Consent: the URL that goes out, the callback that comes back, and everything that must not work.

use crate::support::Rig;
use base64::Engine;
use oauth2::url::Url;
use std::collections::{HashMap, HashSet};
use token_store::state::State;
use token_store::{CallbackAnswer, ConsentError, SignIn};

const CALLBACK: &str = "http://localhost:8025/oauth2/callback";

async fn begin(rig: &Rig, session: &str) -> HashMap<String, String> {
    let url = rig
        .tokens
        .begin("t", CALLBACK, session, SignIn::As("support@example.com"))
        .await
        .unwrap();
    let pairs: Vec<(String, String)> = Url::parse(&url)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    let map: HashMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "no parameter twice: {url}");
    map
}

fn accepted(rig: &Rig, query: &HashMap<String, String>) -> CallbackAnswer {
    let code = rig.endpoint.world().code_for(&query["code_challenge"]);
    CallbackAnswer {
        state: Some(query["state"].clone()),
        code: Some(code),
        ..CallbackAnswer::default()
    }
}

/// A whole consent for `t`.
pub(crate) async fn consent(rig: &Rig) {
    let query = begin(rig, "s").await;
    let answer = accepted(rig, &query);
    rig.tokens.complete("s", answer).await.unwrap();
}

#[tokio::test]
async fn the_url_carries_pkce_a_long_state_and_the_configs_own_parameters() {
    let rig = Rig::new().await;
    let mut states = HashSet::new();
    for _ in 0..3 {
        let query = begin(&rig, "s").await;
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["client_id"], "client");
        assert_eq!(query["redirect_uri"], CALLBACK);
        assert_eq!(query["scope"], "mail");
        assert_eq!(query["access_type"], "offline");
        assert_eq!(query["login_hint"], "support@example.com");
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["code_challenge"].len(), 43);
        let state = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(&query["state"])
            .unwrap();
        assert_eq!(state.len(), 32);
        assert!(states.insert(state));
        assert!(!query.values().any(|v| v.contains("secret")));
    }
}

#[tokio::test]
async fn a_code_becomes_a_token_and_a_state_works_once() {
    let rig = Rig::new().await;
    let query = begin(&rig, "s").await;
    let answer = accepted(&rig, &query);
    assert_eq!(
        rig.tokens
            .complete("s", answer.clone())
            .await
            .unwrap()
            .config,
        "t"
    );
    let status = rig.status("t");
    assert_eq!(status.state, State::Ready);
    assert!(
        status.token.starts_with("valid until 2"),
        "{}",
        status.token
    );
    assert_eq!(status.refresh_token, "valid, no end date known");
    rig.tokens.access("t").await.unwrap();
    assert_eq!(
        rig.endpoint.count(),
        1,
        "the token of the consent itself is used"
    );
    rig.tokens.refresh("t").await.unwrap();
    let again = rig.tokens.complete("s", answer).await;
    assert!(matches!(again, Err(ConsentError::Stale)), "{again:?}");
    assert_eq!(rig.endpoint.count(), 2, "a used state reaches no endpoint");
}

#[tokio::test]
async fn a_state_is_bound_to_its_session_and_not_used_up_by_another() {
    let rig = Rig::new().await;
    let query = begin(&rig, "mine").await;
    let answer = accepted(&rig, &query);
    for (session, state) in [
        ("other", answer.state.clone()),
        ("mine", None),
        ("mine", Some("guess".into())),
    ] {
        let forged = CallbackAnswer {
            state,
            ..answer.clone()
        };
        assert!(matches!(
            rig.tokens.complete(session, forged).await,
            Err(ConsentError::Stale)
        ));
    }
    rig.tokens.complete("mine", answer).await.unwrap();
}

#[tokio::test]
async fn a_refusal_or_a_bad_code_keeps_the_current_token() {
    let rig = Rig::seeded().await;
    let before = rig.tokens.access("t").await.unwrap();
    let query = begin(&rig, "s").await;
    let refused = CallbackAnswer {
        state: Some(query["state"].clone()),
        error: Some("access_denied".into()),
        error_description: Some("AADSTS65004: User declined".into()),
        ..CallbackAnswer::default()
    };
    let error = rig
        .tokens
        .complete("s", refused)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("access_denied: AADSTS65004: User declined"),
        "{error}"
    );
    let query = begin(&rig, "s").await;
    let bad = CallbackAnswer {
        code: Some("bad".into()),
        ..accepted(&rig, &query)
    };
    assert!(matches!(
        rig.tokens.complete("s", bad).await,
        Err(ConsentError::Refused { .. })
    ));
    let query = begin(&rig, "s").await;
    let answer = accepted(&rig, &query);
    rig.endpoint
        .world()
        .canned
        .push_back((502, String::new(), "<html>".into()));
    assert!(matches!(
        rig.tokens.complete("s", answer).await,
        Err(ConsentError::Later(_))
    ));
    let query = begin(&rig, "s").await;
    let empty = CallbackAnswer {
        state: Some(query["state"].clone()),
        ..CallbackAnswer::default()
    };
    assert!(matches!(
        rig.tokens.complete("s", empty).await,
        Err(ConsentError::Refused { .. })
    ));
    assert_eq!(rig.tokens.access("t").await.unwrap().secret, before.secret);
    assert_eq!(rig.status("t").state, State::Ready);
    rig.tokens.refresh("t").await.unwrap();
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_refused_before_its_code_is_shown_to_anyone() {
    let rig = Rig::new().await;
    let mut entry = rig.entry("t");
    entry.config.postern.discovery = Some("https://id.example".into());
    rig.import(entry).await;
    let query = begin(&rig, "s").await;
    let foreign = CallbackAnswer {
        iss: Some("https://evil.example".into()),
        ..accepted(&rig, &query)
    };
    let error = rig.tokens.complete("s", foreign).await.unwrap_err();
    assert!(
        error.to_string().contains("https://evil.example"),
        "{error}"
    );
    assert_eq!(rig.endpoint.count(), 0, "the code was sent");

    let query = begin(&rig, "s").await;
    let own = CallbackAnswer {
        iss: Some("https://id.example/".into()),
        ..accepted(&rig, &query)
    };
    rig.tokens.complete("s", own).await.unwrap();
}

#[tokio::test]
async fn a_consent_without_refresh_token_keeps_the_old_one() {
    let rig = Rig::seeded().await;
    rig.endpoint.world().withhold_refresh = true;
    let query = begin(&rig, "s").await;
    let answer = accepted(&rig, &query);
    rig.tokens.complete("s", answer).await.unwrap();
    assert!(
        rig.status("t")
            .failure
            .unwrap()
            .words
            .contains("the earlier one was kept")
    );
    rig.tokens.refresh("t").await.unwrap();
    assert_eq!(rig.status("t").failure, None);
}

#[tokio::test]
async fn a_refresh_answer_later_than_a_consent_does_not_overwrite_it() {
    let rig = Rig::seeded().await;
    {
        let mut world = rig.endpoint.world();
        world.rotate = true;
        world.delay = std::time::Duration::from_millis(200);
    }
    let query = begin(&rig, "s").await;
    let answer = accepted(&rig, &query);
    let refreshing = rig.tokens.refresh("t");
    let consenting = async {
        crate::support::eventually("the refresh is on its way", || rig.endpoint.count() == 1).await;
        rig.endpoint.world().delay = std::time::Duration::ZERO;
        rig.tokens.complete("s", answer).await.unwrap();
    };
    let (late, ()) = tokio::join!(refreshing, consenting);
    let stored = rig.tokens.access("t").await.unwrap();
    assert_eq!(
        late.unwrap().secret,
        stored.secret,
        "the late asker gets the newer token, too"
    );
    assert_eq!(rig.status("t").refreshes, 0);
    rig.tokens.refresh("t").await.unwrap();
}

#[tokio::test]
async fn a_code_for_a_client_that_was_replaced_meanwhile_is_not_redeemed() {
    let rig = Rig::new().await;
    let query = begin(&rig, "s").await;
    let answer = accepted(&rig, &query);
    let mut other = rig.entry("t");
    other.config.client_id = "another".into();
    rig.import(other).await;
    assert!(matches!(
        rig.tokens.complete("s", answer).await,
        Err(ConsentError::Stale)
    ));
    assert_eq!(rig.endpoint.count(), 0);
}

#[tokio::test]
async fn many_begun_consents_do_not_pile_up_and_the_newest_works() {
    let rig = Rig::new().await;
    let oldest = begin(&rig, "s").await;
    let mut newest = oldest.clone();
    for _ in 0..25 {
        newest = begin(&rig, "s").await;
    }
    let answer = accepted(&rig, &oldest);
    assert!(matches!(
        rig.tokens.complete("s", answer).await,
        Err(ConsentError::Stale)
    ));
    let answer = accepted(&rig, &newest);
    rig.tokens.complete("s", answer).await.unwrap();
}
