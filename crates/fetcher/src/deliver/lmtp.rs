//! Delivers by LMTP (RFC 2033): every recipient has an answer of its own, and a repeat goes to those alone who do not have it yet.
//!
//! The one window: the connection breaks after the final dot and before an answer. Then the recipient may have the message, and gets
//! it again.

pub(super) mod answers;
pub(super) mod envelope;
mod session;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use spool::{Outcome, Pieces};
use token_store::accounts::{Lmtp, LmtpServer};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};
use wire::dial::{self, Target, Tls, Trust};
use wire::smtp::Capabilities;

use self::answers::{Answer, judge};
use self::envelope::Envelope;
use self::session::{Session, Socket, Unsent};
use super::job::{Finished, Job};

/// Nobody on this machine needs longer to accept a connection and to greet.
const CONNECT: Duration = Duration::from_secs(30);
/// A connection that was idle for longer is given back: each holds a process of the server.
const IDLE: Duration = Duration::from_secs(30);
/// The goodbye, on which nothing depends.
const QUIT: Duration = Duration::from_secs(2);

/// An LMTP server as a place to deliver to.
pub(crate) struct Mailer {
    lmtp: Lmtp,
    longest: Duration,
    /// Connections between two messages, each with the time of its last use.
    kept: Mutex<Vec<(Session, Instant)>>,
}

impl Mailer {
    pub(crate) fn new(lmtp: &Lmtp, longest: Duration) -> Self {
        Self {
            lmtp: lmtp.clone(),
            longest,
            kept: Mutex::default(),
        }
    }

    /// Delivers one message to all recipients that do not have it yet.
    pub(crate) async fn deliver(&self, mut job: Job) -> Finished {
        let done_for = std::mem::take(&mut job.done_for);
        let to = self.lmtp.to.iter().filter(|to| !done_for.contains(to));
        let to: Vec<&str> = to.map(String::as_str).collect();
        if to.is_empty() {
            let why = "every recipient has it".to_owned();
            return Finished::new(Outcome::Delivered { why }, None);
        }
        // Filled in step by step, so that what is known survives when the time is up.
        let mut answers = vec![Answer::None; to.len()];
        let sending = self.send(&to, &mut answers, job);
        if timeout(self.longest, sending).await.is_err() {
            let late = format!(
                "{} took longer than {} s",
                self.lmtp.server,
                self.longest.as_secs()
            );
            Answer::fill(&mut answers, &late);
        }
        let judged = judge(&to, &answers);
        let mut finished = Finished::new(judged.outcome, Some(judged.transcript));
        if !judged.done.is_empty() {
            finished.done_for = done_for.into_iter().chain(judged.done).collect();
        }
        finished
    }

    async fn send(&self, to: &[&str], answers: &mut [Answer], job: Job) {
        let (envelope, stored) = match Envelope::of(job.message, to, job.size) {
            Ok(read) => read,
            Err(e) => {
                let why = format!("the stored message can't be read: {e}");
                return Answer::fill(answers, &why);
            }
        };
        let mut pieces = Pieces::of(stored);
        let mut kept = self.take();
        loop {
            let reused = kept.is_some();
            let session = match kept.take() {
                Some(session) => session,
                None => match connect(&self.lmtp.server).await {
                    Ok(session) => session,
                    Err(why) => return Answer::fill(answers, &why),
                },
            };
            match session.send(&envelope, &mut pieces, answers).await {
                Ok(session) => return self.keep(session),
                // The server has ended an idle connection; it has not seen this message.
                Err(Unsent {
                    untouched: true, ..
                }) if reused => answers.fill(Answer::None),
                Err(Unsent { why, .. }) => return Answer::fill(answers, &why),
            }
        }
    }

    /// A connection of earlier messages.
    fn take(&self) -> Option<Session> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, used)| used.elapsed() < IDLE);
        kept.pop().map(|(session, _)| session)
    }

    fn keep(&self, session: Option<Session>) {
        if let Some(session) = session {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push((session, Instant::now()));
        }
    }

    /// Nothing was delivered for a while: says goodbye on connections that nobody needs.
    pub(crate) async fn rest(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        for (session, _) in kept {
            let _ = timeout(QUIT, session.quit()).await;
        }
    }
}

/// Connects and says hello; the error says what is wrong.
async fn connect(server: &LmtpServer) -> Result<Session, String> {
    let socket: Box<dyn Socket> = match server {
        LmtpServer::Unix(path) => match timeout(CONNECT, UnixStream::connect(path)).await {
            Ok(Ok(socket)) => Box::new(socket),
            Ok(Err(e)) => return Err(format!("no connection to {server}: {e}")),
            Err(_) => {
                return Err(format!(
                    "no connection to {server} within {} s",
                    CONNECT.as_secs()
                ));
            }
        },
        LmtpServer::Tcp(host, port) => {
            let target = Target {
                host: host.clone(),
                port: *port,
                tls: Tls::None,
            };
            let trust = Trust::new(None).map_err(|e| e.to_string())?;
            let stream = dial::connect(&target, &trust, CONNECT).await;
            Box::new(stream.map_err(|e| e.to_string())?)
        }
    };
    let greeted = timeout(CONNECT, Session::greet(socket)).await;
    greeted
        .unwrap_or_else(|_| Err(format!("no greeting within {} s", CONNECT.as_secs())))
        .map_err(|why| format!("{server}: {why}"))
}

/// What the server offers, for `postern check`; no message is sent.
pub(crate) async fn look(lmtp: &Lmtp) -> Result<String, String> {
    let session = connect(&lmtp.server).await?;
    let offered: Capabilities = session.offered().clone();
    let _ = timeout(QUIT, session.quit()).await;
    Ok(format!("answers; it offers {}", offered.in_words()))
}

#[cfg(test)]
#[path = "lmtp/tests.rs"]
mod tests;
