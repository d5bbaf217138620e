//! What a relay may answer from its greeting to the end of the second message, and what that means for the mail.

use std::fmt::Debug;

use spool::{Outcome, Pieces, Stored};
use token_store::accounts::Sasl;
use token_store::{AccessToken, Credential, Secret};

use super::judge::{Verdict, judge, judge_connection};
use crate::fuzz::{Server, assert_is_shown_safely, run};
use crate::smtp_client::{Answer, Client, ClientError, Envelope, Identity, Patience, Stage, To};

const TEXT: &[u8] = b"Subject: x\r\n\r\n.dot\r\n";

/// A whole connection to a server whose every answer is in these bytes.
pub fn relay_session(bytes: &[u8]) {
    let by_lines = run(converse(bytes, usize::MAX));
    for size in [1, 7] {
        assert_eq!(
            run(converse(bytes, size)),
            by_lines,
            "{size} bytes a packet"
        );
    }
}

/// All that was read, and how it ended.
async fn converse(bytes: &[u8], size: usize) -> Vec<String> {
    let mut heard = Vec::new();
    if let Err(error) = dialogue(Server::new(bytes, size), &mut heard).await {
        assert_is_shown_safely(&error.to_string());
        let trouble = judge_connection(&error);
        assert_is_shown_safely(trouble.why());
        note(&mut heard, trouble);
    }
    heard
}

fn note(heard: &mut Vec<String>, what: impl Debug) {
    heard.push(format!("{what:?}"));
}

async fn dialogue(server: Server<'_>, heard: &mut Vec<String>) -> Result<(), ClientError> {
    let mut client = Client::greet(server, "helpdesk.example", Patience::default()).await?;
    note(heard, &client.offered);
    let token = Credential::Bearer(AccessToken {
        secret: Secret::new("tok"),
        id: "c".into(),
        version: 1,
        expires_at: None,
    });
    let password = Credential::Password(Secret::new("p"));
    let identity = |credential| Identity {
        user: "u@example.com",
        host: "smtp.example.com",
        port: 587,
        sasl: Sasl::Auto,
        credential,
        no_initial_response: false,
    };
    match client.sign_in(identity(&token)).await {
        Err(ClientError::NoMechanism { .. }) => client.sign_in(identity(&password)).await?,
        signed_in => signed_in?,
    }
    for _ in 0..2 {
        let to = |address| To {
            address,
            notify: None,
            orcpt: None,
        };
        let envelope = Envelope {
            sender: "u@example.com",
            recipients: &[to("a@example.org"), to("b@example.org")],
            size: TEXT.len() as u64,
            smtputf8: false,
            utf8_header: false,
            eight_bit: false,
            ret: None,
            envid: None,
        };
        let text = Pieces::of(Stored::Inline(TEXT.to_vec()));
        let sent = client.send(envelope, text).await;
        assert_eq!(sent.answers.len(), 2, "one answer for each recipient");
        sent.answers.iter().for_each(settled);
        note(heard, &sent.answers);
        let Some(kept) = sent.connection else {
            return Ok(());
        };
        assert!(!sent.untouched, "a connection that closed can't be kept");
        client = kept;
    }
    client.quit().await;
    Ok(())
}

/// Only a 2xx to the final dot is a delivery.
fn settled(answer: &Answer) {
    let verdict = judge(answer);
    let delivered = matches!(verdict, Verdict::Settle(Outcome::Delivered { .. }, _));
    let taken =
        matches!(answer, Answer::Reply(Stage::End, reply) if (200..300).contains(&reply.code));
    assert_eq!(delivered, taken, "{answer:?} {verdict:?}");
    match &verdict {
        Verdict::Settle(outcome, _) => assert_is_shown_safely(outcome.why()),
        Verdict::Release(trouble) => assert_is_shown_safely(trouble.why()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_the_corpus_delivers_two_messages_to_two_recipients() {
        let bytes = include_bytes!("../../../../tests/fuzz/corpus/relay_session/postfix");
        let heard = run(converse(bytes, usize::MAX));
        let taken = |line: &String| line.matches("Reply(End").count();
        assert_eq!(heard.iter().map(taken).sum::<usize>(), 4, "{heard:?}");
    }
}
