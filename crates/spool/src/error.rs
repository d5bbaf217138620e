//! What can go wrong, split by what the caller does next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{DeliveryId, MessageId};

/// The result of everything the spool does.
pub type Result<T> = std::result::Result<T, SpoolError>;

/// What can go wrong in the spool. Whatever the variant, nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// The spool cannot be opened: stop, and show this.
    #[error("{}: {why}; {advice}", file.display())]
    Unusable {
        /// The file or folder at fault.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do about it.
        advice: String,
    },
    /// The disk is full: answer 452, or stop fetching for a while.
    #[error("the spool's disk is full ({what}); free some space, mail waits until then")]
    Full {
        /// What did not fit.
        what: String,
    },
    /// Another process holds the database: try again.
    #[error("spool.db is in use by another process for longer than 5 s; try again")]
    Busy,
    /// The delivery is not claimed (any more): drop the outcome.
    #[error("delivery {} is not claimed any more, its outcome was not recorded", .0.0)]
    NotClaimed(DeliveryId),
    /// The message is not in the spool (any more).
    #[error("message {} is not in the spool", .0.0)]
    Gone(MessageId),
    /// The stored body is not what was taken: never deliver it.
    #[error("the body of message {} is damaged: {why}", message.0)]
    Torn {
        /// Whose body.
        message: MessageId,
        /// What is wrong with it.
        why: String,
    },
    /// The caller broke the contract: a bug, to be shown as it is.
    #[error("the spool was asked for something it never does: {0}")]
    Misused(&'static str),
    /// The spool was closed.
    #[error("the spool is closed")]
    Closed,
    /// A file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to which file.
        what: String,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// The database failed.
    #[error("spool.db: {source}")]
    Database {
        /// SQLite's answer.
        source: Arc<rusqlite::Error>,
    },
}

impl SpoolError {
    /// Wraps a failed file operation: `doing` is a participle ("writing").
    pub(crate) fn io(doing: &str, path: &Path, error: io::Error) -> Self {
        let what = format!("{doing} {}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { what },
            _ => Self::Io {
                what,
                source: Arc::new(error),
            },
        }
    }
}

impl From<rusqlite::Error> for SpoolError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full {
                what: "spool.db".to_owned(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Database {
                source: Arc::new(error),
            },
        }
    }
}
