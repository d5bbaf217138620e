//! Passwords of people and programs: stored as their argon2id hash, checked in constant effort off the async threads.

use crate::{Secret, StoreError};
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};

/// Longer passwords are an attempt to make hashing expensive.
const PASSWORD_CAP: usize = 1024;
/// What an unknown name is checked against: the same work as for a known one, and no password has this hash.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmU$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What is wrong with a new password.
pub(crate) fn check(password: &Secret) -> Result<(), &'static str> {
    match password.expose().len() {
        1..=PASSWORD_CAP => Ok(()),
        _ => Err("the password must have 1 to 1024 bytes"),
    }
}

/// Runs a hash off the async threads; the caller holds the turn.
pub(crate) async fn hashing<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| unhashed(&e))
}

fn unhashed(e: &dyn std::fmt::Display) -> StoreError {
    StoreError::Database(format!("a password could not be hashed: {e}"))
}

/// A hash with a salt of its own.
pub(crate) fn hash(password: &Secret) -> Result<String, StoreError> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(|e| unhashed(&e))?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| unhashed(&e))?;
    let hash = Argon2::default()
        .hash_password(password.expose().as_bytes(), &salt)
        .map_err(|e| unhashed(&e))?;
    Ok(hash.to_string())
}

/// Whether a password is the one of a hash; without a hash the same work is done for nothing.
pub(crate) fn verify(password: &Secret, stored: Option<&str>) -> Result<bool, StoreError> {
    let stored = stored.unwrap_or(NOBODY);
    let parsed = PasswordHash::new(stored).map_err(|e| {
        StoreError::Database(format!("the stored password hash can't be read: {e}"))
    })?;
    let short = &password.expose().as_bytes()[..password.expose().len().min(PASSWORD_CAP)];
    let matches = Argon2::default().verify_password(short, &parsed).is_ok();
    Ok(matches && password.expose().len() <= PASSWORD_CAP)
}
