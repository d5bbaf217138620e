//! What went in and what came out, by SHA-256, both ways; pure.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

/// SHA-256 of a message.
pub(super) type Hash = [u8; 32];

/// SHA-256 of a message.
fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// How often something went in, and how often it came out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Times {
    went_in: u64,
    came_out: u64,
}

/// A reply that the submission listener took.
#[derive(Debug)]
struct Reply {
    hash: Hash,
    recipients: Vec<String>,
}

/// The books of the demo.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In: put into the mailbox, filed by the ticket command.
    tickets: BTreeMap<Hash, Times>,
    /// Out: accepted for a recipient, taken by the provider for that recipient.
    answers: BTreeMap<(Hash, String), Times>,
    replies: Vec<Reply>,
    accepted: BTreeSet<Hash>,
}

/// What the books say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Balance {
    /// Messages filed.
    pub(super) delivered: u64,
    /// Replies accepted.
    pub(super) accepted: u64,
    /// Replies that reached every recipient.
    pub(super) relayed: u64,
    /// Went in and did not come out (yet).
    pub(super) missing: u64,
    /// Came out more often than it went in.
    pub(super) doubled: u64,
    /// Came out, but is nothing that went in.
    pub(super) changed: u64,
}

impl Ledger {
    /// A letter was put into the mailbox.
    pub(super) fn put(&mut self, message: &[u8]) {
        self.tickets.entry(hash(message)).or_default().went_in += 1;
    }

    /// The ticket command filed a message.
    pub(super) fn filed(&mut self, message: &[u8]) {
        self.tickets.entry(hash(message)).or_default().came_out += 1;
    }

    /// The submission listener took a reply.
    pub(super) fn accepted(&mut self, message: &[u8], recipients: &[String]) {
        let hash = hash(message);
        for recipient in recipients {
            self.answers
                .entry((hash, recipient.clone()))
                .or_default()
                .went_in += 1;
        }
        self.accepted.insert(hash);
        self.replies.push(Reply {
            hash,
            recipients: recipients.to_vec(),
        });
    }

    /// The provider took a reply, with the trace line that a relay adds.
    pub(super) fn relayed(&mut self, message: &[u8], recipients: &[String]) -> Hash {
        let hash = hash(below_received(message));
        for recipient in recipients {
            self.answers
                .entry((hash, recipient.clone()))
                .or_default()
                .came_out += 1;
        }
        hash
    }

    /// Whether a reply with this hash was accepted.
    pub(super) fn was_accepted(&self, hash: &Hash) -> bool {
        self.accepted.contains(hash)
    }

    pub(super) fn balance(&self) -> Balance {
        let mut balance = Balance {
            accepted: self.replies.len() as u64,
            ..Balance::default()
        };
        for times in self.tickets.values().chain(self.answers.values()) {
            balance.missing += times.went_in.saturating_sub(times.came_out);
            let surplus = times.came_out.saturating_sub(times.went_in);
            if times.went_in == 0 {
                balance.changed += surplus;
            } else {
                balance.doubled += surplus;
            }
        }
        balance.delivered = self.tickets.values().map(|times| times.came_out).sum();
        let whole = |reply: &&Reply| {
            let reached = |to: &String| {
                self.answers
                    .get(&(reply.hash, to.clone()))
                    .is_some_and(|times| times.came_out > 0)
            };
            reply.recipients.iter().all(reached)
        };
        balance.relayed = self.replies.iter().filter(whole).count() as u64;
        balance
    }
}

/// The message below its first field, if that is a Received field (with its folded lines). RFC 5321, 4.4 asks every relay for one.
fn below_received(message: &[u8]) -> &[u8] {
    const FIELD: &[u8] = b"received:";
    if !message
        .get(..FIELD.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(FIELD))
    {
        return message;
    }
    let mut rest = message;
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return &[];
        };
        rest = &rest[end + 1..];
        if !matches!(rest.first(), Some(b' ' | b'\t')) {
            return rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_the_relays_own_line_is_left_out_of_the_comparison() {
        let message =
            b"Received: from a\r\n\tby b; now\r\nReceived: older\r\nSubject: x\r\n\r\n body";
        assert_eq!(
            below_received(message),
            b"Received: older\r\nSubject: x\r\n\r\n body"
        );
        assert_eq!(below_received(b"Subject: x\r\n"), b"Subject: x\r\n");
        assert_eq!(below_received(b"Received: without an end"), b"");
    }

    #[test]
    fn lost_doubled_and_changed_are_told_apart() {
        let mut ledger = Ledger::default();
        ledger.put(b"a");
        ledger.put(b"b");
        ledger.put(b"b");
        ledger.filed(b"b");
        ledger.filed(b"b");
        ledger.filed(b"b");
        ledger.filed(b"B");
        let balance = ledger.balance();
        assert_eq!(
            (
                balance.delivered,
                balance.missing,
                balance.doubled,
                balance.changed
            ),
            (4, 1, 1, 1)
        );
    }

    #[test]
    fn a_reply_is_relayed_when_every_recipient_has_it_even_in_two_transactions() {
        let mut ledger = Ledger::default();
        ledger.accepted(b"x", &to(&["a", "b"]));
        ledger.relayed(b"Received: y\r\nx", &to(&["a"]));
        assert_eq!((ledger.balance().relayed, ledger.balance().missing), (0, 1));
        ledger.relayed(b"Received: z\r\nx", &to(&["b"]));
        let whole = Balance {
            accepted: 1,
            relayed: 1,
            ..Balance::default()
        };
        assert_eq!(ledger.balance(), whole);
    }
}
