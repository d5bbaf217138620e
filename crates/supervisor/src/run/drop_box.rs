//! Empties the drop directory: what `postern sendmail` left while no daemon ran goes through a submission session like any other mail.
//!
//! A file goes only when its message is in the spool. A kill between the two brings it again, and the key in its header makes that one
//! message. What no relay takes stays, is a notice, and is tried again after a reload and every hour.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sender::{HandedOver, converse, hand_over};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Handle;
use crate::sendmail::drop_box;

/// `sendmail` writes here only when it does not reach the daemon, so that one look at the start finds nearly everything.
const LOOK: Duration = Duration::from_secs(30);
/// A message that was refused is tried again after this.
const REFUSED: Duration = Duration::from_secs(3600);
/// A message that could not be taken for a reason that passes is tried again after this.
const LATER: Duration = Duration::from_secs(60);
/// After so many of them in one look the trouble is everybody's, and the look ends.
const MOST_LATER: usize = 5;
/// After so many tries of one message it is a notice.
const MANY_TRIES: u32 = 10;
/// Between the two ends of a session in memory.
const PIPE: usize = 64 * 1024;

/// Looks at the start, and every half minute, until shutdown.
pub(super) async fn empty(dir: PathBuf, handle: Handle, shutdown: CancellationToken) {
    if let Err(error) = drop_box::prepare(&dir) {
        tracing::warn!(
            "{}: {error}; `postern sendmail` has no place for messages while the daemon is down. Make the directory, owned by the daemon's \
             user and the group of those who may send, with mode 3730, or name another one as drop_dir",
            dir.display()
        );
    }
    let mut box_ = DropBox {
        dir,
        handle,
        put_off: BTreeMap::new(),
    };
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut routes = box_.handle.routes();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = looks.tick() => {}
            Ok(()) = routes.changed() => box_.try_all_again(),
        }
        box_.look(&shutdown).await;
        box_.tell();
    }
}

struct DropBox {
    dir: PathBuf,
    handle: Handle,
    put_off: BTreeMap<PathBuf, PutOff>,
}

/// What was not taken.
struct PutOff {
    /// Tries that failed for a reason that passes.
    tries: u32,
    is_refused: bool,
    /// Until when it is left alone.
    until: Instant,
    /// From whom and why.
    why: String,
}

impl DropBox {
    fn try_all_again(&mut self) {
        let now = Instant::now();
        for refused in self.put_off.values_mut() {
            refused.until = now;
        }
    }

    /// What is refused, or was tried often, is a notice until it is taken or removed.
    fn tell(&self) {
        let words =
            |(path, refused): (&PathBuf, &PutOff)| format!("{}, {}", path.display(), refused.why);
        let told = |(_, one): &(&PathBuf, &PutOff)| one.is_refused || one.tries >= MANY_TRIES;
        let refused = self.put_off.iter().filter(told).map(words).collect();
        self.handle.set_refused_drops(refused);
    }

    async fn look(&mut self, shutdown: &CancellationToken) {
        // Not there, or not for us: said at the start.
        let Ok(found) = drop_box::list(&self.dir) else {
            return;
        };
        let now = Instant::now();
        self.put_off.retain(|path, _| found.contains(path));
        let mut later = 0;
        for path in found {
            if shutdown.is_cancelled() || later == MOST_LATER {
                return;
            }
            if self
                .put_off
                .get(&path)
                .is_some_and(|refused| refused.until > now)
            {
                continue;
            }
            match self.take(&path, shutdown).await {
                Ok(()) => drop(self.put_off.remove(&path)),
                Err(NotTaken::Later(why)) => {
                    tracing::warn!("{}: {why}; it is tried again", path.display());
                    later += 1;
                    let before = self.put_off.get(&path).map_or(0, |one| one.tries);
                    let put_off = PutOff {
                        tries: before.saturating_add(1),
                        is_refused: false,
                        until: now + LATER,
                        why,
                    };
                    self.put_off.insert(path, put_off);
                }
                Err(NotTaken::Refused(why)) => {
                    tracing::error!(
                        "{}: {why}; the message stays there and is tried again in an hour, and after a reload",
                        path.display()
                    );
                    let until = now + REFUSED;
                    let put_off = PutOff {
                        tries: 0,
                        is_refused: true,
                        until,
                        why,
                    };
                    self.put_off.insert(path, put_off);
                }
            }
        }
    }

    async fn take(&self, path: &Path, shutdown: &CancellationToken) -> Result<(), NotTaken> {
        let refused = |error: std::io::Error| NotTaken::Refused(error.to_string());
        let dropped = drop_box::open(path).map_err(refused)?;
        let from = format!("from uid {}", dropped.uid);
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let peer = format!("uid {}, dropped", dropped.uid);
        let session = converse(theirs, peer, self.handle.desk(), shutdown.clone());
        let client = hand_over(ours, &dropped.envelope, dropped.message);
        let (ended, ()) = tokio::join!(client, session);
        match ended.map_err(|error| NotTaken::Later(error.to_string()))? {
            HandedOver::Accepted(_) => drop_box::remove(&self.dir, path).map_err(|error| {
                NotTaken::Later(format!("it is in the spool, and stays here: {error}"))
            }),
            HandedOver::Later(reply) => Err(NotTaken::Later(reply)),
            HandedOver::Refused { reply, .. } => Err(NotTaken::Refused(format!("{from}: {reply}"))),
        }
    }
}

/// Why a message is still there.
enum NotTaken {
    Later(String),
    Refused(String),
}
