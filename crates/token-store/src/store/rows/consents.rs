//! Rows of `consent`: consents under way, until they come back or grow old.

use super::Rows;
use crate::seal::Place;
use crate::{Secret, StoreError, now};
use rusqlite::OptionalExtension;

/// Long enough for a password, a second factor and a consent page.
const LIFE: i64 = 10 * 60 * 1000;
/// Consents under way at once, per token config; the oldest give way. A page that is reloaded all day fills nothing.
const UNDER_WAY: i64 = 20;

/// A consent under way, taken out of its row.
pub(crate) struct UnderWay {
    pub(crate) config: String,
    pub(crate) fingerprint: String,
    pub(crate) redirect_uri: String,
    pub(crate) verifier: Secret,
    /// Who has to sign in; None: anybody.
    pub(crate) expected: Option<String>,
}

impl Rows<'_> {
    pub(crate) fn begin_consent(
        &self,
        state: &str,
        session: &str,
        under_way: &UnderWay,
    ) -> Result<(), StoreError> {
        let now = now();
        let config = &under_way.config;
        self.connection
            .execute("DELETE FROM consent WHERE expires_at <= ?1", [now])?;
        self.connection.execute(
            "DELETE FROM consent WHERE config = ?1 AND state NOT IN
                (SELECT state FROM consent WHERE config = ?1 ORDER BY expires_at DESC, rowid DESC LIMIT ?2)",
            (config, UNDER_WAY - 1),
        )?;
        let verifier = self.seal(&verifier_of(state), &under_way.verifier)?;
        self.connection.execute(
            "INSERT INTO consent (state, session, config, fingerprint, redirect_uri, verifier, expires_at, expected)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (state, session, config, &under_way.fingerprint, &under_way.redirect_uri, verifier, now + LIFE, &under_way.expected),
        )?;
        Ok(())
    }

    /// A state offered in another session is not used up: its owner can still finish.
    pub(crate) fn take_consent(
        &self,
        state: &str,
        session: &str,
    ) -> Result<Option<UnderWay>, StoreError> {
        let taken = self
            .connection
            .query_row(
                "DELETE FROM consent WHERE state = ?1 AND session = ?2 AND expires_at > ?3
                 RETURNING config, fingerprint, redirect_uri, verifier, expected",
                (state, session, now()),
                |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get::<_, Vec<u8>>(3)?,
                        row.get(4)?,
                    ))
                },
            )
            .optional()?;
        let Some((config, fingerprint, redirect_uri, sealed, expected)) = taken else {
            return Ok(None);
        };
        let verifier = self.unseal(&verifier_of(state), &sealed)?;
        Ok(Some(UnderWay {
            config,
            fingerprint,
            redirect_uri,
            verifier,
            expected,
        }))
    }
}

fn verifier_of(state: &str) -> Place<'_> {
    Place {
        table: "consent",
        row: state,
        column: "verifier",
    }
}
