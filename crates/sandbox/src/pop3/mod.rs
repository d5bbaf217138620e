//! The POP3 server: one locked maildrop a session, the INBOX as it was at the sign-in, deletions at QUIT.
mod answers;
mod auth;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use wire::lines::{LineError, Lines};

use crate::fault::{Fault, Service};
use crate::folders::{INBOX, Message};
use crate::state::Shared;

/// Silence that ends a session (RFC 1939 section 3).
const SILENCE: Duration = Duration::from_secs(600);
/// Longest command line: tokens travel in one.
const LINE_CAP: usize = 12 * 1024;
/// Answers are written when so much of them waits, or when the client waits.
const OUT_CHUNK: usize = 64 * 1024;

/// One connection, until it ends.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut session = Session {
        lines: Lines::new(stream, SILENCE),
        shared,
        out: Vec::new(),
        maildrop: None,
        user: None,
    };
    // Whatever ends a connection, the client sees it; there is nobody else to tell.
    session.converse().await.ok();
}

struct Session {
    lines: Lines<TcpStream>,
    shared: Arc<Shared>,
    out: Vec<u8>,
    maildrop: Option<Maildrop>,
    /// The name of USER, until PASS.
    user: Option<String>,
}

/// The INBOX as it was at the sign-in; nobody else may have it meanwhile.
struct Maildrop {
    shared: Arc<Shared>,
    user: String,
    uidvalidity: u32,
    messages: Vec<Message>,
    deleted: BTreeSet<usize>,
}

impl Drop for Maildrop {
    fn drop(&mut self) {
        self.shared.with(|state| state.locked.remove(&self.user));
    }
}

impl Maildrop {
    /// None: another session has it.
    fn open(shared: &Arc<Shared>, user: &str) -> Option<Self> {
        shared.with(|state| {
            if !state.locked.insert(user.to_owned()) {
                return None;
            }
            let folder = state.mailboxes.of(user).folder(INBOX)?;
            Some(Self {
                shared: shared.clone(),
                user: user.to_owned(),
                uidvalidity: folder.uidvalidity,
                messages: folder.messages().to_vec(),
                deleted: BTreeSet::new(),
            })
        })
    }

    /// The message of this number, if it is there and not marked as deleted.
    fn get(&self, number: &str) -> Option<(usize, &Message)> {
        let at = number.trim().parse::<usize>().ok()?.checked_sub(1)?;
        let there = !self.deleted.contains(&at);
        self.messages.get(at).filter(|_| there).map(|m| (at, m))
    }

    fn left(&self) -> impl Iterator<Item = (usize, &Message)> {
        let left = |(at, _): &(usize, &Message)| !self.deleted.contains(at);
        self.messages.iter().enumerate().filter(left)
    }

    /// The UPDATE state (RFC 1939 section 6).
    fn update(&self) {
        let gone: BTreeSet<u32> = self
            .deleted
            .iter()
            .map(|at| self.messages[*at].uid)
            .collect();
        self.shared.with(|state| {
            if let Some(folder) = state.mailboxes.of(&self.user).folder_mut(INBOX)
                && folder.uidvalidity == self.uidvalidity
            {
                folder.remove(|message| gone.contains(&message.uid));
            }
        });
        self.shared.changed();
    }
}

impl Session {
    async fn converse(&mut self) -> Result<(), LineError> {
        match self.shared.fault(Service::Pop3, "GREETING") {
            None => {}
            Some(Fault::Delay(time) | Fault::Withhold(time)) => tokio::time::sleep(time).await,
            Some(Fault::Reply(text)) => {
                self.say(&text);
                return self.flush().await;
            }
            Some(Fault::Drop | Fault::Lose | Fault::Cut(_)) => return Ok(()),
        }
        self.say("+OK sandbox ready");
        loop {
            if memchr::memchr(b'\n', self.lines.buffered()).is_none() {
                self.flush().await?;
            } else if !self.pipelining() {
                self.say("-ERR commands sent ahead are not taken here");
                return self.flush().await;
            }
            let line = self.lines.line(LINE_CAP).await?.bytes;
            let line = String::from_utf8_lossy(&line).into_owned();
            let fault = self.shared.fault(Service::Pop3, &line);
            match &fault {
                None | Some(Fault::Lose | Fault::Cut(_) | Fault::Withhold(_)) => {}
                Some(Fault::Delay(time)) => {
                    self.flush().await?;
                    tokio::time::sleep(*time).await;
                }
                Some(Fault::Drop) => return Ok(()),
                Some(Fault::Reply(text)) => {
                    self.say(text);
                    continue;
                }
            }
            let before = self.out.len();
            let over = self.run(&line).await?;
            match fault {
                Some(Fault::Lose) => {
                    self.out.truncate(before);
                    return self.flush().await;
                }
                Some(Fault::Cut(bytes)) => {
                    self.out.truncate(before + bytes);
                    return self.flush().await;
                }
                Some(Fault::Withhold(time)) => tokio::time::sleep(time).await,
                _ => {}
            }
            if over {
                return self.flush().await;
            }
            if self.out.len() >= OUT_CHUNK {
                self.flush().await?;
            }
        }
    }

    fn pipelining(&self) -> bool {
        self.shared.with(|state| state.features.pop3.pipelining)
    }

    /// Carries out one command; true ends the session.
    async fn run(&mut self, line: &str) -> Result<bool, LineError> {
        let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.to_ascii_uppercase();
        match (verb.as_str(), self.maildrop.is_some()) {
            ("QUIT", _) => {
                if let Some(maildrop) = self.maildrop.take() {
                    maildrop.update();
                }
                self.say("+OK see you");
                return Ok(true);
            }
            ("CAPA", _) => self.capa(),
            ("NOOP", true) => self.say("+OK"),
            ("AUTH", false) => self.auth(arguments).await?,
            ("USER", false) => {
                self.user = Some(arguments.to_owned());
                self.say("+OK and the password?");
            }
            ("PASS", false) => self.pass(arguments),
            ("STAT" | "LIST" | "UIDL" | "RETR" | "TOP" | "DELE" | "RSET", true) => {
                self.transaction(&verb, arguments);
            }
            _ => self.say("-ERR not now, or not known"),
        }
        Ok(false)
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
