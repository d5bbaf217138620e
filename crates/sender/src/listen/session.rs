//! One submission session: commands in, replies out, messages into the spool (RFC 5321, RFC 6409).
mod chunks;
mod client;
mod envelope;
mod message;
mod sign_in;

use super::Shared;
use super::command::{self, Auth, Chunk, Command};
use super::guests::Full;
pub(super) use client::Client;
use envelope::Envelope;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep_until, timeout};
use tracing::{debug, warn};
use wire::lines::{Line, LineError, Lines};

/// A command with its parameters; RFC 5321 section 4.5.3.1.4 and the extensions offered need far less.
const COMMAND_LINE: usize = 2048;
/// How far an over-long line is read past before the client is given up.
const SKIPPED_LINE: usize = 1 << 20;
/// Replies are written out at the latest when so much waits.
const REPLIES: usize = 16 * 1024;
const LOW_DISK: &str = "452 4.3.1 Too little free disk, try again later";
const STOPPING: &str = "421 4.3.2 Postern is stopping, try again later";
const BARE_LINE: &str = "500 5.5.2 Lines end with CRLF";
const LONG_LINE: &str = "500 5.5.6 Line too long";
const NO_RECIPIENTS: &str = "554 5.5.1 No valid recipients";
/// How long a closed session's last words may take to be read.
const LINGER: Duration = Duration::from_secs(2);

/// What the client is called, and which protocol it greeted with.
struct Hello {
    name: String,
    extended: bool,
}

/// What follows a command.
enum Next {
    Command,
    Data,
    Chunk(Chunk),
    SignIn(Auth),
    StartTls,
    Close,
}

/// How a conversation ended.
enum Ended {
    /// The last reply is said.
    Parting,
    /// The client was told to begin TLS.
    StartTls,
}

/// What came instead of an error.
enum Heard {
    Line(Line),
    /// The line is longer than it may be, and still in the buffer.
    TooLong,
    /// The session is over, and the client is told why.
    Over,
}

/// A session over any stream.
pub(super) struct Session<S> {
    lines: Lines<S>,
    shared: Arc<Shared>,
    client: Client,
    hello: Option<Hello>,
    envelope: Option<Envelope>,
    replies: Vec<u8>,
    /// Refused commands since the last message.
    faults: u32,
    /// Commands since the last message that bring none any further.
    idle_commands: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(stream: S, client: Client, shared: Arc<Shared>) -> Self {
        let lines = Lines::new(stream, shared.limits.command_timeout);
        Self {
            lines,
            shared,
            client,
            hello: None,
            envelope: None,
            replies: Vec::new(),
            faults: 0,
            idle_commands: 0,
        }
    }

    /// From the greeting to the end of the connection; or to the beginning of TLS, with the stream that it goes over.
    pub(super) async fn run(mut self) -> Option<(S, Client)> {
        self.reply(&format!("220 {} ESMTP Postern", self.shared.host));
        self.go_on().await
    }

    /// The same without a greeting: after STARTTLS there is none.
    pub(super) async fn go_on(mut self) -> Option<(S, Client)> {
        match self.converse().await {
            Ok(Ended::Parting) => {
                self.part().await;
                None
            }
            // Everything else that the client has said is forgotten with this session (RFC 3207 section 4.2).
            Ok(Ended::StartTls) => match self.lines.into_stream() {
                Ok(stream) => Some((stream, self.client)),
                Err(error) => {
                    warn!(peer = %self.client.peer, %error, "TLS was not begun");
                    None
                }
            },
            Err(LineError::Closed) => {
                debug!(peer = %self.client.peer, "the submission client closed the connection");
                None
            }
            Err(error) => {
                debug!(peer = %self.client.peer, %error, "the submission session ended");
                None
            }
        }
    }

    /// Refuses a connection beyond the listener's limit.
    pub(super) async fn turn_away(mut self, full: Full) {
        debug!(peer = %self.client.peer, full, "a submission client was turned away");
        self.reply(full);
        self.part().await;
    }

    async fn converse(&mut self) -> Result<Ended, LineError> {
        loop {
            let Some(command) = self.next_command().await? else {
                return Ok(Ended::Parting);
            };
            let next = match command {
                Ok(command) => self.carry_out(command),
                Err(fault) => {
                    self.fault(fault);
                    Next::Command
                }
            };
            let goes_on = match next {
                Next::Command => ControlFlow::Continue(()),
                Next::Data => self.data().await?,
                Next::Chunk(chunk) => self.bdat(chunk).await?,
                Next::SignIn(auth) => self.sign_in(auth).await?,
                Next::StartTls => {
                    self.flush().await?;
                    return Ok(Ended::StartTls);
                }
                Next::Close => ControlFlow::Break(()),
            };
            if goes_on.is_break() || self.is_worn_out() {
                return Ok(Ended::Parting);
            }
        }
    }

    /// The next command, or its fault; None when the session is over.
    async fn next_command(&mut self) -> Result<Option<Result<Command, command::Fault>>, LineError> {
        Ok(Some(match self.next_line(COMMAND_LINE).await? {
            Heard::Line(line) if line.crlf => command::parse(&line.bytes),
            Heard::Line(line) => command::refused(&line.bytes, BARE_LINE),
            Heard::TooLong => {
                let refused = command::refused(self.lines.buffered(), LONG_LINE);
                self.lines.skip_line(SKIPPED_LINE).await?;
                refused
            }
            Heard::Over => return Ok(None),
        }))
    }

    /// The next line. Replies are held back while the client's next command is here already, so that a pipelined batch is
    /// answered in one write (RFC 2920 section 3.2).
    async fn next_line(&mut self, cap: usize) -> Result<Heard, LineError> {
        let pipelined = memchr::memchr(b'\n', self.lines.buffered()).is_some();
        if !pipelined || self.replies.len() > REPLIES {
            self.flush().await?;
        }
        let shared = Arc::clone(&self.shared);
        let limits = &shared.limits;
        let over = self.over();
        // A message that has begun may come to its end, as one by DATA does.
        let stops = !self.is_amid_chunks();
        self.lines.set_timeout(limits.command_timeout);
        let read = tokio::select! {
            biased;
            () = shared.shutdown.cancelled(), if stops => {
                self.reply(STOPPING);
                return Ok(Heard::Over);
            }
            () = sleep_until(over) => {
                self.reply(match self.is_stranger() {
                    true => "421 4.7.0 Nobody has signed in for too long",
                    false => "421 4.4.2 The session has lasted too long, open another one",
                });
                return Ok(Heard::Over);
            }
            read = self.lines.line(cap) => read,
        };
        match read {
            Ok(line) => Ok(Heard::Line(line)),
            Err(LineError::TooLong { .. }) => Ok(Heard::TooLong),
            Err(LineError::Timeout { after }) => {
                self.reply(&format!("421 4.4.2 No command for {} s", after.as_secs()));
                Ok(Heard::Over)
            }
            Err(error) => Err(error),
        }
    }

    fn carry_out(&mut self, command: Command) -> Next {
        self.count(&command);
        match command {
            Command::Helo(name) => self.greet(name, false),
            Command::Ehlo(name) => self.greet(name, true),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(recipient) => self.rcpt(recipient),
            Command::Data => return self.data_begins(),
            Command::Bdat(Some(chunk)) => return Next::Chunk(chunk),
            Command::Bdat(None) => {
                self.fault("501 5.5.4 Syntax: BDAT octets [LAST]");
                self.reply("421 4.5.0 How many octets follow is not known, so nothing can be read any more");
                return Next::Close;
            }
            Command::Auth(auth) => return Next::SignIn(auth),
            Command::StartTls => return self.start_tls(),
            Command::Rset => {
                self.envelope = None;
                self.reply("250 2.0.0 Ok");
            }
            Command::Noop => self.reply("250 2.0.0 Ok"),
            Command::Vrfy => self.reply("252 2.5.2 Send some mail, it will be tried"),
            Command::Help => self.reply("214 2.0.0 This is Postern, a mail gateway; see RFC 5321"),
            Command::Quit => {
                self.reply("221 2.0.0 Bye");
                return Next::Close;
            }
        }
        Next::Command
    }

    fn greet(&mut self, name: String, extended: bool) {
        self.envelope = None;
        self.hello = Some(Hello { name, extended });
        let mut lines = vec![self.shared.host.clone()];
        if extended {
            lines.extend(self.keywords());
        }
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            let between = if at == last { ' ' } else { '-' };
            self.reply(&format!("250{between}{line}"));
        }
    }

    /// What EHLO offers.
    fn keywords(&self) -> Vec<String> {
        let size = format!("SIZE {}", self.shared.rules.max_size);
        let others = [
            "PIPELINING",
            &size,
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "CHUNKING",
        ];
        let mut keywords = others.map(str::to_owned).to_vec();
        if self.offers_starttls() {
            keywords.push("STARTTLS".to_owned());
        }
        if self.offers_sign_in() {
            keywords.push("AUTH PLAIN LOGIN".to_owned());
        }
        keywords
    }

    fn reply(&mut self, reply: &str) {
        self.replies.extend_from_slice(reply.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    fn fault(&mut self, reply: &str) {
        self.faults += 1;
        self.reply(reply);
    }

    async fn flush(&mut self) -> Result<(), LineError> {
        if !self.replies.is_empty() {
            self.lines.send(&self.replies).await?;
            self.replies.clear();
        }
        Ok(())
    }

    /// The last reply, and the end. What the client still sends is read for a moment: closing a socket with unread bytes
    /// in it resets the connection, and the reply would be lost with it.
    async fn part(mut self) {
        let farewell = async {
            self.flush().await?;
            self.lines.close().await?;
            loop {
                let count = self.lines.chunk().await?.len();
                if count == 0 {
                    return Ok::<(), LineError>(());
                }
                self.lines.consume(count);
            }
        };
        if let Ok(Err(error)) = timeout(LINGER, farewell).await {
            debug!(%error, "the submission client was gone before the last reply");
        }
    }
}
