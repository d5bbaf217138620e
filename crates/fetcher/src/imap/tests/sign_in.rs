//! Sign-in dialogues: what goes out, and what a refusal becomes.

use super::*;
use crate::error::FetchError;

/// Signs in with a script that answers the AUTHENTICATE; gives the result and what the client sent.
async fn signing_in(
    greeting: &'static [u8],
    credential: &Credential,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Result<(), FetchError>, Vec<String>) {
    let (port, server) = serve(move |peer| {
        peer.say(greeting);
        script(peer);
    });
    let mailbox = mailbox(port);
    let (mut connection, offered) = connect(&mailbox, SOON).await.unwrap();
    let result = sign_in(&mut connection, &offered, &mailbox, credential)
        .await
        .map(|_| ());
    drop(connection);
    (result, server.join().unwrap())
}

/// base64 of `user=u@example.com ^A auth=Bearer tok ^A^A`.
const XOAUTH2: &str = "dXNlcj11QGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRvawEB";

#[tokio::test]
async fn xoauth2_goes_out_in_one_line_where_that_is_offered_and_after_the_plus_elsewhere() {
    let (result, got) = signing_in(CAPS, &bearer(), |peer| {
        let tag = peer.tag();
        peer.say(format!("{tag} OK [CAPABILITY IMAP4rev1 MOVE] in\r\n").as_bytes());
    })
    .await;
    result.unwrap();
    assert_eq!(got, [format!("A1 AUTHENTICATE XOAUTH2 {XOAUTH2}")]);

    let (result, got) = signing_in(
        b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready\r\n",
        &bearer(),
        |peer| {
            let tag = peer.tag();
            peer.say(b"+ \r\n");
            peer.hear();
            peer.say(format!("* CAPABILITY IMAP4rev1 MOVE\r\n{tag} OK in\r\n").as_bytes());
        },
    )
    .await;
    result.unwrap();
    assert_eq!(got, ["A1 AUTHENTICATE XOAUTH2", XOAUTH2]);
}

#[tokio::test]
async fn the_error_challenge_is_kept_and_answered_by_an_empty_line_and_never_by_the_token_again() {
    let (result, got) = signing_in(CAPS, &bearer(), |peer| {
        let tag = peer.tag();
        // {"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}
        peer.say(b"+ eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==\r\n");
        peer.hear();
        peer.say(format!("{tag} NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n").as_bytes());
    })
    .await;
    assert_eq!(got[1..], [""]);
    let Err(FetchError::TokenRefused { why, token }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(token.version, 1);
    assert!(
        why.contains("Invalid credentials (Failure)")
            && why.contains("status 400, scope https://mail.google.com/"),
        "{why}"
    );
}

#[tokio::test]
async fn oauthbearer_answers_its_challenge_with_a_control_a() {
    let greeting = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] ready\r\n";
    let (result, got) = signing_in(greeting, &bearer(), |peer| {
        let tag = peer.tag();
        peer.say(b"+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\r\n");
        peer.hear();
        peer.say(format!("{tag} NO no\r\n").as_bytes());
    })
    .await;
    assert!(
        got[0].starts_with("A1 AUTHENTICATE OAUTHBEARER bixhPXVAZXhhbXBsZS5jb20s"),
        "{got:?}"
    );
    assert_eq!(got[1], "AQ==");
    assert!(matches!(result, Err(FetchError::TokenRefused { .. })));
}

#[tokio::test]
async fn a_server_that_never_stops_challenging_is_left() {
    let (result, _) = signing_in(CAPS, &bearer(), |peer| {
        for _ in 0..10 {
            peer.hear();
            peer.say(b"+ e30=\r\n");
        }
    })
    .await;
    assert!(matches!(result, Err(FetchError::Again(why)) if why.contains("keeps asking")));
}

#[tokio::test]
async fn throttling_at_sign_in_blames_no_credential() {
    for answer in [
        "BAD User is authenticated but not connected.",
        "NO [UNAVAILABLE] try later",
        "NO [INUSE] busy",
    ] {
        let (result, _) = signing_in(CAPS, &bearer(), move |peer| {
            let tag = peer.tag();
            peer.say(format!("{tag} {answer}\r\n").as_bytes());
        })
        .await;
        assert!(
            matches!(result, Err(FetchError::Patience { .. })),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn a_password_with_quotes_goes_escaped_by_login_and_one_with_a_line_end_nowhere() {
    let greeting = b"* OK [CAPABILITY IMAP4rev1] ready\r\n";
    let (result, got) = signing_in(
        greeting,
        &Credential::Password(Secret::new("a\"b\\c")),
        |peer| {
            let tag = peer.tag();
            peer.say(format!("{tag} OK [CAPABILITY IMAP4rev1] in\r\n").as_bytes());
        },
    )
    .await;
    result.unwrap();
    assert_eq!(got, [r#"A1 LOGIN "u@example.com" "a\"b\\c""#]);
    let (result, got) = signing_in(
        greeting,
        &Credential::Password(Secret::new("a\r\nA2 LOGOUT")),
        |peer| {
            peer.hear();
        },
    )
    .await;
    assert!(matches!(result, Err(FetchError::Blocked(_))));
    assert_eq!(got, [""]);
}
