//! Storing what a consent brought: for the right person, over the right client, and as often as the disk needs.

use super::person::{Person, compare};
use super::{ConsentError, Consented, OtherPerson};
use crate::exchange::{Grant, Owner};
use crate::store::{DeviceEnd, Rows};
use crate::tokens::Shared;
use crate::{StoreError, TokenConfig, TokenId, now};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often the granted token is tried to be stored while the disk refuses: a person waits.
const COMMIT_TRIES: u32 = 20;
const COMMIT_PAUSE: Duration = Duration::from_millis(500);
/// How long the provider has to say who signed in; beyond that it doesn't tell.
const TELLING: Duration = Duration::from_secs(20);
/// No mailbox user is called that.
const NOBODY: &str = "?";

/// Whose consent it is.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) config: String,
    pub(super) fingerprint: String,
    /// Who has to sign in; None: anybody.
    pub(super) expected: Option<String>,
    /// Its row of a sign-in on another device ends with the same commit.
    pub(super) by_device: bool,
}

/// What became of a grant.
enum Kept {
    Stored(Option<String>),
    OtherPerson(OtherPerson),
    OtherClient,
}

/// Finds out who signed in, and stores the grant. The provider may have ended the former grant with this one: while it is asked
/// who signed in, the refresh token waits on disk, aside.
pub(super) async fn keep(
    shared: &Shared,
    stored: &TokenConfig,
    asked: Asked,
    mut grant: Grant,
) -> Result<Consented, ConsentError> {
    let mut waiting = None;
    if grant.owner == Owner::Untold && shared.exchange.tells_more(&stored.entry) {
        waiting = set_aside(shared, &asked, &grant).await?;
        let owner = shared.exchange.owner(&stored.entry, &grant);
        grant.owner = timeout(TELLING, owner).await.unwrap_or_default();
    }
    let (asked, grant) = (Arc::new(asked), Arc::new(grant));
    let config = &asked.config;
    let mut left = COMMIT_TRIES;
    let kept = loop {
        match store(shared, asked.clone(), grant.clone(), waiting).await {
            Ok(kept) => break kept,
            Err(error @ StoreError::Unknown { .. }) => return Err(error.into()),
            Err(error) if left == 0 => return Err(error.into()),
            Err(error) => {
                tracing::error!(token = %config, %error, "a granted token is not on disk yet; trying again");
            }
        }
        left -= 1;
        tokio::time::sleep(COMMIT_PAUSE).await;
    };
    match kept {
        Kept::Stored(signed_in_as) => {
            tracing::info!(token = %config, "consented");
            // Nobody may be listening; the row says it all the same.
            drop(shared.consents.send(config.clone()));
            Ok(Consented {
                config: config.clone(),
                signed_in_as,
            })
        }
        Kept::OtherPerson(other) => Err(ConsentError::OtherPerson(other)),
        Kept::OtherClient => Err(ConsentError::Stale),
    }
}

/// Keeps the refresh token under nobody's name; says in which row.
async fn set_aside(
    shared: &Shared,
    asked: &Asked,
    grant: &Grant,
) -> Result<Option<i64>, StoreError> {
    let Some(refresh) = grant.refresh.clone() else {
        return Ok(None);
    };
    let (id, fingerprint) = (
        TokenId::for_subject(&asked.config, NOBODY),
        asked.fingerprint.clone(),
    );
    let why = "until it is known who signed in";
    let kept = shared
        .store
        .write(move |rows| rows.keep_aside(&id, &fingerprint, &refresh, now(), why));
    kept.await.map(Some)
}

async fn store(
    shared: &Shared,
    asked: Arc<Asked>,
    grant: Arc<Grant>,
    waiting: Option<i64>,
) -> Result<Kept, StoreError> {
    let luck = fastrand::f64();
    shared
        .store
        .write(move |rows| {
            let kept = decide(rows, &asked, &grant, luck)?;
            if let Some(row) = waiting {
                rows.remove_aside(row)?;
            }
            if asked.by_device {
                let end = match &kept {
                    Kept::Stored(_) => DeviceEnd::Granted,
                    Kept::OtherPerson(other) => {
                        DeviceEnd::Refused(format!("{}. {}", other.words(), other.advice()))
                    }
                    Kept::OtherClient => DeviceEnd::Refused(
                        "the token config names another client now; request the token again".into(),
                    ),
                };
                rows.end_device(&asked.config, end)?;
            }
            Ok(kept)
        })
        .await
}

fn decide(rows: &Rows<'_>, asked: &Asked, grant: &Grant, luck: f64) -> Result<Kept, StoreError> {
    let (id, now) = (TokenId::of(&asked.config), now());
    let aside = |id: &TokenId, why: &str| match &grant.refresh {
        Some(spare) => rows
            .keep_aside(id, &asked.fingerprint, spare, now, why)
            .map(drop),
        None => Ok(()),
    };
    if rows.fingerprint_of(&asked.config)? != asked.fingerprint {
        // The config changed its client while the person signed in: this grant is for the former one.
        aside(&id, "consented for a former client")?;
        return Ok(Kept::OtherClient);
    }
    let mut token = rows.token(&id)?;
    let before = token.identity.as_deref();
    if let Person::Other(signed_in) =
        compare(asked.expected.as_deref(), before, grant.owner.names())
    {
        // Under that person's name, so that it is never taken for this token's own.
        aside(
            &TokenId::for_subject(&asked.config, &signed_in),
            "another person had to sign in",
        )?;
        return Ok(Kept::OtherPerson(OtherPerson {
            signed_in,
            expected: asked.expected.clone().unwrap_or_default(),
        }));
    }
    let seen = token.version;
    token.consented(grant, now, luck);
    rows.put_token(&id, seen, &token)?;
    Ok(Kept::Stored(token.identity))
}
