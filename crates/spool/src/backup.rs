//! A copy of the whole spool as it is at one moment, made while mail goes on.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::Spool;
use crate::error::{Result, SpoolError};
use crate::open::{connect, paths};

/// Between the database's name and the version whose tables a copy has.
const OF_VERSION: &str = ".version-";

/// How long the copy made before an upgrade is kept: long enough to find that the upgrade went wrong.
pub(crate) const UPGRADE_KEPT: Duration = Duration::from_secs(7 * 86_400);

impl Spool {
    /// Copies `spool.db` and `spool/` into `dir`, an empty folder on the spool's own file system. The copy is the state of one
    /// moment, and can be [opened](Spool::open). For the time of a few links nobody writes; while the database is copied, mail goes on.
    pub async fn copy_into(&self, dir: &Path) -> Result<()> {
        let (database, folder) = paths(dir);
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| SpoolError::io("creating", &folder, error))?;
        let source = self.inner.reads.database().to_owned();
        let (bodies, links) = (self.inner.folder.clone(), folder.clone());
        // A job of the writer holds the database's write lock, so no process drops a body between the look and its link.
        let moment = self
            .inner
            .writer
            .call(move |_| moment(&source, &bodies, &links))
            .await?;
        let copied = tokio::task::spawn_blocking(move || copy(&moment, &database));
        copied
            .await
            .map_err(|_| SpoolError::Misused("the copy panicked; see the log"))?
    }
}

/// A connection that sees the present state for as long as it lives, and a link to each body of that state.
fn moment(source: &Path, bodies: &Path, links: &Path) -> Result<Connection> {
    let conn = connect(source)?;
    conn.execute_batch("BEGIN")?;
    let mut statement = conn.prepare("SELECT file FROM message WHERE file IS NOT NULL")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let name: PathBuf = row.get::<_, String>(0)?.into();
        match fs::hard_link(bodies.join(&name), links.join(&name)) {
            // Delivered, and its body dropped: only the acknowledgement is due.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            linked => {
                linked.map_err(|error| SpoolError::io("linking", &bodies.join(&name), error))?
            }
        }
    }
    drop(rows);
    drop(statement);
    Ok(conn)
}

/// Copies a database whose tables are about to be changed, once it has any; the copy of the upgrade before goes.
pub(crate) fn before_upgrade(conn: &Connection, database: &Path) -> Result<()> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        return Ok(());
    }
    forget_upgrades(database, Duration::ZERO)?;
    let mut name = database.as_os_str().to_owned();
    name.push(format!("{OF_VERSION}{version}"));
    copy(conn, Path::new(&name))
}

/// Removes copies of this age that upgrades have left: mail is kept for as long as it is needed.
pub(crate) fn forget_upgrades(database: &Path, age: Duration) -> Result<()> {
    let (Some(folder), Some(name)) = (database.parent(), database.file_name()) else {
        return Ok(());
    };
    let mut prefix = name.to_owned();
    prefix.push(OF_VERSION);
    let io = |error| SpoolError::io("removing an old copy in", folder, error);
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_encoded_bytes());
        let old = || Ok(entry.metadata()?.modified()?.elapsed().unwrap_or_default() >= age);
        if ours && old().map_err(io)? {
            fs::remove_file(entry.path()).map_err(io)?;
        }
    }
    Ok(())
}

/// All pages of the state that `moment` sees.
fn copy(moment: &Connection, database: &Path) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(database)
        .map_err(|error| SpoolError::io("creating", database, error))?;
    let mut target = Connection::open(database)?;
    let backup = Backup::new(moment, &mut target)?;
    // One step: a step that begins anew would see a later state.
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(SpoolError::Busy),
    }
}
