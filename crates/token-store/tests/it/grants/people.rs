//! Who signed in: expected, compared, refused, let in by request, and shown.

use super::{ANNA, BERTA, CALLBACK, House};
use crate::support::{mailbox, relay};
use token_store::accounts::{Auth, Declared};
use token_store::state::State;
use token_store::{CallbackAnswer, ConsentError, Consented, SignIn};

/// A whole consent by a person of that name.
async fn consent(
    house: &House,
    sign_in: SignIn<'_>,
    person: &str,
) -> Result<Consented, ConsentError> {
    let begun = house.tokens.begin("t", CALLBACK, "s", sign_in).await;
    let place = house.signs_in(&begun.unwrap(), person).await;
    let answer = CallbackAnswer::from_pasted(&place).unwrap();
    house.tokens.complete("s", answer).await
}

#[tokio::test]
async fn the_person_is_told_by_the_id_token_or_by_the_userinfo_endpoint() {
    for by_id_token in [true, false] {
        let house = House::new().await;
        house
            .provider
            .set_knobs(|knobs| knobs.id_token = by_id_token);
        house.config("t", |_| {}).await;
        let consented = consent(&house, SignIn::As(ANNA), ANNA).await.unwrap();
        assert_eq!(consented.signed_in_as.as_deref(), Some(ANNA));
        assert_eq!(house.status("t").signed_in_as.as_deref(), Some(ANNA));
        assert_eq!(house.user_of("t").await.as_deref(), Some(ANNA));
    }
}

#[tokio::test]
async fn another_person_is_refused_by_name_and_the_current_token_kept() {
    for by_id_token in [true, false] {
        let house = House::new().await;
        house
            .provider
            .set_knobs(|knobs| knobs.id_token = by_id_token);
        house.config("t", |_| {}).await;
        consent(&house, SignIn::As(ANNA), ANNA).await.unwrap();
        let error = consent(&house, SignIn::As(ANNA), BERTA).await.unwrap_err();
        let ConsentError::OtherPerson(other) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (other.signed_in.as_str(), other.expected.as_str()),
            (BERTA, ANNA)
        );
        assert!(error.to_string().contains("--any-user"), "{error}");
        assert_eq!(house.status("t").state, State::Ready);
        house.tokens.refresh("t").await.unwrap();
        assert_eq!(house.user_of("t").await.as_deref(), Some(ANNA));

        // The refused grant never comes back in place of the right one.
        let entry = house
            .tokens
            .store()
            .token_config("t")
            .unwrap()
            .unwrap()
            .entry;
        let mut other = entry.clone();
        other.config.client_id = "another".into();
        for entry in [other, entry] {
            house
                .tokens
                .store()
                .import(vec![entry], true)
                .await
                .unwrap();
        }
        house.tokens.refresh("t").await.unwrap();
        assert_eq!(house.user_of("t").await.as_deref(), Some(ANNA));
    }
}

#[tokio::test]
async fn a_delegate_of_a_shared_mailbox_is_let_in_by_request_and_known_from_then_on() {
    let house = House::new().await;
    house.config("t", |_| {}).await;
    let shared = "support@sandbox.test";
    assert!(matches!(
        consent(&house, SignIn::As(shared), ANNA).await,
        Err(ConsentError::OtherPerson(_))
    ));
    assert_eq!(house.status("t").state, State::NeedsConsent);
    consent(&house, SignIn::Anybody, ANNA).await.unwrap();
    assert_eq!(house.status("t").signed_in_as.as_deref(), Some(ANNA));
    // She was accepted once, so she need not be excused again; somebody else does.
    consent(&house, SignIn::As(shared), ANNA).await.unwrap();
    assert!(matches!(
        consent(&house, SignIn::As(shared), BERTA).await,
        Err(ConsentError::OtherPerson(_))
    ));
}

#[tokio::test]
async fn where_the_provider_does_not_tell_nobody_is_refused() {
    let house = House::new().await;
    let url = house.provider.url();
    house
        .config("t", |order| {
            order.endpoints.discovery = None;
            order.endpoints.authorize = Some(format!("{url}/authorize"));
            order.endpoints.token = Some(format!("{url}/token"));
            // Nothing answers there: the wish to know must not cost the consent.
            order.endpoints.userinfo = Some("http://127.0.0.1:9/userinfo".into());
        })
        .await;
    let consented = consent(&house, SignIn::As(ANNA), BERTA).await.unwrap();
    assert_eq!(consented.signed_in_as, None);
    assert_eq!(house.status("t").signed_in_as, None);
    house.tokens.refresh("t").await.unwrap();
}

#[tokio::test]
async fn the_one_user_of_all_accounts_is_expected_and_two_are_nobody_in_particular() {
    let house = House::new().await;
    house.config("t", |_| {}).await;
    let store = house.tokens.store();
    let begin = || async {
        let begun = house.tokens.begin("t", CALLBACK, "s", SignIn::ForAccounts);
        begun.await.unwrap()
    };
    assert!(!begin().await.contains("login_hint"));
    let mut account = mailbox("m", Auth::Token("t".into()));
    account.user = ANNA.into();
    let mut sending = relay("r", Auth::Token("t".into()));
    sending.user = ANNA.into();
    let mut declared = Declared {
        mailboxes: vec![account],
        relays: vec![sending],
        ..Declared::default()
    };
    store.declare("f", declared.clone()).await.unwrap();
    assert!(begin().await.contains("login_hint=anna%40sandbox.test"));
    assert!(matches!(
        consent(&house, SignIn::ForAccounts, BERTA).await,
        Err(ConsentError::OtherPerson(_))
    ));
    declared.relays[0].user = BERTA.into();
    store.declare("f", declared).await.unwrap();
    assert!(!begin().await.contains("login_hint"));
    consent(&house, SignIn::ForAccounts, BERTA).await.unwrap();
}
