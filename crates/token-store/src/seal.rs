//! Encryption at rest: the key, and texts sealed so that only their own row and column can open them.
//!
//! A sealed value is `format (1) | key id (8) | nonce (24) | XChaCha20-Poly1305 ciphertext`. The associated data
//! binds it to table, row, column and key, so a value copied into another row does not open there.

mod file;
mod ring;

pub(crate) use file::sync_folder;
pub use file::{Draft, KeyError};
pub(crate) use ring::Ring;

use crate::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The one format written so far.
const FORMAT: u8 = 1;
const KEY_ID_LEN: usize = 8;
const NONCE_LEN: usize = 24;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;
/// The sealing key; prints `***`.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<[u8; 32]>,
    id: [u8; KEY_ID_LEN],
}

impl Key {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        getrandom::fill(bytes.as_mut())?;
        Ok(Self::from_bytes(*bytes))
    }

    /// A key from its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let digest = Sha256::new()
            .chain_update(b"postern key id")
            .chain_update(bytes)
            .finalize();
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&digest[..KEY_ID_LEN]);
        Self {
            bytes: Zeroizing::new(bytes),
            id,
        }
    }

    /// Whether this key sealed a value.
    pub(crate) fn sealed(&self, value: &[u8]) -> bool {
        key_id(value) == Some(self.id.as_slice())
    }

    pub(crate) fn seal(&self, place: &Place<'_>, secret: &Secret) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Randomness)?;
        let aad = self.associated_data(place);
        let sealed = self
            .cipher()
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: secret.expose().as_bytes(),
                    aad: &aad,
                },
            )
            .map_err(|_| SealError::TooLong)?;
        let mut out = Vec::with_capacity(HEADER_LEN + sealed.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    pub(crate) fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Secret, SealError> {
        let (header, ciphertext) = sealed
            .split_at_checked(HEADER_LEN)
            .ok_or(SealError::Damaged)?;
        if header[0] != FORMAT {
            return Err(SealError::Damaged);
        }
        if header[1..=KEY_ID_LEN] != self.id {
            return Err(SealError::OtherKey);
        }
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&header[1 + KEY_ID_LEN..]);
        let aad = self.associated_data(place);
        let plain = self
            .cipher()
            .decrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: ciphertext,
                    aad: &aad,
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| SealError::Damaged)?;
        let text = std::str::from_utf8(&plain).map_err(|_| SealError::Damaged)?;
        Ok(Secret::new(text))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&CipherKey::from(*self.bytes))
    }

    /// Each part with its length before it, so that no two places read the same.
    fn associated_data(&self, place: &Place<'_>) -> Vec<u8> {
        let mut aad = Vec::new();
        for part in [
            place.table.as_bytes(),
            place.row.as_bytes(),
            place.column.as_bytes(),
            &self.id,
        ] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad
    }
}

/// Which key sealed a value; none when it is no sealed value at all.
fn key_id(sealed: &[u8]) -> Option<&[u8]> {
    let (header, _) = sealed.split_at_checked(HEADER_LEN)?;
    (header[0] == FORMAT).then(|| &header[1..=KEY_ID_LEN])
}

/// By their ids, which are digests: no comparison of secret bytes gives them away.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Key {}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where a sealed value lives.
pub(crate) struct Place<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a str,
    pub(crate) column: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("it was sealed with another key")]
    OtherKey,
    #[error("it was altered, or moved here from another row")]
    Damaged,
    #[error("it is too long to seal")]
    TooLong,
    #[error("the system gives no random bytes")]
    Randomness,
}

/// A random text of 256 bits, URL-safe: cookies, states, form tokens.
pub(crate) fn random_text() -> Result<Secret, SealError> {
    let bytes = random_bytes::<32>()?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_ref())))
}

/// Random bytes, wiped when dropped.
pub(crate) fn random_bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, SealError> {
    let mut bytes = Zeroizing::new([0_u8; N]);
    getrandom::fill(bytes.as_mut()).map_err(|_| SealError::Randomness)?;
    Ok(bytes)
}

/// SHA-256 as hex: what is stored of a value that only its bearer should know.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
