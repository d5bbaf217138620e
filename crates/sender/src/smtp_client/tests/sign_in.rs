//! Greeting and sign-in, with servers that refuse and servers that are out of step.
use super::*;

fn bearer() -> Credential {
    let secret = Secret::new("TOKEN");
    Credential::Bearer(AccessToken {
        secret,
        id: "c".into(),
        version: 1,
        expires_at: None,
    })
}

fn password() -> Credential {
    Credential::Password(Secret::new("p"))
}

fn identity(sasl: Sasl, credential: &Credential, no_initial_response: bool) -> Identity<'_> {
    Identity {
        user: "u",
        host: "mx",
        port: 587,
        sasl,
        credential,
        no_initial_response,
    }
}

#[tokio::test(start_paused = true)]
async fn every_mechanism_says_its_payload_with_the_command_or_after_334() {
    let xoauth2 = "AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIFRPS0VOAQE=";
    let ok = Say("235 2.7.0 ok\r\n");
    for (sasl, credential, late, acts) in [
        (Sasl::Auto, bearer(), false, &[Hear(xoauth2), ok][..]),
        (
            Sasl::Xoauth2,
            bearer(),
            true,
            &[
                Hear("AUTH XOAUTH2"),
                Say("334 \r\n"),
                Hear("dXNlcj11AWF1dGg9QmVhcmVyIFRPS0VOAQE="),
                ok,
            ],
        ),
        (
            Sasl::Oauthbearer,
            bearer(),
            false,
            &[
                Hear(
                    "AUTH OAUTHBEARER bixhPXUsAWhvc3Q9bXgBcG9ydD01ODcBYXV0aD1CZWFyZXIgVE9LRU4BAQ==",
                ),
                ok,
            ],
        ),
        (
            Sasl::Auto,
            password(),
            false,
            &[Hear("AUTH PLAIN AHUAcA=="), ok],
        ),
        (
            Sasl::Plain,
            password(),
            true,
            &[Hear("AUTH PLAIN"), Say("334\r\n"), Hear("AHUAcA=="), ok],
        ),
        (
            Sasl::Login,
            password(),
            false,
            &[
                Hear("AUTH LOGIN"),
                Say("334 VXNlcm5hbWU6\r\n"),
                Hear("dQ=="),
                Say("334 UGFzc3dvcmQ6\r\n"),
                Hear("cA=="),
                ok,
            ],
        ),
    ] {
        with(ALL, acts, |mut client| async move {
            client
                .sign_in(identity(sasl, &credential, late))
                .await
                .expect("signed in");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_keeps_the_servers_json_and_its_reply() {
    // {"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}
    let json = "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==\r\n";
    let refused = Say("535 5.7.8 Username and Password not accepted\r\n");
    let late = [
        Hear("AUTH XOAUTH2"),
        Say("334 \r\n"),
        Hear("dXNlcj11AWF1dGg9QmVhcmVyIFRPS0VOAQE="),
        Say(json),
        Hear(""),
        refused,
    ];
    let early = [
        Hear("AUTH OAUTHBEARER bixhPXUsAWhvc3Q9bXgBcG9ydD01ODcBYXV0aD1CZWFyZXIgVE9LRU4BAQ=="),
        Say(json),
        Hear("AQ=="),
        refused,
    ];
    for (sasl, acts) in [(Sasl::Xoauth2, &late[..]), (Sasl::Oauthbearer, &early)] {
        let is_late = acts.len() == late.len();
        let error = with(ALL, acts, |mut client| async move {
            let credential = bearer();
            client
                .sign_in(identity(sasl, &credential, is_late))
                .await
                .expect_err("refused")
        })
        .await;
        let words = error.to_string();
        for part in [
            "535 5.7.8 Username and Password not accepted",
            "status 400",
            "https://mail.google.com/",
        ] {
            assert!(words.contains(part), "{words}");
        }
        assert!(!words.contains("TOKEN"), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_out_of_step_in_auth_is_not_believed() {
    let command = Hear("AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIFRPS0VOAQE=");
    for acts in [
        &[command, Say("250 ok\r\n")][..],
        &[
            command,
            Say("334 e30=\r\n"),
            Hear(""),
            Say("235 welcome all the same\r\n"),
        ],
        &[command, Say("334 e30=\r\n"), Hear(""), Say("334 e30=\r\n")],
        &[command, Hang],
        &[command],
    ] {
        let error = with(ALL, acts, |mut client| async move {
            let credential = bearer();
            client
                .sign_in(identity(Sasl::Auto, &credential, false))
                .await
                .expect_err("not signed in")
        })
        .await;
        assert!(
            matches!(
                error,
                ClientError::Lost {
                    stage: Stage::Auth,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_fitting_mechanism_nothing_is_sent_and_both_sides_are_named() {
    for (offer, sasl, credential, parts) in [
        (BARE, Sasl::Auto, bearer(), ["no AUTH at all", "a token"]),
        (
            "250-x\r\n250 AUTH PLAIN LOGIN\r\n",
            Sasl::Auto,
            bearer(),
            ["PLAIN LOGIN", "a token"],
        ),
        (
            "250-x\r\n250 AUTH XOAUTH2\r\n",
            Sasl::Auto,
            password(),
            ["XOAUTH2", "a password"],
        ),
        (
            "250-x\r\n250 AUTH XOAUTH2\r\n",
            Sasl::Oauthbearer,
            bearer(),
            ["XOAUTH2", "OAUTHBEARER"],
        ),
    ] {
        let error = with(offer, &[], |mut client| async move {
            client
                .sign_in(identity(sasl, &credential, false))
                .await
                .expect_err("impossible")
        })
        .await;
        let words = error.to_string();
        assert!(parts.iter().all(|part| words.contains(part)), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_or_refusing_greeting_ends_in_time_with_the_servers_words() {
    for (acts, expected) in [
        (&[Hang][..], "at the greeting: nothing heard for 300 s"),
        (
            &[Say("554 5.7.1 go away\r\n")],
            "the server answered the greeting with: 554 5.7.1 go away",
        ),
        (
            &[Say("220 hi\r\n"), Hear("EHLO me"), Say("502 what\r\n")],
            "the server answered EHLO with: 502 what",
        ),
        (
            &[Say("SSH-2.0-x\r\n")],
            "at the greeting: the server does not speak SMTP here: SSH-2.0-x",
        ),
    ] {
        let (near, far) = tokio::io::duplex(4096);
        let client = Client::greet(near, "me", Patience::default());
        let error = tokio::select! {
            greeted = client => greeted.err().expect("no greeting"),
            () = async { play(far, acts).await; std::future::pending().await } => unreachable!(),
        };
        assert_eq!(error.to_string(), expected);
    }
}
