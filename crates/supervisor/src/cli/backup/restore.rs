//! A backup brought back: unpacked and opened beside what is there, and put in its place only when all of it is good.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use spool::Spool;

use super::archive::{self, ACCOUNTS, BODIES, SPOOL};
use super::scratch;
use crate::cli::exit::{Code, Failure};
use crate::cli::table;
use crate::config::{Config, Secrets};
use crate::run::status::clock;
use crate::run::{self, COMMAND, Lock, OpenError};

/// What a state directory holds, in the order in which it is put in place: without accounts.db it is no state yet.
const PARTS: [&str; 7] = [
    BODIES,
    "spool.db-wal",
    "spool.db-shm",
    SPOOL,
    "accounts.db-wal",
    "accounts.db-shm",
    ACCOUNTS,
];

/// Puts the state of a backup into the state directory. The daemon must not run. What was in flight is held, since it may have
/// been delivered after the backup was made.
pub(crate) async fn restore(file: &Path, source: &Path, replace: bool) -> Result<(), Failure> {
    let config = Config::read(file, Secrets::LeftOut)?;
    run::state_dir(&config)?;
    let _lock = Lock::take(&config.state_dir, COMMAND).map_err(OpenError::from)?;
    let there = present(&config.state_dir);
    if !there.is_empty() && !replace {
        return Err(Failure::new(
            Code::Data,
            format!(
                "{} holds {} already; nothing was changed. --replace moves that aside first",
                config.state_dir.display(),
                there.join(", ")
            ),
        ));
    }
    let scratch = scratch(&config.state_dir)?;
    let made_at = unpack(source, scratch.path()).await?;
    let held = try_out(&config, scratch.path(), made_at).await?;
    let aside = move_aside(&config.state_dir, &there)?;
    put_in_place(scratch.path(), &config.state_dir).map_err(|error| {
        let former = aside.as_ref().map_or_else(String::new, |aside| {
            format!("; what was there is in {}", aside.display())
        });
        let words = format!(
            "the restored state could not be put in place: {error}{former}; do not start the daemon before it is, or that is put back"
        );
        Failure::new(Code::Io, words)
    })?;
    for line in told(made_at, held, aside.as_deref()) {
        table::line(&line)?;
    }
    Ok(())
}

fn present(dir: &Path) -> Vec<&'static str> {
    PARTS
        .into_iter()
        .filter(|part| dir.join(part).symlink_metadata().is_ok())
        .collect()
}

/// When the backup was made.
async fn unpack(source: &Path, dir: &Path) -> Result<i64, Failure> {
    let shown = source.display().to_string();
    let refused = |why: String| Failure::new(Code::Data, format!("{shown}: {why}"));
    let archive = File::open(source).map_err(|error| refused(error.to_string()))?;
    let dir = dir.to_owned();
    let unpacked = tokio::task::spawn_blocking(move || archive::unpack(archive, &dir));
    let unpacked = unpacked
        .await
        .map_err(|_| Failure::new(Code::Software, "the unpacking panicked"))?;
    let contents =
        unpacked.map_err(|trouble| refused(format!("{trouble}; nothing was changed")))?;
    Ok(contents.made_at)
}

/// Opens both databases where they lie, which checks them, tries the key, and brings their tables up to date; holds what was in flight.
async fn try_out(config: &Config, dir: &Path, made_at: i64) -> Result<u64, Failure> {
    let mut beside = config.clone();
    beside.state_dir = dir.to_owned();
    drop(run::store(&beside)?);
    let spool = Spool::open(dir)?;
    let why = format!(
        "restored from the backup of {}: it may have been delivered since",
        clock(made_at)
    );
    let held = spool.hold_all(&why).await?;
    spool.close().await;
    Ok(held)
}

/// Moves what is there into a folder of its own; None: there is nothing.
fn move_aside(dir: &Path, there: &[&str]) -> Result<Option<PathBuf>, Failure> {
    if there.is_empty() {
        return Ok(None);
    }
    let stamp = jiff::Timestamp::now().strftime("before-restore-%Y%m%d-%H%M%S");
    let aside = dir.join(stamp.to_string());
    std::fs::DirBuilder::new().mode(0o700).create(&aside)?;
    // accounts.db last: a state directory with it alone would be taken for a whole one.
    for part in there {
        std::fs::rename(dir.join(part), aside.join(part))?;
    }
    Ok(Some(aside))
}

fn put_in_place(from: &Path, dir: &Path) -> std::io::Result<()> {
    let owner = std::fs::metadata(dir)?;
    for part in PARTS {
        let path = from.join(part);
        if path.symlink_metadata().is_err() {
            continue;
        }
        if rustix::process::geteuid().is_root() {
            give(&path, owner.uid(), owner.gid())?;
        }
        std::fs::rename(&path, dir.join(part))?;
    }
    File::open(dir)?.sync_all()?;
    Ok(())
}

/// To the daemon's user, who owns the state directory.
fn give(path: &Path, user: u32, group: u32) -> std::io::Result<()> {
    lchown(path, Some(user), Some(group))?;
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            lchown(entry?.path(), Some(user), Some(group))?;
        }
    }
    Ok(())
}

fn told(made_at: i64, held: u64, aside: Option<&Path>) -> Vec<String> {
    let mut lines = vec![format!("the state of {} is restored", clock(made_at))];
    if let Some(aside) = aside {
        lines.push(format!(
            "what was there is in {}; remove it when all is well",
            aside.display()
        ));
    }
    if held > 0 {
        lines.push(format!(
            "{} held, since it may have been delivered after the backup: `postern queue list --held` shows it, and \
             `postern queue release --all --held` lets it go on",
            match held {
                1 => "1 message is".to_owned(),
                held => format!("{held} messages are"),
            }
        ));
    }
    lines.push(
        "mail that came after the backup and is still in its mailbox comes again; a refresh token that the provider has replaced since \
         needs a new consent: `postern token list` shows it after the start"
            .to_owned(),
    );
    lines
}
