//! Which messages are meant: by number, or by what they have in common.

use clap::Args;
use spool::{Direction, MessageId, QueueEntry, QueueRow, Spool};

use crate::cli::exit::{Code, Failure};

/// What messages have in common.
#[derive(Debug, Default, Args)]
pub(crate) struct Filter {
    /// Only messages on their way to the ticket system.
    #[arg(long, conflicts_with_all = ["outbound", "relay"])]
    inbound: bool,
    /// Only replies on their way to a relay.
    #[arg(long, conflicts_with = "mailbox")]
    outbound: bool,
    /// Only messages of this mailbox.
    #[arg(long, value_name = "NAME", conflicts_with = "relay")]
    mailbox: Option<String>,
    /// Only replies through this relay.
    #[arg(long, value_name = "NAME")]
    relay: Option<String>,
    /// Only replies with a recipient in this domain.
    #[arg(long, value_name = "DOMAIN", conflicts_with_all = ["inbound", "mailbox"])]
    domain: Option<String>,
    /// Only messages that are held.
    #[arg(long)]
    held: bool,
}

/// The messages that something is to be done with.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// Message numbers, as `postern queue list` shows them.
    #[arg(
        required_unless_present_any = ["all", "mailbox", "relay", "domain"],
        conflicts_with_all = ["all", "inbound", "outbound", "mailbox", "relay", "domain", "held"]
    )]
    ids: Vec<i64>,
    /// All messages, or all that the other options leave.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Filter {
    /// What is in flight and meant, oldest first.
    pub(crate) fn select(&self, spool: &Spool) -> Result<Vec<QueueRow>, Failure> {
        let mut rows = spool.queue(self.direction())?;
        rows.retain(|row| self.means(row));
        Ok(rows)
    }

    fn direction(&self) -> Option<Direction> {
        if self.inbound || self.mailbox.is_some() {
            return Some(Direction::In);
        }
        let out = self.outbound || self.relay.is_some() || self.domain.is_some();
        out.then_some(Direction::Out)
    }

    fn means(&self, row: &QueueRow) -> bool {
        let account = self.mailbox.as_ref().or(self.relay.as_ref());
        let in_domain = |domain: &String| row.to.iter().any(|to| is_in(to, domain));
        account.is_none_or(|account| *account == row.account)
            && self.domain.as_ref().is_none_or(in_domain)
            && (!self.held || row.state == "held")
    }
}

/// Whether an address is in a domain.
fn is_in(address: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('@').unwrap_or(domain);
    address
        .rsplit_once('@')
        .is_some_and(|(_, of)| of.eq_ignore_ascii_case(domain))
}

impl Chosen {
    /// The chosen messages; a number that doesn't exist stops it all, so that nothing is done by half.
    pub(crate) fn select(&self, spool: &Spool) -> Result<Vec<QueueRow>, Failure> {
        if self.ids.is_empty() {
            return self.filter.select(spool);
        }
        self.ids
            .iter()
            .map(|id| Ok(entry(spool, *id)?.row))
            .collect()
    }

    /// What nobody looked at, one by one or as held mail, is not deleted by the heap.
    pub(crate) fn may_be_deleted(&self) -> Result<(), Failure> {
        if !self.ids.is_empty() || self.filter.held {
            return Ok(());
        }
        Err(Failure::new(
            Code::Usage,
            "only held messages are deleted together: add --held, or name messages by their numbers",
        ))
    }
}

/// A message by its number.
pub(crate) fn entry(spool: &Spool, id: i64) -> Result<QueueEntry, Failure> {
    spool
        .show(MessageId(id))?
        .ok_or_else(|| Failure::new(Code::Data, format!("there is no message {id} in flight")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(account: &str, to: &[&str], state: &str) -> QueueRow {
        QueueRow {
            id: 1,
            direction: "out".into(),
            account: account.into(),
            state: state.into(),
            size: 1,
            from: String::new(),
            to: to.iter().map(|to| (*to).to_owned()).collect(),
            subject: String::new(),
            attempts: 1,
            age_seconds: 0,
            next_seconds: None,
            why: String::new(),
        }
    }

    #[test]
    fn a_filter_means_what_has_everything_it_names() {
        let all = Filter::default();
        assert!(all.means(&row("support", &[], "due")));
        let filter = Filter {
            relay: Some("support".into()),
            domain: Some("Example.org".into()),
            held: true,
            ..Filter::default()
        };
        assert_eq!(filter.direction(), Some(Direction::Out));
        let to = ["a@other.example", "b@example.org"];
        assert!(filter.means(&row("support", &to, "held")));
        for other in [
            row("sales", &to, "held"),
            row("support", &["b@sub.example.org"], "held"),
            row("support", &to, "due"),
            row("support", &["example.org"], "held"),
        ] {
            assert!(!filter.means(&other), "{other:?}");
        }
    }
}
