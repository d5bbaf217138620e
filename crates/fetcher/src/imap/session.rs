//! One signed-in session of a mailbox: list what is new, fetch it, acknowledge what is delivered, wait, and again.

mod acknowledging;
mod fetching;
mod held;
mod looks;
mod memory;
mod news;
mod waiting;

use std::sync::atomic::Ordering;
use std::time::Duration;

use token_store::accounts::Failed;
use token_store::{AccessToken, Credential};
use tokio::time::Instant;

use self::held::Held;
pub(crate) use self::looks::{Look, Looks};
pub(crate) use self::memory::Memory;
use super::acknowledge::{Deed, check_target, deed, delivered_to, held_to, select_for};
use super::capabilities::Capabilities;
use super::connection::Connection;
use super::folder::Folder;
use super::sign_in::{PATIENCE, connect, introduce, sign_in};
use crate::credential::no_token;
use crate::error::FetchError;
use crate::session::{Context, End};

/// So many acknowledgements are worth their own commands while mail is still being fetched or delivered.
const WORTH: usize = 100;
/// Fewer of them wait so long for more.
const GATHER: Duration = Duration::from_secs(1);
/// Between two looks at the spool while deliveries make room.
const BREATH: Duration = Duration::from_millis(20);
/// Between polls further apart than this the connection is given up.
const KEEP_OPEN: Duration = Duration::from_secs(300);
/// Before giving it up, deliveries get so long to end, to be acknowledged at once.
const LINGER: Duration = Duration::from_secs(30);
/// A session that lives so long lists its folders from the beginning: a message that was flagged \Deleted or seemed to have vanished
/// may be back, and one that a person wants fetched again is listed already. OAuth sessions rarely live so long.
const WHOLE: Duration = Duration::from_secs(6 * 3600);
/// A refused acknowledgement is tried again after this.
const REPEAT: Duration = Duration::from_secs(60);

/// Signs in and works until shutdown, an error, or a long pause between polls.
pub(crate) async fn run(context: Context) -> Result<End, FetchError> {
    let mut used = None;
    match begin_and_work(context, &mut used).await {
        Err(FetchError::TokenExpired { why, token: None }) => Err(FetchError::TokenExpired {
            why,
            token: used.map(Box::new),
        }),
        ended => ended,
    }
}

/// `used` is the token that was presented.
async fn begin_and_work(
    context: Context,
    used: &mut Option<AccessToken>,
) -> Result<End, FetchError> {
    let mailbox = context.mailbox.clone();
    let signed_in = async {
        let credential = context
            .parts
            .tokens
            .credential(&mailbox.auth, &mailbox.user)
            .await
            .map_err(no_token)?;
        if let Credential::Bearer(token) = &credential {
            *used = Some(token.clone());
        }
        let (mut connection, offered) = connect(&mailbox, PATIENCE).await?;
        let capabilities = sign_in(&mut connection, &offered, &mailbox, &credential).await?;
        connection.ahead.allowed = context.memory.imap.sends_ahead();
        if let Err(e) = introduce(&mut connection, &capabilities).await {
            context.memory.imap.learn_ahead(&connection.ahead, Some(&e));
            return Err(e);
        }
        for target in [delivered_to(&mailbox.after), held_to(&mailbox.care.failed)] {
            check_target(&mut connection, &mailbox.folders, target, true).await?;
        }
        let deed = deed(&mut connection, &capabilities, &mailbox).await?;
        Ok::<_, FetchError>((connection, capabilities, deed))
    };
    let (connection, capabilities, deed) = tokio::select! {
        done = signed_in => done?,
        () = context.stops.shutdown.cancelled() => return Ok(End::Shutdown),
    };
    let aside = match &mailbox.care.failed {
        Failed::Keep => None,
        Failed::Move { folder, .. } => Some(Deed::Move(connection.folder(folder))),
    };
    let folders = mailbox
        .folders
        .iter()
        .map(|name| Folder::new(name))
        .collect();
    let mut session = Session {
        context,
        connection,
        capabilities,
        deed,
        folders,
        current: None,
        refused_at: None,
        held: Held::new(aside),
        whole_at: Instant::now(),
        announced: false,
    };
    let end = session.work().await;
    let memory = &session.context.memory.imap;
    memory.learn_ahead(&session.connection.ahead, end.as_ref().err());
    let end = end?;
    session.connection.leave().await;
    Ok(end)
}

struct Session {
    context: Context,
    connection: Connection,
    capabilities: Capabilities,
    /// How delivered mail is acknowledged here.
    deed: Deed,
    folders: Vec<Folder>,
    /// The folder that is selected.
    current: Option<usize>,
    /// When an acknowledgement was last refused.
    refused_at: Option<Instant>,
    held: Held,
    /// When listing last began with the first UID.
    whole_at: Instant,
    /// The server said of its own accord that something came.
    announced: bool,
}

impl Session {
    async fn work(&mut self) -> Result<End, FetchError> {
        loop {
            for at in 0..self.folders.len() {
                self.fetch_new(at).await?;
                self.leave_bodies(at).await?;
            }
            self.show_folders()?;
            self.context.memory.worked.store(true, Ordering::Relaxed);
            if let Some(end) = self.wait().await? {
                return Ok(end);
            }
            // A server that told nothing of late is asked; it may tell only then.
            if !std::mem::take(&mut self.announced) {
                self.connection.run("NOOP", "NOOP", |_| {}).await?;
            }
            if self.whole_at.elapsed() >= WHOLE {
                self.list_anew();
            }
        }
    }

    fn list_anew(&mut self) {
        self.whole_at = Instant::now();
        self.context.memory.imap.looks.forget();
        self.folders.iter_mut().for_each(Folder::list_anew);
    }

    fn stopping(&self) -> bool {
        self.context.stops.shutdown.is_cancelled()
    }

    /// Selects a folder; false if it can't be used now, which is shown and stops no other folder.
    async fn open(&mut self, at: usize) -> Result<bool, FetchError> {
        if self.current == Some(at) {
            return Ok(true);
        }
        self.current = None;
        let mailbox = &self.context.mailbox;
        let folder = &mut self.folders[at];
        let name = folder.name.clone();
        let capabilities = &self.capabilities;
        match select_for(&mut self.connection, &name, &mailbox.after, capabilities).await? {
            Err(why) => {
                if folder.shut.as_ref() != Some(&why) {
                    tracing::warn!(mailbox = mailbox.name, folder = name, "{why}");
                }
                folder.shut = Some(why);
                Ok(false)
            }
            Ok(selected) => {
                folder.select(selected);
                self.current = Some(at);
                self.look_for_reuse(at).await?;
                let Context { mailbox, parts, .. } = &self.context;
                self.folders[at].recognise =
                    parts
                        .spool
                        .left_out_elsewhere(&mailbox.name, &name, selected.uidvalidity)?;
                self.compare(at, selected)?;
                Ok(true)
            }
        }
    }

    /// The folder in which the session waits: the first that can be used.
    fn home(&self) -> Option<usize> {
        self.folders.iter().position(|folder| folder.shut.is_none())
    }

    /// Shows the folders that can't be used; without any other one, a person is asked.
    fn show_folders(&mut self) -> Result<(), FetchError> {
        let troubles: Vec<String> = self.folders.iter().filter_map(Folder::trouble).collect();
        let troubles = (!troubles.is_empty()).then(|| troubles.join("; "));
        if self.home().is_none() {
            return Err(FetchError::Blocked(troubles.unwrap_or_default()));
        }
        self.context.show.folders(troubles);
        self.show_alert();
        Ok(())
    }

    fn show_alert(&mut self) {
        if let Some(alert) = self.connection.alert.take() {
            self.context.show.alert(alert);
        }
    }
}
