//! Accounts made by hand, in the page or on the command line: added, changed, deleted; and any account paused and resumed.

use super::declare::token_config_exists;
use super::{Auth, BouncesTo, Kind, Mailbox, Order, Relay};
use crate::store::{Account, Beside, Rows};
use crate::{Store, StoreError};

/// A mailbox or a relay.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    /// One to fetch.
    Mailbox(Box<Mailbox>),
    /// One to send through.
    Relay(Box<Relay>),
}

impl Definition {
    /// Which of the two.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Mailbox(_) => Kind::Mailbox,
            Self::Relay(_) => Kind::Relay,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Mailbox(mailbox) => &mailbox.name,
            Self::Relay(relay) => &relay.name,
        }
    }

    /// What it signs in with.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        match self {
            Self::Mailbox(mailbox) => &mailbox.auth,
            Self::Relay(relay) => &relay.auth,
        }
    }

    /// The provider template it names itself.
    #[must_use]
    pub fn template(&self) -> Option<&str> {
        match self {
            Self::Mailbox(mailbox) => mailbox.template.as_deref(),
            Self::Relay(relay) => relay.template.as_deref(),
        }
    }

    /// Where it connects to: host and port.
    #[must_use]
    pub fn server(&self) -> (&str, u16) {
        match self {
            Self::Mailbox(mailbox) => (&mailbox.host, mailbox.port),
            Self::Relay(relay) => (&relay.host, relay.port),
        }
    }

    /// The file that declares it.
    #[must_use]
    pub fn declared_in(&self) -> Option<&str> {
        match self {
            Self::Mailbox(mailbox) => mailbox.declared_in.as_deref(),
            Self::Relay(relay) => relay.declared_in.as_deref(),
        }
    }

    /// Its definition says that it is paused; see also [`Defined::paused`].
    #[must_use]
    pub fn paused(&self) -> bool {
        match self {
            Self::Mailbox(mailbox) => mailbox.paused,
            Self::Relay(relay) => relay.paused,
        }
    }
}

/// An account as it is defined, and what stands beside the definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Defined {
    /// Where `paused` is what the file says, not what a person said later.
    pub definition: Definition,
    /// To be named when it is changed, so that nobody's change is written over unseen.
    pub version: i64,
    /// A person paused it. Kept over restarts and reloads, also for an account that a file declares.
    pub paused: bool,
}

impl Defined {
    /// It is switched off, whoever says so.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.paused || self.definition.paused()
    }
}

/// A change of the accounts, as a person asks for it.
#[derive(Debug)]
pub enum Change {
    /// A new one.
    Add(Order),
    /// What the account of this name is to be from now on.
    Edit {
        /// Its name, which never changes.
        name: String,
        /// What its editor saw.
        version: i64,
        /// All of it; an empty secret is the present one.
        order: Order,
        /// The present password is not sent to another server than before: it has to be typed again.
        password_stays_home: bool,
    },
    /// Gone for good.
    Delete(String),
    /// Switched off, or on again.
    Pause {
        /// Which.
        name: String,
        /// Off.
        paused: bool,
    },
}

impl Store {
    /// One account; `None`: there is none of this name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn account(&self, kind: Kind, name: &str) -> Result<Option<Defined>, StoreError> {
        self.read(|rows| {
            Ok(match kind {
                Kind::Mailbox => rows.account_with_rest(name)?.map(mailbox),
                Kind::Relay => rows.account_with_rest(name)?.map(relay),
            })
        })
    }

    /// All accounts of a kind, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn accounts(&self, kind: Kind) -> Result<Vec<Defined>, StoreError> {
        self.read(|rows| {
            Ok(match kind {
                Kind::Mailbox => rows
                    .accounts_with_rest()?
                    .into_iter()
                    .map(mailbox)
                    .collect(),
                Kind::Relay => rows.accounts_with_rest()?.into_iter().map(relay).collect(),
            })
        })
    }

    /// Adds an account; `paused` in its definition becomes a pause by the person who adds it.
    ///
    /// # Errors
    /// When the name exists, or the definition contradicts another account.
    pub async fn add_account(&self, definition: Definition) -> Result<(), StoreError> {
        self.write(move |rows| match definition {
            Definition::Mailbox(mailbox) => add(rows, *mailbox),
            Definition::Relay(relay) => {
                senders_are_free(rows, &relay)?;
                add(rows, *relay)
            }
        })
        .await
    }

    /// Changes an account that was `seen` at this version. Whether it is paused stays as it is.
    ///
    /// # Errors
    /// When there is none of this name, a file declares it, it was changed meanwhile, or contradicts another account now.
    pub async fn edit_account(&self, definition: Definition, seen: i64) -> Result<(), StoreError> {
        self.write(move |rows| match definition {
            Definition::Mailbox(mailbox) => edit(rows, *mailbox, seen),
            Definition::Relay(relay) => {
                senders_are_free(rows, &relay)?;
                edit(rows, *relay, seen)
            }
        })
        .await
    }

    /// Deletes an account. Its messages in flight are the spool's, and for the caller to look after.
    ///
    /// # Errors
    /// When there is none of this name, a file declares it, or a relay reports to the mailbox.
    pub async fn delete_account(&self, kind: Kind, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |rows| match kind {
            Kind::Mailbox => {
                let by = reporters_to(rows, &name)?;
                if !by.is_empty() {
                    let what = kind.word();
                    return Err(StoreError::InUse { what, name, by });
                }
                delete::<Mailbox>(rows, &name)
            }
            Kind::Relay => delete::<Relay>(rows, &name),
        })
        .await
    }

    /// Pauses an account, or lets it go on.
    ///
    /// # Errors
    /// When there is none of this name, or it is to go on although its file says `paused: true`.
    pub async fn pause_account(
        &self,
        kind: Kind,
        name: &str,
        paused: bool,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |rows| match kind {
            Kind::Mailbox => pause::<Mailbox>(rows, name, paused),
            Kind::Relay => pause::<Relay>(rows, name, paused),
        })
        .await
    }
}

fn mailbox((mailbox, beside): (Mailbox, Beside)) -> Defined {
    Defined {
        definition: Definition::Mailbox(Box::new(mailbox)),
        version: beside.version,
        paused: beside.paused,
    }
}

fn relay((relay, beside): (Relay, Beside)) -> Defined {
    Defined {
        definition: Definition::Relay(Box::new(relay)),
        version: beside.version,
        paused: beside.paused,
    }
}

fn add<A: Account>(rows: &Rows<'_>, mut account: A) -> Result<(), StoreError> {
    if let Some((present, _)) = rows.account_with_rest::<A>(account.name())? {
        let by_hand = || "made in the web page or on the command line".to_owned();
        return Err(StoreError::NameTaken {
            what: A::TABLE,
            name: present.name().to_owned(),
            origin: present
                .declared_in()
                .map_or_else(by_hand, |file| format!("declared in {file}")),
        });
    }
    token_config_exists(rows, &account)?;
    let paused = std::mem::take(account.paused_mut());
    rows.put_account(&account)?;
    rows.pause_account::<A>(account.name(), paused).map(drop)
}

fn edit<A: Account>(rows: &Rows<'_>, mut account: A, seen: i64) -> Result<(), StoreError> {
    let (_, beside) = known::<A>(rows, account.name())?;
    if beside.version != seen {
        return Err(StoreError::Meanwhile {
            what: A::TABLE,
            name: account.name().to_owned(),
        });
    }
    token_config_exists(rows, &account)?;
    *account.paused_mut() = false;
    rows.put_account(&account)
}

fn delete<A: Account>(rows: &Rows<'_>, name: &str) -> Result<(), StoreError> {
    known::<A>(rows, name)?;
    rows.remove_account::<A>(name)?;
    rows.remove_unused_subjects(crate::now())
}

fn pause<A: Account>(rows: &Rows<'_>, name: String, paused: bool) -> Result<(), StoreError> {
    let Some((mut account, _)) = rows.account_with_rest::<A>(&name)? else {
        return Err(unknown::<A>(name));
    };
    if let (false, true, Some(file)) = (paused, *account.paused_mut(), account.declared_in()) {
        return Err(StoreError::DeclaredIn {
            file: format!("{file} as paused"),
            name,
        });
    }
    rows.pause_account::<A>(&name, paused).map(drop)
}

/// The account, if it is one that may be changed by hand.
fn known<A: Account>(rows: &Rows<'_>, name: &str) -> Result<(A, Beside), StoreError> {
    let found = rows.account_with_rest::<A>(name)?;
    let (account, beside) = found.ok_or_else(|| unknown::<A>(name.to_owned()))?;
    match account.declared_in() {
        Some(file) => Err(StoreError::DeclaredIn {
            name: name.to_owned(),
            file: file.to_owned(),
        }),
        None => Ok((account, beside)),
    }
}

fn unknown<A: Account>(name: String) -> StoreError {
    StoreError::Unknown {
        what: A::TABLE,
        name,
    }
}

/// Two relays that claim one sender would keep the daemon from starting.
fn senders_are_free(rows: &Rows<'_>, relay: &Relay) -> Result<(), StoreError> {
    for other in rows.accounts::<Relay>()? {
        let same = |a: &String, b: &String| a.trim().eq_ignore_ascii_case(b.trim());
        let claims = |sender: &&String| other.senders.iter().any(|claimed| same(claimed, sender));
        if other.name != relay.name
            && let Some(sender) = relay.senders.iter().find(claims)
        {
            return Err(StoreError::Invalid {
                name: format!("relay {}", relay.name),
                why: format!(
                    "the sender {sender} is claimed by the relay {} already",
                    other.name
                ),
            });
        }
    }
    Ok(())
}

/// The relays whose reports go to a mailbox.
fn reporters_to(rows: &Rows<'_>, mailbox: &str) -> Result<Vec<String>, StoreError> {
    let relays = rows.accounts::<Relay>()?.into_iter();
    let reports =
        |relay: &Relay| matches!(&relay.bounces_to, Some(BouncesTo::Mailbox(to)) if to == mailbox);
    Ok(relays
        .filter(reports)
        .map(|relay| format!("relay {}", relay.name))
        .collect())
}
