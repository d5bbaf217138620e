//! Replies that nobody asked for, refusals that may come twice, and exchanges that do not end.
use super::*;

#[tokio::test(start_paused = true)]
async fn a_reply_that_nobody_asked_for_is_never_taken_for_an_answer() {
    let envelope = [
        Hear("MAIL FROM:<a@b.example> SIZE=25"),
        Hear("RCPT TO:<one@x>"),
        Hear("RCPT TO:<two@x>"),
        Hear("DATA"),
    ];
    let to = ["one@x", "two@x"];
    let shifted = "250 stale\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n250 taken?\r\n";
    let acts: Vec<Act> = envelope.into_iter().chain([Say(shifted)]).collect();
    let sent = with(ALL, &acts, |client| async { send(client, &to).await }).await;
    let lost = "lost: the server sent a reply that was not asked for";
    assert_eq!(all_shown(&sent), [lost, lost]);
    assert!(sent.connection.is_none());

    let talkative = [
        Say("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"),
        Body("Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"),
        Say("250 taken\r\n250 taken again\r\n"),
    ];
    let acts: Vec<Act> = envelope.into_iter().chain(talkative).collect();
    let sent = with(ALL, &acts, |client| async { send(client, &to).await }).await;
    assert_eq!(shown(&sent.answers[1]), "the end of the message: 250 taken");
    assert!(
        sent.connection.is_none(),
        "the next message would get its second answer"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_at_the_end_the_next_message_begins_with_a_reset() {
    let one = |end| {
        [
            Hear("MAIL FROM:<a@b.example> SIZE=25"),
            Hear("RCPT TO:<one@x>"),
            Hear("DATA"),
            Say("250 ok\r\n250 ok\r\n354 go\r\n"),
            Body("Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"),
            Say(end),
        ]
    };
    let mut acts = one("554 5.7.1 spam\r\n").to_vec();
    acts.extend([Hear("RSET"), Say("250 ok\r\n")]);
    acts.extend(one("250 2.0.0 taken\r\n"));
    let second = with(ALL, &acts, |client| async {
        let first = send(client, &["one@x"]).await;
        send(first.connection.expect("it is in step"), &["one@x"]).await
    })
    .await;
    assert_eq!(
        all_shown(&second),
        ["the end of the message: 250 2.0.0 taken"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_that_drags_on_before_its_final_dot_is_given_up_before_its_claim_ends() {
    let slow_text = [
        Hear("MAIL FROM:<a@b.example> SIZE=4194304"),
        Hear("RCPT TO:<one@x>"),
        Hear("DATA"),
        Say("250 ok\r\n250 ok\r\n354 go\r\n"),
        Hang,
    ];
    let offer = "250-mx.example\r\n250-PIPELINING\r\n250 SIZE\r\n";
    for acts in [&[Hang][..], &slow_text] {
        let sent = with(offer, acts, |mut client| async {
            client.patience.message = Duration::from_secs(120);
            let recipients = [to("one@x")];
            let size = 4 << 20;
            let envelope = Envelope {
                size,
                ..envelope(&recipients)
            };
            let text = vec![b'x'; 4 << 20];
            client
                .send(envelope, Pieces::of(Stored::Inline(text)))
                .await
        })
        .await;
        assert_eq!(
            all_shown(&sent),
            ["lost: the server was too slow: the message was not through after 2 minutes"]
        );
        assert!(sent.connection.is_none());
    }
}
