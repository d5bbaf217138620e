//! A message handed to our own submission session: what `postern sendmail` and the drop directory speak.
//!
//! The session is the same as for any other client, over the control socket or a pair of streams in memory. All recipients are taken,
//! or the message is not.
use spool::Recipient;
use spool::dsn::Ret;
use std::io::Read;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::lines::{LineError, Lines};
use wire::smtp::{Reply, Stuffer};

/// The daemon is on this machine; only a commit on a slow disk takes long.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of the message in memory at a time.
const CHUNK: usize = 64 * 1024;

/// The envelope of a message that is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The sender; empty for the null sender.
    pub sender: String,
    /// At least one.
    pub recipients: Vec<Recipient>,
    /// How much of the message a bounce carries.
    pub ret: Option<Ret>,
    /// The submitter's own name for it (RFC 3461 section 4.4), encoded as xtext.
    pub envid: Option<String>,
    /// Addresses or header fields go beyond ASCII.
    pub smtputf8: bool,
}

/// How a handover ended, in the session's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandedOver {
    /// The message is on disk.
    Accepted(String),
    /// Not this sender, these recipients, or this message.
    Refused {
        /// What was refused.
        what: Refused,
        /// The reply.
        reply: String,
    },
    /// Not now.
    Later(String),
}

/// What a session refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The sender, or the whole of it for a reason that is not the message's.
    Sender,
    /// A recipient.
    Recipient,
    /// The message: its size, its bytes.
    Message,
}

/// Why it is not known how a handover ended; with an idempotency key in its header the message may be handed over again.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The session broke off.
    #[error("the submission session broke off: {0}")]
    Session(String),
    /// The message could not be read.
    #[error("the message cannot be read: {0}")]
    Message(std::io::Error),
}

impl From<LineError> for HandoverError {
    fn from(error: LineError) -> Self {
        Self::Session(error.to_string())
    }
}

/// Speaks SMTP as a client on a stream that leads to [`crate::converse`]. `message` has CRLF line ends.
///
/// # Errors
/// When the end is not known.
pub async fn hand_over<S>(
    stream: S,
    envelope: &Envelope,
    message: impl Read,
) -> Result<HandedOver, HandoverError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk {
        lines: Lines::new(stream, PATIENCE),
    };
    let ended = talk.carry(envelope, message).await?;
    // The session ends either way; a lost answer to QUIT changes nothing.
    let _ = talk.lines.send(b"QUIT\r\n").await;
    Ok(ended)
}

struct Talk<S> {
    lines: Lines<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    async fn carry(
        &mut self,
        envelope: &Envelope,
        message: impl Read,
    ) -> Result<HandedOver, HandoverError> {
        let words = envelope.recipients.iter().map(|r| &r.address);
        let mut words = words.chain([&envelope.sender]).chain(&envelope.envid);
        if words.any(|word| word.contains(|c: char| c.is_control() || c == ' ')) {
            return Ok(HandedOver::Refused {
                what: Refused::Recipient,
                reply: "an address has a space or a control character".to_owned(),
            });
        }
        let greeting = self.reply().await?;
        if !greeting.is_positive() {
            return Ok(bad(Refused::Sender, &greeting));
        }
        let ehlo = self.ask("EHLO localhost").await?;
        if !ehlo.is_positive() {
            return Ok(bad(Refused::Sender, &ehlo));
        }
        let dsn = ehlo.lines.iter().any(|l| l.eq_ignore_ascii_case("DSN"));
        let reply = self.ask(&mail(envelope, dsn)).await?;
        if !reply.is_positive() {
            return Ok(bad(Refused::Sender, &reply));
        }
        for recipient in &envelope.recipients {
            let reply = self.ask(&rcpt(recipient, dsn)).await?;
            if !reply.is_positive() {
                return Ok(bad(Refused::Recipient, &reply));
            }
        }
        let reply = self.ask("DATA").await?;
        if reply.class() != 3 {
            return Ok(bad(Refused::Sender, &reply));
        }
        self.text(message).await?;
        let reply = self.reply().await?;
        if reply.is_positive() {
            return Ok(HandedOver::Accepted(reply.to_string()));
        }
        let about_the_message = matches!(reply.code, 552 | 554);
        let what = match about_the_message {
            true => Refused::Message,
            false => Refused::Sender,
        };
        Ok(bad(what, &reply))
    }

    async fn text(&mut self, mut message: impl Read) -> Result<(), HandoverError> {
        let mut stuffer = Stuffer::new();
        let mut chunk = vec![0; CHUNK];
        let mut out = Vec::new();
        loop {
            let read = message.read(&mut chunk).map_err(HandoverError::Message)?;
            if read == 0 {
                break;
            }
            out.clear();
            stuffer.stuff(&chunk[..read], &mut out);
            self.lines.put(&out).await?;
        }
        out.clear();
        stuffer.finish(&mut out);
        Ok(self.lines.send(&out).await?)
    }

    async fn ask(&mut self, command: &str) -> Result<Reply, HandoverError> {
        self.lines.send(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, HandoverError> {
        let reply = wire::smtp::read(&mut self.lines).await;
        reply.map_err(|error| HandoverError::Session(error.to_string()))
    }
}

fn bad(what: Refused, reply: &Reply) -> HandedOver {
    match reply.class() {
        5 => HandedOver::Refused {
            what,
            reply: reply.to_string(),
        },
        _ => HandedOver::Later(reply.to_string()),
    }
}

fn mail(envelope: &Envelope, dsn: bool) -> String {
    let mut command = format!("MAIL FROM:<{}>", envelope.sender);
    if envelope.smtputf8 {
        command.push_str(" SMTPUTF8");
    }
    if let Some(ret) = envelope.ret.filter(|_| dsn) {
        command.push_str(&format!(" RET={}", ret.as_str()));
    }
    if let Some(envid) = envelope.envid.as_deref().filter(|_| dsn) {
        command.push_str(&format!(" ENVID={envid}"));
    }
    command
}

fn rcpt(recipient: &Recipient, dsn: bool) -> String {
    let mut command = format!("RCPT TO:<{}>", recipient.address);
    if let Some(notify) = recipient.notify.filter(|_| dsn) {
        command.push_str(&format!(" NOTIFY={notify}"));
    }
    command
}
