//! What a reload must do: the difference between the accounts that run and those that should; pure.

use std::collections::BTreeMap;

use token_store::accounts::{Auth, Kind, Mailbox, Relay};

/// Which account: its kind and its name.
pub(crate) type Id = (Kind, String);

/// A mailbox or a relay.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Account {
    Mailbox(Box<Mailbox>),
    Relay(Box<Relay>),
}

impl Account {
    pub(crate) fn id(&self) -> Id {
        match self {
            Self::Mailbox(mailbox) => (Kind::Mailbox, mailbox.name.clone()),
            Self::Relay(relay) => (Kind::Relay, relay.name.clone()),
        }
    }

    pub(crate) fn paused(&self) -> bool {
        match self {
            Self::Mailbox(mailbox) => mailbox.paused,
            Self::Relay(relay) => relay.paused,
        }
    }

    /// The token config it signs in with.
    pub(crate) fn token_config(&self) -> Option<&str> {
        let auth = match self {
            Self::Mailbox(mailbox) => &mailbox.auth,
            Self::Relay(relay) => &relay.auth,
        };
        match auth {
            Auth::Token(config) => Some(config),
            Auth::Password(_) => None,
        }
    }
}

/// `mailbox support`, as the log and the words of a reload name it.
pub(crate) fn show(id: &Id) -> String {
    match id.0 {
        Kind::Mailbox => format!("mailbox {}", id.1),
        Kind::Relay => format!("relay {}", id.1),
    }
}

/// What to do; accounts that are in none of the lists go on untouched.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) start: Vec<Account>,
    pub(crate) restart: Vec<Account>,
    pub(crate) drain: Vec<Id>,
}

/// Compares what runs with what should.
pub(crate) fn plan(running: &BTreeMap<Id, Account>, wanted: Vec<Account>) -> Plan {
    let mut plan = Plan::default();
    let ids: std::collections::BTreeSet<Id> = wanted.iter().map(Account::id).collect();
    plan.drain = running
        .keys()
        .filter(|id| !ids.contains(*id))
        .cloned()
        .collect();
    for account in wanted {
        match running.get(&account.id()) {
            None => plan.start.push(account),
            Some(old) if *old != account => plan.restart.push(account),
            Some(_) => {}
        }
    }
    plan
}

impl Plan {
    /// In words, a line for each account that changes.
    pub(crate) fn words(&self) -> Vec<String> {
        let line = |what: &str, id: &Id| format!("{} {what}", show(id));
        let start = self
            .start
            .iter()
            .map(|account| line("starts", &account.id()));
        let restart = self
            .restart
            .iter()
            .map(|account| line("restarts with its new settings", &account.id()));
        let drain = self
            .drain
            .iter()
            .map(|id| line("ends: it is no longer configured", id));
        start.chain(restart).chain(drain).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::time::Duration;
    use token_store::Secret;

    pub(crate) fn relay(name: &str, host: &str) -> Account {
        Account::Relay(Box::new(Relay {
            name: name.into(),
            template: None,
            host: host.into(),
            port: 465,
            tls: provider_template::Tls::Implicit,
            tls_ca_file: None,
            user: "u".into(),
            auth: Auth::Password(Secret::new("p")),
            sasl: token_store::accounts::Sasl::Auto,
            senders: vec!["*".into()],
            connections: 1,
            rate: None,
            keep_trying: Duration::from_secs(1),
            bounces_to: None,
            fallback: None,
            send_as: None,
            recipients: None,
            messages_per_connection: None,
            no_initial_response: false,
            paused: false,
            declared_in: None,
        }))
    }

    fn running(accounts: &[Account]) -> BTreeMap<Id, Account> {
        accounts
            .iter()
            .map(|account| (account.id(), account.clone()))
            .collect()
    }

    #[test]
    fn new_accounts_start_removed_ones_drain_changed_ones_restart_and_the_rest_goes_on() {
        let before = running(&[
            relay("same", "a"),
            relay("changed", "a"),
            relay("gone", "a"),
        ]);
        let after = vec![relay("same", "a"), relay("changed", "b"), relay("new", "a")];
        let plan = plan(&before, after);
        assert_eq!(plan.start, [relay("new", "a")]);
        assert_eq!(plan.restart, [relay("changed", "b")]);
        assert_eq!(plan.drain, [(Kind::Relay, "gone".to_owned())]);
        assert_eq!(
            plan.words(),
            [
                "relay new starts",
                "relay changed restarts with its new settings",
                "relay gone ends: it is no longer configured"
            ]
        );
    }

    #[test]
    fn a_reload_of_the_same_file_touches_nothing() {
        let accounts = [relay("a", "x"), relay("b", "y")];
        assert_eq!(
            plan(&running(&accounts), accounts.to_vec()),
            Plan::default()
        );
    }
}
