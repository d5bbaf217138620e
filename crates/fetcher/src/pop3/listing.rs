//! What is in the maildrop: LIST and UIDL, and the date in a message's headers.

use std::collections::{BTreeMap, HashSet};

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, Incoming};
use crate::error::FetchError;

/// Messages looked at in one session: some 25 MB of memory. The others come in later sessions, when these are deleted.
const MESSAGES: usize = 250_000;
/// A name longer than this names nothing: the message is known by its bytes. RFC 1939 section 7 allows 70.
const NAME: usize = 1024;
/// Bytes of all names; beyond this they name nothing.
const NAMES: usize = 16 * 1024 * 1024;
/// Commands for headers sent ahead of their answers.
const AHEAD: usize = 64;
/// Headers that are kept of a message.
const HEADER: usize = 64 * 1024;
/// Headers that are read past; what is longer is no header.
const LONG_HEADER: u64 = 4 * 1024 * 1024;

/// A message as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// In this session.
    pub(super) number: u32,
    /// Bytes, as the server says.
    pub(super) size: Option<u64>,
    /// Its UIDL.
    pub(super) name: Option<Vec<u8>>,
}

/// A whole maildrop.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By number, which is the order of arrival.
    pub(super) messages: Vec<Listed>,
    /// Whether the server has UIDL.
    pub(super) named: bool,
    /// Whether all messages are here.
    pub(super) whole: bool,
}

/// LIST and UIDL. `ahead`: the second is sent with the first.
pub(super) async fn list<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    ahead: bool,
) -> Result<Listing, FetchError> {
    let mut found = Found::default();
    connection
        .send(
            "LIST",
            if ahead {
                "LIST\r\nUIDL\r\n"
            } else {
                "LIST\r\n"
            },
        )
        .await?;
    connection.ok("LIST").await?;
    connection.rows("LIST", |row| found.size(row)).await?;
    if !ahead {
        connection.send("UIDL", "UIDL\r\n").await?;
    }
    let named = match connection.ok("UIDL").await {
        Ok(_) => true,
        Err(FetchError::Refused(refusal)) if refusal.code.is_none() => false,
        Err(e) => return Err(e),
    };
    if named {
        connection.rows("UIDL", |row| found.name(row)).await?;
    }
    Ok(found.listing(named))
}

#[derive(Default)]
struct Found {
    messages: BTreeMap<u32, (Option<u64>, Option<Vec<u8>>)>,
    names: usize,
    left_over: bool,
}

impl Found {
    /// `2 1200`, and whatever a server adds to it.
    fn size(&mut self, row: &[u8]) {
        if let Some((number, rest)) = numbered(row) {
            let size = rest
                .split(|b| b.is_ascii_whitespace())
                .next()
                .and_then(parse);
            if let Some(message) = self.message(number) {
                message.0 = size;
            }
        }
    }

    /// `2 whqtswO00WBw418f9t5JxYwZ`; odd bytes are as good as any.
    fn name(&mut self, row: &[u8]) {
        let Some((number, name)) = numbered(row) else {
            return;
        };
        let fits = !name.is_empty() && name.len() <= NAME && self.names + name.len() <= NAMES;
        self.names += if fits { name.len() } else { 0 };
        if let Some(message) = self.message(number) {
            message.1 = fits.then(|| name.to_vec());
        }
    }

    fn message(&mut self, number: u32) -> Option<&mut (Option<u64>, Option<Vec<u8>>)> {
        if self.messages.len() >= MESSAGES && !self.messages.contains_key(&number) {
            self.left_over = true;
            return None;
        }
        Some(self.messages.entry(number).or_default())
    }

    fn listing(self, named: bool) -> Listing {
        let listed = |(number, (size, name))| Listed { number, size, name };
        Listing {
            messages: self.messages.into_iter().map(listed).collect(),
            named,
            whole: !self.left_over,
        }
    }
}

/// The message number of a row, and what follows the blank.
fn numbered(row: &[u8]) -> Option<(u32, &[u8])> {
    let row = row.trim_ascii();
    let end = row
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(row.len());
    let number = u32::try_from(parse(&row[..end])?).ok().filter(|n| *n > 0)?;
    Some((number, row[end..].trim_ascii_start()))
}

fn parse(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The answer to a TOP: a message's headers, cut. None: the server can't, or the message is gone.
pub(super) async fn headers<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    number: u32,
) -> Result<Option<Vec<u8>>, FetchError> {
    match connection.ok("TOP").await {
        Ok(_) => {}
        Err(FetchError::Refused(_)) => return Ok(None),
        Err(e) => return Err(e),
    }
    let (mut incoming, mut piece, mut headers) = (Incoming::new(), Vec::new(), Vec::new());
    let mut received = 0;
    loop {
        let end = connection.piece("TOP", &mut incoming, &mut piece).await?;
        received += piece.len() as u64;
        let room = HEADER - headers.len();
        headers.extend_from_slice(&piece[..piece.len().min(room)]);
        piece.clear();
        if end {
            return Ok(Some(headers));
        }
        if received > LONG_HEADER {
            return Err(FetchError::Again(format!(
                "the headers of message {number} have no end"
            )));
        }
    }
}

/// The command for a message's headers.
pub(super) fn top(number: u32) -> String {
    format!("TOP {number} 0\r\n")
}

/// The places of the messages that arrived before a time, by their headers. A message without a readable date is not among them: rather
/// one too many than one lost.
pub(super) async fn older<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    numbers: &[u32],
    from: i64,
    ahead: bool,
) -> Result<HashSet<usize>, FetchError> {
    let window = if ahead { AHEAD } else { 1 };
    let (mut older, mut readable) = (HashSet::new(), false);
    for (nth, chunk) in numbers.chunks(window).enumerate() {
        let commands: String = chunk.iter().map(|number| top(*number)).collect();
        connection.send("TOP", &commands).await?;
        for (at, number) in chunk.iter().enumerate() {
            let Some(headers) = headers(connection, *number).await? else {
                continue;
            };
            readable = true;
            if arrived(&headers).is_some_and(|time| time < from) {
                older.insert(nth * window + at);
            }
        }
        if !readable {
            return Err(FetchError::Blocked(
                "`start_from` with a date needs TOP, which the server does not have; use all or now, or protocol: imap".into(),
            ));
        }
    }
    Ok(older)
}

/// When a message arrived, by its topmost Received field, else by its Date: seconds since 1970.
fn arrived(headers: &[u8]) -> Option<i64> {
    use mail_parser::{HeaderName, MessageParser};
    let parser = MessageParser::new()
        .header_received(HeaderName::Received)
        .with_date_headers()
        .default_header_ignore();
    let message = parser.parse_headers(headers)?;
    let received = message
        .received_all()
        .next()
        .and_then(mail_parser::Received::date);
    let date = received.or_else(|| message.date().copied())?;
    Some(date.to_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sizes: &[&[u8]], names: &[&[u8]]) -> Vec<(u32, Option<u64>, Option<Vec<u8>>)> {
        let mut found = Found::default();
        sizes.iter().for_each(|row| found.size(row));
        names.iter().for_each(|row| found.name(row));
        let messages = found.listing(true).messages.into_iter();
        messages.map(|l| (l.number, l.size, l.name)).collect()
    }

    #[test]
    fn rows_are_joined_by_number_and_nonsense_is_passed_over() {
        let sizes: [&[u8]; 7] = [
            b"2 1200 extra",
            b"1\t120",
            b"x 3",
            b"0 5",
            b"",
            b"3",
            b"99999999999 4",
        ];
        let names: [&[u8]; 4] = [b"2 b  c", b"1  a\xff\x01", b"4 only-here", b"3 "];
        let expected = [
            (1, Some(120), Some(b"a\xff\x01".to_vec())),
            (2, Some(1200), Some(b"b  c".to_vec())),
            (3, None, None),
            (4, None, Some(b"only-here".to_vec())),
        ];
        assert_eq!(found(&sizes, &names), expected);
    }

    #[test]
    fn a_name_of_any_sane_length_is_kept_and_a_huge_one_names_nothing() {
        let long = [b"1 ".to_vec(), vec![b'x'; 1024]].concat();
        assert_eq!(found(&[], &[&long])[0].2, Some(vec![b'x'; 1024]));
        let huge = [b"1 ".to_vec(), vec![b'x'; 1025]].concat();
        assert_eq!(found(&[], &[&huge])[0].2, None);
    }

    #[test]
    fn the_time_of_arrival_is_the_topmost_received_else_the_date() {
        let headers = b"Received: from a by b; Tue, 03 Feb 2026 10:00:00 +0000\r\nReceived: from c by a; Mon, 02 Feb 2026 10:00:00 +0000\r\nDate: Sun, 01 Feb 2026 10:00:00 +0100\r\n\r\n";
        assert_eq!(arrived(headers), Some(1_770_112_800));
        assert_eq!(arrived(&headers[112..]), Some(1_769_936_400));
        for nothing in [&b""[..], b"Subject: x\r\n\r\n", b"Date: yesterday\r\n\r\n"] {
            assert_eq!(arrived(nothing), None);
        }
    }
}
