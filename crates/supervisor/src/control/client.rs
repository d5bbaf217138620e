//! A command's end of the control socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Answer, Failure, Question};

/// A refresh waits for a token endpoint, whose own deadlines are shorter.
pub(super) const ANSWERING: Duration = Duration::from_secs(120);
/// A report of many thousand accounts; more is not an answer of ours.
pub(super) const LONGEST_ANSWER: u64 = 64 << 20;

/// The way to a daemon that runs.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    path: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers on {}; start it with `systemctl start postern` or `postern run`", path.display())]
    NoDaemon { path: PathBuf },
    /// The socket is not for this user.
    #[error("{}: permission denied; run this as root, as the daemon's user, or as a member of the socket's group", path.display())]
    Denied { path: PathBuf },
    /// The conversation broke off.
    #[error("the daemon's answer on {} was not to be had: {why}", path.display())]
    Broken { path: PathBuf, why: String },
    /// The daemon said no.
    #[error("{}", .0.words)]
    Failed(Failure),
}

impl Client {
    /// The daemon behind a socket path, if one listens there.
    pub(crate) async fn reach(path: &Path) -> Result<Self, ClientError> {
        connect(path).await.map(|_| Self {
            path: path.to_owned(),
        })
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, question: &Question) -> Result<serde_json::Value, ClientError> {
        let mut stream = connect(&self.path).await?;
        let mut line = serde_json::to_vec(question).map_err(|e| broken(&self.path, e))?;
        line.push(b'\n');
        let mut read = Vec::new();
        let talk = async {
            stream.write_all(&line).await?;
            stream.take(LONGEST_ANSWER).read_to_end(&mut read).await
        };
        match timeout(ANSWERING, talk).await {
            Ok(talked) => talked.map_err(|e| broken(&self.path, e))?,
            Err(_) => return Err(late(&self.path)),
        };
        read_answer(&self.path, &read)
    }

    /// Asks, and keeps the connection for what follows the answer.
    pub(crate) async fn open(&self, question: &Question) -> Result<UnixStream, ClientError> {
        let mut stream = connect(&self.path).await?;
        let mut line = serde_json::to_vec(question).map_err(|e| broken(&self.path, e))?;
        line.push(b'\n');
        let mut read = Vec::new();
        let talk = async {
            stream.write_all(&line).await?;
            // Byte by byte: what comes after the line end is not the answer's.
            while read.last() != Some(&b'\n') {
                read.push(stream.read_u8().await?);
            }
            Ok::<_, std::io::Error>(())
        };
        match timeout(ANSWERING, talk).await {
            Ok(talked) => talked.map_err(|e| broken(&self.path, e))?,
            Err(_) => return Err(late(&self.path)),
        };
        read_answer(&self.path, &read).map(|_| stream)
    }
}

fn late(path: &Path) -> ClientError {
    broken(path, format!("nothing within {} s", ANSWERING.as_secs()))
}

/// What the daemon said.
pub(super) fn read_answer(path: &Path, read: &[u8]) -> Result<serde_json::Value, ClientError> {
    match serde_json::from_slice(read) {
        Ok(Answer::Done(value)) => Ok(value),
        Ok(Answer::Failed(failure)) => Err(ClientError::Failed(failure)),
        Err(_) if read.is_empty() => Err(broken(path, "the daemon closed the connection")),
        Err(_) => Err(broken(path, "it is not one this version understands")),
    }
}

pub(super) fn broken(path: &Path, why: impl std::fmt::Display) -> ClientError {
    ClientError::Broken {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

async fn connect(path: &Path) -> Result<UnixStream, ClientError> {
    let path = path.to_owned();
    UnixStream::connect(&path)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NoDaemon { path },
            ErrorKind::PermissionDenied => ClientError::Denied { path },
            _ => ClientError::Broken {
                path,
                why: error.to_string(),
            },
        })
}
