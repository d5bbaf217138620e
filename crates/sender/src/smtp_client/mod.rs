//! The relay's SMTP client: connects, secures, signs in, sends, and never guesses what a reply belongs to.
//!
//! An exchange takes the client by value and gives it back only when every reply was read in step. A cancelled or broken
//! exchange drops the connection with it; were it kept, the next message would be given the last one's answer.
mod envelope;
mod send;
mod sign_in;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use send::{Answer, Envelope, Sent, To};
pub(crate) use sign_in::Identity;

use std::fmt;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use wire::dial::{self, DialError, Stream, Target, Tls, Trust};
use wire::lines::{LineError, Lines};
use wire::sasl::{ErrorChallenge, SaslError};
use wire::smtp::{self, Capabilities, Reply, ReplyError};

/// How long each kind of step may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Name, TCP and TLS, each. Not the RFC's 5 minutes: a provider that takes longer is down, and tried again soon.
    pub(crate) connect: Duration,
    /// Greeting and commands: RFC 5321 sections 4.5.3.2.1 to 4.5.3.2.4.
    pub(crate) command: Duration,
    /// One block of the text: section 4.5.3.2.5.
    pub(crate) block: Duration,
    /// Envelope and text of one message, up to its final dot. Each step's limit allows a slow server to take days, and a
    /// claim's lease ends before. Enough for 150 MB at 35 KB/s.
    pub(crate) message: Duration,
    /// The answer to the final dot: section 4.5.3.2.6. Giving up early is how copies are made.
    pub(crate) last: Duration,
    /// The goodbye, on which nothing depends.
    pub(crate) quit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            command: Duration::from_secs(300),
            block: Duration::from_secs(180),
            message: Duration::from_secs(75 * 60),
            last: Duration::from_secs(600),
            quit: Duration::from_secs(2),
        }
    }
}

/// Where in the dialogue something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    Reset,
    Mail,
    Rcpt,
    Data,
    /// A chunk that is not the last.
    Chunk,
    /// After the final dot, or the last chunk.
    End,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the greeting",
            Self::Ehlo => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Reset => "RSET",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Chunk => "BDAT",
            Self::End => "the end of the message",
        })
    }
}

/// Why a connection could not be had or used; split by who can do something about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Lost, silent, or not speaking SMTP.
    #[error("at {stage}: {what}")]
    Lost { stage: Stage, what: String },
    /// The server's own refusal.
    #[error("the server answered {stage} with: {reply}")]
    Refused { stage: Stage, reply: Reply },
    /// It refused the sign-in.
    #[error("the server refused the sign-in with {mechanism}: {reply}{}", challenge_in_words(.challenge.as_deref()))]
    SignIn {
        mechanism: &'static str,
        reply: Reply,
        challenge: Option<Box<ErrorChallenge>>,
    },
    /// STARTTLS is configured and not offered: someone strips it, or the port is wrong.
    #[error(
        "the server offers no STARTTLS; nothing was sent. Check host and port, or set tls to what the provider names"
    )]
    NoStartTls,
    /// Bytes came in the clear behind the go-ahead for TLS.
    #[error(
        "{count} bytes came in the clear behind the answer to STARTTLS, as in an injection attack; nothing was sent"
    )]
    Injected { count: usize },
    /// Nothing to sign in with.
    #[error(
        "no way to sign in: the server offers {offered}, and the relay has {wanted}; check auth and sasl"
    )]
    NoMechanism { offered: String, wanted: String },
    /// A user name or secret that cannot be sent.
    #[error(transparent)]
    Sasl(#[from] SaslError),
}

fn challenge_in_words(challenge: Option<&ErrorChallenge>) -> String {
    let Some(challenge) = challenge else {
        return String::new();
    };
    let parts: Vec<String> = [
        ("status", &challenge.status),
        ("scope", &challenge.scope),
        ("schemes", &challenge.schemes),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")))
    .collect();
    match parts.is_empty() {
        false => format!(" ({})", parts.join(", ")),
        true if challenge.raw.is_empty() => String::new(),
        true => format!(" ({})", wire::printable(challenge.raw.as_bytes())),
    }
}

/// A connection that has been greeted.
pub(crate) struct Client<S> {
    lines: Lines<S>,
    pub(crate) offered: Capabilities,
    patience: Patience,
    /// A transaction was left open by a refusal.
    open_transaction: bool,
    /// This server has taken a chunk.
    bdat_known: bool,
    /// It offered CHUNKING and refused BDAT as such.
    chunking_refused: bool,
    /// When its last reply came.
    heard: Instant,
    /// Messages that were begun over it.
    pub(crate) carried: usize,
}

impl Client<Stream> {
    /// Connects, under TLS as the target says, and reads what is offered there.
    pub(crate) async fn connect(
        target: &Target,
        trust: &Trust,
        hello: &str,
        patience: Patience,
    ) -> Result<Self, ClientError> {
        let stream = dial::connect(target, trust, patience.connect).await?;
        let mut client = Self::greet(stream, hello, patience).await?;
        if target.tls != Tls::StartTls {
            return Ok(client);
        }
        if !client.offered.starttls {
            return Err(ClientError::NoStartTls);
        }
        client.command(Stage::StartTls, "STARTTLS").await?;
        let stream = client.lines.into_stream().map_err(|error| match error {
            LineError::Injected { count } => ClientError::Injected { count },
            other => ClientError::Lost {
                stage: Stage::StartTls,
                what: other.to_string(),
            },
        })?;
        let stream = stream
            .start_tls(&target.host, trust, patience.connect)
            .await?;
        let mut secured = Self::over(stream, patience);
        // What was offered in the clear is forgotten (RFC 3207 section 4.2).
        secured.ehlo(hello).await?;
        Ok(secured)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn over(stream: S, patience: Patience) -> Self {
        let lines = Lines::new(stream, patience.command);
        Self {
            lines,
            offered: Capabilities::default(),
            patience,
            open_transaction: false,
            bdat_known: false,
            chunking_refused: false,
            heard: Instant::now(),
            carried: 0,
        }
    }

    /// Reads the greeting and says EHLO.
    pub(crate) async fn greet(
        stream: S,
        hello: &str,
        patience: Patience,
    ) -> Result<Self, ClientError> {
        let mut client = Self::over(stream, patience);
        let greeting = client.reply(Stage::Greeting).await?;
        accepted(Stage::Greeting, greeting)?;
        client.ehlo(hello).await?;
        Ok(client)
    }

    async fn ehlo(&mut self, hello: &str) -> Result<(), ClientError> {
        let reply = self.command(Stage::Ehlo, &format!("EHLO {hello}")).await?;
        self.offered = Capabilities::of(&reply);
        Ok(())
    }

    /// One command that must be answered with 2xx.
    async fn command(&mut self, stage: Stage, line: &str) -> Result<Reply, ClientError> {
        let reply = self.ask(stage, line).await?;
        accepted(stage, reply)
    }

    /// One line out, one reply in.
    async fn ask(&mut self, stage: Stage, line: &str) -> Result<Reply, ClientError> {
        let sent = self.lines.send(format!("{line}\r\n").as_bytes()).await;
        sent.map_err(|error| lost(stage, &error))?;
        self.reply(stage).await
    }

    async fn reply(&mut self, stage: Stage) -> Result<Reply, ClientError> {
        self.reply_within(stage, self.patience.command).await
    }

    /// The whole reply within the time, however many lines it has.
    async fn reply_within(&mut self, stage: Stage, limit: Duration) -> Result<Reply, ClientError> {
        self.lines.set_timeout(limit);
        let read = timeout(limit, smtp::read(&mut self.lines)).await;
        match read {
            Ok(Ok(reply)) => {
                self.heard = Instant::now();
                Ok(reply)
            }
            Ok(Err(ReplyError::Line(error))) => Err(lost(stage, &error)),
            Ok(Err(error)) => Err(ClientError::Lost {
                stage,
                what: error.to_string(),
            }),
            Err(_) => Err(lost(stage, &LineError::Timeout { after: limit })),
        }
    }

    /// Says goodbye, as long as that takes no time.
    pub(crate) async fn quit(mut self) {
        let farewell = async {
            self.lines.send(b"QUIT\r\n").await?;
            smtp::read(&mut self.lines).await?;
            self.lines.close().await?;
            Ok::<(), ReplyError>(())
        };
        if let Ok(Err(error)) = timeout(self.patience.quit, farewell).await {
            tracing::debug!(%error, "the server was gone before the goodbye");
        }
    }
}

fn accepted(stage: Stage, reply: Reply) -> Result<Reply, ClientError> {
    match reply.is_positive() {
        true => Ok(reply),
        false => Err(ClientError::Refused { stage, reply }),
    }
}

fn lost(stage: Stage, error: &LineError) -> ClientError {
    ClientError::Lost {
        stage,
        what: error.to_string(),
    }
}
