//! One LMTP connection: hello, messages one after the other, goodbye; it comes back from a message only when every reply was read in step.

use std::time::Duration;

use spool::Pieces;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::lines::{LineError, Lines};
use wire::smtp::{self, Capabilities, Reply, ReplyError, Stuffer};

use super::answers::Answer;
use super::envelope::Envelope;

/// For the answer to a command or to one recipient's part of the final dot; the whole delivery has its own limit.
/// RFC 5321 section 4.5.3.2.6.
const ANSWER: Duration = Duration::from_secs(600);
/// Stuffed text is written when so much of it is ready.
const WRITE: usize = 64 * 1024;
/// How long a server that closed in the middle of the text is listened to for its reason.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A TCP connection or a Unix socket.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A connection that was greeted.
pub(super) struct Session {
    lines: Lines<Box<dyn Socket>>,
    offered: Capabilities,
}

/// The connection broke.
pub(super) struct Unsent {
    pub(super) why: String,
    /// The server had closed the connection before it answered anything of this message.
    pub(super) untouched: bool,
}

impl Session {
    /// Reads the greeting and says LHLO.
    pub(super) async fn greet(socket: Box<dyn Socket>) -> Result<Self, String> {
        let mut session = Self {
            lines: Lines::new(socket, ANSWER),
            offered: Capabilities::default(),
        };
        let greeting = session.reply().await?;
        if !greeting.is_positive() {
            return Err(format!("the server greeted with {greeting}"));
        }
        let hello = session.ask("LHLO localhost\r\n").await?;
        if !hello.is_positive() {
            return Err(format!(
                "the server answered LHLO with {hello}; is it an LMTP server?"
            ));
        }
        session.offered = Capabilities::of(&hello);
        Ok(session)
    }

    pub(super) fn offered(&self) -> &Capabilities {
        &self.offered
    }

    /// Sends one message. `answers` has one for each recipient, in order; what is known stays in it whatever happens. The connection
    /// comes back if it is still good.
    pub(super) async fn send(
        mut self,
        envelope: &Envelope<'_>,
        pieces: &mut Pieces,
        answers: &mut [Answer],
    ) -> Result<Option<Self>, Unsent> {
        if let Some(why) = self.impossible(envelope) {
            answers.fill(Answer::Impossible(why));
            return Ok(Some(self));
        }
        let mut touched = false;
        let data = match self.envelope(envelope, answers, &mut touched).await {
            Ok(data) => data,
            Err(why) => {
                return Err(Unsent {
                    why,
                    untouched: !touched,
                });
            }
        };
        let broken = |why| Unsent {
            why,
            untouched: false,
        };
        if !data {
            // Every recipient has its answer; the transaction is open where DATA was not refused.
            return Ok(self.reset().await.is_ok().then_some(self));
        }
        self.text(envelope.size, pieces, answers)
            .await
            .map_err(broken)?;
        for answer in answers.iter_mut() {
            if matches!(answer, Answer::Accepted { .. }) {
                *answer = Answer::Reply("the message", self.reply().await.map_err(broken)?);
            }
        }
        let closing = answers
            .iter()
            .any(|answer| matches!(answer, Answer::Reply(_, reply) if reply.code == 421));
        let in_step = self.lines.buffered().is_empty();
        Ok((in_step && !closing).then_some(self))
    }

    /// Why the message cannot be sent here, where that is known without asking.
    fn impossible(&self, envelope: &Envelope<'_>) -> Option<String> {
        if let Some(most) = self.offered.limit().filter(|most| envelope.size > *most) {
            return Some(format!(
                "it has {} bytes, and the server takes {most}",
                envelope.size
            ));
        }
        let beyond = envelope.recipients.iter().any(|to| !to.is_ascii());
        (beyond && !self.offered.smtputf8)
            .then(|| "the address needs SMTPUTF8, which the server does not offer".to_owned())
    }

    /// MAIL, RCPT and DATA, at once where PIPELINING is offered. Whether the text is wanted, by at least one recipient.
    async fn envelope(
        &mut self,
        envelope: &Envelope<'_>,
        answers: &mut [Answer],
        touched: &mut bool,
    ) -> Result<bool, String> {
        let recipients = envelope.recipients.iter();
        let mut commands = vec![self.mail(envelope)];
        commands.extend(recipients.map(|to| format!("RCPT TO:<{to}>\r\n")));
        if self.offered.pipelining {
            let lines = commands.concat() + "DATA\r\n";
            self.lines.send(lines.as_bytes()).await.map_err(words)?;
        }
        for (at, command) in commands.iter().enumerate() {
            if !self.offered.pipelining {
                self.lines.send(command.as_bytes()).await.map_err(words)?;
            }
            let reply = self.reply().await?;
            *touched |= reply.code != 421;
            match at.checked_sub(1) {
                _ if reply.code == 421 => return Err(format!("the server is closing: {reply}")),
                None if reply.is_positive() => {}
                None => {
                    answers.fill(Answer::Reply("MAIL", reply));
                    if !self.offered.pipelining {
                        return Ok(false);
                    }
                }
                // After a refused MAIL its echo.
                Some(to) if matches!(answers[to], Answer::Reply(..)) => {}
                Some(to) if reply.is_positive() => answers[to] = Answer::Accepted { sent: false },
                Some(to) => answers[to] = Answer::Reply("RCPT", reply),
            }
        }
        self.data(answers).await
    }

    /// The answer to DATA, asked for already where PIPELINING is offered.
    async fn data(&mut self, answers: &mut [Answer]) -> Result<bool, String> {
        let wanted = answers
            .iter()
            .any(|answer| matches!(answer, Answer::Accepted { .. }));
        if !self.offered.pipelining {
            if !wanted {
                return Ok(false);
            }
            self.lines.send(b"DATA\r\n").await.map_err(words)?;
        }
        let reply = self.reply().await?;
        match (reply.code, wanted) {
            (354, true) if self.lines.buffered().is_empty() => Ok(true),
            (354, true) => Err("the server sent a reply that was not asked for".to_owned()),
            // It would take a message for nobody; such a connection is of no use any more.
            (354, false) => Err("the server wants a message that no recipient takes".to_owned()),
            (_, _) if matches!(reply.class(), 4 | 5) => {
                let refused = Answer::Reply("DATA", reply);
                let open = answers.iter_mut();
                open.filter(|answer| matches!(answer, Answer::Accepted { .. }))
                    .for_each(|answer| *answer = refused.clone());
                Ok(false)
            }
            _ => Err(format!(
                "the server answered DATA with {reply}, which makes no sense there"
            )),
        }
    }

    fn mail(&self, envelope: &Envelope<'_>) -> String {
        let utf8 = self.offered.smtputf8 && envelope.beyond_ascii();
        // A sender that cannot be written is no reason to keep the message from its recipients.
        let sender = match utf8 || envelope.sender.is_ascii() {
            true => envelope.sender.as_str(),
            false => "",
        };
        let mut line = format!("MAIL FROM:<{sender}>");
        if self.offered.size.is_some() {
            line.push_str(&format!(" SIZE={}", envelope.size));
        }
        if self.offered.eight_bit_mime {
            line.push_str(" BODY=8BITMIME");
        }
        if utf8 {
            line.push_str(" SMTPUTF8");
        }
        line + "\r\n"
    }

    /// Streams the text and its final dot.
    async fn text(
        &mut self,
        size: u64,
        pieces: &mut Pieces,
        answers: &mut [Answer],
    ) -> Result<(), String> {
        let mut stuffer = Stuffer::new();
        let mut out = Vec::new();
        let mut read = 0;
        loop {
            let piece = pieces.next().await;
            let piece = piece.map_err(|e| format!("the stored message can't be read: {e}"))?;
            if piece.is_empty() {
                break;
            }
            read += piece.len() as u64;
            stuffer.stuff(piece, &mut out);
            if out.len() >= WRITE {
                if let Err(broken) = self.lines.put(&out).await {
                    return Err(self.last_words(&broken).await);
                }
                out.clear();
            }
        }
        if read != size {
            // Without the final dot it was never sent; the connection is dropped.
            return Err(format!(
                "the stored message has {read} bytes instead of {size}"
            ));
        }
        stuffer.finish(&mut out);
        // From here on it may arrive.
        let accepted = answers.iter_mut();
        accepted
            .filter(|answer| matches!(answer, Answer::Accepted { .. }))
            .for_each(|answer| *answer = Answer::Accepted { sent: true });
        self.lines.send(&out).await.map_err(words)
    }

    /// Why the server closed in the middle of the text, if it said so.
    async fn last_words(&mut self, broken: &LineError) -> String {
        self.lines.set_timeout(LAST_WORDS);
        match self.reply().await {
            Ok(reply) => format!("the server ended the connection: {reply}"),
            Err(_) => broken.to_string(),
        }
    }

    async fn reset(&mut self) -> Result<(), String> {
        let reply = self.ask("RSET\r\n").await?;
        match reply.is_positive() && self.lines.buffered().is_empty() {
            true => Ok(()),
            false => Err(format!("the server answered RSET with {reply}")),
        }
    }

    async fn ask(&mut self, line: &str) -> Result<Reply, String> {
        self.lines.send(line.as_bytes()).await.map_err(words)?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, String> {
        smtp::read(&mut self.lines).await.map_err(|e| match e {
            ReplyError::Line(e) => words(e),
            ReplyError::Nonsense(_) => e.to_string(),
        })
    }

    /// Says goodbye.
    pub(super) async fn quit(mut self) {
        if self.ask("QUIT\r\n").await.is_ok() {
            let _ = self.lines.close().await;
        }
    }
}

fn words(e: LineError) -> String {
    e.to_string()
}
