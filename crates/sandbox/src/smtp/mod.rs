//! The submission server: EHLO, AUTH, envelope, and the message byte for byte.
mod path;
mod unstuff;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use wire::lines::{LineError, Lines};

use crate::fault::{Fault, Service};
use crate::sign_in::{self, Presented, SignedIn};
use crate::state::{Shared, Submitted};
use path::path;
use unstuff::Unstuffer;

/// Silence that ends a session (RFC 5321 section 4.5.3.2.7).
const SILENCE: Duration = Duration::from_secs(300);
/// Longest command line: RFC 4954 section 4.5.3 allows 12,288 bytes for AUTH.
const LINE_CAP: usize = 12 * 1024;
/// Most recipients of a message.
const RECIPIENTS: usize = 1000;
/// Messages kept for whoever looks at them; then "mailbox full", for nothing may vanish in silence.
const KEPT: usize = 100_000;

/// Counts the connections that are open, however they end.
struct Open(Arc<Shared>);

impl Open {
    fn count(shared: &Arc<Shared>) -> Self {
        shared.with(|state| {
            state.smtp_open += 1;
            state.counts.smtp_at_once = state.counts.smtp_at_once.max(state.smtp_open);
        });
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.with(|state| state.smtp_open -= 1);
    }
}

/// One connection, until it ends.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _open = Open::count(&shared);
    let mut session = Session {
        lines: Lines::new(stream, SILENCE),
        shared,
        out: Vec::new(),
        greeted: false,
        user: None,
        envelope: None,
        chunks: Vec::new(),
    };
    // Whatever ends a connection, the client sees it; there is nobody else to tell.
    session.converse().await.ok();
}

struct Session {
    lines: Lines<TcpStream>,
    shared: Arc<Shared>,
    /// Replies not yet written: pipelined commands are answered in one go.
    out: Vec<u8>,
    greeted: bool,
    user: Option<SignedIn>,
    envelope: Option<Envelope>,
    /// What BDAT brought so far.
    chunks: Vec<u8>,
}

struct Envelope {
    sender: String,
    recipients: Vec<String>,
    parameters: Vec<String>,
}

impl Session {
    async fn converse(&mut self) -> Result<(), LineError> {
        match self.shared.fault(Service::Smtp, "GREETING") {
            None => {}
            Some(Fault::Delay(time) | Fault::Withhold(time)) => tokio::time::sleep(time).await,
            Some(Fault::Reply(text)) => {
                self.say(&text);
                return self.flush().await;
            }
            Some(Fault::Drop | Fault::Lose | Fault::Cut(_)) => return Ok(()),
        }
        self.say("220 sandbox ESMTP ready");
        loop {
            if memchr::memchr(b'\n', self.lines.buffered()).is_none() {
                self.flush().await?;
            }
            let line = match self.lines.line(LINE_CAP).await {
                Err(LineError::TooLong { .. }) => {
                    self.say("500 5.5.2 the line is too long");
                    return self.flush().await;
                }
                line => line?.bytes,
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            let (verb, arguments) = line.split_once(' ').unwrap_or((&line, ""));
            let verb = verb.to_ascii_uppercase();
            let fault = self.shared.fault(Service::Smtp, &line);
            match &fault {
                None | Some(Fault::Lose | Fault::Cut(_) | Fault::Withhold(_)) => {}
                Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
                Some(Fault::Drop) => return Ok(()),
                Some(Fault::Reply(text)) => {
                    self.say(text);
                    continue;
                }
            }
            let reply = self.run(&verb, arguments).await?;
            match fault {
                Some(Fault::Lose | Fault::Cut(_)) => return Ok(()),
                Some(Fault::Withhold(time)) => tokio::time::sleep(time).await,
                _ => {}
            }
            self.say(&reply);
            if verb == "QUIT" {
                return self.flush().await;
            }
        }
    }

    async fn run(&mut self, verb: &str, arguments: &str) -> Result<String, LineError> {
        let reply = match verb {
            "EHLO" => {
                self.greeted = true;
                self.envelope = None;
                self.extensions()
            }
            "HELO" => {
                self.greeted = true;
                self.envelope = None;
                "250 sandbox".to_owned()
            }
            "NOOP" => "250 2.0.0 fine".to_owned(),
            "RSET" => {
                self.envelope = None;
                self.chunks.clear();
                "250 2.0.0 forgotten".to_owned()
            }
            "QUIT" => "221 2.0.0 see you".to_owned(),
            "AUTH" => self.auth(arguments).await?,
            "MAIL" => self.mail(arguments),
            "RCPT" => self.rcpt(arguments),
            "DATA" => self.data().await?,
            "BDAT" if self.offers("CHUNKING") => self.chunk(arguments).await?,
            _ => "500 5.5.1 this command is unknown here".to_owned(),
        };
        Ok(reply)
    }

    fn extensions(&self) -> String {
        let features = self.shared.with(|state| state.features.clone());
        let mut reply = format!("250-sandbox\r\n250-SIZE {}\r\n", features.max_size);
        for extension in &features.smtp_extensions {
            reply.push_str(&format!("250-{extension}\r\n"));
        }
        reply + &format!("250 AUTH {}", features.mechanisms.join(" "))
    }

    fn offers(&self, extension: &str) -> bool {
        self.shared
            .with(|state| state.features.smtp_extensions.contains(&extension))
    }

    /// AUTH (RFC 4954), with the initial response or after a 334.
    async fn auth(&mut self, arguments: &str) -> Result<String, LineError> {
        if !self.greeted || self.user.is_some() || self.envelope.is_some() {
            return Ok("503 5.5.1 not now".to_owned());
        }
        let (mechanism, initial) = match arguments.split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial.as_bytes().to_vec())),
            None => (arguments, None),
        };
        let mechanism = mechanism.to_ascii_uppercase();
        let offered = self.shared.with(|state| state.features.mechanisms.clone());
        if !offered.iter().any(|name| *name == mechanism) {
            return Ok("504 5.5.4 this mechanism is not offered".to_owned());
        }
        let presented = if mechanism == "LOGIN" {
            self.login(initial).await?
        } else {
            let payload = match initial {
                Some(payload) => payload,
                None => self.ask("").await?,
            };
            if payload == b"*" {
                return Ok("501 5.7.0 cancelled".to_owned());
            }
            sign_in::present(&mechanism, &payload)
        };
        self.user = self.shared.with(|state| {
            let user = sign_in::check(state, presented, SystemTime::now());
            state.counts.smtp_sign_ins += u64::from(user.is_some());
            user
        });
        if self.user.is_some() {
            return Ok("235 2.7.0 signed in".to_owned());
        }
        if let Some(challenge) = sign_in::error_challenge(&mechanism) {
            // The client's answer is empty or `AQ==`; either way the refusal follows.
            self.ask(&challenge).await?;
        }
        Ok("535 5.7.8 the credentials were refused".to_owned())
    }

    /// The two questions of AUTH LOGIN; an initial response answers the first.
    async fn login(&mut self, initial: Option<Vec<u8>>) -> Result<Option<Presented>, LineError> {
        let user = match initial {
            Some(user) => user,
            None => self.ask("VXNlcm5hbWU6").await?,
        };
        let password = self.ask("UGFzc3dvcmQ6").await?;
        let text = |base64: Vec<u8>| String::from_utf8(STANDARD.decode(base64).ok()?).ok();
        Ok(text(user)
            .zip(text(password))
            .map(|(user, password)| Presented::password(&user, &password)))
    }

    fn mail(&mut self, arguments: &str) -> String {
        if self.user.is_none() {
            return "530 5.7.0 authentication required".to_owned();
        }
        if self.envelope.is_some() {
            return "503 5.5.1 one message at a time".to_owned();
        }
        let Some((sender, parameters)) = path(arguments, "FROM:") else {
            return "501 5.5.4 expected FROM:<address>".to_owned();
        };
        let max_size = self.shared.with(|state| state.features.max_size);
        for parameter in parameters.split_whitespace() {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.to_ascii_uppercase().as_str() {
                "SIZE" if value.parse().is_ok_and(|size: usize| size <= max_size) => {}
                "SIZE" => return "552 5.3.4 the message is too large".to_owned(),
                "BODY" | "SMTPUTF8" | "AUTH" => {}
                "RET" | "ENVID" if self.offers("DSN") => {}
                _ => return format!("555 5.5.4 {name} is not offered"),
            }
        }
        self.envelope = Some(Envelope {
            sender,
            recipients: Vec::new(),
            parameters: vec![parameters.trim().to_owned()],
        });
        self.chunks.clear();
        "250 2.1.0 fine".to_owned()
    }

    fn rcpt(&mut self, arguments: &str) -> String {
        let dsn = self.offers("DSN");
        let Some(envelope) = &mut self.envelope else {
            return "503 5.5.1 MAIL first".to_owned();
        };
        let Some((recipient, parameters)) = path(arguments, "TO:") else {
            return "501 5.5.4 expected TO:<address>".to_owned();
        };
        if !dsn && !parameters.trim().is_empty() {
            return "555 5.5.4 no parameter is offered here".to_owned();
        }
        if envelope.recipients.len() >= RECIPIENTS {
            return "452 4.5.3 too many recipients".to_owned();
        }
        match recipient.split('@').next().unwrap_or_default() {
            "reject" => "550 5.1.1 there is no such mailbox".to_owned(),
            "defer" => "451 4.3.0 try again later".to_owned(),
            "full" => "452 4.2.2 the mailbox is full".to_owned(),
            _ => {
                envelope.recipients.push(recipient);
                envelope.parameters.push(parameters.trim().to_owned());
                "250 2.1.5 fine".to_owned()
            }
        }
    }

    async fn data(&mut self) -> Result<String, LineError> {
        let envelope = match self.envelope.take() {
            None => return Ok("503 5.5.1 MAIL first".to_owned()),
            Some(empty) if empty.recipients.is_empty() => {
                self.envelope = Some(empty);
                return Ok("554 5.5.1 no valid recipients".to_owned());
            }
            Some(envelope) => envelope,
        };
        self.say("354 go ahead");
        self.flush().await?;
        let Some(bytes) = self.message().await? else {
            return Ok("552 5.3.4 the message is too large".to_owned());
        };
        self.take(envelope, bytes).await
    }

    /// BDAT (RFC 3030): the bytes are read whatever becomes of them.
    async fn chunk(&mut self, arguments: &str) -> Result<String, LineError> {
        let (size, last) = match arguments.split_once(' ') {
            Some((size, word)) => (size, word.eq_ignore_ascii_case("LAST")),
            None => (arguments, false),
        };
        let Ok(size) = size.parse() else {
            return Ok("501 5.5.4 expected a number".to_owned());
        };
        let chunk = self.lines.take(size).await?;
        match &self.envelope {
            Some(envelope) if !envelope.recipients.is_empty() => {}
            _ => return Ok("503 5.5.1 no valid recipients".to_owned()),
        }
        self.chunks.extend(chunk);
        let max_size = self.shared.with(|state| state.features.max_size);
        if self.chunks.len() > max_size {
            self.envelope = None;
            return Ok("552 5.3.4 the message is too large".to_owned());
        }
        match self.envelope.take() {
            Some(envelope) if last => {
                let bytes = std::mem::take(&mut self.chunks);
                self.take(envelope, bytes).await
            }
            open => {
                self.envelope = open;
                Ok(format!("250 2.0.0 {size} bytes"))
            }
        }
    }

    /// A whole message.
    async fn take(&mut self, envelope: Envelope, bytes: Vec<u8>) -> Result<String, LineError> {
        let fault = self.shared.fault(Service::Smtp, ".");
        match &fault {
            None | Some(Fault::Lose | Fault::Cut(_) | Fault::Withhold(_)) => {}
            Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Fault::Drop) => return Err(LineError::Closed),
            Some(Fault::Reply(text)) => return Ok(text.clone()),
        }
        let user = self.user.as_ref().map(|user| user.user.clone());
        let submitted = Submitted {
            user: user.unwrap_or_default(),
            sender: envelope.sender,
            recipients: envelope.recipients,
            parameters: envelope.parameters,
            bytes,
            at: Instant::now(),
        };
        let kept = self.shared.with(|state| {
            let room = state.submitted.len() < KEPT;
            if room {
                state.submitted.push(submitted);
                state.counts.submitted += 1;
            }
            room
        });
        match fault {
            Some(Fault::Lose | Fault::Cut(_)) => return Err(LineError::Closed),
            Some(Fault::Withhold(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        Ok(if kept {
            "250 2.0.0 taken"
        } else {
            "452 4.3.1 full"
        }
        .to_owned())
    }

    /// The bytes up to the final dot; None when they are more than announced.
    async fn message(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let max_size = self.shared.with(|state| state.features.max_size);
        let (mut unstuffer, mut message) = (Unstuffer::Start, Vec::new());
        let mut too_large = false;
        loop {
            let chunk = self.lines.chunk().await?;
            if chunk.is_empty() {
                return Err(LineError::Closed);
            }
            let length = chunk.len();
            let end = unstuffer.feed(chunk, &mut message);
            self.lines.consume(end.unwrap_or(length));
            if message.len() > max_size {
                too_large = true;
                message.clear();
            }
            if end.is_some() {
                return Ok((!too_large).then_some(message));
            }
        }
    }

    /// A continuation, and the client's line.
    async fn ask(&mut self, challenge: &str) -> Result<Vec<u8>, LineError> {
        self.say(&format!("334 {challenge}"));
        self.flush().await?;
        Ok(self.lines.line(LINE_CAP).await?.bytes)
    }

    fn say(&mut self, reply: &str) {
        self.out.extend_from_slice(reply.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    async fn flush(&mut self) -> Result<(), LineError> {
        if !self.out.is_empty() {
            self.lines.send(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }
}
