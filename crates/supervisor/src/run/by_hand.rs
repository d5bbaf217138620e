//! Accounts made and changed by hand: what the page and the command line do alike, on the databases alone.

use provider_template::{Library, Mistake};
use spool::{Direction, Spool, SpoolError};
use token_store::accounts::{Change, Definition, Given, Kind, Order};
use token_store::{Store, StoreError};

use crate::config::by_hand::{Unfit, read};

impl From<ByHandError> for web_admin::ChangeError {
    fn from(error: ByHandError) -> Self {
        match error {
            ByHandError::Unfit(Unfit::Mistakes(mistakes)) => Self::Mistakes(mistakes),
            ByHandError::NotEmpty(why) => Self::Refused(why),
            ByHandError::Spool(error) => Self::Failed(error.to_string()),
            ByHandError::Store(error) | ByHandError::Unfit(Unfit::Store(error)) => match error {
                StoreError::Unknown { .. }
                | StoreError::NameTaken { .. }
                | StoreError::InUse { .. }
                | StoreError::DeclaredIn { .. }
                | StoreError::Meanwhile { .. }
                | StoreError::Invalid { .. } => Self::Refused(error.to_string()),
                error => Self::Failed(error.to_string()),
            },
        }
    }
}

/// Where an account's secrets stand in its order.
const SECRETS: [&str; 2] = ["auth.password", "deliver.http.secret"];

/// Why an account was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ByHandError {
    /// The order is no account.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The store refused, or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Deleting it would leave messages that nobody delivers.
    #[error("{0}")]
    NotEmpty(String),
}

/// Makes a change, all of it or nothing.
pub(crate) async fn make(
    (store, spool, library): (&Store, &Spool, &Library),
    kind: Kind,
    change: Change,
) -> Result<(), ByHandError> {
    match change {
        Change::Add(order) => {
            let definition = read(kind, &order, library, store)?;
            store.add_account(definition).await.map_err(at_name)
        }
        Change::Edit {
            name,
            version,
            mut order,
            password_stays_home,
        } => {
            let present = store.account(kind, &name)?;
            let present = present.ok_or_else(|| unknown(kind, &name))?.definition;
            order.set_text("name", &name);
            let kept = keep_secrets(&mut order, &store.order_of(&present, library)?);
            let definition = read(kind, &order, library, store)?;
            if kept && password_stays_home && definition.server() != present.server() {
                return Err(elsewhere(&definition));
            }
            Ok(store.edit_account(definition, version).await?)
        }
        Change::Delete(name) => delete(store, spool, kind, &name).await,
        Change::Pause { name, paused } => Ok(store.pause_account(kind, &name, paused).await?),
    }
}

/// A secret that was left empty is the one that is there; true: the password was.
fn keep_secrets(order: &mut Order, present: &Order) -> bool {
    let mut password_kept = false;
    for key in SECRETS {
        let empty = matches!(order.get(key), Some(Given::Secret(secret)) if secret.is_empty());
        if let Some(secret) = present.get(key).filter(|_| empty) {
            order.set(key, secret.clone());
            password_kept |= key == "auth.password";
        }
    }
    password_kept
}

fn elsewhere(definition: &Definition) -> ByHandError {
    let (host, port) = definition.server();
    let why =
        format!("type it once more: it is to be sent to {host}:{port}, another server than before");
    mistake("auth.password", why)
}

/// A name that is taken is a mistake at its key.
fn at_name(error: StoreError) -> ByHandError {
    match error {
        StoreError::NameTaken { what, origin, .. } => {
            let why = format!("is taken: another {what} has this name, {origin}");
            mistake("name", why)
        }
        error => error.into(),
    }
}

fn mistake(field: &str, why: String) -> ByHandError {
    let field = field.to_owned();
    Unfit::Mistakes(vec![Mistake { field, why }]).into()
}

fn unknown(kind: Kind, name: &str) -> StoreError {
    StoreError::Unknown {
        what: kind.word(),
        name: name.to_owned(),
    }
}

/// The direction in which an account's messages travel.
pub(crate) fn direction(kind: Kind) -> Direction {
    match kind {
        Kind::Mailbox => Direction::In,
        Kind::Relay => Direction::Out,
    }
}

/// Refused while something of it is not delivered: nobody would deliver it any more.
async fn delete(store: &Store, spool: &Spool, kind: Kind, name: &str) -> Result<(), ByHandError> {
    let counts = spool.counts(direction(kind), name)?;
    if store.account(kind, name)?.is_some() && counts.waiting + counts.held > 0 {
        let what = kind.word();
        return Err(ByHandError::NotEmpty(format!(
            "the {what} {name} has messages that are not delivered: {} waiting, {} held; let them go out, or delete them from the queue, \
             and delete the {what} then (paused meanwhile, it takes no new ones)",
            counts.waiting, counts.held
        )));
    }
    Ok(store.delete_account(kind, name).await?)
}
