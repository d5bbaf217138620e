//! The IMAP server: one session, from the greeting to LOGOUT, pipelined commands in order.
mod command;
mod cursor;
mod run;
mod selected;
mod set;

use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use wire::lines::{LineError, Lines};

use crate::fault::{Fault, Service};
use crate::sign_in::{self, Presented, SignedIn};
use crate::state::Shared;
use command::{Command, Tagged};
use selected::Selected;

/// A silent session is logged out after this time (RFC 3501 section 5.4 asks for at least 30 minutes).
const SILENCE: Duration = Duration::from_secs(1800);
/// Longest command line; a UID set of some thousand numbers fits (RFC 7162 section 4 asks servers for 8,192).
const LINE_CAP: usize = 64 * 1024;
/// Longest command with its literals.
const COMMAND_CAP: usize = 256 * 1024;
/// Answers are written when they reach this size, or when the client waits.
const OUT_CHUNK: usize = 64 * 1024;

/// One connection, until it ends.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut session = Session {
        lines: Lines::new(stream, SILENCE),
        shared,
        out: Vec::new(),
        user: None,
        selected: None,
        left: None,
    };
    // Whatever ends a connection, the client sees it; there is nobody else to tell.
    session.converse().await.ok();
}

struct Session {
    lines: Lines<TcpStream>,
    shared: Arc<Shared>,
    /// Answers not yet written.
    out: Vec<u8>,
    user: Option<SignedIn>,
    selected: Option<Selected>,
    /// Bytes that are still written before the connection is closed.
    left: Option<usize>,
}

/// Whether the session goes on.
#[derive(PartialEq, Eq)]
enum After {
    Command,
    Logout,
}

impl Session {
    async fn converse(&mut self) -> Result<(), LineError> {
        match self.shared.fault(Service::Imap, "GREETING") {
            None => {}
            Some(Fault::Delay(time) | Fault::Withhold(time)) => tokio::time::sleep(time).await,
            Some(Fault::Reply(text)) => {
                self.say(&text);
                return self.flush().await;
            }
            Some(Fault::Drop | Fault::Lose | Fault::Cut(_)) => return Ok(()),
        }
        let greeting = format!("* OK [CAPABILITY {}] ready", self.capabilities());
        self.say(&greeting);
        loop {
            if memchr::memchr(b'\n', self.lines.buffered()).is_none() {
                self.flush().await?;
            }
            let bytes = self.read_command().await?;
            if self.token_has_run_out() {
                return self.end_expired().await;
            }
            let Some(tagged) = command::parse(&bytes) else {
                self.say("* BAD no command");
                continue;
            };
            let said = &bytes[tagged.tag.len() + 1..];
            let fault = self.shared.fault(Service::Imap, said);
            if self.meet(tagged, fault).await? == After::Logout {
                return self.flush().await;
            }
        }
    }

    /// Answers one command, or has it meet its fault.
    async fn meet(&mut self, tagged: Tagged, fault: Option<Fault>) -> Result<After, LineError> {
        let Tagged { tag, name, command } = tagged;
        match &fault {
            None | Some(Fault::Lose | Fault::Withhold(_)) => {}
            Some(Fault::Cut(bytes)) => {
                // What was said before belongs to earlier answers.
                self.flush().await?;
                self.left = Some(*bytes);
            }
            Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Fault::Drop) => return Err(LineError::Closed),
            Some(Fault::Reply(text)) => {
                self.say(&format!("{tag} {text}"));
                return Ok(After::Command);
            }
        }
        let over = command == Some(Command::Logout);
        let answer = match command {
            Some(command) => self.run(command).await?,
            None => format!("BAD {name} is unknown here, or its arguments make no sense"),
        };
        match fault {
            Some(Fault::Lose) => return Err(LineError::Closed),
            Some(Fault::Withhold(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        self.say(&format!("{tag} {answer}"));
        Ok(if over { After::Logout } else { After::Command })
    }

    /// AUTHENTICATE, with the initial response or after a `+`.
    async fn authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<String>,
    ) -> Result<String, LineError> {
        if !self.mechanisms().contains(&mechanism) {
            return Ok(format!("NO [CANNOT] {mechanism} is not offered"));
        }
        let payload = match initial {
            Some(text) => text.trim_start_matches('=').as_bytes().to_vec(),
            None => self.ask("").await?,
        };
        if payload == b"*" {
            return Ok("BAD cancelled".to_owned());
        }
        if self.sign_in(sign_in::present(mechanism, &payload)) {
            return Ok(self.welcome());
        }
        if let Some(challenge) = sign_in::error_challenge(mechanism) {
            // The client's answer is empty or `AQ==`; either way the refusal follows.
            self.ask(&challenge).await?;
        }
        Ok("NO [AUTHENTICATIONFAILED] the credentials were refused".to_owned())
    }

    fn sign_in(&mut self, presented: Option<Presented>) -> bool {
        self.user = self.shared.with(|state| {
            let user = sign_in::check(state, presented, SystemTime::now());
            state.counts.imap_sign_ins += u64::from(user.is_some());
            user
        });
        self.user.is_some()
    }

    fn welcome(&self) -> String {
        format!("OK [CAPABILITY {}] signed in", self.capabilities())
    }

    /// IMAP has its own LOGIN command; the mechanism of that name is left to SMTP.
    fn mechanisms(&self) -> Vec<&'static str> {
        let mut names = self.shared.with(|state| state.features.mechanisms.clone());
        names.retain(|name| *name != "LOGIN");
        names
    }

    fn capabilities(&self) -> String {
        let features = self.shared.with(|state| state.features.clone());
        let mut words = vec!["IMAP4rev1".to_owned(), "UNSELECT".to_owned()];
        if features.initial_response {
            words.push("SASL-IR".to_owned());
        }
        if features.idle {
            words.push("IDLE".to_owned());
        }
        if features.uidplus_and_move {
            words.extend(["UIDPLUS".to_owned(), "MOVE".to_owned()]);
        }
        if self.user.is_none() {
            let names = self.mechanisms().into_iter();
            words.extend(names.map(|name| format!("AUTH={name}")));
        }
        words.join(" ")
    }

    /// IDLE (RFC 2177): tells what happens until the client says DONE.
    async fn idle(&mut self) -> Result<String, LineError> {
        // Subscribed before the first look, so that nothing falls between the two.
        let mut changes = self.shared.changes.subscribe();
        self.say("+ idling");
        loop {
            self.sync(true);
            self.flush().await?;
            let left = self.token_life_left();
            tokio::select! {
                line = self.lines.line(LINE_CAP) => {
                    let done = line?.bytes.eq_ignore_ascii_case(b"DONE");
                    return Ok(if done { "OK idled" } else { "BAD expected DONE" }.to_owned());
                }
                // The sender lives as long as the provider; an error cannot come.
                _ = changes.changed() => {}
                () = tokio::time::sleep(left.unwrap_or(SILENCE)), if left.is_some() => {
                    self.end_expired().await?;
                    return Err(LineError::Closed);
                }
            }
        }
    }

    /// How long the token of this session is still good, where sessions end with their tokens.
    fn token_life_left(&self) -> Option<Duration> {
        let expires = self.user.as_ref()?.expires?;
        let ends = self
            .shared
            .with(|state| state.features.end_expired_sessions);
        ends.then(|| {
            expires
                .duration_since(SystemTime::now())
                .unwrap_or(Duration::ZERO)
        })
    }

    fn token_has_run_out(&self) -> bool {
        self.token_life_left() == Some(Duration::ZERO)
    }

    async fn end_expired(&mut self) -> Result<(), LineError> {
        self.say("* BYE Session invalidated - AccessTokenExpired");
        self.flush().await
    }

    /// Tells the session what happened to its folder.
    fn sync(&mut self, expunges: bool) {
        let (Some(user), Some(selected)) = (&self.user, &mut self.selected) else {
            return;
        };
        let out = &mut self.out;
        self.shared.with(|state| {
            if let Some(folder) = state.mailboxes.of(&user.user).folder(&selected.folder) {
                selected.sync(folder, expunges, out);
            }
        });
    }

    /// A command's line, its literals inside.
    async fn read_command(&mut self) -> Result<Vec<u8>, LineError> {
        let mut command = Vec::new();
        loop {
            let line = self.lines.line(LINE_CAP).await?;
            command.extend_from_slice(&line.bytes);
            let Some((length, waits)) = cursor::literal_length(&line.bytes) else {
                return Ok(command);
            };
            if length > COMMAND_CAP - command.len().min(COMMAND_CAP) {
                self.say("* BYE the command is too long");
                self.flush().await?;
                return Err(LineError::TooLong { cap: COMMAND_CAP });
            }
            if waits {
                self.say("+ go ahead");
                self.flush().await?;
            }
            command.extend_from_slice(b"\r\n");
            let end = command.len() + length;
            while command.len() < end {
                let chunk = self.lines.chunk().await?;
                if chunk.is_empty() {
                    return Err(LineError::Closed);
                }
                let n = chunk.len().min(end - command.len());
                command.extend_from_slice(&chunk[..n]);
                self.lines.consume(n);
            }
        }
    }

    /// A continuation request, and the client's line.
    async fn ask(&mut self, challenge: &str) -> Result<Vec<u8>, LineError> {
        self.say(&format!("+ {challenge}"));
        self.flush().await?;
        Ok(self.lines.line(LINE_CAP).await?.bytes)
    }

    fn say(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    async fn flush(&mut self) -> Result<(), LineError> {
        if let Some(left) = &mut self.left {
            let part = (*left).min(self.out.len());
            *left -= part;
            self.lines.send(&self.out[..part]).await?;
            return match self.out.len() > part {
                true => Err(LineError::Closed),
                false => {
                    self.out.clear();
                    Ok(())
                }
            };
        }
        if !self.out.is_empty() {
            self.lines.send(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }
}
