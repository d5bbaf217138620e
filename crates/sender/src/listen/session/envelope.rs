//! A transaction's envelope: MAIL, RCPT, and what is looked at before a message may follow.
use super::chunks::Chunks;
use super::{LOW_DISK, NO_RECIPIENTS, Next, Session};
use crate::listen::command::Mail;
use spool::Recipient;
use spool::dsn::Notify;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::warn;

/// Below this much free disk nothing is taken: the commits of what is in flight need room.
const FREE_FLOOR: u64 = 64 << 20;

/// A transaction between MAIL and the final dot.
pub(super) struct Envelope {
    pub(super) mail: Mail,
    /// Known at MAIL, or decided by the header From at the end.
    pub(super) relay: Option<String>,
    pub(super) recipients: Vec<Recipient>,
    /// What BDAT has brought so far; with the first of them the recipients are complete.
    pub(super) chunks: Option<Chunks>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn mail(&mut self, mail: Mail) {
        if self.hello.is_none() {
            return self.fault("503 5.5.1 Say EHLO first");
        }
        if self.envelope.is_some() {
            return self.fault("503 5.5.1 A transaction is open already");
        }
        if let Some(reply) = self.may_not_send(&mail) {
            return self.fault(&reply);
        }
        if !mail.sender.is_ascii() && !mail.smtputf8 {
            return self.fault("553 5.6.7 An address beyond ASCII needs SMTPUTF8");
        }
        if mail.size > self.shared.rules.max_size {
            return self.fault(&self.too_large());
        }
        let routes = Arc::clone(&self.shared.routes.borrow());
        if routes.is_empty() {
            warn!(peer = %self.client.peer, "there is no relay; the message was refused");
            return self.fault("550 5.7.1 No relay is configured in postern.yaml");
        }
        let relay = routes.by_envelope(&mail.sender).map(str::to_owned);
        if let Some(reply) = self.low_disk(mail.size) {
            return self.reply(reply);
        }
        if self.is_too_fast() {
            return;
        }
        self.envelope = Some(Envelope {
            mail,
            relay,
            recipients: Vec::new(),
            chunks: None,
        });
        self.reply("250 2.1.0 Ok");
    }

    pub(super) fn rcpt(&mut self, recipient: Recipient) {
        let Some(envelope) = &mut self.envelope else {
            return self.fault("503 5.5.1 MAIL comes before RCPT");
        };
        if envelope.chunks.is_some() {
            return self.fault("503 5.5.1 RCPT comes before BDAT");
        }
        let address = &recipient.address;
        if !address.is_ascii() && !envelope.mail.smtputf8 {
            return self.fault("553 5.6.7 An address beyond ASCII needs SMTPUTF8");
        }
        // Reports come from there; what answers them by itself would go round and round.
        if address.eq_ignore_ascii_case(&format!("MAILER-DAEMON@{}", self.shared.host)) {
            return self.fault("550 5.1.1 Reports of undeliverable mail are not answered");
        }
        // The same address twice is one delivery.
        let mut known = envelope.recipients.iter_mut();
        if let Some(known) = known.find(|r| r.address == *address) {
            known.notify = either(known.notify, recipient.notify);
        } else if envelope.recipients.len() < self.shared.limits.recipients {
            envelope.recipients.push(recipient);
        } else {
            return self.fault("452 4.5.3 Too many recipients, send the rest with another message");
        }
        self.reply("250 2.1.5 Ok");
    }

    pub(super) fn data_begins(&mut self) -> Next {
        let Some(envelope) = &self.envelope else {
            self.fault("503 5.5.1 MAIL comes before DATA");
            return Next::Command;
        };
        if envelope.chunks.is_some() {
            self.fault("503 5.5.1 BDAT and DATA do not mix");
            return Next::Command;
        }
        if envelope.recipients.is_empty() {
            self.fault(NO_RECIPIENTS);
            return Next::Command;
        }
        if let Some(reply) = self.low_disk(envelope.mail.size) {
            self.reply(reply);
            return Next::Command;
        }
        Next::Data
    }

    pub(super) fn too_large(&self) -> String {
        format!(
            "552 5.3.4 The message is larger than the {} bytes taken here",
            self.shared.rules.max_size
        )
    }

    /// The reply when the disk has no room for a message of this size.
    pub(super) fn low_disk(&self, size: u64) -> Option<&'static str> {
        match self.shared.spool.free_bytes() {
            Ok(free) if has_room(free, size) => None,
            Ok(free) => {
                warn!(free, size, "too little free disk for a message");
                Some(LOW_DISK)
            }
            Err(error) => {
                warn!(%error, "the free disk is not known");
                Some("451 4.3.0 The spool cannot be used, try again later")
            }
        }
    }
}

/// One address named twice: whatever either wants to be told; without NOTIFY that is what the RFC's default is.
fn either(one: Option<Notify>, other: Option<Notify>) -> Option<Notify> {
    let (one, other) = (one?, other?);
    Some(Notify {
        success: one.success || other.success,
        failure: one.failure || other.failure,
        delay: one.delay || other.delay,
    })
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
