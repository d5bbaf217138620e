//! What is in a folder: SELECT, and lists of UID, flags and size in windows of UIDs.

use imap_proto::{AttributeValue, MailboxDatum, Response, ResponseCode, StatusAttribute};

use super::connection::{Connection, Socket};
use crate::error::FetchError;

/// Up to so many messages are listed by one command (some 300 KB of answer); a larger folder in windows.
const ONE_LISTING: u32 = 5_000;
/// First width of a window, in UIDs.
const WINDOW: u32 = 5_000;
/// A window with fewer messages widens the next one: UIDs of an old folder are sparse.
const SPARSE: usize = 1_000;

/// A selected folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) uidvalidity: u32,
    pub(crate) uidnext: Option<u32>,
    pub(crate) read_only: bool,
    /// HIGHESTMODSEQ, of servers with CONDSTORE.
    pub(crate) modseq: Option<u64>,
}

/// How a folder is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Changing nothing.
    Examine,
    Select,
    /// And HIGHESTMODSEQ is wanted (RFC 7162 section 3.1.8): some servers count only once they were asked.
    SelectWithModseq,
}

/// Opens a folder.
pub(crate) async fn select(
    connection: &mut Connection<impl Socket>,
    name: &str,
    opening: Opening,
) -> Result<Selected, FetchError> {
    connection.exists = 0;
    let (mut uidvalidity, mut uidnext, mut read_only, mut modseq) = (None, None, false, None);
    let (command, wanted) = match opening {
        Opening::Examine => ("EXAMINE", ""),
        Opening::Select => ("SELECT", ""),
        Opening::SelectWithModseq => ("SELECT", " (CONDSTORE)"),
    };
    let each = |response: &Response<'_>| {
        let (Response::Data { outcome, .. } | Response::Done { outcome, .. }) = response else {
            return;
        };
        match outcome.code {
            Some(ResponseCode::UidValidity(n)) => uidvalidity = Some(n),
            Some(ResponseCode::UidNext(n)) => uidnext = Some(n),
            Some(ResponseCode::ReadOnly) => read_only = true,
            Some(ResponseCode::HighestModSeq(n)) => modseq = Some(n),
            _ => {}
        }
    };
    connection
        .run(
            command,
            &format!("{command} {}{wanted}", connection.folder(name)),
            each,
        )
        .await?;
    connection.heard();
    let Some(uidvalidity) = uidvalidity else {
        return Err(FetchError::Again(format!(
            "the server gives folder {name} no UIDVALIDITY: its UIDs can't be relied on"
        )));
    };
    Ok(Selected {
        uidvalidity,
        uidnext,
        read_only,
        modseq,
    })
}

/// What STATUS tells of a folder that is not selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) uidvalidity: u32,
    pub(crate) uidnext: u32,
}

/// Asks for the two numbers that change when mail comes: cheaper than a SELECT and a listing. (HIGHESTMODSEQ of CONDSTORE changes
/// with every flag that somebody sets, so that it would make more work, not less.) None where the server can't tell.
pub(crate) async fn status(
    connection: &mut Connection<impl Socket>,
    name: &str,
) -> Result<Option<Status>, FetchError> {
    let (mut uidvalidity, mut uidnext) = (None, None);
    let each = |response: &Response<'_>| {
        let Response::MailboxData(MailboxDatum::Status { status, .. }) = response else {
            return;
        };
        for attribute in status {
            match attribute {
                StatusAttribute::UidValidity(n) => uidvalidity = Some(*n),
                StatusAttribute::UidNext(n) => uidnext = Some(*n),
                _ => {}
            }
        }
    };
    let line = format!("STATUS {} (UIDNEXT UIDVALIDITY)", connection.folder(name));
    if let Err(e) = connection.run("STATUS", &line, each).await {
        // What is wrong with the folder is said by the SELECT that follows.
        e.refused()?;
        return Ok(None);
    }
    Ok(uidvalidity
        .zip(uidnext)
        .map(|(uidvalidity, uidnext)| Status {
            uidvalidity,
            uidnext,
        }))
}

/// A message as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) uid: u32,
    /// RFC822.SIZE, if the server gave one.
    pub(crate) size: Option<u32>,
    pub(crate) deleted: bool,
    /// INTERNALDATE as seconds since 1970, where asked for and readable.
    pub(crate) arrived: Option<i64>,
}

/// Goes through a folder's UIDs from below, window by window, and later from where it stopped.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// The lowest UID not yet listed.
    next: u32,
    width: u32,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            width: WINDOW,
        }
    }

    /// Before the first listing.
    pub(crate) fn is_fresh(&self) -> bool {
        self.next == 1
    }

    /// What is below this UIDNEXT need not be listed.
    pub(crate) fn pass_over(&mut self, uidnext: u32) {
        self.next = self.next.max(uidnext);
    }

    /// Whether a folder with this UIDNEXT holds UIDs above those listed.
    pub(crate) fn ends_before(&self, uidnext: Option<u32>) -> bool {
        uidnext.is_some_and(|next| next > self.next)
    }

    /// The next range: its first UID, and its last one, or None for `*`.
    fn range(&self, exists: u32, uidnext: Option<u32>) -> (u32, Option<u32>) {
        let last = self.next.saturating_add(self.width - 1);
        let bounded = exists > ONE_LISTING && uidnext.is_some_and(|n| last < n.saturating_sub(1));
        (self.next, bounded.then_some(last))
    }

    fn passed(&mut self, last: Option<u32>, found: &[Listed], uidnext: Option<u32>) {
        match last {
            Some(last) => {
                self.next = last.saturating_add(1);
                if found.len() < SPARSE {
                    self.width = self.width.saturating_mul(8);
                }
            }
            None => {
                let after = found.last().map_or(self.next, |l| l.uid.saturating_add(1));
                self.next = self.next.max(after).max(uidnext.unwrap_or(0));
                self.width = WINDOW;
            }
        }
    }
}

/// Lists the next window, ascending by UID; the flag says whether more windows follow.
pub(crate) async fn list(
    connection: &mut Connection<impl Socket>,
    window: &mut Window,
    selected: Selected,
    dates: bool,
) -> Result<(Vec<Listed>, bool), FetchError> {
    connection.heard();
    if connection.exists == 0 {
        return Ok((Vec::new(), false));
    }
    let (first, last) = window.range(connection.exists, selected.uidnext);
    let until = last.map_or_else(|| "*".to_owned(), |l| l.to_string());
    let mut found = list_set(connection, &format!("{first}:{until}"), dates).await?;
    // `N:*` names the last message even if its UID is below N.
    found.retain(|l| l.uid >= first && last.is_none_or(|last| l.uid <= last));
    window.passed(last, &found, selected.uidnext);
    Ok((found, last.is_some()))
}

/// Lists a set of UIDs, ascending.
pub(crate) async fn list_set(
    connection: &mut Connection<impl Socket>,
    set: &str,
    dates: bool,
) -> Result<Vec<Listed>, FetchError> {
    let mut found = Vec::new();
    let items = if dates {
        "UID FLAGS RFC822.SIZE INTERNALDATE"
    } else {
        "UID FLAGS RFC822.SIZE"
    };
    let each = |response: &Response<'_>| {
        if let Response::Fetch(_, items) = response {
            found.extend(listed(items));
        }
    };
    connection
        .run("UID FETCH", &format!("UID FETCH {set} ({items})"), each)
        .await?;
    found.sort_unstable_by_key(|l| l.uid);
    // A flag change in between brings a second FETCH without a size: the fuller one counts.
    found.dedup_by(|b, a| {
        let same = a.uid == b.uid;
        if same {
            a.size = a.size.or(b.size);
            a.arrived = a.arrived.or(b.arrived);
            a.deleted |= b.deleted;
        }
        same
    });
    Ok(found)
}

fn listed(items: &[AttributeValue<'_>]) -> Option<Listed> {
    let mut listed = Listed {
        uid: 0,
        size: None,
        deleted: false,
        arrived: None,
    };
    for item in items {
        match item {
            AttributeValue::Uid(uid) => listed.uid = *uid,
            AttributeValue::Rfc822Size(size) => listed.size = Some(*size),
            AttributeValue::Flags(flags) => {
                listed.deleted = flags.iter().any(|f| f.eq_ignore_ascii_case("\\Deleted"))
            }
            AttributeValue::InternalDate(date) => listed.arrived = seconds(date),
            _ => {}
        }
    }
    (listed.uid != 0).then_some(listed)
}

/// Seconds since 1970 of `17-Jul-1996 02:44:25 -0700`.
fn seconds(date: &str) -> Option<i64> {
    let zoned = jiff::fmt::strtime::parse("%d-%b-%Y %H:%M:%S %z", date.trim()).ok()?;
    Some(zoned.to_timestamp().ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_their_zone_and_nonsense_is_none() {
        assert_eq!(seconds("17-Jul-1996 02:44:25 -0700"), Some(837_596_665));
        assert_eq!(seconds(" 7-Jul-1996 02:44:25 +0000"), Some(836_707_465));
        for nonsense in ["", "XIL", "31-Feb-2020 00:00:00 +0000"] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_small_folder_is_one_window_and_later_only_what_is_new() {
        let mut window = Window::new();
        assert_eq!(window.range(3, Some(4_000_000_000)), (1, None));
        let found = [Listed {
            uid: 41,
            size: Some(1),
            deleted: false,
            arrived: None,
        }];
        window.passed(None, &found, Some(40));
        assert_eq!(window.range(4, Some(40)), (42, None));
    }

    #[test]
    fn a_sparse_folder_takes_few_windows() {
        let (mut window, mut windows) = (Window::new(), 0);
        let uidnext = Some(u32::MAX);
        while let (_, Some(last)) = window.range(ONE_LISTING + 1, uidnext) {
            window.passed(Some(last), &[], uidnext);
            windows += 1;
        }
        assert!(windows < 12, "{windows}");
    }
}
