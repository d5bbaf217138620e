//! Notices that the configuration file has changed, by looking at it now and then.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Between looks. A change counts when two looks have seen the same, so that a file that an editor is still writing is not read.
const LOOK: Duration = Duration::from_secs(2);

/// What tells one state of a file from another: inode, length, time of the last change in nanoseconds.
type Stamp = (u64, u64, i128);

/// Looks at one file.
pub(crate) struct Watch {
    file: PathBuf,
    ticks: Interval,
    seen: Seen,
}

impl Watch {
    pub(crate) fn new(file: &Path) -> Self {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            file: file.to_owned(),
            ticks,
            seen: Seen::of(stamp(file)),
        }
    }

    /// Returns when the file is another one than before, and nobody is writing it any more. Dropping the future loses nothing.
    pub(crate) async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            if self.seen.look(stamp(&self.file)) {
                return;
            }
        }
    }

    /// What there is now is known: it is about to be read for another reason.
    pub(crate) fn forget(&mut self) {
        self.seen = Seen::of(stamp(&self.file));
    }
}

/// None: there is no file, or it cannot be looked at.
fn stamp(file: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(file).ok()?;
    let nanoseconds = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    Some((found.ino(), found.len(), nanoseconds))
}

/// The decision, apart from the file.
struct Seen {
    followed: Option<Stamp>,
    last: Option<Stamp>,
}

impl Seen {
    fn of(stamp: Option<Stamp>) -> Self {
        Self {
            followed: stamp,
            last: stamp,
        }
    }

    /// True: this state is new, and was the same at the look before. A file that is gone is no news: it may be on its way.
    fn look(&mut self, now: Option<Stamp>) -> bool {
        let settled = now == self.last;
        self.last = now;
        if !settled || now.is_none() || now == self.followed {
            return false;
        }
        self.followed = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Option<Stamp> = Some((1, 10, 5));
    const HALF: Option<Stamp> = Some((1, 3, 6));
    const NEW: Option<Stamp> = Some((1, 12, 7));

    #[test]
    fn a_change_counts_once_and_only_when_it_is_complete() {
        let mut seen = Seen::of(OLD);
        let looks = [OLD, HALF, NEW, NEW, NEW, OLD, OLD];
        let news = looks.map(|now| seen.look(now));
        assert_eq!(news, [false, false, false, true, false, false, true]);
    }

    #[test]
    fn a_file_that_is_replaced_is_not_read_while_it_is_gone() {
        let mut seen = Seen::of(OLD);
        let looks = [None, None, None, OLD, OLD, None, NEW, NEW];
        let news = looks.map(|now| seen.look(now));
        assert_eq!(
            news,
            [false, false, false, false, false, false, false, true]
        );
    }
}
