//! One signed-in session of a mailbox: list what is new, fetch it, acknowledge what is delivered, wait, and again.

mod acknowledging;
mod news;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use token_store::TokenError;
use token_store::accounts::{Mailbox, Watch};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::acknowledge::{BATCH, check_target, select_for};
use super::bodies::{Intake, Stop};
use super::capabilities::Capabilities;
use super::connection::Connection;
use super::folder::Folder;
use super::sign_in::{PATIENCE, connect, sign_in};
use super::watch::{Woken, idle, longest_idle, pause};
use crate::Parts;
use crate::error::FetchError;
use crate::show::Show;

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

/// How the parts of a mailbox wake each other; hints, which may be lost.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// A message was taken in.
    pub(crate) taken: Notify,
    /// A message was delivered: acknowledge it.
    pub(crate) delivered: Notify,
}

/// What a mailbox's sessions leave to the next one.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// A session got as far as a listing: the backoff starts anew.
    pub(crate) worked: AtomicBool,
    /// A literal was far larger than its RFC822.SIZE: messages are fetched in pieces only.
    pub(crate) in_pieces: AtomicBool,
    /// By folder and UIDVALIDITY: what was acknowledged by a flag alone, and is to be expunged once that harms nobody.
    flagged: Mutex<BTreeMap<(String, u32), BTreeSet<u32>>>,
}

/// Why a session ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Shutdown,
    /// Logged out until the next poll.
    Rest(Duration),
}

/// When to stop.
#[derive(Debug, Clone)]
pub(crate) struct Stops {
    /// No more fetching.
    pub(crate) shutdown: CancellationToken,
    /// No delivery runs any more: what is delivered now is all.
    pub(crate) drained: CancellationToken,
}

/// Everything a session works with.
pub(crate) struct Context {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) parts: Parts,
    pub(crate) signals: Arc<Signals>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) stops: Stops,
    pub(crate) show: Show,
}

/// Signs in and works until shutdown, an error, or a long pause between polls.
pub(crate) async fn run(context: Context) -> Result<End, FetchError> {
    let mailbox = context.mailbox.clone();
    let signed_in = async {
        let credential = context
            .parts
            .tokens
            .credential(&mailbox.auth, &mailbox.user)
            .await
            .map_err(no_token)?;
        let (mut connection, offered) = connect(&mailbox, PATIENCE).await?;
        let capabilities = sign_in(&mut connection, &offered, &mailbox, &credential).await?;
        check_target(&mut connection, &mailbox.folders, &mailbox.after, true).await?;
        Ok::<_, FetchError>((connection, capabilities))
    };
    let (connection, capabilities) = tokio::select! {
        done = signed_in => done?,
        () = context.stops.shutdown.cancelled() => return Ok(End::Shutdown),
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
        folders,
        current: None,
        refused_at: None,
        whole_at: Instant::now(),
    };
    let end = session.work().await?;
    session.connection.leave().await;
    Ok(end)
}

pub(crate) fn no_token(e: TokenError) -> FetchError {
    match e {
        TokenError::NeedsConsent { .. } | TokenError::Broken { .. } | TokenError::Unknown(_) => {
            FetchError::Blocked(e.to_string())
        }
        TokenError::Later { ref words, after } => FetchError::NoToken {
            why: words.clone(),
            after: Some(after),
        },
        TokenError::Store(why) => FetchError::NoToken { why, after: None },
    }
}

struct Session {
    context: Context,
    connection: Connection,
    capabilities: Capabilities,
    folders: Vec<Folder>,
    /// The folder that is selected.
    current: Option<usize>,
    /// When an acknowledgement was last refused.
    refused_at: Option<Instant>,
    /// When listing last began with the first UID.
    whole_at: Instant,
}

impl Session {
    async fn work(&mut self) -> Result<End, FetchError> {
        loop {
            for at in 0..self.folders.len() {
                self.fetch_new(at).await?;
            }
            self.context.memory.worked.store(true, Ordering::Relaxed);
            if let Some(end) = self.wait().await? {
                return Ok(end);
            }
            self.connection.run("NOOP", "NOOP", |_| {}).await?;
            if self.whole_at.elapsed() >= WHOLE {
                self.list_anew();
            }
        }
    }

    fn list_anew(&mut self) {
        self.whole_at = Instant::now();
        self.folders.iter_mut().for_each(Folder::list_anew);
    }

    fn stopping(&self) -> bool {
        self.context.stops.shutdown.is_cancelled()
    }

    async fn open(&mut self, at: usize) -> Result<(), FetchError> {
        if self.current != Some(at) {
            self.current = None;
            let selected = select_for(
                &mut self.connection,
                &self.folders[at].name,
                &self.context.mailbox.after,
            )
            .await?;
            self.folders[at].select(selected);
            self.current = Some(at);
        }
        Ok(())
    }

    /// Lists and fetches everything new in one folder, acknowledging in between.
    async fn fetch_new(&mut self, at: usize) -> Result<(), FetchError> {
        self.open(at).await?;
        self.look_again(at).await?;
        self.start_from(at).await?;
        self.folders[at].more = true;
        let mut fetched = 0;
        while !self.stopping() {
            if self.folders[at].pending.is_empty() {
                if !self.folders[at].more {
                    break;
                }
                self.list_window(at).await?;
                continue;
            }
            let pending = self.folders[at].pending.len();
            self.context.show.session(format!(
                "fetching {} of {} from {}",
                fetched,
                fetched + pending,
                self.folders[at].name
            ));
            let (stop, taken) = self.fetch_some(at).await?;
            fetched += taken;
            self.acknowledge(at, WORTH).await?;
            if stop == Stop::Full {
                self.wait_for_room(at).await?;
            }
        }
        self.forget_stale(at).await?;
        self.acknowledge(at, 1).await
    }

    async fn fetch_some(&mut self, at: usize) -> Result<(Stop, usize), FetchError> {
        let Context {
            mailbox,
            parts,
            signals,
            memory,
            stops,
            ..
        } = &self.context;
        let whole = !memory.in_pieces.load(Ordering::Relaxed);
        let mut intake = Intake::new(
            &mut self.connection,
            &parts.spool,
            mailbox,
            &mut self.folders[at],
            &signals.taken,
            whole,
        );
        // A pause now and then lets acknowledgements go between two fetches.
        intake
            .run(|taken| stops.shutdown.is_cancelled() || taken >= BATCH)
            .await
    }

    /// The mailbox is the queue: nothing is fetched until deliveries have made room.
    async fn wait_for_room(&mut self, at: usize) -> Result<(), FetchError> {
        let cap = self.context.mailbox.max_undelivered.max(1);
        let enough = cap - (cap / 4).max(1);
        loop {
            let undelivered = self
                .context
                .parts
                .spool
                .undelivered(&self.context.mailbox.name)?;
            if undelivered <= enough || self.stopping() {
                return Ok(());
            }
            self.context.show.session(format!("{undelivered} messages wait to be delivered; the others stay in the mailbox until then"));
            let Context { signals, stops, .. } = &self.context;
            tokio::select! {
                () = signals.delivered.notified() => {
                    // Deliveries come in runs: the spool is asked now and then, not after each.
                    tokio::time::sleep(BREATH).await;
                    self.acknowledge(at, WORTH).await?;
                }
                () = stops.shutdown.cancelled() => {}
                // Also keeps the connection from being closed as idle.
                () = tokio::time::sleep(REPEAT) => self.connection.run("NOOP", "NOOP", |_| {}).await?,
            }
        }
    }

    /// Waits until there is a reason to look again; acknowledges meanwhile. Some: the session is over.
    async fn wait(&mut self) -> Result<Option<End>, FetchError> {
        let mailbox = self.context.mailbox.clone();
        let period = match mailbox.watch {
            Watch::Every(period) => period,
            Watch::Idle => mailbox.poll,
        };
        let can_idle = mailbox.watch == Watch::Idle && self.capabilities.has("IDLE");
        let poll = Instant::now() + period;
        let leave = !can_idle && period > KEEP_OPEN;
        let until = if leave { Instant::now() + LINGER } else { poll };
        loop {
            self.acknowledge_all().await?;
            if self.stopping() {
                self.last_acknowledgements().await?;
                return Ok(Some(End::Shutdown));
            }
            if leave
                && (Instant::now() >= until
                    || self.context.parts.spool.undelivered(&mailbox.name)? == 0)
            {
                return Ok(Some(End::Rest(
                    poll.saturating_duration_since(Instant::now()),
                )));
            }
            self.context.show.session("waiting for new mail".into());
            let mut poked = false;
            let woken = if can_idle {
                self.open(0).await?;
                if self.folders[0].has_unlisted(self.connection.exists) {
                    return Ok(None);
                }
                let until = until.min(Instant::now() + longest_idle(mailbox.idle_minutes));
                idle(
                    &mut self.connection,
                    until,
                    called(&self.context, &mut poked),
                )
                .await?
            } else {
                pause(until, called(&self.context, &mut poked)).await
            };
            let look = match woken {
                Woken::News => true,
                Woken::Called => poked,
                Woken::Time => Instant::now() >= poll,
            };
            if poked {
                // A person who asks for a fetch means all of it.
                self.list_anew();
            }
            if look && !self.stopping() {
                return Ok(None);
            }
        }
    }
}

/// Resolves when something wants the session: a poke (then `poked`), shutdown, or deliveries worth acknowledging.
async fn called(context: &Context, poked: &mut bool) {
    let Context {
        mailbox,
        parts,
        signals,
        stops,
        ..
    } = context;
    tokio::select! {
        () = stops.shutdown.cancelled() => {}
        () = parts.poke.notified() => *poked = true,
        () = signals.delivered.notified() => {
            // More are likely to follow: one round of commands for all of them.
            let gathered = async {
                while parts.spool.undelivered(&mailbox.name).is_ok_and(|n| n > 0) {
                    tokio::time::sleep(BREATH).await;
                }
            };
            tokio::select! {
                () = gathered => {}
                () = tokio::time::sleep(GATHER) => {}
                () = stops.shutdown.cancelled() => {}
            }
        }
    }
}

impl Memory {
    /// Learns from an error what the next session should do differently.
    pub(crate) fn learn(&self, error: &FetchError) {
        if matches!(error, FetchError::TooLong(_)) {
            self.in_pieces.store(true, Ordering::Relaxed);
        }
    }

    /// Takes out what is flagged in a folder; to be put back with [`Memory::keep_flagged`].
    fn take_flagged(&self, folder: &str, uidvalidity: u32) -> BTreeSet<u32> {
        let mut flagged = self.flagged.lock().unwrap_or_else(PoisonError::into_inner);
        flagged
            .remove(&(folder.to_owned(), uidvalidity))
            .unwrap_or_default()
    }

    fn keep_flagged(&self, folder: &str, uidvalidity: u32, uids: BTreeSet<u32>) {
        if !uids.is_empty() {
            let mut flagged = self.flagged.lock().unwrap_or_else(PoisonError::into_inner);
            flagged.insert((folder.to_owned(), uidvalidity), uids);
        }
    }
}
