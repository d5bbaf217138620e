//! Literal dialogues: sign-ins as they go over the wire, and answers split at every position.

use std::time::Duration;

use provider_template::Tls;
use token_store::accounts::{After, Auth, Mailbox, Protocol, Sasl};
use token_store::{AccessToken, Credential, Secret};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};

use super::capabilities::Capabilities;
use super::connection::{Connection, Incoming};
use super::listing::list;
use super::sign_in::{capabilities, sign_in};
use crate::error::FetchError;
use crate::imap::tests::mailbox as imap_mailbox;

const SOON: Duration = Duration::from_secs(5);

fn mailbox(two_lines: bool) -> Mailbox {
    Mailbox {
        protocol: Protocol::Pop3,
        tls: Tls::None,
        user: "u@example.com".into(),
        auth: Auth::Password(Secret::new("pass")),
        sasl: Sasl::Auto,
        after: After::Delete,
        pop3_two_line_auth: two_lines,
        ..imap_mailbox(110)
    }
}

fn bearer(token: &str) -> Credential {
    Credential::Bearer(AccessToken {
        secret: Secret::new(token),
        id: "c".into(),
        version: 1,
        expires_at: None,
    })
}

fn offers(line: &str) -> Capabilities {
    let mut offered = Capabilities::default();
    offered.add(line.as_bytes());
    offered
}

/// Plays a server that answers each line in turn; gives what the client said.
async fn play(server: DuplexStream, answers: Vec<&'static str>) -> Vec<String> {
    let mut server = BufReader::new(server);
    let mut said = Vec::new();
    for answer in answers {
        let mut line = String::new();
        server.read_line(&mut line).await.unwrap();
        said.push(line.trim_end_matches("\r\n").to_owned());
        server.write_all(answer.as_bytes()).await.unwrap();
    }
    said
}

async fn signing_in(
    offered: &Capabilities,
    mailbox: &Mailbox,
    credential: &Credential,
    answers: Vec<&'static str>,
) -> (Result<Capabilities, FetchError>, Vec<String>) {
    let (client, server) = duplex(16_384);
    let mut connection = Connection::new(client, SOON);
    let client = sign_in(&mut connection, offered, mailbox, credential);
    let (result, said) = tokio::join!(client, play(server, answers));
    (result, said)
}

/// base64 of `user=u@example.com ^A auth=Bearer tok ^A^A`.
const XOAUTH2: &str = "dXNlcj11QGV4YW1wbGUuY29tAWF1dGg9QmVhcmVyIHRvawEB";

#[tokio::test]
async fn a_short_token_goes_in_one_line_and_in_two_where_the_provider_wants_it() {
    let offered = offers("SASL PLAIN XOAUTH2");
    let (result, said) =
        signing_in(&offered, &mailbox(false), &bearer("tok"), vec!["+OK\r\n"]).await;
    result.unwrap();
    assert_eq!(said, [format!("AUTH XOAUTH2 {XOAUTH2}")]);
    for plus in ["+\r\n", "+ \r\n", "+ go ahead\r\n"] {
        let answers = vec![plus, "+OK in\r\n"];
        let (result, said) = signing_in(&offered, &mailbox(true), &bearer("tok"), answers).await;
        result.unwrap();
        assert_eq!(said, ["AUTH XOAUTH2", XOAUTH2]);
    }
}

#[tokio::test]
async fn a_token_too_long_for_one_line_goes_in_two_and_in_one_only_if_that_is_refused() {
    let long = "t".repeat(1500);
    let offered = offers("SASL XOAUTH2");
    let answers = vec!["+ \r\n", "+OK\r\n"];
    let (result, said) = signing_in(&offered, &mailbox(false), &bearer(&long), answers).await;
    result.unwrap();
    assert_eq!(said[0], "AUTH XOAUTH2");
    assert!(said[1].len() > 1500);
    let answers = vec!["-ERR malformed command\r\n", "+OK\r\n"];
    let (result, said) = signing_in(&offered, &mailbox(false), &bearer(&long), answers).await;
    result.unwrap();
    assert_eq!(said.len(), 2);
    assert!(said[1].starts_with("AUTH XOAUTH2 dXNlcj1"));
    // A server that is busy is not asked again.
    let answers = vec!["-ERR [IN-USE] later\r\n"];
    let (result, said) = signing_in(&offered, &mailbox(false), &bearer(&long), answers).await;
    assert!(
        matches!(result, Err(FetchError::Patience { .. })),
        "{result:?}"
    );
    assert_eq!(said.len(), 1);
}

#[tokio::test]
async fn the_error_challenge_is_decoded_answered_and_shown_with_the_refusal() {
    // {"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}
    let challenge = "+ eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==\r\n";
    for (mechanism, answer) in [("SASL XOAUTH2", ""), ("SASL OAUTHBEARER", "AQ==")] {
        let answers = vec!["+ \r\n", challenge, "-ERR [AUTH] Invalid credentials\r\n"];
        let (result, said) =
            signing_in(&offers(mechanism), &mailbox(true), &bearer("tok"), answers).await;
        assert_eq!(said[2], answer);
        let Err(FetchError::TokenRefused { why, token }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(token.version, 1);
        assert!(
            why.contains("[AUTH] Invalid credentials") && why.contains("status 400"),
            "{why}"
        );
    }
    let answers = vec!["+ \r\n", challenge, challenge, challenge, challenge];
    let (result, _) = signing_in(
        &offers("SASL XOAUTH2"),
        &mailbox(true),
        &bearer("tok"),
        answers,
    )
    .await;
    assert!(matches!(result, Err(FetchError::Again(_))), "{result:?}");
}

#[tokio::test]
async fn passwords_go_by_plain_by_login_and_by_user_and_pass() {
    let password = Credential::Password(Secret::new("pa ss"));
    let way = async |offered: &str, answers| {
        let (result, said) =
            signing_in(&offers(offered), &mailbox(false), &password, answers).await;
        result.unwrap();
        said
    };
    assert_eq!(
        way("SASL PLAIN LOGIN", vec!["+OK\r\n"]).await,
        ["AUTH PLAIN AHVAZXhhbXBsZS5jb20AcGEgc3M="]
    );
    // Without a CAPA, USER and PASS are what every server has.
    assert_eq!(
        way("", vec!["+OK\r\n", "+OK\r\n"]).await,
        ["USER u@example.com", "PASS pa ss"]
    );
    let mut offered = offers("SASL LOGIN");
    offered.told = true;
    let answers = vec![
        "+ VXNlcm5hbWU6\r\n",
        "+ UGFzc3dvcmQ6\r\n",
        "+OK\r\n",
        "-ERR no CAPA now\r\n",
    ];
    let (result, said) = signing_in(&offered, &mailbox(false), &password, answers).await;
    result.unwrap();
    assert_eq!(
        said,
        ["AUTH LOGIN", "dUBleGFtcGxlLmNvbQ==", "cGEgc3M=", "CAPA"]
    );
}

#[tokio::test]
async fn response_codes_of_a_sign_in_say_what_follows() {
    let password = Credential::Password(Secret::new("p"));
    let follows = async |answer: &'static str| {
        let answers = vec!["+OK\r\n", answer];
        let silent = Capabilities::default();
        let (result, _) = signing_in(&silent, &mailbox(false), &password, answers).await;
        match result.unwrap_err() {
            FetchError::PasswordRefused(_) => "the credential",
            FetchError::Patience { after: None, .. } => "later",
            FetchError::Patience { after: Some(_), .. } => "as told",
            FetchError::Denied(_) => "a person",
            other => panic!("{other:?}"),
        }
    };
    for (answer, then) in [
        ("-ERR [AUTH] wrong\r\n", "the credential"),
        (
            "-ERR Logon failure: unknown user name or bad password.\r\n",
            "the credential",
        ),
        ("-ERR [IN-USE] locked\r\n", "later"),
        ("-ERR [LOGIN-DELAY] too soon\r\n", "later"),
        ("-ERR [SYS/TEMP] backend\r\n", "later"),
        ("-ERR [SYS/PERM] call us\r\n", "a person"),
        ("-ERR User is authenticated but not connected.\r\n", "later"),
        (
            "-ERR Request is throttled. Suggested Backoff Time: 5000 milliseconds\r\n",
            "as told",
        ),
    ] {
        assert_eq!(follows(answer).await, then, "{answer}");
    }
}

#[tokio::test]
async fn a_control_character_in_a_credential_leaves_nothing_said() {
    let password = Credential::Password(Secret::new("p\r\nDELE 1"));
    let silent = Capabilities::default();
    let (result, said) = signing_in(&silent, &mailbox(false), &password, vec![]).await;
    assert!(matches!(result, Err(FetchError::Blocked(_))), "{result:?}");
    assert_eq!(said.len(), 0);
}

/// Everything a session reads, from the capabilities to the last body, in one stream.
const STREAM: &[u8] = b"+OK list\r\nTOP\r\nSASL PLAIN XOAUTH2\r\n..odd\r\n.\r\n\
    +OK 3 messages\r\n1 10\r\n2 7\r\n3 0\r\n.\r\n\
    +OK\r\n1 a b\r\n3 \xff\r\n2 c\r\n.\r\n\
    +OK 10 octets\r\n..a\r\nb\n.\nc\r\n.\r\n\
    +OK\r\n\r\n.\r\n\
    +OK\r\n.\r\n-ERR gone\r\n";

async fn read_all(mut connection: Connection<DuplexStream>) -> Result<Vec<Vec<u8>>, FetchError> {
    let told = capabilities(&mut connection).await?;
    assert!(told.has("TOP") && told.has(".ODD"), "{told:?}");
    let listing = list(&mut connection, true).await?;
    let names: Vec<_> = listing
        .messages
        .into_iter()
        .map(|l| (l.number, l.size, l.name))
        .collect();
    let expected = [
        (1, Some(10), Some(b"a b".to_vec())),
        (2, Some(7), Some(b"c".to_vec())),
        (3, Some(0), Some(b"\xff".to_vec())),
    ];
    assert_eq!(names, expected);
    let mut bodies = Vec::new();
    loop {
        match connection.ok("RETR").await {
            Ok(_) => {}
            Err(FetchError::Refused(refusal)) if refusal.text == "gone" => return Ok(bodies),
            Err(e) => return Err(e),
        }
        let (mut incoming, mut text) = (Incoming::new(), Vec::new());
        while !connection.piece("RETR", &mut incoming, &mut text).await? {}
        bodies.push(text);
    }
}

#[tokio::test]
async fn answers_split_at_every_position_are_read_the_same() {
    for cut in 0..=STREAM.len() {
        let (client, mut server) = duplex(4096);
        let writes = async {
            server.write_all(&STREAM[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            server.write_all(&STREAM[cut..]).await.unwrap();
            server
        };
        let (bodies, _server) = tokio::join!(read_all(Connection::new(client, SOON)), writes);
        let expected = [b".a\r\nb\n.\nc\r\n".to_vec(), b"\r\n".to_vec(), Vec::new()];
        assert_eq!(bodies.unwrap(), expected, "cut at {cut}");
    }
}

#[tokio::test]
async fn the_end_of_the_connection_at_any_position_is_an_error() {
    for cut in 0..STREAM.len() {
        let (client, mut server) = duplex(4096);
        server.write_all(&STREAM[..cut]).await.unwrap();
        drop(server);
        let result = read_all(Connection::new(client, SOON)).await;
        assert!(
            matches!(result, Err(FetchError::Again(_))),
            "cut at {cut}: {result:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_and_a_dripping_one_are_given_up() {
    let (client, mut server) = duplex(4096);
    let mut connection = Connection::new(client, SOON);
    let error = connection.ok("LIST").await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to LIST within 5 s");
    let drips = async {
        loop {
            server.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let body = async {
        let (mut incoming, mut text) = (Incoming::new(), Vec::new());
        loop {
            connection.piece("RETR", &mut incoming, &mut text).await?;
        }
    };
    let error: Result<(), FetchError> = tokio::select! {
        error = body => error,
        () = drips => Ok(()),
    };
    let why = error.unwrap_err().to_string();
    assert!(why.contains("comes too slowly"), "{why}");
}

#[tokio::test]
async fn bytes_before_tls_are_an_injection() {
    let (client, mut server) = duplex(4096);
    server
        .write_all(b"+OK begin TLS\r\n+OK injected\r\n")
        .await
        .unwrap();
    let mut connection = Connection::new(client, SOON);
    connection.ok("STLS").await.unwrap();
    let Err(error) = connection.into_stream() else {
        panic!("the injected line was lost")
    };
    assert!(
        error.to_string().contains("sent bytes before TLS"),
        "{error}"
    );
}

#[tokio::test]
async fn a_line_that_is_far_too_long_ends_no_listing_and_holds_no_memory() {
    let (client, mut server) = duplex(4096);
    let long = [b"1 ".to_vec(), vec![b'x'; 500_000], b"\r\n".to_vec()].concat();
    let writes = async {
        server
            .write_all(b"+OK\r\n1 5\r\n2 5\r\n.\r\n+OK\r\n")
            .await
            .unwrap();
        server.write_all(&long).await.unwrap();
        server.write_all(b"2 b\r\n.\r\n").await.unwrap();
        server
    };
    let mut connection = Connection::new(client, SOON);
    let (listing, _server) = tokio::join!(list(&mut connection, true), writes);
    let names: Vec<_> = listing
        .unwrap()
        .messages
        .into_iter()
        .map(|l| l.name)
        .collect();
    assert_eq!(names, [None, Some(b"b".to_vec())]);
}
