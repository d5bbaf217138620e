//! The drop directory: where `postern sendmail` leaves a message while the daemon is down.
//!
//! A file is one message: two lines that say what it is and to whom it goes, then the message. It is written under a name that begins with
//! `tmp-`, flushed to the disk, and renamed; only then has the message been accepted. The directory belongs to the daemon, lets
//! the members of its group write and not read (mode 3730, as other mailers have it), and gives its group to each file, so that the
//! daemon may read what it did not write.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sender::Envelope;
use serde::{Deserialize, Serialize};
use spool::Recipient;
use spool::dsn::{Notify, Ret};

/// What a file of ours begins with.
const FIRST_LINE: &str = "postern-drop 1\n";
const FINISHED: &str = "new-";
/// An envelope of a thousand recipients has some 100 KB.
const LONGEST_ENVELOPE: u64 = 1 << 20;
/// Set-group-ID gives the directory's group to its files; the sticky bit keeps one user from removing another's.
pub(crate) const MODE: u32 = 0o3730;
const FILE_MODE: u32 = 0o640;

/// The envelope as it stands in a file.
#[derive(Serialize, Deserialize)]
struct Written {
    sender: String,
    recipients: Vec<String>,
    notify: Option<String>,
    ret: Option<String>,
    envid: Option<String>,
    smtputf8: bool,
}

/// A message found in the directory.
#[derive(Debug)]
pub(crate) struct Dropped {
    pub(crate) envelope: Envelope,
    /// At the message's beginning.
    pub(crate) message: BufReader<File>,
    /// Who wrote it.
    pub(crate) uid: u32,
}

/// Writes a message; it is on disk when this returns.
///
/// # Errors
/// Nothing of it is left then.
pub(crate) fn put(
    dir: &Path,
    envelope: &Envelope,
    message: &mut (impl Read + Seek),
) -> io::Result<()> {
    message.seek(SeekFrom::Start(0))?;
    let name = format!("{:016x}-{}", fastrand::u64(..), std::process::id());
    let aside = dir.join(format!("tmp-{name}"));
    let written = write(&aside, envelope, message)
        .and_then(|()| std::fs::rename(&aside, dir.join(format!("{FINISHED}{name}"))));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&aside);
        return Err(error);
    }
    sync(dir)
}

fn write(path: &Path, envelope: &Envelope, message: &mut impl Read) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    // Whatever the umask of the caller is: the daemon reads it by its group.
    file.set_permissions(std::fs::Permissions::from_mode(FILE_MODE))?;
    let mut line = serde_json::to_vec(&Written::from(envelope)).map_err(io::Error::other)?;
    line.push(b'\n');
    file.write_all(FIRST_LINE.as_bytes())?;
    file.write_all(&line)?;
    io::copy(message, &mut file)?;
    file.sync_all()
}

/// Its name is on the disk. A directory that may be written and not read cannot be opened for that by everybody; then the whole
/// file system is flushed.
fn sync(dir: &Path) -> io::Result<()> {
    match File::open(dir) {
        Ok(dir) => dir.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            rustix::fs::sync();
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The messages that are complete, oldest first.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(FINISHED) {
            let modified = entry.metadata()?.modified()?;
            found.push((modified, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Opens a message. Others may write here, so nothing is taken for granted: a link, a device or a file with another name is refused.
pub(crate) fn open(path: &Path) -> io::Result<Dropped> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(invalid("it is no plain file of its own"));
    }
    let mut message = BufReader::new(file);
    let mut first = String::new();
    (&mut message)
        .take(FIRST_LINE.len() as u64)
        .read_to_string(&mut first)?;
    if first != FIRST_LINE {
        return Err(invalid("it is not a message that `postern sendmail` wrote"));
    }
    let mut line = Vec::new();
    (&mut message)
        .take(LONGEST_ENVELOPE)
        .read_until(b'\n', &mut line)?;
    let written: Written =
        serde_json::from_slice(&line).map_err(|_| invalid("its envelope cannot be read"))?;
    Ok(Dropped {
        envelope: written.into(),
        message,
        uid: found.uid(),
    })
}

/// The message is in the spool: its file goes, for good.
pub(crate) fn remove(dir: &Path, path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    sync(dir)
}

/// Makes the directory where it is missing, and says whether it is fit: `postern sendmail` of other users depends on its mode.
pub(crate) fn prepare(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(MODE))?;
    }
    // What a caller that was killed left behind. A file that is being written now is young.
    let hour = std::time::Duration::from_secs(3600);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let unfinished = entry.file_name().to_string_lossy().starts_with("tmp-");
        let old = entry
            .metadata()?
            .modified()?
            .elapsed()
            .is_ok_and(|age| age > hour);
        if unfinished && old {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

impl From<&Envelope> for Written {
    fn from(envelope: &Envelope) -> Self {
        let address = |r: &Recipient| r.address.clone();
        let notify = envelope.recipients.first().and_then(|r| r.notify);
        Self {
            sender: envelope.sender.clone(),
            recipients: envelope.recipients.iter().map(address).collect(),
            notify: notify.map(|notify| notify.to_string()),
            ret: envelope.ret.map(|ret| ret.as_str().to_owned()),
            envid: envelope.envid.clone(),
            smtputf8: envelope.smtputf8,
        }
    }
}

impl From<Written> for Envelope {
    fn from(written: Written) -> Self {
        let notify = written.notify.as_deref().and_then(Notify::parse);
        let recipient = |address| Recipient {
            address,
            notify,
            orcpt: None,
        };
        Self {
            sender: written.sender,
            recipients: written.recipients.into_iter().map(recipient).collect(),
            ret: written.ret.as_deref().and_then(Ret::parse),
            envid: written.envid,
            smtputf8: written.smtputf8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            sender: "desk@x.test".to_owned(),
            recipients: vec![
                Recipient {
                    address: "a@y.test".to_owned(),
                    notify: Notify::parse("FAILURE"),
                    orcpt: None,
                },
                Recipient {
                    address: "b@y.test".to_owned(),
                    notify: Notify::parse("FAILURE"),
                    orcpt: None,
                },
            ],
            ret: Some(Ret::Hdrs),
            envid: Some("x+2B".to_owned()),
            smtputf8: false,
        }
    }

    #[test]
    fn what_was_dropped_is_found_again_and_half_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut message = std::io::Cursor::new(b"Subject: x\r\n\r\nbody\r\n".to_vec());
        put(dir.path(), &envelope(), &mut message).unwrap();
        std::fs::write(dir.path().join("tmp-half"), "postern-drop 1\n").unwrap();
        let [path] = &list(dir.path()).unwrap()[..] else {
            panic!("one message");
        };
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
        let mut dropped = open(path).unwrap();
        assert_eq!(dropped.envelope, envelope());
        let mut text = String::new();
        dropped.message.read_to_string(&mut text).unwrap();
        assert_eq!(text, "Subject: x\r\n\r\nbody\r\n");
        remove(dir.path(), path).unwrap();
        assert!(list(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn links_and_foreign_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "postern-drop 1\n{}\nnot yours").unwrap();
        std::os::unix::fs::symlink(&secret, dir.path().join("new-link")).unwrap();
        std::fs::hard_link(&secret, dir.path().join("new-hard")).unwrap();
        std::fs::write(dir.path().join("new-foreign"), "MZ").unwrap();
        std::fs::write(dir.path().join("new-torn"), "postern-drop 1\n{\"sender\"").unwrap();
        let found = list(dir.path()).unwrap();
        assert_eq!(found.len(), 4);
        for path in found {
            assert!(open(&path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_full_or_missing_directory_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let mut message = std::io::Cursor::new(b"x".to_vec());
        assert!(put(&missing, &envelope(), &mut message).is_err());
        prepare(&missing).unwrap();
        let mode = std::fs::metadata(&missing).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, MODE);
    }
}
