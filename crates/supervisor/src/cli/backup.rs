//! `postern backup` and `postern restore`: the whole state in one file, taken while mail goes on.

mod archive;
mod restore;

use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::{NamedTempFile, TempDir};

use super::exit::{Code, Failure};
use super::office::Office;
use super::table;
use crate::config::KeySource;

pub(crate) use restore::restore;

/// Folders in the state directory where a copy or a restored state is put together.
const UNFINISHED: &str = ".unfinished-";

/// After this time such a folder belongs to nobody: what made it was killed.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

/// Writes accounts.db, spool.db and the large bodies, as they are at this moment, into one new file.
pub(crate) async fn backup(file: &Path, target: &Path) -> Result<(), Failure> {
    if target.symlink_metadata().is_ok() {
        return Err(exists(target));
    }
    let office = Office::open(file).await?;
    let scratch = scratch(&office.config.state_dir)?;
    let accounts = scratch.path().join(archive::ACCOUNTS);
    office.store()?.copy_to(&accounts).await?;
    let spool = office.spool()?;
    spool.copy_into(scratch.path()).await?;
    let place = target.to_owned();
    let written = tokio::task::spawn_blocking(move || write(scratch, &place)).await;
    let written = written.map_err(|_| Failure::new(Code::Software, "the writing panicked"))??;
    table::line(&format!(
        "{} holds {}, {} bytes. {}",
        target.display(),
        table::count(written.files, "file"),
        written.bytes,
        about_key(&office.config.key)
    ))
}

fn exists(target: &Path) -> Failure {
    let words = format!(
        "{} exists already, and a backup never replaces another; give another name",
        target.display()
    );
    Failure::new(Code::CannotCreate, words)
}

/// The file appears under its name when it is whole and on disk.
fn write(scratch: TempDir, target: &Path) -> Result<archive::Written, Failure> {
    let failed = |error: std::io::Error| {
        let words = format!("{} cannot be written: {error}", target.display());
        Failure::new(Code::CannotCreate, words)
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // 0600 from its first moment.
    let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
    let written = archive::write(scratch.path(), file.as_file_mut()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(target)
        .map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(target),
            _ => failed(error.error),
        })?;
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(written)
}

fn about_key(key: &KeySource) -> String {
    let (KeySource::Existing(path) | KeySource::Made(path)) = key;
    format!(
        "Its secrets are sealed with the key in {}, which is not in it: keep a copy of the key in another place",
        path.display()
    )
}

/// A folder beside the databases, so that large bodies need no second copy, for the time of the work.
fn scratch(state_dir: &Path) -> Result<TempDir, Failure> {
    sweep(state_dir)?;
    Ok(tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(state_dir)?)
}

/// Removes what killed commands have left.
fn sweep(state_dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(state_dir)? {
        let entry = entry?;
        let unfinished = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(UNFINISHED.as_bytes());
        let age = |time: SystemTime| time.elapsed().unwrap_or_default();
        if unfinished && age(entry.metadata()?.modified()?) > FORGOTTEN {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
