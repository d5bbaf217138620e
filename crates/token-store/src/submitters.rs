//! Who may sign in to a submission listener.
//!
//! A password is stored as its argon2id hash. One that was right is remembered for a while, as a digest that only this process can
//! make, so that a helpdesk which opens a connection for every message does not pay for a hash each time. The digest includes the
//! stored hash: with a new password, or without the user, nothing of the memory fits any more.

use crate::password::{self, hash, hashing, verify};
use crate::seal::SealError;
use crate::store::Rows;
use crate::{Secret, Store, StoreError, now};
use rusqlite::{OptionalExtension, Row};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

/// Hashes at a time; each takes 19 MiB. Apart from the administrators' one, so that a guesser here does not keep them out.
const TURNS: usize = 2;
/// How long a password that was right is remembered: a busy helpdesk is back within it, and a core dump of yesterday holds nothing.
const MEMORY: Duration = Duration::from_secs(600);
/// Passwords remembered; a helpdesk has a handful of users.
const MEMORIES: usize = 256;
/// An address is no longer (RFC 5321 section 4.5.3.1), and names are often addresses.
const LONGEST_NAME: usize = 254;

/// One who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Submitter {
    /// The name to sign in with.
    pub name: String,
    /// Addresses and `@domain`s that they may send as; empty: every sender that a relay serves.
    pub senders: Vec<String>,
    /// When the password or the senders changed last, in seconds since 1970.
    pub changed_at: i64,
    /// The same in milliseconds, to tell one state of a user from the next.
    #[serde(skip)]
    version: i64,
}

impl Submitter {
    /// Whether they may send as an address; letters are compared in any case.
    #[must_use]
    pub fn may_send_as(&self, address: &str) -> bool {
        let address = address.to_lowercase();
        let serves = |sender: &String| match sender.to_lowercase() {
            domain if domain.starts_with('@') => address.ends_with(&domain),
            whole => address == whole,
        };
        self.senders.is_empty() || self.senders.iter().any(serves)
    }
}

impl Store {
    /// Sets a user's password, and their senders where some are given; true: the user is new.
    ///
    /// # Errors
    /// A name or a password that cannot be used to sign in.
    pub async fn set_submitter(
        &self,
        name: &str,
        password: Secret,
        senders: Option<Vec<String>>,
    ) -> Result<bool, StoreError> {
        let invalid = |why: &str| StoreError::Invalid {
            name: format!("submission user {name:?}"),
            why: why.into(),
        };
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(invalid(
                "a name has 1 to 254 bytes and no control characters",
            ));
        }
        password::check(&password).map_err(invalid)?;
        if password.expose().chars().any(char::is_control) {
            return Err(invalid(
                "a password with control characters can't be sent by SMTP",
            ));
        }
        let turn = self.submitters().turn().await?;
        let hash = hashing(move || hash(&password)).await??;
        drop(turn);
        let name = name.to_owned();
        let senders = senders.map(|senders| serde_json::Value::from(senders).to_string());
        self.write(move |rows| {
            let known = find(rows, &name)?.is_some();
            rows.connection.execute(
                "INSERT INTO submitter (name, password_hash, senders, changed_at) VALUES (?1, ?2, ifnull(?3, '[]'), ?4)
                 ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash,
                 senders = ifnull(?3, submitter.senders), changed_at = excluded.changed_at",
                (&name, hash, senders, now()),
            )?;
            Ok(!known)
        })
        .await
    }

    /// Removes a user: from the next sign-in on.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn delete_submitter(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |rows| {
            let sql = "DELETE FROM submitter WHERE name = ?1";
            match rows.connection.execute(sql, [&name])? {
                0 => Err(StoreError::Unknown {
                    what: "submission user",
                    name,
                }),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Everybody who may sign in, by name.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn list_submitters(&self) -> Result<Vec<Submitter>, StoreError> {
        self.read(|rows| {
            let sql =
                "SELECT name, senders, changed_at, password_hash FROM submitter ORDER BY name";
            let mut statement = rows.connection.prepare_cached(sql)?;
            let found = statement.query_map([], |row| Ok(submitter(row)?.0))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// Whether a user is as they were when they signed in: not removed, with the same password and senders.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn is_unchanged(&self, submitter: &Submitter) -> Result<bool, StoreError> {
        let found = self.read(|rows| find(rows, &submitter.name))?;
        Ok(found.is_some_and(|(now, _)| now == *submitter))
    }

    /// The user, if this very password was right a short while ago; costs next to nothing.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn remembered_submitter(
        &self,
        name: &str,
        password: &Secret,
    ) -> Result<Option<Submitter>, StoreError> {
        let found = self.read(|rows| find(rows, name))?;
        let remembers = |(_, hash): &(Submitter, String)| {
            self.submitters().remembers(hash, password, Instant::now())
        };
        Ok(found.filter(remembers).map(|(submitter, _)| submitter))
    }

    /// Checks a password in constant effort (also for unknown names), off the async threads, a few at a time.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn sign_in_submitter(
        &self,
        name: &str,
        password: Secret,
    ) -> Result<Option<Submitter>, StoreError> {
        let _turn = self.submitters().turn().await?;
        // Several connections of one user at once wait for the first of them.
        if let Some(submitter) = self.remembered_submitter(name, &password)? {
            return Ok(Some(submitter));
        }
        let (submitter, stored) = self.read(|rows| find(rows, name))?.unzip();
        let memory = stored
            .as_ref()
            .map(|hash| self.submitters().digest(hash, &password));
        let matches = hashing(move || verify(&password, stored.as_deref())).await??;
        if let Some(memory) = memory.filter(|_| matches) {
            self.submitters().remember(memory, Instant::now());
        }
        Ok(submitter.filter(|_| matches))
    }
}

fn find(rows: &Rows<'_>, name: &str) -> Result<Option<(Submitter, String)>, StoreError> {
    let sql = "SELECT name, senders, changed_at, password_hash FROM submitter WHERE name = ?1";
    let mut statement = rows.connection.prepare_cached(sql)?;
    Ok(statement.query_row([name], submitter).optional()?)
}

fn submitter(row: &Row<'_>) -> rusqlite::Result<(Submitter, String)> {
    let senders: String = row.get(1)?;
    let unreadable = |error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    };
    let version: i64 = row.get(2)?;
    let submitter = Submitter {
        name: row.get(0)?,
        senders: serde_json::from_str(&senders).map_err(unreadable)?,
        changed_at: version / 1000,
        version,
    };
    Ok((submitter, row.get(3)?))
}

type Digest = [u8; 32];

/// The turns at hashing, and the passwords that were right.
pub(crate) struct Submitters {
    turns: Semaphore,
    /// Without it a digest says nothing of the password.
    key: Zeroizing<[u8; 32]>,
    memory: Mutex<HashMap<Digest, Instant>>,
}

impl Submitters {
    pub(crate) fn new() -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).map_err(|_| SealError::Randomness)?;
        Ok(Self {
            turns: Semaphore::new(TURNS),
            key,
            memory: Mutex::default(),
        })
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let turn = self.turns.acquire().await;
        turn.map_err(|e| StoreError::Database(e.to_string()))
    }

    fn digest(&self, hash: &str, password: &Secret) -> Digest {
        let mut digest = Sha256::new();
        digest.update(self.key.as_ref());
        digest.update((hash.len() as u64).to_be_bytes());
        digest.update(hash);
        digest.update(password.expose());
        digest.finalize().into()
    }

    fn remember(&self, digest: Digest, now: Instant) {
        let mut memory = self.lock();
        memory.retain(|_, since| now.duration_since(*since) < MEMORY);
        if memory.len() >= MEMORIES {
            let oldest = memory.iter().min_by_key(|(_, since)| **since);
            let oldest = oldest.map(|(digest, _)| *digest);
            oldest.and_then(|digest| memory.remove(&digest));
        }
        memory.insert(digest, now);
    }

    fn remembers(&self, hash: &str, password: &Secret, now: Instant) -> bool {
        let digest = self.digest(hash, password);
        let since = self.lock().get(&digest).copied();
        since.is_some_and(|since| now.duration_since(since) < MEMORY)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Instant>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_remembered_for_its_hash_alone_and_for_ten_minutes() {
        let submitters = Submitters::new().unwrap();
        let (now, right) = (Instant::now(), Secret::new("right"));
        submitters.remember(submitters.digest("hash", &right), now);
        assert!(submitters.remembers("hash", &right, now));
        assert!(!submitters.remembers("hash", &Secret::new("wrong"), now));
        assert!(!submitters.remembers("new hash", &right, now));
        assert!(!submitters.remembers("hash", &right, now + MEMORY));
        assert_ne!(
            submitters.digest("hash", &right),
            Submitters::new().unwrap().digest("hash", &right),
            "another process makes other digests"
        );
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let submitters = Submitters::new().unwrap();
        let (start, password) = (Instant::now(), Secret::new("p"));
        for n in 0..=MEMORIES {
            let at = start + Duration::from_millis(n as u64);
            submitters.remember(submitters.digest(&n.to_string(), &password), at);
        }
        assert_eq!(submitters.lock().len(), MEMORIES);
        assert!(!submitters.remembers("0", &password, start));
        assert!(submitters.remembers("1", &password, start));
    }

    #[test]
    fn senders_are_addresses_or_domains_in_any_case() {
        let with = |senders: &[&str]| Submitter {
            name: "u".to_owned(),
            senders: senders.iter().map(ToString::to_string).collect(),
            changed_at: 0,
            version: 0,
        };
        assert!(with(&[]).may_send_as("anybody@anywhere.example"));
        let some = with(&["Support@A.example", "@b.example"]);
        for (address, may) in [
            ("support@a.example", true),
            ("SUPPORT@A.EXAMPLE", true),
            ("other@a.example", false),
            ("anybody@B.example", true),
            ("anybody@sub.b.example", false),
            ("b.example", false),
            ("", false),
        ] {
            assert_eq!(some.may_send_as(address), may, "{address}");
        }
    }
}
