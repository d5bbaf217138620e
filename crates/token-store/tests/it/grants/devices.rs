//! Sign-ins on other devices: asked about at the provider's pace, ended once, resumed after a restart.

use super::{ANNA, BERTA, House};
use crate::support::eventually;
use provider_template::Flow;
use sandbox::{Fault, Service};
use std::time::Duration;
use token_store::state::State;
use token_store::{DeviceState, SignIn, Tokens};
use tokio_util::sync::CancellationToken;

async fn house() -> House {
    let house = House::new().await;
    house
        .config("t", |order| order.flow = Some(Flow::DeviceCode))
        .await;
    house
}

fn state(tokens: &Tokens) -> DeviceState {
    tokens.device_sign_in("t").unwrap().unwrap().state
}

/// Asks until the sign-in is over.
async fn to_its_end(tokens: &Tokens) -> DeviceState {
    while let Some(wait) = tokens.poll_device("t").await.unwrap() {
        assert!(wait < Duration::from_secs(3), "{wait:?}");
        tokio::time::sleep(wait).await;
    }
    state(tokens)
}

#[tokio::test]
async fn a_code_is_shown_asked_about_and_becomes_a_token() {
    let house = house().await;
    let begun = house
        .tokens
        .begin_device("t", SignIn::Anybody)
        .await
        .unwrap();
    assert_eq!(begun.state, DeviceState::Waiting);
    assert_eq!(
        begun.verification_uri,
        format!("{}/device", house.provider.url())
    );
    let code = begun.user_code.expose().to_owned();
    assert!(
        begun
            .complete_uri
            .as_ref()
            .unwrap()
            .expose()
            .contains(&code)
    );
    assert!(!format!("{begun:?}").contains(&code), "{begun:?}");
    while house.provider.counts().device_questions < 2 {
        let wait = house.tokens.poll_device("t").await.unwrap().unwrap();
        tokio::time::sleep(wait).await;
    }
    assert_eq!(state(&house.tokens), DeviceState::Waiting);
    assert!(house.provider.answer_device(&code, Some(ANNA)));
    let end = DeviceState::Granted {
        signed_in_as: Some(ANNA.into()),
    };
    assert_eq!(to_its_end(&house.tokens).await, end);
    assert_eq!(house.user_of("t").await.as_deref(), Some(ANNA));
    assert_eq!(house.provider.counts().device_questions_too_early, 0);
    house.tokens.refresh("t").await.unwrap();
    assert_eq!(house.status("t").signed_in_as.as_deref(), Some(ANNA));
}

#[tokio::test]
async fn slow_down_is_obeyed_by_every_process_that_asks() {
    let house = house().await;
    house.provider.slow_down(1);
    house
        .tokens
        .begin_device("t", SignIn::Anybody)
        .await
        .unwrap();
    let asked = || house.provider.counts().device_questions;
    let mut wait = Duration::ZERO;
    while asked() < 1 {
        tokio::time::sleep(wait).await;
        wait = house.tokens.poll_device("t").await.unwrap().unwrap();
    }
    // 20 ms and 5 s, less what the commit took.
    assert!(wait > Duration::from_secs(4), "{wait:?}");
    for tokens in [&house.tokens, &house.beside()] {
        let left = tokens.poll_device("t").await.unwrap().unwrap();
        assert!(left > Duration::from_secs(3) && left <= wait, "{left:?}");
    }
    assert_eq!(asked(), 1);
}

#[tokio::test]
async fn a_refusal_or_the_end_of_its_time_ends_it_and_keeps_the_current_token() {
    let house = house().await;
    let planted = house.provider.consent(BERTA);
    house
        .tokens
        .seed("t", token_store::Secret::new(planted))
        .await
        .unwrap();
    let begun = house
        .tokens
        .begin_device("t", SignIn::Anybody)
        .await
        .unwrap();
    house.provider.answer_device(begun.user_code.expose(), None);
    let DeviceState::Refused { words } = to_its_end(&house.tokens).await else {
        panic!("refused")
    };
    assert!(words.contains("access_denied"), "{words}");

    house
        .provider
        .set_knobs(|knobs| knobs.device_life = Duration::from_millis(200));
    house
        .tokens
        .begin_device("t", SignIn::Anybody)
        .await
        .unwrap();
    let DeviceState::Refused { words } = to_its_end(&house.tokens).await else {
        panic!("over")
    };
    assert!(words.contains("not entered in time"), "{words}");
    assert_eq!(house.user_of("t").await.as_deref(), Some(BERTA));
    assert_eq!(house.tokens.poll_device("t").await.unwrap(), None);
}

#[tokio::test]
async fn a_restart_goes_on_with_it_and_says_so_to_who_waits() {
    let house = house().await;
    let begun = house
        .tokens
        .begin_device("t", SignIn::Anybody)
        .await
        .unwrap();
    let daemon = house.beside();
    let mut consents = daemon.consents();
    let shutdown = CancellationToken::new();
    let (following, stop) = (daemon.clone(), shutdown.clone());
    let follow = async move { following.follow_devices(stop).await };
    let watch = async {
        eventually("the daemon asks", || {
            house.provider.counts().device_questions > 0
        })
        .await;
        house
            .provider
            .answer_device(begun.user_code.expose(), Some(ANNA));
        assert_eq!(consents.recv().await.unwrap(), "t");
        shutdown.cancel();
    };
    tokio::join!(follow, watch);
    assert_eq!(house.status("t").state, State::Ready);
    assert!(matches!(state(&house.tokens), DeviceState::Granted { .. }));
}

#[tokio::test]
async fn another_person_than_the_expected_one_is_refused() {
    let house = house().await;
    let begun = house
        .tokens
        .begin_device("t", SignIn::As(ANNA))
        .await
        .unwrap();
    house
        .provider
        .answer_device(begun.user_code.expose(), Some(BERTA));
    let DeviceState::Refused { words } = to_its_end(&house.tokens).await else {
        panic!("the wrong person")
    };
    assert!(words.contains(BERTA) && words.contains(ANNA), "{words}");
    assert_eq!(house.status("t").state, State::NeedsConsent);
}

#[tokio::test]
async fn an_outage_makes_it_ask_less_often_and_a_lost_answer_is_the_end_of_that_code() {
    let house = house().await;
    let begun = house
        .tokens
        .begin_device("t", SignIn::Anybody)
        .await
        .unwrap();
    house
        .provider
        .fault(Service::Oauth, "/token", 3, Fault::Drop);
    let mut waits = Vec::new();
    while house.provider.counts().token_requests < 3 {
        let wait = house.tokens.poll_device("t").await.unwrap().unwrap();
        waits.push(wait);
        tokio::time::sleep(wait).await;
    }
    assert!(
        waits.last().unwrap() > &Duration::from_millis(100),
        "{waits:?}"
    );
    house
        .provider
        .answer_device(begun.user_code.expose(), Some(ANNA));
    house
        .provider
        .fault(Service::Oauth, "/token", 1, Fault::Lose);
    let DeviceState::Refused { words } = to_its_end(&house.tokens).await else {
        panic!("its one answer was lost")
    };
    assert!(words.contains("invalid_grant"), "{words}");
}

#[tokio::test]
async fn a_config_without_an_endpoint_for_codes_says_so() {
    let house = House::new().await;
    let url = house.provider.url();
    house
        .config("plain", |order| {
            order.endpoints.discovery = None;
            order.endpoints.authorize = Some(format!("{url}/authorize"));
            order.endpoints.token = Some(format!("{url}/token"));
        })
        .await;
    let error = house
        .tokens
        .begin_device("plain", SignIn::Anybody)
        .await
        .unwrap_err();
    let said = error.to_string();
    assert!(said.contains("no endpoint for device codes"), "{said}");
}
