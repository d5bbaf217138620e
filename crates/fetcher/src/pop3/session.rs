//! One session of a maildrop: list, fetch, delete what is delivered, leave.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use spool::{Fingerprint, MessageId, Named};
use token_store::accounts::{After, Failed, Mailbox, StartFrom, Watch};
use token_store::{AccessToken, Credential};
use tokio::time::Instant;

use super::bodies::{Intake, Job, Means, Stop};
use super::capabilities::Capabilities;
use super::connection::Connection;
use super::listing::{Listed, Listing, list, older};
use super::sign_in::{connect, sign_in};
use super::turn;
use crate::credential::no_token;
use crate::error::FetchError;
use crate::session::{Context, End};

/// Bounds each wait for the server. Some read a whole maildrop before they answer a sign-in or LIST.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// Messages fetched between two looks at what may be deleted.
const BATCH: usize = 500;
/// A session that has something to delete is ended after this: what is deleted counts only then, and others want the maildrop too.
const LONGEST: Duration = Duration::from_secs(600);
/// So long may deliveries stand still before the session ends without them.
pub(super) const LINGER: Duration = Duration::from_secs(30);

/// Signs in, works, and rests until the next poll.
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
    supported(&mailbox)?;
    if !turn::wait(&context).await? {
        return Ok(End::Shutdown);
    }
    let began = Instant::now();
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
        let delay = capabilities.login_delay().or(offered.login_delay());
        turn::keep(&context, delay).await?;
        Ok::<_, FetchError>((connection, capabilities))
    };
    let (connection, capabilities) = tokio::select! {
        done = signed_in => done?,
        () = context.stops.shutdown.cancelled() => return Ok(End::Shutdown),
    };
    let session = Session {
        context,
        connection,
        capabilities,
        began,
        pending: VecDeque::new(),
        numbers: HashMap::new(),
        whole: false,
        deleting: HashSet::new(),
        marked: Vec::new(),
        poked: false,
    };
    session.work().await
}

/// What POP3 can't do is refused before anything is delivered.
pub(super) fn supported(mailbox: &Mailbox) -> Result<(), FetchError> {
    match (&mailbox.after, &mailbox.care.failed) {
        (After::Delete | After::Keep, Failed::Keep) => Ok(()),
        _ => Err(FetchError::Blocked(
            "POP3 can neither mark messages nor move them; use `after: delete` or `keep` and `failed: keep`, or protocol: imap".into(),
        )),
    }
}

/// What needs names can't be done on a server without UIDL.
pub(super) fn no_way_without_names(
    capabilities: &Capabilities,
    mailbox: &Mailbox,
) -> Result<(), FetchError> {
    if capabilities.has("UIDL") {
        return Err(FetchError::Again(
            "the server refuses UIDL, which it says it has".into(),
        ));
    }
    let what = match (&mailbox.after, mailbox.start_from) {
        (After::Keep, _) => {
            "`after: keep` would fetch every message at every poll; use `after: delete`"
        }
        (_, StartFrom::Now | StartFrom::Date(_)) => {
            "`start_from` can't remember what it leaves out; use `start_from: all`"
        }
        _ => return Ok(()),
    };
    Err(FetchError::Blocked(format!(
        "the server has no UIDL, so {what}, or protocol: imap"
    )))
}

pub(super) struct Session {
    pub(super) context: Context,
    pub(super) connection: Connection,
    pub(super) capabilities: Capabilities,
    pub(super) began: Instant,
    /// Listed, not known, not yet fetched; oldest first.
    pub(super) pending: VecDeque<Job>,
    /// The number in this session of each listed message, by its uid in the spool.
    pub(super) numbers: HashMap<u32, u32>,
    /// Whether every message of the maildrop is in `numbers`.
    pub(super) whole: bool,
    /// Messages for which DELE was sent, accepted or not.
    pub(super) deleting: HashSet<MessageId>,
    /// Those that the server marked as deleted, and forgets about if QUIT gets lost.
    pub(super) marked: Vec<MessageId>,
    /// Somebody wants a fetch now.
    pub(super) poked: bool,
}

impl Session {
    async fn work(mut self) -> Result<End, FetchError> {
        // Whoever asked for a fetch up to now gets it with this listing.
        let _ = self.context.parts.poke.notified().now_or_never();
        let listing = list(&mut self.connection, self.capabilities.has("PIPELINING")).await?;
        self.recognise(listing).await?;
        self.context.memory.worked.store(true, Ordering::Relaxed);
        let fetched_all = self.fetch().await?;
        self.leave_bodies().await?;
        if fetched_all && self.whole {
            // Delivered messages whose names are gone and whose bytes were not met again have left the maildrop.
            let Context { mailbox, parts, .. } = &self.context;
            parts.spool.drop_stale(&mailbox.name, "INBOX", 0).await?;
        }
        self.end().await
    }

    pub(super) fn stopping(&self) -> bool {
        self.context.stops.shutdown.is_cancelled()
    }

    /// Compares the listing with the spool: what is to be fetched, and under which number each message is listed.
    async fn recognise(&mut self, listing: Listing) -> Result<(), FetchError> {
        let mailbox = self.context.mailbox.clone();
        self.context.memory.pop3.keep_only(&listing.messages);
        if !listing.named && !listing.messages.is_empty() {
            no_way_without_names(&self.capabilities, &mailbox)?;
        }
        let left_out = self.left_out(&listing.messages).await?;
        let named = |(at, listed): (usize, &Listed)| Named {
            name: listed.name.clone(),
            left_out: left_out.contains(&at),
        };
        let names = listing.messages.iter().enumerate().map(named).collect();
        let spool = self.context.parts.spool.clone();
        let recognised = spool.recognise_names(&mailbox.name, names).await?;
        if recognised.renamed {
            tracing::warn!(
                mailbox = mailbox.name,
                "the server names all its messages anew; known ones are recognised by their content"
            );
        }
        self.whole = listing.whole;
        if !listing.whole {
            tracing::warn!(
                mailbox = mailbox.name,
                looked_at = listing.messages.len(),
                "there are more messages than one session looks at"
            );
        }
        for (listed, numbered) in listing.messages.into_iter().zip(recognised.messages) {
            self.numbers.insert(numbered.uid, listed.number);
            if !numbered.known {
                let uid = numbered.uid;
                self.pending.push_back(Job { uid, listed });
            }
        }
        if recognised.renamed {
            self.leave_out_again(&mailbox).await?;
        }
        let memory = &self.context.memory.pop3;
        let (last, first): (Vec<Job>, Vec<Job>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|job| memory.breaks(&job.listed));
        self.pending.extend(first);
        self.pending.extend(last);
        Ok(())
    }

    /// At the first listing, the places of the messages that `start_from` leaves out.
    async fn left_out(&mut self, listed: &[Listed]) -> Result<HashSet<usize>, FetchError> {
        let Context { mailbox, parts, .. } = &self.context;
        let start_from = mailbox.start_from;
        if start_from == StartFrom::All || parts.spool.folder_known(&mailbox.name, "INBOX")? {
            return Ok(HashSet::new());
        }
        let left_out: HashSet<usize> = match start_from {
            StartFrom::All => HashSet::new(),
            StartFrom::Now => (0..listed.len()).collect(),
            StartFrom::Date(from) => {
                let numbers: Vec<u32> = listed.iter().map(|l| l.number).collect();
                let ahead = self.ahead();
                older(&mut self.connection, &numbers, from, ahead).await?
            }
        };
        tracing::info!(
            mailbox = self.context.mailbox.name,
            left_out = left_out.len(),
            "first start: earlier mail stays where it is"
        );
        Ok(left_out)
    }

    /// Messages that are named anew and older than `start_from` were left out before.
    async fn leave_out_again(&mut self, mailbox: &Mailbox) -> Result<(), FetchError> {
        let StartFrom::Date(from) = mailbox.start_from else {
            return Ok(());
        };
        let numbers: Vec<u32> = self.pending.iter().map(|job| job.listed.number).collect();
        let ahead = self.ahead();
        let before = older(&mut self.connection, &numbers, from, ahead).await?;
        let mut old = Vec::new();
        let mut at = 0;
        self.pending.retain(|job| {
            let left_out = before.contains(&at);
            at += 1;
            if left_out {
                old.push(Fingerprint {
                    uid: job.uid,
                    size: None,
                    arrived: None,
                });
            }
            !left_out
        });
        self.context
            .parts
            .spool
            .leave_out(&mailbox.name, "INBOX", 0, old)
            .await?;
        Ok(())
    }

    /// Fetches what is pending, deleting what is delivered in between; whether all of it was taken in.
    async fn fetch(&mut self) -> Result<bool, FetchError> {
        let (mut fetched, mut skipped) = (0, 0);
        loop {
            let all = fetched + self.pending.len();
            if !self.pending.is_empty() {
                let doing = format!("fetching {fetched} of {all}");
                self.context.show.session(doing);
            }
            let Context {
                mailbox,
                parts,
                signals,
                memory,
                stops,
                ..
            } = &self.context;
            let means = Means {
                connection: &mut self.connection,
                spool: &parts.spool,
                mailbox,
                memory: &memory.pop3,
                taken: &signals.taken,
                ahead: self.capabilities.has("PIPELINING"),
            };
            let over = self.began + LONGEST;
            let done = Intake::new(means, &mut self.pending)
                .run(|taken| {
                    stops.shutdown.is_cancelled() || taken >= BATCH || Instant::now() > over
                })
                .await?;
            fetched += done.taken;
            skipped += done.skipped;
            self.acknowledge().await?;
            match done.stop {
                Stop::Empty => return Ok(skipped == 0),
                Stop::Full if self.wait_for_room().await? => {}
                Stop::Paused if !self.stopping() && Instant::now() <= over => {}
                Stop::Full | Stop::Paused => return Ok(false),
            }
        }
    }

    /// Whether commands may be sent ahead of answers.
    pub(super) fn ahead(&self) -> bool {
        self.capabilities.has("PIPELINING")
    }

    /// The time between two polls.
    pub(super) fn period(&self) -> Duration {
        let mailbox = &self.context.mailbox;
        match mailbox.watch {
            Watch::Every(period) => period,
            Watch::Idle => mailbox.poll,
        }
    }
}
