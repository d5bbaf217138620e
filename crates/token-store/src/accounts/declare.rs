//! Making the rows equal to what a configuration file declares.

use super::{Auth, Declared, Mailbox, Relay};
use crate::configs::store_config;
use crate::store::{Account, Rows};
use crate::{Store, StoreError, TokenConfig, now};
use std::collections::BTreeSet;

impl Store {
    /// Makes the rows equal to what the configuration file declares, all or nothing. There is one such file for a state
    /// directory: what it declared under another name of its own is its to change, and a name that was made by hand is
    /// taken over once the file declares it. Whatever else was made by hand stays.
    /// A token config whose client and endpoints are unchanged keeps its token. One that the file no longer names
    /// goes, but its refresh token is kept aside and comes back with it.
    ///
    /// # Errors
    /// When a name is declared twice, an account names a token config that doesn't exist, or a token config that would
    /// go is still in use.
    pub async fn declare(&self, file: &str, declared: Declared) -> Result<(), StoreError> {
        let file = file.to_owned();
        self.write(move |rows| declare(rows, &file, declared)).await
    }
}

fn declare(rows: &Rows<'_>, file: &str, declared: Declared) -> Result<(), StoreError> {
    let configs = unique(
        "token config",
        declared
            .token_configs
            .iter()
            .map(|(_, entry)| entry.name.as_str()),
    )?;
    let mailboxes = unique(
        "mailbox",
        declared.mailboxes.iter().map(|m| m.name.as_str()),
    )?;
    let relays = unique("relay", declared.relays.iter().map(|r| r.name.as_str()))?;
    // Accounts first, so that a token config is free to go; token configs before the accounts that name them.
    for name in gone(rows, "mailbox", &mailboxes)? {
        rows.remove_account::<Mailbox>(&name)?;
    }
    for name in gone(rows, "relay", &relays)? {
        rows.remove_account::<Relay>(&name)?;
    }
    for (template, entry) in declared.token_configs {
        let present = rows.token_config(&entry.name)?;
        let config = TokenConfig {
            entry,
            template: Some(template),
            declared_in: Some(file.to_owned()),
        };
        store_config(rows, present, &config, now())?;
    }
    put_accounts(rows, file, declared.mailboxes)?;
    put_accounts(rows, file, declared.relays)?;
    for name in gone(rows, "token_config", &configs)? {
        withdraw(rows, &name)?;
    }
    rows.remove_unused_subjects(now())
}

/// The names that were declared before and aren't now.
fn gone(rows: &Rows<'_>, table: &str, names: &BTreeSet<String>) -> Result<Vec<String>, StoreError> {
    let mut before = rows.declared_names(table)?;
    before.retain(|name| !names.contains(name));
    Ok(before)
}

fn put_accounts<A: Account>(
    rows: &Rows<'_>,
    file: &str,
    accounts: Vec<A>,
) -> Result<(), StoreError> {
    for mut account in accounts {
        token_config_exists(rows, &account)?;
        account.declare_in(file);
        rows.put_account(&account)?;
    }
    Ok(())
}

/// Refuses an account whose token config doesn't exist.
pub(super) fn token_config_exists<A: Account>(
    rows: &Rows<'_>,
    account: &A,
) -> Result<(), StoreError> {
    match account.auth() {
        Auth::Token(config) if rows.token_config(config)?.is_none() => Err(StoreError::Invalid {
            name: format!("{} {}", A::TABLE, account.name()),
            why: format!("it signs in with the token config {config}, which does not exist"),
        }),
        _ => Ok(()),
    }
}

/// Removes a token config that its file no longer names. A line deleted by mistake must not cost the consent.
fn withdraw(rows: &Rows<'_>, name: &str) -> Result<(), StoreError> {
    let by = rows.users_of(name)?;
    if !by.is_empty() {
        return Err(StoreError::InUse {
            what: "token config",
            name: name.to_owned(),
            by,
        });
    }
    let config = rows.known_config(name)?;
    let fingerprint = crate::configs::fingerprint(&config.entry);
    let why = "its file no longer declares the token config";
    for (id, _) in rows.tokens_without_secrets(name)? {
        if let Some(refresh) = rows.token(&id)?.refresh {
            rows.keep_aside(&id, &fingerprint, &refresh.secret, now(), why)?;
        }
    }
    rows.remove_token_config(name)?;
    Ok(())
}

fn unique<'a>(
    what: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeSet<String>, StoreError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.to_owned()) {
            return Err(StoreError::Invalid {
                name: format!("{what} {name}"),
                why: "it is declared twice".into(),
            });
        }
    }
    Ok(seen)
}
