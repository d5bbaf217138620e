//! One message over a connection: envelope, text, and one answer for each recipient.
use super::envelope::{Opening, Replies};
use super::{Client, Stage};
use crate::address;
use futures_util::FutureExt;
use spool::Pieces;
use spool::dsn::{Notify, Ret};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use wire::smtp::Reply;

/// Whom a message is from and for, and what it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) sender: &'a str,
    pub(crate) recipients: &'a [To<'a>],
    pub(crate) size: u64,
    /// MAIL says SMTPUTF8 where it is offered.
    pub(crate) smtputf8: bool,
    /// The header section goes beyond ASCII, and was submitted as such.
    pub(crate) utf8_header: bool,
    /// There are bytes beyond ASCII in it.
    pub(crate) eight_bit: bool,
    /// Said where DSN is offered.
    pub(crate) ret: Option<Ret>,
    pub(crate) envid: Option<&'a str>,
}

/// One recipient, with what is said of it where DSN is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct To<'a> {
    pub(crate) address: &'a str,
    pub(crate) notify: Option<Notify>,
    pub(crate) orcpt: Option<&'a str>,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The server's reply that decides: the refusal, or the answer to the end of the message.
    Reply(Stage, Reply),
    /// Cannot be sent to this server, and was not; the words begin with the enhanced status code.
    Impossible(String),
    /// Not sent, because the connection broke.
    Lost(String),
    /// The end of the message may have arrived; its answer did not.
    InDoubt(String),
}

/// What became of a message.
pub(crate) struct Sent<S> {
    /// The connection, where every reply was read in step and more can be sent.
    pub(crate) connection: Option<Client<S>>,
    /// One for each recipient, in order.
    pub(crate) answers: Vec<Answer>,
    /// The server has certainly taken nothing of this message, and another connection may be tried at once.
    pub(crate) untouched: bool,
    /// The server offered CHUNKING and refused a chunk as such.
    pub(crate) chunking_refused: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends one message. The connection comes back in the result only if it is still in step; a cancelled send drops it.
    pub(crate) async fn send(mut self, envelope: Envelope<'_>, text: Pieces) -> Sent<S> {
        let unfit = match self.unfit(envelope) {
            Ok(unfit) if unfit.iter().any(Option::is_none) => unfit,
            Ok(unfit) => return self.unsent(unfit.into_iter().flatten().collect()),
            Err(why) => {
                return self.unsent(vec![Answer::Impossible(why); envelope.recipients.len()]);
            }
        };
        if self.is_gone() {
            return closed_before(envelope);
        }
        let deadline = Instant::now() + self.patience.message;
        let (opening, text) = match self.opening(envelope.size, text).await {
            Ok(opening) => opening,
            Err(answer) => return self.unsent(vec![answer; envelope.recipients.len()]),
        };
        self.carried += 1;
        let mut replies = Replies::new(unfit);
        let told = self.tell(envelope, &opening, &mut replies, deadline).await;
        if let Err(broken) = told {
            return self.broken_off(replies, broken);
        }
        match (replies.probe_refused.take(), replies.end.take()) {
            // Whether it lied about CHUNKING or refuses the message, DATA finds out.
            (Some(reply), _) if replies.accepted > 0 => return no_chunks(replies, &reply),
            // It may have read the text as commands, so this connection is done for.
            (_, Some(reply)) if replies.accepted > 0 && is_unknown_command(&reply) => {
                return no_chunks(replies, &reply);
            }
            (_, Some(reply)) => return self.ended_whole(replies, reply),
            _ => {}
        }
        if !replies.go_ahead {
            // Nothing was accepted, so every recipient has its answer; the transaction may still be open.
            self.open_transaction = true;
            let none = Answer::Lost("the server did not ask for the message".to_owned());
            return self.unsent(replies.into_answers(&none));
        }
        let wanted = replies.accepted > 0 && !replies.stopped;
        let (answer, in_step) = self.text(wanted.then_some(text), deadline).await;
        Sent {
            answers: replies.into_answers(&answer),
            untouched: false,
            chunking_refused: self.chunking_refused,
            connection: in_step.then_some(self),
        }
    }

    /// Envelope and what follows in the same breath, within the message's time.
    async fn tell(
        &mut self,
        envelope: Envelope<'_>,
        opening: &Opening,
        replies: &mut Replies,
        deadline: Instant,
    ) -> Result<(), Answer> {
        let told = timeout_at(deadline, self.envelope(envelope, opening, replies)).await;
        told.unwrap_or_else(|_| Err(self.too_slow()))
    }

    /// Every recipient has its answer without the message, and the connection is as it was.
    fn unsent(self, answers: Vec<Answer>) -> Sent<S> {
        Sent {
            answers,
            untouched: false,
            chunking_refused: self.chunking_refused,
            connection: Some(self),
        }
    }

    /// The envelope's replies did not come to their end.
    fn broken_off(self, replies: Replies, broken: Answer) -> Sent<S> {
        // With the whole message behind the envelope nobody knows how far the server got, unless it says that it closes.
        let closing = matches!(broken, Answer::Reply(..));
        let broken = match broken {
            Answer::Lost(why) if replies.whole_sent => Answer::InDoubt(why),
            other => other,
        };
        Sent {
            connection: None,
            untouched: !replies.touched && (closing || !replies.whole_sent),
            answers: replies.into_answers(&broken),
            chunking_refused: self.chunking_refused,
        }
    }

    /// The message went with the envelope, and has its answer.
    fn ended_whole(mut self, replies: Replies, reply: Reply) -> Sent<S> {
        self.open_transaction = !reply.is_positive();
        let answer = Answer::Reply(Stage::End, reply);
        self.unsent(replies.into_answers(&answer))
    }

    pub(super) fn too_slow(&self) -> Answer {
        let minutes = self.patience.message.as_secs() / 60;
        Answer::Lost(format!(
            "the server was too slow: the message was not through after {minutes} minutes"
        ))
    }

    /// Whether the server has closed the connection, as far as that has arrived here.
    fn is_gone(&mut self) -> bool {
        let now = self.lines.chunk().now_or_never();
        now.is_some_and(|read| read.map_or(true, <[u8]>::is_empty))
    }

    /// Between question and answer nothing may lie in wait: a reply nobody asked for would be taken for the next one's.
    /// Only a goodbye comes unasked, and it is no answer to anything.
    pub(super) fn in_step(&self) -> bool {
        let unasked = self.lines.buffered();
        unasked.is_empty() || unasked.starts_with(b"421")
    }

    /// What this server cannot take, known before anything is sent: Err for the message, else for each recipient.
    ///
    /// Lines longer than the 998 bytes of RFC 5322 are sent as they are: RFC 5321 section 4.5.3.1.6 asks nobody to refuse
    /// them, most servers take them, breaking them would break signatures, and a refusal is reported in the server's words.
    fn unfit(&self, envelope: Envelope<'_>) -> Result<Vec<Option<Answer>>, String> {
        let Envelope { sender, size, .. } = envelope;
        if !sender.is_empty() && !address::is_mailbox(sender) {
            return Err(format!(
                "5.1.7 the sender {sender:?} is not an address that can be sent"
            ));
        }
        if let Some(limit) = self.offered.limit().filter(|limit| size > *limit) {
            return Err(format!(
                "5.3.4 the message has {size} bytes, and the server takes at most {limit}"
            ));
        }
        if !self.offered.smtputf8 && !sender.is_ascii() {
            return Err(format!(
                "5.6.7 the sender {sender} goes beyond ASCII and needs SMTPUTF8, which the server does not offer"
            ));
        }
        if !self.offered.smtputf8 && envelope.smtputf8 && envelope.utf8_header {
            return Err(
                "5.6.9 header fields beyond ASCII need SMTPUTF8, which the server does not offer"
                    .to_owned(),
            );
        }
        // RFC 6152 leaves converting or refusing; converting would break what was signed.
        if envelope.eight_bit && !self.offered.eight_bit_mime {
            return Err(
                "5.6.3 the message has 8-bit text, and the server offers no 8BITMIME".to_owned(),
            );
        }
        let each = envelope.recipients.iter();
        Ok(each
            .map(|to| self.unfit_recipient(to.address))
            .collect::<Vec<_>>())
    }

    fn unfit_recipient(&self, address: &str) -> Option<Answer> {
        let why = if !address::is_mailbox(address) {
            format!("5.1.3 {address:?} is not an address that can be sent")
        } else if !self.offered.smtputf8 && !address.is_ascii() {
            format!(
                "5.6.7 the address {address} goes beyond ASCII and needs SMTPUTF8, which the server does not offer"
            )
        } else {
            return None;
        };
        Some(Answer::Impossible(why))
    }
}

/// The syntax errors of RFC 5321 section 4.2.3: said of the command, never of a message.
pub(super) fn is_unknown_command(reply: &Reply) -> bool {
    (500..=504).contains(&reply.code)
}

/// Nothing was taken; another connection may try it by DATA.
fn no_chunks<S>(replies: Replies, reply: &Reply) -> Sent<S> {
    let lost = Answer::Lost(format!("the server refused a chunk: {reply}"));
    Sent {
        connection: None,
        answers: replies.into_answers(&lost),
        untouched: true,
        chunking_refused: true,
    }
}

fn closed_before<S>(envelope: Envelope<'_>) -> Sent<S> {
    let lost = Answer::Lost("the server had closed the connection".to_owned());
    Sent {
        connection: None,
        answers: vec![lost; envelope.recipients.len()],
        untouched: true,
        chunking_refused: false,
    }
}
