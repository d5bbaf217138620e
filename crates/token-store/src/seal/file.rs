//! Key files: read with their permissions checked, made at the first start, replaced by a rotation.

use super::{Key, hex};
use crate::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A key file holds at most 64 hex digits and a line end; anything much longer is another file.
const KEY_FILE_LIMIT: u64 = 4096;

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

    /// A key from its text, as key files hold it; none when it isn't one.
    #[must_use]
    pub fn from_text(text: &Secret) -> Option<Self> {
        parse(text.expose().as_bytes()).map(|bytes| Self::from_bytes(*bytes))
    }

    /// The text that a key file holds.
    #[must_use]
    pub fn text(&self) -> Secret {
        Secret::new(format!("{}\n", STANDARD_NO_PAD.encode(self.bytes.as_ref())))
    }

    /// Writes the key into a new file, for its owner alone; durable when this returns.
    ///
    /// # Errors
    /// When the file exists, or can't be written.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        write(path, self, None)
            .and_then(|()| sync_folder(path))
            .map_err(|e| io(path, e))
    }
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
    let mut tag = [0_u8; 8];
    let key = Key::generate()
        .and_then(|key| getrandom::fill(&mut tag).map(|()| key))
        .map_err(|e| io(path, std::io::Error::other(e.to_string())))?;
    let draft = named_after(path, &hex(&tag));
    let made = write(&draft, &key, None).and_then(|()| std::fs::hard_link(&draft, path));
    // Leaving the draft behind would leave a second copy of the key.
    let removed = std::fs::remove_file(&draft);
    made.and(removed)
        .and_then(|()| sync_folder(path))
        .map_err(|e| io(path, e))
}

fn named_after(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    PathBuf::from(name)
}

/// A file that nobody else can read, on disk when this returns.
fn write(path: &Path, key: &Key, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
    file.write_all(key.text().expose().as_bytes())?;
    file.sync_all()
}

/// A key that waits beside the file it is to replace. Until [`Draft::put_in_place`] the old file is as it was.
pub struct Draft {
    draft: PathBuf,
    place: PathBuf,
}

impl Draft {
    /// Writes `key` beside the key file `path`, for the same owner, durably.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn write(key: &Key, path: &Path) -> Result<Self, KeyError> {
        let written = || {
            // Where the name is a link, what it points to is replaced.
            let place = match std::fs::canonicalize(path) {
                Err(e) if e.kind() == ErrorKind::NotFound => path.to_owned(),
                found => found?,
            };
            let owner = match std::fs::metadata(&place) {
                Ok(meta) => Some((meta.uid(), meta.gid())),
                Err(_) => None,
            };
            let draft = named_after(&place, "new");
            // Left by a rotation that was killed; the database says which key counts, never this file.
            match std::fs::remove_file(&draft) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            write(&draft, key, owner)?;
            sync_folder(&draft)?;
            Ok(Self { draft, place })
        };
        written().map_err(|e| io(path, e))
    }

    /// Replaces the key file; durable when this returns.
    ///
    /// # Errors
    /// When it can't be replaced: then the old file is as it was.
    pub fn put_in_place(self) -> Result<(), KeyError> {
        std::fs::rename(&self.draft, &self.place)
            .and_then(|()| sync_folder(&self.place))
            .map_err(|e| io(&self.place, e))
    }

    /// Takes away what a rotation of the key file `path` left that came to nothing.
    pub fn sweep(path: &Path) {
        let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // One that stays is overwritten by the next rotation.
        let _ = std::fs::remove_file(named_after(&place, "new"));
    }
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
