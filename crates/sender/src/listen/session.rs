//! One submission session: commands in, replies out, messages into the spool (RFC 5321, RFC 6409).
mod message;

use super::Shared;
use super::command::{self, Command, Mail};
use super::guests::{Allowance, Full};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};
use wire::lines::{LineError, Lines};

/// A command with its parameters; RFC 5321 section 4.5.3.1.4 and the extensions offered need far less.
const COMMAND_LINE: usize = 2048;
/// How far an over-long line is read past before the client is given up.
const SKIPPED_LINE: usize = 1 << 20;
/// Replies are written out at the latest when so much waits.
const REPLIES: usize = 16 * 1024;
/// Below this much free disk nothing is taken: the commits of what is in flight need room.
const FREE_FLOOR: u64 = 64 << 20;
const LOW_DISK: &str = "452 4.3.1 Too little free disk, try again later";
/// How long a closed session's last words may take to be read.
const LINGER: Duration = Duration::from_secs(2);

/// A client and what it has had of the listener so far; all that a session keeps when TLS begins.
pub(super) struct Client {
    /// Its name for the Received field and the log.
    peer: String,
    since: Instant,
    messages: Allowance,
}

impl Client {
    pub(super) fn new(peer: String) -> Self {
        Self {
            peer,
            since: Instant::now(),
            messages: Allowance::default(),
        }
    }
}

/// What the client is called, and which protocol it greeted with.
struct Hello {
    name: String,
    extended: bool,
}

/// A transaction between MAIL and the final dot.
struct Envelope {
    mail: Mail,
    /// Known at MAIL, or decided by the header From at the end.
    relay: Option<String>,
    recipients: Vec<spool::Recipient>,
}

/// What follows a command.
enum Next {
    Command,
    Data,
    Close,
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

    /// From the greeting to the end of the connection.
    pub(super) async fn run(mut self) {
        self.reply(&format!("220 {} ESMTP Postern", self.shared.host));
        match self.converse().await {
            Ok(()) => self.part().await,
            Err(LineError::Closed) => {
                debug!(peer = %self.client.peer, "the submission client closed the connection")
            }
            Err(error) => debug!(peer = %self.client.peer, %error, "the submission session ended"),
        }
    }

    /// Refuses a connection beyond the listener's limit.
    pub(super) async fn turn_away(mut self, full: Full) {
        debug!(peer = %self.client.peer, full, "a submission client was turned away");
        self.reply(full);
        self.part().await;
    }

    async fn converse(&mut self) -> Result<(), LineError> {
        loop {
            let Some(line) = self.next_line().await? else {
                return Ok(());
            };
            let next = match line.and_then(|line| command::parse(&line)) {
                Ok(command) => self.carry_out(command),
                Err(fault) => {
                    self.fault(fault);
                    Next::Command
                }
            };
            match next {
                Next::Command if self.is_worn_out() => return Ok(()),
                Next::Command => {}
                Next::Data if self.data().await?.is_break() => return Ok(()),
                Next::Data => {}
                Next::Close => return Ok(()),
            }
        }
    }

    /// Whether the client has done nothing useful for too long; it is told so.
    fn is_worn_out(&mut self) -> bool {
        let limits = &self.shared.limits;
        let reply = if self.faults >= limits.errors {
            "421 4.7.0 Too many errors"
        } else if self.idle_commands >= limits.idle_commands {
            "421 4.7.0 Too many commands without a message"
        } else {
            return false;
        };
        self.reply(reply);
        true
    }

    /// The next command line, or its fault; None when the daemon stops. Replies are held back while the client's next
    /// command is here already, so that a pipelined batch is answered in one write (RFC 2920 section 3.2).
    async fn next_line(&mut self) -> Result<Option<Result<Vec<u8>, command::Fault>>, LineError> {
        let pipelined = memchr::memchr(b'\n', self.lines.buffered()).is_some();
        if !pipelined || self.replies.len() > REPLIES {
            self.flush().await?;
        }
        let shared = Arc::clone(&self.shared);
        let limits = &shared.limits;
        let over = self.client.since + limits.session_timeout;
        self.lines.set_timeout(limits.command_timeout);
        let read = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => {
                self.reply("421 4.3.2 Postern is stopping, try again later");
                return Ok(None);
            }
            () = sleep_until(over) => {
                self.reply("421 4.4.2 The session has lasted too long, open another one");
                return Ok(None);
            }
            read = self.lines.line(COMMAND_LINE) => read,
        };
        match read {
            Ok(line) if line.crlf => Ok(Some(Ok(line.bytes))),
            Ok(_) => Ok(Some(Err("500 5.5.2 Lines end with CRLF"))),
            Err(LineError::TooLong { .. }) => {
                self.lines.skip_line(SKIPPED_LINE).await?;
                Ok(Some(Err("500 5.5.6 Line too long")))
            }
            Err(LineError::Timeout { after }) => {
                self.reply(&format!("421 4.4.2 No command for {} s", after.as_secs()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn carry_out(&mut self, command: Command) -> Next {
        if !matches!(command, Command::Mail(_) | Command::Rcpt(_) | Command::Data) {
            self.idle_commands += 1;
        }
        match command {
            Command::Helo(name) => self.greet(name, false),
            Command::Ehlo(name) => self.greet(name, true),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(recipient) => self.rcpt(recipient),
            Command::Data => return self.data_begins(),
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
        let host = &self.shared.host;
        let reply = match extended {
            false => format!("250 {host}"),
            true => format!(
                "250-{host}\r\n250-PIPELINING\r\n250-SIZE {}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES",
                self.shared.max_size
            ),
        };
        self.reply(&reply);
    }

    fn mail(&mut self, mail: Mail) {
        if self.hello.is_none() {
            return self.fault("503 5.5.1 Say EHLO first");
        }
        if self.envelope.is_some() {
            return self.fault("503 5.5.1 A transaction is open already");
        }
        if !mail.sender.is_ascii() && !mail.smtputf8 {
            return self.fault("553 5.6.7 An address beyond ASCII needs SMTPUTF8");
        }
        if mail.size > self.shared.max_size {
            return self.too_large();
        }
        let routes = Arc::clone(&self.shared.routes.borrow());
        if routes.is_empty() {
            warn!(peer = %self.client.peer, "there is no relay; the message was refused");
            return self.fault("550 5.7.1 No relay is configured in postern.yaml");
        }
        let relay = routes.by_envelope(&mail.sender).map(str::to_owned);
        if self.is_disk_low(mail.size) || self.is_too_fast() {
            return;
        }
        self.envelope = Some(Envelope {
            mail,
            relay,
            recipients: Vec::new(),
        });
        self.reply("250 2.1.0 Ok");
    }

    fn rcpt(&mut self, recipient: String) {
        let Some(envelope) = &mut self.envelope else {
            return self.fault("503 5.5.1 MAIL comes before RCPT");
        };
        if !recipient.is_ascii() && !envelope.mail.smtputf8 {
            return self.fault("553 5.6.7 An address beyond ASCII needs SMTPUTF8");
        }
        // Reports come from there; what answers them by itself would go round and round.
        if recipient.eq_ignore_ascii_case(&format!("MAILER-DAEMON@{}", self.shared.host)) {
            return self.fault("550 5.1.1 Reports of undeliverable mail are not answered");
        }
        // The same address twice is one delivery.
        if !envelope.recipients.iter().any(|r| r.address == recipient) {
            if envelope.recipients.len() >= self.shared.limits.recipients {
                return self
                    .fault("452 4.5.3 Too many recipients, send the rest with another message");
            }
            envelope.recipients.push(recipient.into());
        }
        self.reply("250 2.1.5 Ok");
    }

    fn data_begins(&mut self) -> Next {
        let Some(envelope) = &self.envelope else {
            self.fault("503 5.5.1 MAIL comes before DATA");
            return Next::Command;
        };
        if envelope.recipients.is_empty() {
            self.fault("554 5.5.1 No valid recipients");
            return Next::Command;
        }
        if self.is_disk_low(envelope.mail.size) {
            return Next::Command;
        }
        Next::Data
    }

    fn too_large(&mut self) {
        let reply = format!(
            "552 5.3.4 The message is larger than the {} bytes taken here",
            self.shared.max_size
        );
        self.fault(&reply);
    }

    /// Answers 452 when the disk has no room for a message of this size.
    fn is_disk_low(&mut self, size: u64) -> bool {
        let reply = match self.shared.spool.free_bytes() {
            Ok(free) if has_room(free, size) => return false,
            Ok(free) => {
                warn!(free, size, "too little free disk for a message");
                LOW_DISK
            }
            Err(error) => {
                warn!(%error, "the free disk is not known");
                "451 4.3.0 The spool cannot be used, try again later"
            }
        };
        self.reply(reply);
        true
    }

    /// Answers 451 when the messages of a minute are used up.
    fn is_too_fast(&mut self) -> bool {
        let (limits, now) = (&self.shared.limits, Instant::now());
        let messages = &mut self.client.messages;
        let over = if !messages.take(limits.rate_per_connection, now) {
            limits.rate_per_connection
        } else if !self.shared.guests.allow(now) {
            limits.rate
        } else {
            return false;
        };
        let most = over.unwrap_or_default();
        self.fault(&format!(
            "451 4.7.1 No more than {most} messages a minute are taken here, try again in a minute"
        ));
        true
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

/// Twice the size: the body, and the room its commit may need; and never the last of the disk.
fn has_room(free: u64, size: u64) -> bool {
    free >= size.saturating_mul(2).max(FREE_FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_needs_twice_its_size_and_never_the_last_of_the_disk() {
        const MIB: u64 = 1 << 20;
        for (free, size, room) in [
            (64 * MIB, 0, true),
            (64 * MIB - 1, 0, false),
            (64 * MIB, 32 * MIB, true),
            (65 * MIB, 33 * MIB, false),
            (u64::MAX - 1, u64::MAX, false),
        ] {
            assert_eq!(has_room(free, size), room, "{free} free for {size}");
        }
    }
}
