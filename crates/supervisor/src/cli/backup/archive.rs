//! The file of a backup: a tar archive whose last member lists the others with their SHA-256, so that nothing torn is taken for whole.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// token-store's database.
pub(super) const ACCOUNTS: &str = "accounts.db";
/// spool's database.
pub(super) const SPOOL: &str = "spool.db";
/// The folder of large bodies.
pub(super) const BODIES: &str = "spool";
/// The last member.
const CONTENTS: &str = "backup.json";
/// What this version writes and reads.
const FORMAT: u32 = 1;
/// The list of a million bodies is shorter.
const LONGEST_CONTENTS: u64 = 256 << 20;

/// The last member: what the others are.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Contents {
    format: u32,
    /// The version of Postern that wrote it.
    postern: String,
    /// Seconds since 1970.
    pub(super) made_at: i64,
    /// Name in the archive, and SHA-256 in hexadecimal.
    files: BTreeMap<String, String>,
}

/// What a backup came to.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "it is cut short, or no backup of Postern: its list of contents, which comes last, is missing"
    )]
    NoContents,
    #[error("its list of contents cannot be read: {0}")]
    Contents(#[from] serde_json::Error),
    #[error("it was written by a newer Postern ({0}); restore it with that version")]
    Newer(String),
    #[error("it holds {0:?}, which no backup has")]
    Stranger(String),
    #[error("its {0} is not what was written: the backup is damaged")]
    Damaged(String),
    #[error("its {0} is missing: the backup is damaged")]
    Missing(String),
    #[error("it cannot be unpacked: {0}")]
    Io(#[from] io::Error),
}

/// Hashes and counts what is read through it.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.hasher.update(&buf[..read]);
        Ok(read)
    }
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }

    fn hex(self) -> String {
        let digest = self.hasher.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Writes the files of `dir`.
pub(super) fn write(dir: &Path, out: &mut File) -> io::Result<Written> {
    let now = jiff::Timestamp::now().as_second();
    let mut archive = tar::Builder::new(BufWriter::new(out));
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for name in names(dir)? {
        let file = File::open(dir.join(&name))?;
        let size = file.metadata()?.len();
        let mut hashing = Hashing::new(BufReader::new(file));
        append(&mut archive, &name, size, now, &mut hashing)?;
        files.insert(name, hashing.hex());
        bytes += size;
    }
    let written = Written {
        files: files.len(),
        bytes,
    };
    let contents = serde_json::to_vec_pretty(&Contents {
        format: FORMAT,
        postern: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now,
        files,
    })?;
    append(
        &mut archive,
        CONTENTS,
        contents.len() as u64,
        now,
        &contents[..],
    )?;
    archive.into_inner()?.flush()?;
    Ok(written)
}

/// The databases first, then the bodies.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = vec![ACCOUNTS.to_owned(), SPOOL.to_owned()];
    for entry in std::fs::read_dir(dir.join(BODIES))? {
        let name = entry?.file_name();
        let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        names.push(format!("{BODIES}/{name}"));
    }
    Ok(names)
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    at: i64,
    bytes: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(at).unwrap_or(0));
    archive.append_data(&mut header, name, bytes)
}

/// Unpacks an archive into `dir`, an empty folder, and checks every byte of it.
pub(super) fn unpack(source: File, dir: &Path) -> Result<Contents, Trouble> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(dir.join(BODIES))?;
    let mut archive = tar::Archive::new(BufReader::new(source));
    let mut found = BTreeMap::new();
    let mut contents: Option<Contents> = None;
    for member in archive.entries()? {
        let member = member.map_err(|_| Trouble::NoContents)?;
        let path = member.path()?.into_owned();
        let name = path.to_string_lossy().into_owned();
        if contents.is_some() || member.header().entry_type() != tar::EntryType::Regular {
            return Err(Trouble::Stranger(name));
        }
        if name == CONTENTS {
            contents = Some(read_contents(member)?);
        } else if is_ours(&name) {
            let hash = extract(member, &dir.join(&path)).map_err(cut_short)?;
            found.insert(name, hash);
        } else {
            return Err(Trouble::Stranger(name));
        }
    }
    let contents = contents.ok_or(Trouble::NoContents)?;
    compare(&contents.files, &found)?;
    Ok(contents)
}

/// An archive that ends within a member has lost its last one, too.
fn cut_short(error: io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Trouble::NoContents,
        _ => Trouble::Io(error),
    }
}

/// A database, or a plain name in the folder of bodies.
fn is_ours(name: &str) -> bool {
    let plain = |name: &str| {
        !name.starts_with('.')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match name.split_once('/') {
        Some((BODIES, body)) => !body.is_empty() && plain(body),
        Some(_) => false,
        None => name == ACCOUNTS || name == SPOOL,
    }
}

fn read_contents(member: impl Read) -> Result<Contents, Trouble> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
        postern: String,
    }
    let mut text = String::new();
    member
        .take(LONGEST_CONTENTS)
        .read_to_string(&mut text)
        .map_err(cut_short)?;
    let version: Version = serde_json::from_str(&text)?;
    if version.format != FORMAT {
        return Err(Trouble::Newer(version.postern));
    }
    Ok(serde_json::from_str(&text)?)
}

/// Writes a member to disk; its hash.
fn extract(member: tar::Entry<'_, impl Read>, path: &PathBuf) -> io::Result<String> {
    let size = member.size();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let mut hashing = Hashing::new(member);
    if io::copy(&mut hashing, &mut file)? != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.sync_all()?;
    Ok(hashing.hex())
}

fn compare(
    written: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Result<(), Trouble> {
    for name in [ACCOUNTS, SPOOL] {
        if !written.contains_key(name) {
            return Err(Trouble::Missing(name.to_owned()));
        }
    }
    for (name, hash) in written {
        match found.get(name) {
            Some(found) if found == hash => {}
            Some(_) => return Err(Trouble::Damaged(name.clone())),
            None => return Err(Trouble::Missing(name.clone())),
        }
    }
    match found.keys().find(|name| !written.contains_key(*name)) {
        Some(name) => Err(Trouble::Stranger(name.clone())),
        None => Ok(()),
    }
}
