//! The client against servers that are honest, refuse, lie, hang and vanish, over a stream in memory with a paused clock.
use super::*;
use sandbox::script::{Script, Step};
use spool::{Pieces, Stored};
use std::future::Future;
use std::io::Write;
use token_store::accounts::Sasl;
use token_store::{AccessToken, Credential, Secret};
use tokio::io::DuplexStream;
use tokio::time::Instant;

mod chunks;
mod exchange;
mod in_step;
mod sign_in;
mod starttls;
mod stuffing;
mod wishes;

const ALL: &str = "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH XOAUTH2 OAUTHBEARER PLAIN LOGIN\r\n";
const BARE: &str = "250 mx.example\r\n";
const TEXT: &[u8] = b"Subject: x\r\n\r\n.dot\r\nend\r\n";

/// What the server does next.
#[derive(Clone, Copy)]
enum Act {
    /// Sends this.
    Say(&'static str),
    /// Reads a line that must be this.
    Hear(&'static str),
    /// Reads a message up to its final dot, which must be this as it came over the wire.
    Text(&'static str),
    /// Reads so many bytes.
    Swallow(usize),
    /// Neither reads nor writes any more, and keeps the connection.
    Hang,
}
use Act::{Hang, Hear, Say, Swallow, Text as Body};

/// Plays a server; at the end of its acts it closes.
async fn play(stream: DuplexStream, acts: &[Act]) {
    let mut lines = Lines::new(stream, Duration::from_secs(3600));
    for act in acts {
        match act {
            Say(words) => lines
                .send(words.as_bytes())
                .await
                .expect("the client listens"),
            Hear(expected) => {
                let line = lines.line(1 << 20).await.expect("the client speaks").bytes;
                assert_eq!(String::from_utf8_lossy(&line), *expected);
            }
            Body(expected) => {
                let mut text = Vec::new();
                while !text.ends_with(b"\r\n.\r\n") && text != b".\r\n" {
                    text.extend_from_slice(
                        &lines.line(1 << 20).await.expect("the client goes on").bytes,
                    );
                    text.extend_from_slice(b"\r\n");
                }
                assert_eq!(String::from_utf8_lossy(&text), *expected);
            }
            Swallow(bytes) => {
                let mut count = *bytes;
                while count > 0 {
                    let read = lines
                        .chunk()
                        .await
                        .expect("the client goes on")
                        .len()
                        .min(count);
                    assert!(read > 0, "the client closed");
                    lines.consume(read);
                    count -= read;
                }
            }
            Hang => std::future::pending().await,
        }
    }
}

/// Runs a client against acts, after greeting and EHLO with this offer; a server that hangs is left when the client is done.
async fn with<T, F>(
    offer: &'static str,
    acts: &[Act],
    client: impl FnOnce(Client<DuplexStream>) -> F,
) -> T
where
    F: Future<Output = T>,
{
    let (near, far) = tokio::io::duplex(1 << 16);
    let acts: Vec<Act> = [Say("220 mx\r\n"), Hear("EHLO me"), Say(offer)]
        .into_iter()
        .chain(acts.iter().copied())
        .collect();
    let client = async {
        let greeted = Client::greet(near, "me", Patience::default())
            .await
            .expect("a greeting");
        client(greeted).await
    };
    match acts.iter().any(|act| matches!(act, Hang)) {
        false => tokio::join!(client, play(far, &acts)).0,
        true => tokio::select! {
            result = client => result,
            () = play(far, &acts) => panic!("it hangs"),
        },
    }
}

fn to(address: &str) -> To<'_> {
    To {
        address,
        notify: None,
        orcpt: None,
    }
}

fn envelope<'a>(recipients: &'a [To<'a>]) -> Envelope<'a> {
    Envelope {
        sender: "a@b.example",
        recipients,
        size: TEXT.len() as u64,
        smtputf8: false,
        utf8_header: false,
        eight_bit: false,
        ret: None,
        envid: None,
    }
}

async fn send(client: Client<DuplexStream>, recipients: &[&str]) -> Sent<DuplexStream> {
    let recipients: Vec<To<'_>> = recipients.iter().map(|address| to(address)).collect();
    client
        .send(
            envelope(&recipients),
            Pieces::of(Stored::Inline(TEXT.to_vec())),
        )
        .await
}

/// An answer as one line.
fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Reply(stage, reply) => format!("{stage}: {reply}"),
        Answer::Impossible(why) => format!("impossible: {why}"),
        Answer::Lost(why) => format!("lost: {why}"),
        Answer::InDoubt(why) => format!("in doubt: {why}"),
    }
}

fn all_shown(sent: &Sent<DuplexStream>) -> Vec<String> {
    sent.answers.iter().map(shown).collect()
}
