//! What concerns the account: tokens, consent, quotas, rates, and a server that is away.
use super::*;

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_mail_goes_out() {
    let mut house = House::build().await;
    house.parts.tokens.access("token").await.expect("a token");
    house.provider.expire_access_tokens();
    house.put(&["one@x.example"]).await;
    house.start();
    house.until_sent(1).await;
    assert_eq!(house.provider.counts().refreshes, 2);
    assert_eq!(house.provider.counts().refused, 1);
}

#[tokio::test]
async fn without_consent_the_mail_waits_unharmed_and_flows_when_consent_is_given() {
    let mut house = House::build().await;
    house.provider.revoke(USER);
    house.put(&["one@x.example"]).await;
    house.put(&["two@x.example"]).await;
    house.start();
    let blocked = || matches!(house.condition(), Some(Condition::Blocked { .. }));
    until("the relay is blocked", async || {
        blocked() && house.queue().iter().all(|row| row.state == "waiting")
    })
    .await;
    assert!(
        house.queue().iter().all(|row| row.attempts == 0),
        "no attempt is used up"
    );
    house
        .parts
        .tokens
        .seed("token", Secret::new(house.provider.consent(USER)))
        .await
        .expect("a refresh token");
    house.parts.poke.notify_one();
    house.until_sent(2).await;
}

#[tokio::test]
async fn without_consent_the_board_says_so_before_any_reply_comes() {
    let mut house = House::build().await;
    house.provider.revoke(USER);
    house.start();
    until("the relay is blocked", async || {
        matches!(house.condition(), Some(Condition::Blocked { .. }))
    })
    .await;
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_not_asked_for_token_after_token() {
    let mut house = House::build().await;
    let disabled = "535 5.7.3 Authentication unsuccessful".to_owned();
    house
        .provider
        .fault(Service::Smtp, "AUTH", 100, Fault::Reply(disabled));
    house.put(&["one@x.example"]).await;
    house.start();
    for _ in 0..4 {
        until("the relay is blocked", async || {
            matches!(house.condition(), Some(Condition::Blocked { .. }))
        })
        .await;
        house
            .parts
            .board
            .set(Kind::Relay, "out", Condition::Starting);
        house.parts.poke.notify_one();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        house.provider.counts().refreshes,
        2,
        "the first token, and one fresh one"
    );
    assert_eq!(house.queue()[0].attempts, 0);
    assert!(
        house.queue()[0].why.contains("535 5.7.3"),
        "{}",
        house.queue()[0].why
    );
}

#[tokio::test]
async fn a_used_up_quota_stops_the_relay_and_uses_up_no_message() {
    let mut house = House::build().await;
    house.relay.connections = 1;
    let quota = "550 5.4.5 Daily user sending limit exceeded".to_owned();
    house
        .provider
        .fault(Service::Smtp, "MAIL", 1, Fault::Reply(quota));
    for number in 0..8 {
        house.put(&[&format!("r{number}@x.example")]).await;
    }
    house.start();
    until("all wait", async || {
        house.queue().iter().all(|row| row.state == "waiting")
    })
    .await;
    assert!(house.provider.submitted().is_empty());
    until("the relay is blocked", async || {
        matches!(house.condition(), Some(Condition::Blocked { .. }))
    })
    .await;
    let Some(Condition::Blocked { why }) = house.condition() else {
        panic!("{:?}", house.condition());
    };
    assert!(
        why.contains("550 5.4.5") && why.contains("tried again by itself"),
        "{why}"
    );
    house.parts.poke.notify_one();
    house.until_sent(8).await;
}

#[tokio::test]
async fn a_server_that_is_away_costs_no_attempts_and_gets_the_mail_when_it_is_back() {
    let mut house = House::build().await;
    let away = Fault::Reply("421 4.3.0 starting up".into());
    house
        .provider
        .fault_for(Service::Smtp, "GREETING", Duration::from_secs(1), away);
    house.put(&["one@x.example"]).await;
    house.start();
    until("the relay waits", async || {
        matches!(house.condition(), Some(Condition::Waiting { .. }))
    })
    .await;
    assert_eq!(house.queue()[0].attempts, 0);
    house.until_sent(1).await;
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced_without_an_attempt() {
    let mut house = House::build().await;
    house.relay.connections = 1;
    house.start();
    for number in 1..=3 {
        house.put(&[&format!("r{number}@x.example")]).await;
        house.until_sent(number).await;
        house.provider.drop_connections(Service::Smtp);
    }
    assert_eq!(house.provider.counts().smtp_sign_ins, 3);
}

#[tokio::test]
async fn a_sign_in_that_ran_out_on_a_kept_connection_is_made_anew() {
    let mut house = House::build().await;
    house.relay.connections = 1;
    house.start();
    house.put(&["one@x.example"]).await;
    house.until_sent(1).await;
    let over = "530 5.7.57 Client not authenticated to send mail".to_owned();
    house
        .provider
        .fault(Service::Smtp, "MAIL", 1, Fault::Reply(over));
    house.put(&["two@x.example"]).await;
    house.until_sent(2).await;
    assert_eq!(house.provider.counts().smtp_sign_ins, 2);
    assert!(!matches!(
        house.condition(),
        Some(Condition::Blocked { .. })
    ));
}

#[tokio::test]
async fn the_rate_is_kept_to() {
    let mut house = House::build().await;
    house.relay.rate = Some(3);
    for number in 0..6 {
        house.put(&[&format!("r{number}@x.example")]).await;
    }
    house.start();
    until("three are sent", async || {
        house.provider.submitted().len() == 3
    })
    .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(
        house.provider.submitted().len(),
        3,
        "the fourth is for the next minute"
    );
    house.stop().await;
    assert!(
        house
            .queue()
            .iter()
            .all(|row| row.state == "due" && row.attempts == 0),
        "the rest is put back"
    );
}

#[tokio::test]
async fn check_names_every_step_and_what_is_wrong() {
    let house = House::build().await;
    let steps = check(&house.relay, &house.parts.tokens).await;
    let shown: Vec<&str> = steps.iter().map(|step| step.what.as_str()).collect();
    let connection = format!("connection to 127.0.0.1:{}", house.relay.port);
    assert_eq!(
        shown,
        [
            &connection,
            "token token",
            &format!("sign-in as {USER}"),
            "largest message"
        ]
    );
    assert!(steps.iter().all(|step| step.found.is_ok()), "{steps:?}");
    assert!(
        steps[0]
            .found
            .as_ref()
            .is_ok_and(|found| found.contains("SIZE 157286400")),
        "{steps:?}"
    );

    let disabled = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.".to_owned();
    house
        .provider
        .fault(Service::Smtp, "AUTH", 1, Fault::Reply(disabled));
    let steps = check(&house.relay, &house.parts.tokens).await;
    let why = steps
        .last()
        .and_then(|step| step.found.clone().err())
        .expect("a failed step");
    assert!(why.contains("Authenticated SMTP is switched off"), "{why}");

    let closed = Relay {
        port: 1,
        ..house.relay.clone()
    };
    let steps = check(&closed, &house.parts.tokens).await;
    assert_eq!(steps.len(), 1);
    assert!(
        steps[0]
            .found
            .as_ref()
            .is_err_and(|why| why.contains("127.0.0.1:1")),
        "{steps:?}"
    );
    assert!(house.provider.submitted().is_empty());
}
