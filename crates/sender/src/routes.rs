//! Which relay serves which sender; a pure table, swapped whole on reload.
use crate::address;
use std::collections::BTreeMap;
use token_store::accounts::Relay;

/// Which relay serves a sender: the envelope sender's exact address before its `@domain`; for a null sender, and one that
/// nobody names, the same by the header's From; then `*`.
///
/// Addresses are compared without regard to ASCII case, the local part too: every provider Postern
/// knows reads them so, and a helpdesk that writes `Support@` must not lose its mail over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    by_pattern: BTreeMap<String, String>,
}

impl Routes {
    /// Builds the table from each relay's `senders`.
    ///
    /// # Errors
    /// Two relays that claim one sender (both are named), a sender that is neither `a@b`, `@b` nor `*`, or a fallback that is
    /// missing, the relay itself, or has a fallback of its own.
    pub fn new(relays: &[Relay]) -> Result<Self, String> {
        let mut by_pattern = BTreeMap::new();
        for relay in relays {
            check_fallback(relay, relays)?;
            for sender in &relay.senders {
                let pattern = sender.trim().to_ascii_lowercase();
                if !is_pattern(&pattern) {
                    return Err(format!(
                        "relay {}: the sender {sender:?} is neither an address, nor @domain, nor \"*\"",
                        relay.name
                    ));
                }
                let other = by_pattern.insert(pattern, relay.name.clone());
                if let Some(other) = other.filter(|other| *other != relay.name) {
                    return Err(format!(
                        "the relays {other} and {} both claim the sender {sender}; leave it to one of them",
                        relay.name
                    ));
                }
            }
        }
        Ok(Self { by_pattern })
    }

    /// Whether no relay serves anybody.
    pub fn is_empty(&self) -> bool {
        self.by_pattern.is_empty()
    }

    /// The relay that names an envelope sender, by its address or its domain. None, also for the null sender (empty):
    /// the header decides.
    pub fn by_envelope(&self, sender: &str) -> Option<&str> {
        let sender = sender.to_ascii_lowercase();
        // A pattern is no sender, whatever a header's From says.
        let (local, domain) = address::split(&sender)?;
        if local.is_empty() {
            return None;
        }
        let exact = self.by_pattern.get(&sender);
        exact
            .or_else(|| self.by_pattern.get(&format!("@{domain}")))
            .map(String::as_str)
    }

    /// The relay for a message whose envelope sender none names: the one that names the header's From, else `*`.
    pub fn by_from(&self, from: &str) -> Option<&str> {
        self.by_envelope(from)
            .or_else(|| self.by_pattern.get("*").map(String::as_str))
    }
}

/// Mail is passed on once: from relay to relay it could go round for days.
fn check_fallback(relay: &Relay, relays: &[Relay]) -> Result<(), String> {
    let Some(name) = &relay.fallback else {
        return Ok(());
    };
    let why = match relays.iter().find(|other| other.name == *name) {
        Some(_) if *name == relay.name => "is the relay itself",
        Some(other) if other.fallback.is_some() => "has a fallback itself",
        Some(_) => return Ok(()),
        None => "does not exist",
    };
    Err(format!(
        "the fallback of the relay {}, {name}, {why}",
        relay.name
    ))
}

fn is_pattern(pattern: &str) -> bool {
    match pattern.strip_prefix('@') {
        Some(domain) => address::is_mailbox(&format!("a@{domain}")),
        None => pattern == "*" || address::is_mailbox(pattern),
    }
}

#[cfg(test)]
mod tests;
