//! What a lying POP3 server may send: to a whole session, and as the text of one message.

use std::fmt::Debug;
use std::time::Duration;

use token_store::{Credential, Secret};

use super::connection::{Connection, Incoming};
use super::listing::{headers, list, older, top};
use super::sign_in::{capabilities, sign_in};
use super::unstuff::Unstuffer;
use crate::error::FetchError;
use crate::fuzz::{Packets, assert_is_shown_safely, run};
use crate::imap::fuzz::{bearer, mailbox};

/// A whole session with a server whose every answer is in these bytes.
pub fn pop3_session(bytes: &[u8]) {
    let whole = run(converse(bytes, usize::MAX));
    for size in [1, 7] {
        assert_eq!(run(converse(bytes, size)), whole, "{size} bytes a packet");
    }
}

/// All that was read, and how it ended.
async fn converse(bytes: &[u8], size: usize) -> Vec<String> {
    let mut connection = Connection::new(Packets { bytes, size }, Duration::from_secs(60));
    let mut heard = Vec::new();
    let end = dialogue(&mut connection, &mut heard).await;
    if let Err(e) = &end {
        assert_is_shown_safely(&e.to_string());
        if let FetchError::Patience {
            after: Some(after), ..
        } = e
        {
            assert!(*after <= Duration::from_secs(86_400), "{e:?}");
        }
    }
    note(&mut heard, end);
    heard
}

fn note(heard: &mut Vec<String>, what: impl Debug) {
    heard.push(format!("{what:?}"));
}

async fn dialogue(
    connection: &mut Connection<Packets<'_>>,
    heard: &mut Vec<String>,
) -> Result<(), FetchError> {
    note(heard, connection.ok("the connection").await?);
    let offered = capabilities(connection).await?;
    note(heard, &offered);
    let mailbox = mailbox();
    let offered = match sign_in(connection, &offered, &mailbox, &bearer()).await {
        Err(FetchError::Blocked(_)) => {
            let password = Credential::Password(Secret::new("p"));
            sign_in(connection, &offered, &mailbox, &password).await?
        }
        signed_in => signed_in?,
    };
    note(heard, &offered);
    let ahead = offered.has("PIPELINING");
    let listing = list(connection, ahead).await?;
    let messages = &listing.messages;
    assert!(messages.is_sorted_by(|a, b| a.number < b.number));
    assert!(messages.iter().all(|listed| listed.number > 0));
    let mut names = messages.iter().filter_map(|listed| listed.name.as_ref());
    assert!(names.all(|name| !name.is_empty() && name.len() <= 1024));
    note(heard, &listing);
    connection.send("TOP", &top(1)).await?;
    note(heard, headers(connection, 1).await?);
    note(
        heard,
        older(connection, &[1, 2, 3], 1_700_000_000, ahead)
            .await?
            .len(),
    );
    for _ in 0..2 {
        note(heard, connection.ask("RETR", "RETR 1").await?);
        note(heard, body(connection).await?);
    }
    note(heard, connection.ask("QUIT", "QUIT").await?);
    Ok(())
}

async fn body(connection: &mut Connection<Packets<'_>>) -> Result<Vec<u8>, FetchError> {
    let (mut incoming, mut text) = (Incoming::new(), Vec::new());
    while !connection.piece("RETR", &mut incoming, &mut text).await? {}
    Ok(text)
}

/// The text of one message, and where it ends, against the rule applied letter by letter.
pub fn pop3_unstuff(bytes: &[u8]) {
    let expected = letter_by_letter(bytes);
    for size in [1, 2, 3, 7, usize::MAX] {
        assert_eq!(unstuffed(bytes, size), expected, "{size} bytes a packet");
    }
}

/// The text, and with how many bytes it ended.
fn unstuffed(bytes: &[u8], size: usize) -> (Vec<u8>, Option<usize>) {
    let (mut unstuffer, mut text) = (Unstuffer::new(), Vec::new());
    let mut used = 0;
    for packet in bytes.chunks(size) {
        if let Some(end) = unstuffer.feed(packet, &mut text) {
            return (text, Some(used + end));
        }
        used += packet.len();
    }
    (text, None)
}

/// RFC 1939 section 3: a dot that begins a line is dropped, and is the end where CRLF follows it.
fn letter_by_letter(bytes: &[u8]) -> (Vec<u8>, Option<usize>) {
    let (mut text, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let line_starts = at == 0 || bytes[..at].ends_with(b"\r\n");
        match &bytes[at..] {
            [b'.', b'\r', b'\n', ..] if line_starts => return (text, Some(at + 3)),
            // It may still become the end.
            [b'.'] | [b'.', b'\r'] if line_starts => return (text, None),
            [b'.', ..] if line_starts => {}
            rest => text.push(rest[0]),
        }
        at += 1;
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_the_corpus_is_heard_to_its_end() {
        let bytes = include_bytes!("../../../../tests/fuzz/corpus/pop3_session/dovecot");
        let heard = run(converse(bytes, usize::MAX));
        assert_eq!(
            heard.last().map(String::as_str),
            Some("Ok(())"),
            "{heard:?}"
        );
    }
}
