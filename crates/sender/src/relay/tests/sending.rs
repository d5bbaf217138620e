//! What concerns a message: sent, refused, retried, in doubt, put back.
use super::*;

#[tokio::test]
async fn what_is_in_the_spool_goes_out_byte_for_byte_over_kept_connections() {
    let mut house = House::build().await;
    house.put(&["one@x.example", "two@x.example"]).await;
    house.start();
    house.until_sent(1).await;
    for number in 0..20 {
        house.put(&[&format!("r{number}@x.example")]).await;
    }
    house.until_sent(21).await;
    let submitted = house.provider.submitted();
    assert_eq!(submitted[0].recipients, ["one@x.example", "two@x.example"]);
    assert!(
        submitted
            .iter()
            .all(|s| s.bytes == TEXT && s.sender == USER && s.user == USER)
    );
    assert!(
        house.provider.counts().smtp_sign_ins <= 2,
        "connections are kept"
    );
    let doing = || matches!(house.condition(), Some(Condition::Working { doing }) if doing.contains("waiting"));
    until("the board says that it waits", async || doing()).await;
    house.stop().await;
    assert_eq!(house.condition(), Some(Condition::Stopped));
}

#[tokio::test]
async fn a_large_message_is_streamed_from_its_file() {
    let mut house = House::build().await;
    let text = b"Subject: x\r\n\r\n"
        .iter()
        .copied()
        .chain(b".line\r\n".repeat(300_000))
        .collect::<Vec<u8>>();
    house.put_text(&["one@x.example"], &text).await;
    house.start();
    house.until_sent(1).await;
    assert!(
        house.provider.submitted()[0].bytes == text,
        "the text was changed"
    );
}

#[tokio::test]
async fn one_refused_recipient_is_held_with_the_servers_words_and_the_other_is_served() {
    let mut house = House::build().await;
    let words = "550 5.1.1 nobody of that name".to_owned();
    house.provider.fault(
        Service::Smtp,
        "RCPT TO:<bad@x.example>",
        1,
        Fault::Reply(words.clone()),
    );
    house.put(&["bad@x.example", "good@x.example"]).await;
    house.start();
    until("one held, one sent", async || {
        house.provider.submitted().len() == 1 && house.queue()[0].state == "held"
    })
    .await;
    assert_eq!(house.provider.submitted()[0].recipients, ["good@x.example"]);
    assert!(
        house.queue()[0].why.contains(&words),
        "{}",
        house.queue()[0].why
    );
}

#[tokio::test]
async fn a_temporary_refusal_is_tried_again_and_holds_up_nobody() {
    let mut house = House::build().await;
    house.relay.connections = 1;
    house.provider.fault(
        Service::Smtp,
        "RCPT TO:<later@x.example>",
        1,
        Fault::Reply("451 4.7.1 greylisted".into()),
    );
    house.put(&["later@x.example"]).await;
    house.put(&["now@x.example"]).await;
    house.start();
    house.until_sent(2).await;
    let order: Vec<String> = house
        .provider
        .submitted()
        .into_iter()
        .flat_map(|s| s.recipients)
        .collect();
    assert_eq!(order, ["now@x.example", "later@x.example"]);
}

#[tokio::test]
async fn a_lost_answer_to_the_final_dot_is_tried_once_more_and_then_held() {
    let mut house = House::build().await;
    house.provider.fault(Service::Smtp, ".", 5, Fault::Lose);
    house.put(&["one@x.example"]).await;
    house.start();
    until("held in doubt", async || house.queue()[0].state == "held").await;
    assert_eq!(
        house.provider.submitted().len(),
        2,
        "one more try, and no third"
    );
    assert!(
        house.queue()[0].why.contains("the end of the message"),
        "{}",
        house.queue()[0].why
    );
}

#[tokio::test]
async fn a_connection_lost_before_the_final_dot_is_a_retry() {
    let mut house = House::build().await;
    house.provider.fault(Service::Smtp, "DATA", 1, Fault::Drop);
    house.put(&["one@x.example"]).await;
    house.start();
    house.until_sent(1).await;
}

#[tokio::test]
async fn shutdown_lets_a_running_message_end_and_puts_the_others_back() {
    let mut house = House::build().await;
    house.relay.connections = 1;
    house.provider.fault(
        Service::Smtp,
        ".",
        1,
        Fault::Delay(Duration::from_millis(500)),
    );
    for number in 0..4 {
        house.put(&[&format!("r{number}@x.example")]).await;
    }
    house.start();
    until("a message is on its way", async || {
        house.provider.counts().smtp_sign_ins == 1
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    house.stop().await;
    assert_eq!(house.provider.submitted().len(), 1);
    let left = house.queue();
    assert_eq!(left.len(), 3, "what was sent is settled");
    assert!(
        left.iter()
            .all(|row| row.state == "due" && row.attempts == 0)
    );
}

#[tokio::test]
async fn a_paused_relay_sends_nothing_and_says_so() {
    let mut house = House::build().await;
    house.relay.paused = true;
    house.put(&["one@x.example"]).await;
    house.start();
    until("it is paused", async || {
        house.condition() == Some(Condition::Paused)
    })
    .await;
    house.stop().await;
    assert_eq!(house.queue().len(), 1);
}

#[tokio::test]
async fn what_a_panicked_task_left_claimed_goes_out_once_the_next_one_begins() {
    let mut house = House::build().await;
    house.put(&["one@y.test"]).await;
    let lease = Duration::from_secs(3600);
    let left = house.parts.spool.claim_out("out", 10, lease).await;
    assert_eq!(left.expect("a spool").len(), 1);
    house.start();
    house.until_sent(1).await;
    house.stop().await;
}
