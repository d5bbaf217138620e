//! Encryption at rest: the key, and texts sealed so that only their own row and column can open them.
//!
//! A sealed value is `format (1) | key id (8) | nonce (24) | XChaCha20-Poly1305 ciphertext`. The associated data
//! binds it to table, row, column and key, so a value copied into another row does not open there.

use crate::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The one format written so far.
const FORMAT: u8 = 1;
const KEY_ID_LEN: usize = 8;
const NONCE_LEN: usize = 24;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;
/// A key file holds at most 64 hex digits and a line end; anything much longer is another file.
const KEY_FILE_LIMIT: u64 = 4096;

/// The sealing key; prints `***`.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<[u8; 32]>,
    id: [u8; KEY_ID_LEN],
}

/// Why there is no key. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key file, but a database that was sealed with one.
    #[error(
        "the key file {path} is missing, and the database beside it is sealed already; restore the key from a backup, or, \
         if it is passed as a systemd credential, run this command as root (a new key could not open the stored tokens)"
    )]
    Missing {
        /// Where the key was looked for.
        path: PathBuf,
    },
    /// Others may read the file.
    #[error("the key file {path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key.
    #[error(
        "the key file {path} holds no key; expected 32 bytes, as base64, as 64 hex digits, or raw"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder can't be read or written.
    #[error("the key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Key {
    /// Reads a key file (32 bytes as base64 or hex text, or raw); never creates.
    ///
    /// # Errors
    /// When the file is missing, readable by others (systemd credentials are exempt, their folder is private), or no key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let file = File::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => KeyError::Missing {
                path: path.to_owned(),
            },
            _ => io(path, source),
        })?;
        let mode = file.metadata().map_err(|e| io(path, e))?.mode() & 0o7777;
        if mode & 0o077 != 0 && !is_credential(path) {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(KEY_FILE_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(|e| io(path, e))?;
        let key = parse(&bytes).ok_or_else(|| KeyError::Malformed {
            path: path.to_owned(),
        })?;
        Ok(Self::from_bytes(*key))
    }

    /// Reads `path`, or makes it, 0600, fsynced, when it doesn't exist and `fresh` (no accounts.db yet).
    ///
    /// # Errors
    /// As [`Key::read`]; a missing key beside an existing database is an error, never a new key.
    pub fn read_or_make(path: &Path, fresh: bool) -> Result<Self, KeyError> {
        match Self::read(path) {
            Err(KeyError::Missing { .. }) if fresh => {}
            other => return other,
        }
        match make(path) {
            // Another process was quicker: its key counts.
            Err(KeyError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                Self::read(path)
            }
            Err(e) => Err(e),
            Ok(()) => Self::read(path),
        }
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
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| SealError::Randomness)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_ref())))
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

fn parse(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(Zeroizing::new(raw));
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let decoded = Zeroizing::new(if text.len() == 64 {
        unhex(text)?
    } else {
        let bare = text.trim_end_matches('=');
        STANDARD_NO_PAD
            .decode(bare)
            .or_else(|_| URL_SAFE_NO_PAD.decode(bare))
            .ok()?
    });
    <[u8; 32]>::try_from(decoded.as_slice())
        .ok()
        .map(Zeroizing::new)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    Some(
        digits?
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// Writes a new key beside `path` and links it into place: the name appears whole or not at all.
fn make(path: &Path) -> Result<(), KeyError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let mut tag = [0_u8; 8];
    getrandom::fill(bytes.as_mut())
        .and_then(|()| getrandom::fill(&mut tag))
        .map_err(|e| io(path, std::io::Error::other(e.to_string())))?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", hex(&tag)));
    let draft = PathBuf::from(draft);
    let text = Zeroizing::new(format!("{}\n", STANDARD_NO_PAD.encode(bytes.as_ref())));
    let made = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::hard_link(&draft, path)
    })();
    // Leaving the draft behind would leave a second copy of the key.
    let removed = std::fs::remove_file(&draft);
    made.and(removed)
        .and_then(|()| sync_folder(path))
        .map_err(|e| io(path, e))
}

/// Makes a new name in the folder of `path` durable.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn is_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .is_some_and(|folder| !folder.is_empty() && path.starts_with(folder))
}

fn io(path: &Path, source: std::io::Error) -> KeyError {
    KeyError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
