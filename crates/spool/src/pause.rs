//! Accounts that a server wants left alone for a while: kept, so that a restart does not knock early.

use std::time::Duration;

use rusqlite::params;

use crate::clock::seconds_up;
use crate::error::Result;
use crate::rows::printable;
use crate::{Direction, Spool};

/// No server means a longer time than a day, and a clock that was set must not make one of it either.
const LONGEST: i64 = 86_400;

/// Who says how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseKind {
    /// The server named the time; asking earlier may make it longer.
    Told,
    /// The server asks for patience and names no time; this one is a guess of ours.
    Guessed,
    /// The server's rule for the time between two sign-ins (POP3's LOGIN-DELAY). Nothing is wrong.
    Turn,
}

impl PauseKind {
    /// Each of them, the server's own first.
    pub const ALL: [Self; 3] = [Self::Told, Self::Guessed, Self::Turn];

    /// The word in the table.
    fn as_str(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Guessed => "guessed",
            Self::Turn => "turn",
        }
    }
}

/// A time for which an account is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Who says so.
    pub kind: PauseKind,
    /// For people, in the server's words.
    pub why: String,
    /// How long from now on.
    pub left: Duration,
}

impl Spool {
    /// Keeps a pause of an account; one of the same kind is replaced. `peer` is the server, and the user there: with another one the
    /// account has no pause.
    pub async fn keep_pause(
        &self,
        direction: Direction,
        account: &str,
        peer: &str,
        pause: &Pause,
    ) -> Result<()> {
        let (account, peer) = (account.to_owned(), peer.to_owned());
        let (kind, why, left) = (pause.kind, printable(&pause.why), seconds_up(pause.left));
        self.inner
            .writer
            .call(move |t| {
                // The clock of the tables has whole seconds: one more, so that none is missing.
                let until = t.now + left.min(LONGEST) + 1;
                t.execute(
                    "INSERT OR REPLACE INTO pause (direction, account, kind, peer, until, why) VALUES (?, ?, ?, ?, ?, ?)",
                    params![direction.as_str(), account, kind.as_str(), peer, until, why],
                )?;
                Ok(())
            })
            .await
    }

    /// The pauses of an account that are not over, the server's own first.
    pub fn pauses(&self, direction: Direction, account: &str, peer: &str) -> Result<Vec<Pause>> {
        let now = self.inner.clock.seconds();
        self.inner.reads.with(|conn| {
            let mut one = conn.prepare_cached(
                "SELECT until, why FROM pause WHERE direction = ? AND account = ? AND kind = ? AND peer = ? AND until > ?",
            )?;
            let mut pauses = Vec::new();
            for kind in PauseKind::ALL {
                let params = params![direction.as_str(), account, kind.as_str(), peer, now];
                let rows = one.query_map(params, |row| {
                    let left = (row.get::<_, i64>(0)? - now).clamp(0, LONGEST);
                    let left = Duration::from_secs(left.unsigned_abs());
                    let why = row.get(1)?;
                    Ok(Pause { kind, why, left })
                })?;
                pauses.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
            }
            Ok(pauses)
        })
    }

    /// Ends an account's pauses of some kinds: their time is over, or a person says so.
    pub async fn end_pauses(
        &self,
        direction: Direction,
        account: &str,
        kinds: &[PauseKind],
    ) -> Result<()> {
        let (account, kinds) = (account.to_owned(), kinds.to_vec());
        self.inner
            .writer
            .call(move |t| {
                for kind in kinds {
                    t.execute(
                        "DELETE FROM pause WHERE direction = ? AND account = ? AND kind = ?",
                        params![direction.as_str(), account, kind.as_str()],
                    )?;
                }
                Ok(())
            })
            .await
    }
}
