//! What a lying IMAP server may send: to the guard, to a whole session, and as names of folders.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use imap_proto::{AttributeValue, MessageSection, Response};
use provider_template::Tls;
use token_store::accounts::{
    After, Auth, Care, Deliver, Mailbox, Protocol, Sasl, StartFrom, Watch, Way,
};
use token_store::{AccessToken, Credential, Secret};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::acknowledge::find_trash;
use super::bodies::came::body_of;
use super::capabilities::Capabilities;
use super::connection::{Connection, Said, Socket};
use super::guard::Guard;
use super::listing::{Opening, Window, list, select, status};
use super::names::{folder, quoted, told};
use super::sign_in::{ask, introduce, sign_in};
use super::watch::idle;
use crate::error::FetchError;
use crate::fuzz::{Packets, assert_is_shown_safely, run};

/// Longest literal in these sessions.
const LITERAL: u64 = 1024;

/// A server's bytes through the guard and the parser behind it: whatever the packets, and the parser never meets what would hurt it.
pub fn imap_guard(bytes: &[u8]) {
    let (seen, responses, trap) = run(guarded(bytes, usize::MAX));
    for size in [1, 2, 7] {
        let other = run(guarded(bytes, size));
        assert_eq!(other.0, seen, "{size} bytes a packet");
        assert_eq!(
            (other.1, &other.2),
            (responses, &trap),
            "{size} bytes a packet"
        );
    }
    let (mut rest, mut parsed) = (seen.as_slice(), 0);
    while let Ok((left, response)) = Response::parse(rest) {
        assert!(left.len() < rest.len(), "no progress");
        assert_is_flat(&response);
        rest = left;
        parsed += 1;
    }
    if rest.is_empty() {
        assert_eq!(
            parsed, responses,
            "guard and parser differ in where responses end"
        );
    }
}

/// What the parser would see, the complete responses in it, and what stopped it.
async fn guarded(bytes: &[u8], size: usize) -> (Vec<u8>, u64, Option<String>) {
    let mut guard = Guard::new(Packets { bytes, size });
    guard.expect_literals_up_to(LITERAL);
    let (mut seen, mut buf) = (Vec::new(), [0; 512]);
    let trap = loop {
        match guard.read(&mut buf).await {
            Ok(0) => break None,
            Ok(count) => seen.extend_from_slice(&buf[..count]),
            Err(e) => break Some(e.to_string()),
        }
    };
    (seen, guard.responses().0, trap)
}

/// What recurses without limit in the parser, and literals beyond what was asked for, must not come through.
fn assert_is_flat(response: &Response<'_>) {
    let Response::Fetch(_, items) = response else {
        return;
    };
    for item in items {
        match item {
            AttributeValue::BodyStructure(_) | AttributeValue::Envelope(_) => {
                panic!("came through the guard: {item:?}")
            }
            AttributeValue::BodySection {
                data: Some(data), ..
            } => assert!(data.len() <= LITERAL as usize || !data.contains(&b'\n')),
            _ => {}
        }
    }
}

/// A whole session with a server whose every answer is in these bytes.
pub fn imap_session(bytes: &[u8]) {
    let whole = run(converse(bytes, usize::MAX));
    for size in [1, 7] {
        assert_eq!(run(converse(bytes, size)), whole, "{size} bytes a packet");
    }
}

/// All that was read, and how it ended.
async fn converse(bytes: &[u8], size: usize) -> Vec<String> {
    let bytes = bytes.to_vec();
    let packets = Packets {
        bytes: &bytes,
        size,
    };
    let mut connection = Connection::new(packets, Duration::from_secs(60));
    connection.expect_literals_up_to(Some(LITERAL));
    let mut heard = Vec::new();
    let end = dialogue(&mut connection, &mut heard).await;
    if let Some(alert) = &connection.alert {
        assert_is_shown_safely(alert);
    }
    heard.push(match end {
        Ok(()) => "all was said".to_owned(),
        Err(e) => {
            assert_is_shown_safely(&e.to_string());
            if let FetchError::Patience {
                after: Some(after), ..
            } = &e
            {
                assert!(*after <= Duration::from_secs(86_400), "{e:?}");
            }
            // Its words quote what the guard has read, which may be more than the parser.
            format!("{:?}", std::mem::discriminant(&e))
        }
    });
    heard
}

async fn dialogue(
    connection: &mut Connection<impl Socket>,
    heard: &mut Vec<String>,
) -> Result<(), FetchError> {
    let offered = match connection.greeting(Capabilities::from_response).await? {
        Some(known) => known,
        None => ask(connection).await?,
    };
    heard.push(offered.words());
    let mailbox = mailbox();
    let offered = match sign_in(connection, &offered, &mailbox, &bearer()).await {
        Err(FetchError::Blocked(_)) => {
            let password = Credential::Password(Secret::new("p"));
            sign_in(connection, &offered, &mailbox, &password).await?
        }
        signed_in => signed_in?,
    };
    heard.push(offered.words());
    introduce(connection, &offered).await?;
    let trash = find_trash(connection, &offered).await?;
    trash.iter().for_each(|name| assert_is_one_string(name));
    heard.push(format!("{trash:?}"));
    heard.push(format!("{:?}", status(connection, "INBOX").await?));
    let selected = select(connection, "INBOX", Opening::Select).await?;
    heard.push(format!("{selected:?}"));
    let mut window = Window::new();
    for _ in 0..2 {
        let (listed, more) = list(connection, &mut window, selected, true).await?;
        assert!(listed.is_sorted_by(|a, b| a.uid < b.uid) && listed.iter().all(|l| l.uid > 0));
        heard.push(format!("{listed:?} {more}"));
    }
    bodies(connection, None, heard).await?;
    bodies(connection, Some(MessageSection::Header), heard).await?;
    let woken = idle(
        connection,
        Instant::now() + Duration::from_secs(3600),
        std::future::pending(),
    );
    heard.push(format!("{:?}", woken.await?));
    Ok(())
}

async fn bodies(
    connection: &mut Connection<impl Socket>,
    section: Option<MessageSection>,
    heard: &mut Vec<String>,
) -> Result<(), FetchError> {
    let sent = connection
        .send("UID FETCH", "UID FETCH 1:* BODY.PEEK[]")
        .await?;
    loop {
        let said = connection
            .next(&sent, |response| body_of(response, section.as_ref()))
            .await;
        match said {
            Ok(Said::Untagged(Some(came))) => {
                let fits = came.must_start_at(0).is_ok();
                heard.push(format!("{} {:?} {fits}", came.uid, came.bytes));
            }
            Ok(Said::Untagged(None) | Said::Go(_)) => {}
            Ok(Said::Done(_)) => return Ok(()),
            Err(e) => {
                heard.push(e.refused()?.to_string());
                return Ok(());
            }
        }
    }
}

/// Names of folders: ours on their way to a server, and a server's own on their way back.
pub fn folder_names(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    let utf7 = folder(&name, false);
    assert!(utf7.bytes().all(|b| (b' '..=b'~').contains(&b)), "{utf7:?}");
    assert_eq!(decoded(&unquoted(&utf7)), name);
    let utf8 = folder(&name, true);
    assert_is_one_string(&utf8);
    if !name.chars().any(char::is_control) {
        assert_eq!(unquoted(&utf8), name);
        assert_eq!(told(&utf8[1..utf8.len() - 1]), Some(utf8));
    }
    told(&name)
        .iter()
        .for_each(|name| assert_is_one_string(name));
    quoted(&name)
        .iter()
        .for_each(|text| assert_eq!(unquoted(text), name));
}

/// One quoted string that holds what may be in one (RFC 9051 section 9) and ends where it seems to.
fn assert_is_one_string(text: &str) {
    assert_is_shown_safely(text);
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let mut chars = inner.expect("quotes around it").chars();
    while let Some(c) = chars.next() {
        assert_ne!(c, '"', "{text}");
        if c == '\\' {
            assert!(matches!(chars.next(), Some('"' | '\\')), "{text}");
        }
    }
}

fn unquoted(text: &str) -> String {
    assert_is_one_string(text);
    let mut plain = String::new();
    let mut chars = text[1..text.len() - 1].chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// Modified UTF-7 read back.
fn decoded(text: &str) -> String {
    let engine = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (run, rest) = part.split_once('-').expect("a run has an end");
        let units = engine.decode(run).expect("a run is base64");
        let units = units
            .as_chunks()
            .0
            .iter()
            .map(|pair| u16::from_be_bytes(*pair));
        plain.push_str(&String::from_utf16(&units.collect::<Vec<_>>()).expect("whole characters"));
        plain.push_str(if run.is_empty() { "&" } else { "" });
        plain.push_str(rest);
    }
    plain
}

pub(crate) fn bearer() -> Credential {
    Credential::Bearer(AccessToken {
        secret: Secret::new("tok"),
        id: "c".into(),
        version: 1,
        expires_at: None,
    })
}

pub(crate) fn mailbox() -> Mailbox {
    Mailbox {
        name: "support".into(),
        template: None,
        protocol: Protocol::Imap,
        host: "127.0.0.1".into(),
        port: 143,
        tls: Tls::None,
        tls_ca_file: None,
        user: "u@example.com".into(),
        auth: Auth::Password(Secret::new("p")),
        sasl: Sasl::Auto,
        folders: vec!["INBOX".into()],
        max_undelivered: 500,
        watch: Watch::Idle,
        poll: Duration::from_secs(300),
        start_from: StartFrom::All,
        max_size: 1_000_000,
        deliver: Deliver {
            way: Way::command(vec!["true".into()]),
            timeout: Duration::from_secs(1),
            concurrency: 1,
        },
        after: After::Delete,
        care: Care::default(),
        paused: false,
        idle_minutes: 25,
        pop3_two_line_auth: false,
        trash_on_delete: false,
        declared_in: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_the_corpus_is_heard_to_its_end() {
        let bytes = include_bytes!("../../../../tests/fuzz/corpus/imap_session/dovecot");
        let heard = run(converse(bytes, usize::MAX));
        assert_eq!(
            heard.last().map(String::as_str),
            Some("all was said"),
            "{heard:?}"
        );
        assert!(
            heard.iter().any(|line| line.starts_with("8 [")),
            "{heard:?}"
        );
    }
}
