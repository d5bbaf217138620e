//! One message over a connection: envelope, text, and one answer for each recipient.
use super::{Client, ClientError, Stage, lost};
use crate::address;
use spool::Pieces;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use wire::smtp::{Reply, Stuffer};

/// Commands sent at once before their replies are read: neither side's buffers can fill up with so few
/// (RFC 2920 section 3.1 leaves that care to the client).
const BATCH: usize = 50;
/// Stuffed text is written when so much of it is ready.
const WRITE: usize = 64 * 1024;
/// How long a server that closed in the middle of the text is listened to for its reason.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Whom a message is from and for, and what it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) sender: &'a str,
    pub(crate) recipients: &'a [&'a str],
    pub(crate) size: u64,
    pub(crate) smtputf8: bool,
    pub(crate) eight_bit: bool,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The server's reply that decides: the refusal, or the answer to the final dot.
    Reply(Stage, Reply),
    /// Cannot be sent to this server, and was not.
    Impossible(String),
    /// Not sent, because the connection broke.
    Lost(String),
    /// The final dot may have arrived; its answer did not.
    InDoubt(String),
}

/// What became of a message.
pub(crate) struct Sent<S> {
    /// The connection, where every reply was read in step and more can be sent.
    pub(crate) connection: Option<Client<S>>,
    /// One for each recipient, in order.
    pub(crate) answers: Vec<Answer>,
    /// The server had closed the connection before it looked at this message.
    pub(crate) untouched: bool,
}

/// The commands of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Mail,
    Rcpt(usize),
    Data,
}

impl Command {
    fn stage(self) -> Stage {
        match self {
            Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
        }
    }
}

/// The replies to an envelope so far.
struct Replies {
    /// What is known of each recipient: a refusal, or None while it may still be sent.
    settled: Vec<Option<Answer>>,
    /// Recipients whose RCPT was accepted.
    accepted: usize,
    /// MAIL or DATA was refused, for all.
    stopped: bool,
    /// The server said 354.
    go_ahead: bool,
    /// Any reply but 421 was read.
    touched: bool,
}

impl Replies {
    fn new(recipients: usize) -> Self {
        Self {
            settled: vec![None; recipients],
            accepted: 0,
            stopped: false,
            go_ahead: false,
            touched: false,
        }
    }

    /// Gives all that are still open the same answer.
    fn settle_rest(&mut self, answer: &Answer) {
        for open in self.settled.iter_mut().filter(|settled| settled.is_none()) {
            *open = Some(answer.clone());
        }
    }

    /// Notes one reply. Err: it makes no sense here, so nothing after it can be trusted; or the server is closing.
    fn note(&mut self, command: Command, reply: Reply) -> Result<(), Answer> {
        let stage = command.stage();
        if reply.code == 421 {
            return Err(Answer::Reply(stage, reply));
        }
        self.touched = true;
        match (command, reply.class()) {
            (Command::Mail, 2) => {}
            (Command::Rcpt(_), 2) => self.accepted += 1,
            (Command::Data, 3) if reply.code == 354 => self.go_ahead = true,
            (Command::Rcpt(at), 4 | 5) => {
                // After a refused MAIL these are only its echo.
                self.settled[at].get_or_insert(Answer::Reply(stage, reply));
            }
            (Command::Mail | Command::Data, 4 | 5) => {
                self.stopped = true;
                self.settle_rest(&Answer::Reply(stage, reply));
            }
            _ => {
                return Err(Answer::Lost(format!(
                    "the server answered {stage} with {reply}, which makes no sense there"
                )));
            }
        }
        Ok(())
    }

    /// Which reply belongs to which recipient is no longer known.
    fn forget(&mut self) {
        self.settled.fill(None);
    }

    fn into_answers(mut self, rest: &Answer) -> Vec<Answer> {
        self.settle_rest(rest);
        self.settled.into_iter().flatten().collect()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends one message. The connection comes back in the result only if it is still in step; a cancelled send drops it.
    pub(crate) async fn send(mut self, envelope: Envelope<'_>, text: Pieces) -> Sent<S> {
        if let Some(why) = self.impossible(envelope) {
            let answers = vec![Answer::Impossible(why); envelope.recipients.len()];
            return Sent {
                connection: Some(self),
                answers,
                untouched: false,
            };
        }
        let deadline = Instant::now() + self.patience.message;
        let mut replies = Replies::new(envelope.recipients.len());
        let told = timeout_at(deadline, self.envelope(envelope, &mut replies)).await;
        if let Err(broken) = told.unwrap_or_else(|_| Err(self.too_slow())) {
            let untouched = !replies.touched;
            return Sent {
                connection: None,
                answers: replies.into_answers(&broken),
                untouched,
            };
        }
        if !replies.go_ahead {
            // Nothing was accepted, so every recipient has its answer; the transaction may still be open.
            self.open_transaction = true;
            let none = Answer::Lost("the server did not ask for the message".to_owned());
            return Sent {
                connection: Some(self),
                answers: replies.into_answers(&none),
                untouched: false,
            };
        }
        let (answer, in_step) = self
            .text(
                envelope.size,
                text,
                replies.accepted > 0 && !replies.stopped,
                deadline,
            )
            .await;
        Sent {
            connection: in_step.then_some(self),
            answers: replies.into_answers(&answer),
            untouched: false,
        }
    }

    fn too_slow(&self) -> Answer {
        let minutes = self.patience.message.as_secs() / 60;
        Answer::Lost(format!(
            "the server was too slow: the message was not through after {minutes} minutes"
        ))
    }

    /// Between question and answer nothing may lie in wait: a reply nobody asked for would be taken for the next one's.
    /// Only a goodbye comes unasked, and it is no answer to anything.
    fn in_step(&self) -> bool {
        let unasked = self.lines.buffered();
        unasked.is_empty() || unasked.starts_with(b"421")
    }

    /// What this server cannot take, known before anything is sent.
    fn impossible(&self, envelope: Envelope<'_>) -> Option<String> {
        let Envelope {
            sender,
            recipients,
            size,
            smtputf8,
            eight_bit,
        } = envelope;
        let unsendable = |address: &&str| !address.is_empty() && !address::is_mailbox(address);
        if let Some(bad) = [sender]
            .iter()
            .chain(recipients)
            .copied()
            .find(|a| unsendable(a))
        {
            return Some(format!("{bad:?} is not an address that can be sent"));
        }
        match self.offered.limit() {
            Some(limit) if size > limit => {
                return Some(format!(
                    "the message has {size} bytes, and the server takes at most {limit}"
                ));
            }
            _ => {}
        }
        if smtputf8 && !self.offered.smtputf8 {
            return Some(
                "an address or header beyond ASCII needs SMTPUTF8, which the server does not offer"
                    .to_owned(),
            );
        }
        // RFC 6152 leaves converting or refusing; converting would break what was signed.
        if eight_bit && !self.offered.eight_bit_mime {
            return Some(
                "the message has 8-bit text, and the server offers no 8BITMIME".to_owned(),
            );
        }
        None
    }

    /// MAIL, RCPT and DATA, in batches where PIPELINING is offered, else one by one. Err: the answer for all that have none.
    async fn envelope(
        &mut self,
        envelope: Envelope<'_>,
        replies: &mut Replies,
    ) -> Result<(), Answer> {
        if !self.in_step() {
            return Err(out_of_step());
        }
        if self.open_transaction {
            let reset = self.command(Stage::Reset, "RSET").await;
            reset.map_err(|error| Answer::Lost(error.to_string()))?;
            self.open_transaction = false;
        }
        let commands: Vec<Command> = std::iter::once(Command::Mail)
            .chain((0..envelope.recipients.len()).map(Command::Rcpt))
            .chain([Command::Data])
            .collect();
        let size = if self.offered.pipelining { BATCH } else { 1 };
        for batch in commands.chunks(size) {
            if replies.stopped || (batch == [Command::Data] && replies.accepted == 0) {
                break;
            }
            let lines: String = batch
                .iter()
                .map(|command| self.line(*command, envelope))
                .collect();
            let sent = self.lines.send(lines.as_bytes()).await;
            // A server may refuse and close while we still write: its replies count all the same.
            let broken = sent
                .err()
                .map(|error| Answer::Lost(lost(batch[0].stage(), &error).to_string()));
            for command in batch {
                match self.reply(command.stage()).await {
                    Ok(reply) => replies.note(*command, reply)?,
                    Err(error) => return Err(broken.unwrap_or(Answer::Lost(error.to_string()))),
                }
            }
            if !self.in_step() {
                replies.forget();
                return Err(out_of_step());
            }
        }
        Ok(())
    }

    fn line(&self, command: Command, envelope: Envelope<'_>) -> String {
        match command {
            Command::Data => "DATA\r\n".to_owned(),
            Command::Rcpt(at) => format!("RCPT TO:<{}>\r\n", envelope.recipients[at]),
            Command::Mail => {
                let mut line = format!("MAIL FROM:<{}>", envelope.sender);
                if self.offered.size.is_some() {
                    line.push_str(&format!(" SIZE={}", envelope.size));
                }
                if envelope.eight_bit {
                    line.push_str(" BODY=8BITMIME");
                }
                if envelope.smtputf8 {
                    line.push_str(" SMTPUTF8");
                }
                line + "\r\n"
            }
        }
    }

    /// After 354: the text and its answer, and whether the connection is still in step. If nobody is left to take it, the
    /// server gets an empty message, as RFC 2920 section 3.1 asks, and its answer means nothing.
    async fn text(
        &mut self,
        size: u64,
        text: Pieces,
        wanted: bool,
        deadline: Instant,
    ) -> (Answer, bool) {
        self.lines.set_timeout(self.patience.block);
        let mut last = Vec::new();
        if wanted {
            match timeout_at(deadline, self.all_but_the_end(size, text)).await {
                Ok(Ok(rest)) => last = rest,
                Ok(Err(answer)) => return (answer, false),
                Err(_) => return (self.too_slow(), false),
            }
        } else {
            last.extend_from_slice(b".\r\n");
        }
        // From here on the final dot may have arrived.
        let sent = self.lines.send(&last).await;
        match self.reply_within(Stage::End, self.patience.last).await {
            Ok(reply) if reply.class() != 3 => {
                let in_step = sent.is_ok() && reply.code != 421 && self.in_step();
                // A server that refused in the middle of the text may refuse its end as well; RSET finds out.
                self.open_transaction = wanted && !reply.is_positive();
                (Answer::Reply(Stage::End, reply), in_step)
            }
            Ok(reply) => (
                Answer::InDoubt(format!(
                    "the server answered the end of the message with {reply}"
                )),
                false,
            ),
            Err(error) => (Answer::InDoubt(error.to_string()), false),
        }
    }

    /// Streams the text; what is left to write is its last part with the final dot.
    async fn all_but_the_end(&mut self, size: u64, mut text: Pieces) -> Result<Vec<u8>, Answer> {
        let mut stuffer = Stuffer::new();
        let mut out = Vec::new();
        let mut read = 0;
        loop {
            let piece = text.next().await.map_err(|error| {
                Answer::Lost(format!("the stored message could not be read: {error}"))
            })?;
            if piece.is_empty() {
                break;
            }
            read += piece.len() as u64;
            stuffer.stuff(piece, &mut out);
            if out.len() >= WRITE {
                if let Err(error) = self.lines.put(&out).await {
                    return Err(self.last_words(&lost(Stage::Data, &error)).await);
                }
                out.clear();
            }
        }
        if read != size {
            // Without the final dot it was never sent; the connection is dropped.
            return Err(Answer::Lost(format!(
                "the stored message has {read} bytes instead of {size}"
            )));
        }
        stuffer.finish(&mut out);
        Ok(out)
    }

    /// Why the server closed in the middle of the text, if it said so.
    async fn last_words(&mut self, broken: &ClientError) -> Answer {
        match self.reply_within(Stage::End, LAST_WORDS).await {
            Ok(reply) if matches!(reply.class(), 4 | 5) => Answer::Reply(Stage::End, reply),
            _ => Answer::Lost(broken.to_string()),
        }
    }
}

fn out_of_step() -> Answer {
    Answer::Lost("the server sent a reply that was not asked for".to_owned())
}
