//! The daemon's end of the control socket.

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use spool::{Direction, MessageId, PauseKind};
use token_store::seal::Key;
use token_store::{CallbackAnswer, Secret, TokenId};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Answer, Failure, FailureKind, Handed, KeyText, LONGEST_QUESTION, Peer, Question};
use crate::run::Handle;
use crate::run::key::RotateError;

/// Commands ask at once; a connection that says nothing only occupies a slot.
const ASKING: Duration = Duration::from_secs(10);
/// Commands at a time; the next ones wait in the socket's backlog.
const AT_ONCE: usize = 32;

/// The bound socket; its file goes when this is dropped.
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds with mode 0660. A socket that a killed daemon left is replaced; one that answers, or a file of another kind, is not.
    pub(crate) fn bind(path: &Path) -> std::io::Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AddrInUse,
                "another daemon answers there",
            ));
        }
        let other_kind = std::fs::symlink_metadata(path).is_ok_and(|m| !m.file_type().is_socket());
        if other_kind {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "there is a file of another kind in its place; name another path as control_socket, or move the file away",
            ));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(folder)?;
        // Bound under another name and moved: nobody can connect before the mode is right.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = folder.join(format!(".{name}.{}", std::process::id()));
        let _ = std::fs::remove_file(&fresh);
        let socket = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o660))?;
        std::fs::rename(&fresh, path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers until shutdown. A question that is being answered then may end within the daemon's grace time.
pub(crate) async fn serve(listener: Listener, handle: Handle, shutdown: CancellationToken) {
    let own = rustix::process::geteuid().as_raw();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.socket.accept(), if tasks.len() < AT_ONCE => match accepted {
                Ok((stream, _)) => {
                    tasks.spawn(converse(stream, own, handle.clone(), shutdown.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tracing::warn!("the control socket: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// One question, one answer; after one of them a submission session.
async fn converse(mut stream: UnixStream, own: u32, handle: Handle, shutdown: CancellationToken) {
    let mut session = false;
    let answer = match ask(&mut stream, own).await {
        Ok(Question::Sendmail) => {
            session = true;
            value(())
        }
        Ok(question) => answer(question, &handle).await,
        Err(failure) => Err(failure),
    };
    let answer = answer.map_or_else(Answer::Failed, Answer::Done);
    let mut line = serde_json::to_vec(&answer).unwrap_or_else(|_| b"{}".to_vec());
    line.push(b'\n');
    // A command that went away has lost its answer, and nobody else is waiting for it.
    let _ = timeout(ASKING, stream.write_all(&line)).await;
    if session {
        let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
        let peer = format!("uid {uid}");
        sender::converse(stream, peer, handle.desk(), shutdown).await;
    }
}

async fn ask(stream: &mut UnixStream, own: u32) -> Result<Question, Failure> {
    let internal = |error: std::io::Error| Failure::new(FailureKind::Internal, error.to_string());
    let peer = Peer::of(stream.peer_cred().map_err(internal)?.uid(), own);
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(LONGEST_QUESTION as u64));
    match timeout(ASKING, reader.read_until(b'\n', &mut line)).await {
        Ok(read) => read.map_err(internal)?,
        Err(_) => {
            return Err(Failure::new(
                FailureKind::Temporary,
                format!("no question came within {} s", ASKING.as_secs()),
            ));
        }
    };
    if line.pop() != Some(b'\n') {
        return Err(Failure::new(
            FailureKind::Unknown,
            "the question was cut short or is too long",
        ));
    }
    let question = serde_json::from_slice(&line).map_err(|_| {
        Failure::new(
            FailureKind::Unknown,
            format!(
                "the daemon (version {}) does not know this question",
                env!("CARGO_PKG_VERSION")
            ),
        )
    })?;
    if !peer.may(&question) {
        return Err(Failure::new(
            FailureKind::Forbidden,
            "only root and the daemon's user may do that",
        ));
    }
    Ok(question)
}

async fn answer(question: Question, handle: &Handle) -> Result<serde_json::Value, Failure> {
    let tokens = handle.tokens();
    match question {
        Question::Status => value(handle.status().map_err(internal)?),
        Question::Access { config, user } => value(Handed::of(tokens, &config, user).await?),
        Question::Refresh { config, subject } => {
            let id = TokenId { config, subject };
            let token = tokens.refresh(&id).await?;
            handle.tokens_changed(&id.config);
            value(token.expires_at.and_then(seconds))
        }
        Question::Complete {
            session,
            state,
            code,
            error,
            error_description,
            iss,
        } => {
            let answer = CallbackAnswer {
                state,
                code,
                error,
                error_description,
                iss,
            };
            let consented = tokens.complete(&session, answer).await?;
            handle.tokens_changed(&consented.config);
            value(consented)
        }
        Question::Revoke { config, forget } => {
            tokens.revoke(&config, forget).await?;
            handle.tokens_changed(&config);
            value(())
        }
        Question::Introspect { config, subject } => {
            value(tokens.introspect(TokenId { config, subject }).await?)
        }
        Question::TokensChanged { config } => {
            handle.tokens_changed(&config);
            value(())
        }
        Question::Fetch { mailbox, now } => fetch(handle, &mailbox, now).await,
        Question::Retry { messages } => value(handle.retry(messages).await.map_err(internal)?),
        Question::Hold { messages, reason } => {
            let messages = messages.into_iter().map(MessageId).collect();
            let held = handle.spool().hold(messages, &reason).await;
            value(held.map_err(internal)?)
        }
        Question::Release { messages } => value(handle.release(messages).await.map_err(internal)?),
        Question::Delete { messages } => {
            let messages = messages.into_iter().map(MessageId).collect();
            value(handle.spool().delete(messages).await.map_err(internal)?)
        }
        Question::Sendmail => value(()),
        Question::TestNotices => value(handle.test_notices().await),
        Question::RotateKey { key } => value(rotate(handle, key).await?),
        Question::Reload => followed(handle.reload_file().await),
        Question::AccountsChanged => followed(handle.accounts_changed().await),
    }
}

/// What following a change has done, in words.
fn followed(
    done: Result<Vec<String>, crate::run::ReloadError>,
) -> Result<serde_json::Value, Failure> {
    match done {
        Ok(words) => value(words),
        Err(error @ crate::run::ReloadError::Stopping) => {
            Err(Failure::new(FailureKind::Temporary, error.to_string()))
        }
        Err(error) => Err(Failure::new(FailureKind::Configuration, error.to_string())),
    }
}

/// A time that the server named is waited for, unless a person insists: knocking before it makes it longer at some providers.
async fn fetch(handle: &Handle, mailbox: &str, now: bool) -> Result<serde_json::Value, Failure> {
    if now {
        let ended = handle
            .spool()
            .end_pauses(Direction::In, mailbox, &PauseKind::ALL);
        ended.await.map_err(internal)?;
    }
    let pause = handle.named_pause(mailbox).map_err(internal)?;
    if !handle.fetch_now(mailbox) {
        let words = format!("there is no mailbox named {mailbox}");
        return Err(Failure::new(FailureKind::Unknown, words));
    }
    let Some(pause) = pause else { return value(()) };
    Err(Failure::new(
        FailureKind::Temporary,
        format!(
            "{mailbox} is fetched in {} s, when its server allows it: {}. Asking earlier may make that time longer; --now asks all the same",
            pause.left.as_secs(),
            pause.why
        ),
    ))
}

async fn rotate(handle: &Handle, key: Option<KeyText>) -> Result<String, Failure> {
    let unreadable = || Failure::new(FailureKind::Internal, "the key is not one");
    let read = |text: KeyText| Key::from_text(&Secret::new(text.0)).ok_or_else(unreadable);
    let key = key.map(read).transpose()?;
    let rotated = handle.rotate_key(key).await;
    rotated.map_err(|error| {
        let kind = match &error {
            RotateError::Credential { .. } => FailureKind::Configuration,
            _ => FailureKind::Internal,
        };
        Failure::new(kind, error.to_string())
    })
}

fn seconds(at: std::time::SystemTime) -> Option<u64> {
    at.duration_since(std::time::UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}

fn value(answer: impl Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(answer).map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Internal, error.to_string())
}
