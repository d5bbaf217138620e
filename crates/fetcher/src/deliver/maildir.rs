//! Delivers into a maildir: written aside, synced, renamed into `new`, and the folder synced.
//!
//! A message's file name follows from its delivery alone, so a repeat after a crash finds what is there already: this way has no
//! window in which a message is doubled (but for one that a person has moved to another folder by then).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use spool::{Outcome, Stored};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::job::{Finished, Job};

/// A maildir as a place to deliver to.
pub(crate) struct Maildir {
    folder: PathBuf,
    /// Which installation delivers: another one's message of the same number is another message.
    instance: String,
    longest: Duration,
}

/// A message's file, not yet written.
struct Letter {
    folder: PathBuf,
    /// What its name begins with, whoever has added what to it since.
    stem: String,
    size: u64,
    /// An earlier attempt may have written it.
    repeated: bool,
}

impl Maildir {
    pub(crate) fn new(folder: &Path, instance: &str, longest: Duration) -> Self {
        Self {
            folder: folder.to_owned(),
            instance: instance.to_owned(),
            longest,
        }
    }

    /// Files one message.
    pub(crate) async fn deliver(&self, job: Job) -> Finished {
        let letter = Letter {
            folder: self.folder.clone(),
            // Readers that order a folder by these names get the messages as they came.
            stem: format!(
                "{:010}.P{}-{}",
                job.number,
                self.instance,
                &job.sha256[..16]
            ),
            size: job.size,
            repeated: job.repeated,
        };
        let stored = job.message;
        let filing = spawn_blocking(move || letter.file(stored));
        let outcome = match timeout(self.longest, filing).await {
            Ok(Ok(Ok(why))) => Outcome::Delivered { why },
            Ok(Ok(Err(e))) => later(format!("{}: {e}", self.folder.display())),
            Ok(Err(panicked)) => later(format!("filing failed within Postern: {panicked}")),
            // Whatever it still does, it does to a file of a name of its own.
            Err(_) => later(format!(
                "{} did not answer within {} s",
                self.folder.display(),
                self.longest.as_secs()
            )),
        };
        Finished::new(outcome, None)
    }
}

fn later(why: String) -> Outcome {
    Outcome::Retry { why, after: None }
}

impl Letter {
    /// Writes the file, or finds it; what happened, in words.
    fn file(&self, stored: Stored) -> io::Result<String> {
        if self.repeated
            && let Some(found) = self.find()?
        {
            return Ok(format!("it was there already, as {found}"));
        }
        let name = format!("{},S={}", self.stem, self.size);
        let aside = self.path("tmp", &format!("{}.{:08x}", self.stem, fastrand::u32(..)));
        let filed = self.write(&aside, stored).and_then(|()| {
            self.rename(&aside, &self.path("new", &name))?;
            sync(&self.folder.join("new"))
        });
        match filed {
            Ok(()) => Ok(format!("filed as new/{name}")),
            Err(e) => {
                // Gone already when the rename has worked.
                let _ = std::fs::remove_file(&aside);
                Err(e)
            }
        }
    }

    fn path(&self, part: &str, name: &str) -> PathBuf {
        self.folder.join(part).join(name)
    }

    /// Looks for the message where an earlier attempt may have put it, or a reader moved it; removes what that attempt left aside.
    fn find(&self) -> io::Result<Option<String>> {
        for part in ["new", "cur"] {
            if let Some(name) = self.named(part)?.first() {
                // The attempt that renamed it may not have come to this.
                sync(&self.folder.join(part))?;
                return Ok(Some(format!("{part}/{name}")));
            }
        }
        for name in self.named("tmp")? {
            std::fs::remove_file(self.path("tmp", &name))?;
        }
        Ok(None)
    }

    /// Names that belong to this message. Readers append to a name, after a comma or a colon.
    fn named(&self, part: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.folder.join(part)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&self.stem);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ':', '.'])) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A maildir may have lost its `new`, or was made by half when the disk was full.
    fn rename(&self, aside: &Path, filed: &Path) -> io::Result<()> {
        match std::fs::rename(aside, filed) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                make(&self.folder)?;
                std::fs::rename(aside, filed)
            }
            renamed => renamed,
        }
    }

    /// Writes all of the message and waits for the disk.
    fn write(&self, aside: &Path, stored: Stored) -> io::Result<()> {
        let create = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(aside)
        };
        let mut file = match create() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                make(&self.folder)?;
                create()?
            }
            created => created?,
        };
        let written = match stored {
            Stored::Inline(bytes) => {
                file.write_all(&bytes)?;
                bytes.len() as u64
            }
            // Within the kernel, and where the file system can share blocks, without copying any.
            Stored::File(mut stored) => io::copy(&mut stored, &mut file)?,
        };
        if written != self.size {
            return Err(io::Error::other(format!(
                "the stored message has {written} bytes instead of {}",
                self.size
            )));
        }
        file.sync_all()
    }
}

/// Makes a maildir, or what is missing of it. Its parent must be there: what is missing may be a disk that isn't mounted.
fn make(folder: &Path) -> io::Result<()> {
    let parts = ["tmp", "new", "cur"].map(|part| folder.join(part));
    for path in std::iter::once(folder).chain(parts.iter().map(PathBuf::as_path)) {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => tracing::info!(path = %path.display(), "made a folder of a maildir"),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io::Error::new(e.kind(), format!("it can't be made: {e}"))),
        }
    }
    // Maildir++ marks its folders, so that a quota is looked for in the maildir around them.
    let within = folder
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    if within {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("maildirfolder"))?;
    }
    sync(folder)?;
    folder.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether messages can be filed there, found out without leaving anything behind.
pub(crate) fn look(folder: &Path) -> Result<String, String> {
    let tmp = folder.join("tmp");
    if !tmp.exists() {
        let parent = folder.parent().unwrap_or(folder);
        let there = if folder.exists() { folder } else { parent };
        return writable(there)
            .map(|()| "does not exist yet; it is made with the first message".to_owned());
    }
    writable(&tmp).map(|()| "is there and can be written".to_owned())
}

/// A file without a name goes when it is closed.
fn writable(folder: &Path) -> Result<(), String> {
    use rustix::fs::{Access, Mode, OFlags};
    let nameless = rustix::fs::open(
        folder,
        OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    );
    let found = match nameless {
        Ok(_) => Ok(()),
        // Not every file system has them.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
        }
        Err(e) => Err(e),
    };
    found.map_err(|e| {
        format!(
            "{} can't be written: {}",
            folder.display(),
            io::Error::from(e)
        )
    })
}

#[cfg(test)]
#[path = "maildir/tests.rs"]
mod tests;
