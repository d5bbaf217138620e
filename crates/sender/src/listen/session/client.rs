//! The client of a session: who it is, and what it has had of the listener.
use super::Session;
use crate::listen::command::Command;
use crate::listen::guests::Allowance;
use std::net::IpAddr;
use token_store::submitters::Submitter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// All that is kept of a session when TLS begins.
pub(in crate::listen) struct Client {
    /// Its name for the Received field and the log.
    pub(super) peer: String,
    /// Where it comes from; None: this machine, by no address.
    pub(super) address: Option<IpAddr>,
    pub(super) is_under_tls: bool,
    /// Who it has signed in as.
    pub(super) user: Option<Submitter>,
    /// Failed sign-ins.
    pub(super) failures: u32,
    pub(super) since: Instant,
    messages: Allowance,
}

impl Client {
    pub(in crate::listen) fn new(peer: String, address: Option<IpAddr>) -> Self {
        Self {
            peer,
            address,
            is_under_tls: false,
            user: None,
            failures: 0,
            since: Instant::now(),
            messages: Allowance::default(),
        }
    }

    /// The same client, as nothing is known of it yet but that it speaks TLS.
    pub(in crate::listen) fn under_tls(self) -> Self {
        Self {
            is_under_tls: true,
            user: None,
            ..self
        }
    }

    pub(in crate::listen) fn peer(&self) -> &str {
        &self.peer
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Counts a command that brings no message any further.
    pub(super) fn count(&mut self, command: &Command) {
        let is_idle = match command {
            Command::Mail(_) | Command::Rcpt(_) | Command::Data => false,
            Command::Bdat(chunk) => chunk.is_some_and(|chunk| chunk.octets == 0),
            _ => true,
        };
        self.idle_commands += u32::from(is_idle);
    }

    /// A message was taken.
    pub(super) fn was_useful(&mut self) {
        self.faults = 0;
        self.idle_commands = 0;
    }

    /// Whether the client has done nothing useful for too long; it is told so.
    pub(super) fn is_worn_out(&mut self) -> bool {
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

    /// Answers 451 when the messages of a minute are used up.
    pub(super) fn is_too_fast(&mut self) -> bool {
        let (limits, guests) = (&self.shared.limits, &self.shared.guests);
        let now = Instant::now();
        let user = self.client.user.as_ref();
        let over = if !self.client.messages.take(limits.rate_per_connection, now) {
            limits.rate_per_connection
        } else if user.is_some_and(|user| !guests.allow_user(&user.name, now)) {
            limits.rate_per_user
        } else if !guests.allow(now) {
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
}
