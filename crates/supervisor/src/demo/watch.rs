//! Looks at everything the play touches and says what is new: filed tickets, replies, refreshes, what waits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mail_parser::MessageParser;
use sandbox::Provider;
use spool::{Direction, MessageId, Spool};

use super::ledger::{Hash, Ledger};
use super::letters::Letter;
use super::stage::Stage;
use super::story::End;
use super::ticket::{MESSAGE, REPLY};
use super::{ACCOUNT, HELPDESK};

/// Fewer refreshes than this, and the play has not shown that tokens are kept alive.
pub(super) const REFRESHES: u64 = 3;

/// How long a message waits before the play's administrator looks at it, and news for what comes before it.
const MOMENT: Duration = Duration::from_millis(500);
/// So many of the messages that are left are named.
const NAMED: usize = 3;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A customer's letter lies in the mailbox.
    Arrived {
        from: String,
        subject: String,
        size: usize,
    },
    /// The ticket command filed a message.
    Filed {
        subject: String,
        ticket: String,
        attempt: u32,
    },
    /// The submission listener took a reply.
    Accepted { subject: String, to: String },
    /// The provider took a reply.
    Relayed { subject: String, to: String },
    /// The token was refreshed, so often so far.
    Refreshed { times: u64 },
    /// A message waits for its next try.
    Waits { subject: String, why: String },
    /// A message waits for a person.
    Held { subject: String, why: String },
    /// Anything else.
    Note(String),
}

/// The last line of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    fetched: u64,
    delivered: u64,
    accepted: u64,
    relayed: u64,
    refreshes: u64,
    lost: u64,
    doubled: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fetched,
            delivered,
            accepted,
            relayed,
            refreshes,
            lost,
            doubled,
        } = self;
        write!(
            f,
            "demo: {fetched} fetched, {delivered} delivered, {accepted} accepted, {relayed} relayed, {refreshes} refreshes, {lost} lost, {doubled} doubled"
        )
    }
}

/// What was told of a message that waits.
#[derive(Debug)]
struct Told {
    attempts: u32,
    state: String,
    since: Instant,
}

/// The watcher and its books.
pub(super) struct Watch {
    provider: Provider,
    spool: Spool,
    tickets: PathBuf,
    ledger: Ledger,
    refreshes: u64,
    cut_short: bool,
    /// Relayed replies that were not told yet.
    news: Vec<(Hash, Instant, Event)>,
    /// What was last told of each message in the spool.
    told: BTreeMap<i64, Told>,
}

impl Watch {
    pub(super) fn new(stage: &Stage) -> Self {
        Self {
            provider: stage.provider.clone(),
            spool: stage.spool().clone(),
            tickets: stage.tickets.clone(),
            ledger: Ledger::default(),
            refreshes: 0,
            cut_short: false,
            news: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    /// Puts a letter into the mailbox.
    pub(super) fn put(&mut self, letter: Letter) -> Event {
        self.ledger.put(&letter.bytes);
        let size = letter.bytes.len();
        self.provider.put_mail(HELPDESK, letter.bytes);
        Event::Arrived {
            from: letter.from,
            subject: letter.subject,
            size,
        }
    }

    /// What is new since the last look. The files are small and local, so reading them in place keeps nobody waiting.
    pub(super) fn look(&mut self) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        self.look_at_tickets(&mut events)?;
        self.look_at_provider(&mut events);
        let refreshes = self.provider.counts().refreshes;
        if refreshes > self.refreshes {
            self.refreshes = refreshes;
            events.push(Event::Refreshed { times: refreshes });
        }
        self.look_at_spool(&mut events)?;
        Ok(events)
    }

    /// Takes what the provider took. The gateway is often quicker than the ticket command's note that its reply was accepted, so the
    /// news waits for that note, though not for ever.
    fn look_at_provider(&mut self, events: &mut Vec<Event>) {
        for taken in self.provider.take_submitted() {
            let hash = self.ledger.relayed(&taken.bytes, &taken.recipients);
            let event = Event::Relayed {
                subject: subject(&taken.bytes),
                to: taken.recipients.join(", "),
            };
            self.news.push((hash, Instant::now(), event));
        }
        let ledger = &self.ledger;
        let ripe = |(hash, since, _): &mut (Hash, Instant, Event)| {
            ledger.was_accepted(hash) || since.elapsed() >= MOMENT
        };
        events.extend(self.news.extract_if(.., ripe).map(|(_, _, event)| event));
    }

    /// Reads and removes what the ticket command filed.
    fn look_at_tickets(&mut self, events: &mut Vec<Event>) -> anyhow::Result<()> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.tickets)? {
            paths.push(entry?.path());
        }
        paths.sort();
        // A reply is on disk before its message, and "taken" reads better before "sent".
        for path in paths.iter().filter(|path| has_extension(path, REPLY)) {
            let bytes = std::fs::read(path)?;
            std::fs::remove_file(path)?;
            let end = bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(bytes.len());
            let recipients: Vec<String> = String::from_utf8_lossy(&bytes[..end])
                .split(' ')
                .map(str::to_owned)
                .collect();
            let message = bytes.get(end + 1..).unwrap_or_default();
            self.ledger.accepted(message, &recipients);
            events.push(Event::Accepted {
                subject: subject(message),
                to: recipients.join(", "),
            });
        }
        for path in paths.iter().filter(|path| has_extension(path, MESSAGE)) {
            let message = std::fs::read(path)?;
            std::fs::remove_file(path)?;
            self.ledger.filed(&message);
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let mut parts = name.split('.');
            let id = parts.next().unwrap_or_default();
            // The part that counts up; what follows it tells deliveries of different databases apart.
            let ticket = id.split('-').next().unwrap_or_default().to_owned();
            let attempt = parts
                .next()
                .and_then(|attempt| attempt.parse().ok())
                .unwrap_or(0);
            events.push(Event::Filed {
                subject: subject(&message),
                ticket,
                attempt,
            });
        }
        Ok(())
    }

    /// Tells once of each failed attempt, and of what is held.
    fn look_at_spool(&mut self, events: &mut Vec<Event>) -> anyhow::Result<()> {
        for row in self.spool.queue(None)? {
            let known = |told: &Told| told.attempts == row.attempts && told.state == row.state;
            if row.why.is_empty() || self.told.get(&row.id).is_some_and(known) {
                continue;
            }
            let told = Told {
                attempts: row.attempts,
                state: row.state.clone(),
                since: Instant::now(),
            };
            self.told.insert(row.id, told);
            let (subject, why) = (row.subject, row.why);
            if row.state == "held" {
                events.push(Event::Held { subject, why });
            } else if let Some(seconds) = row.next_seconds {
                events.push(Event::Waits {
                    subject,
                    why: format!("{why}; again in {seconds} s"),
                });
            }
        }
        Ok(())
    }

    /// Messages that failed, have waited for a moment, and would wait for longer than a short play lasts.
    pub(super) fn patient(&self) -> anyhow::Result<Vec<MessageId>> {
        let rows = self.spool.queue(None)?;
        let waits = |row: &&spool::QueueRow| {
            let told = self.told.get(&row.id).is_some_and(|told| {
                told.attempts == row.attempts && told.since.elapsed() >= MOMENT
            });
            told && row.next_seconds.is_some_and(|seconds| seconds > 1)
        };
        Ok(rows
            .iter()
            .filter(waits)
            .map(|row| MessageId(row.id))
            .collect())
    }

    /// Whether everything that went in has come out, and the mailbox is empty.
    pub(super) fn at_rest(&self) -> anyhow::Result<bool> {
        let books = self.ledger.balance().missing == 0;
        Ok(books
            && self.provider.folder(HELPDESK, "INBOX").is_empty()
            && self.spool.queue(None)?.is_empty())
    }

    pub(super) fn refreshes(&self) -> u64 {
        self.refreshes
    }

    /// What must hold at the end, before the gateway is stopped.
    pub(super) fn problems(&mut self, once: bool, end: End) -> anyhow::Result<Vec<String>> {
        if end == End::Stopped {
            self.cut_short = true;
            return Ok(vec![
                "it was stopped before everything had arrived".to_owned(),
            ]);
        }
        let mut problems = Vec::new();
        let mut check = |holds: bool, otherwise: String| {
            if !holds {
                problems.push(otherwise);
            }
        };
        let in_time = end == End::AtRest;
        check(
            in_time,
            "the play did not come to its end in time".to_owned(),
        );
        let left = self.provider.folder(HELPDESK, "INBOX").len();
        check(left == 0, format!("left in the mailbox: {left}"));
        let rows = self.spool.queue(None)?;
        let named = rows.iter().take(NAMED);
        let named = named.map(|row| format!("{} ({} {})", row.subject, row.state, row.why));
        let named = named.collect::<Vec<_>>().join(", ");
        let spooled = format!("left in the spool: {}, among them {named}", rows.len());
        check(rows.is_empty(), spooled);
        if once {
            let seen = self.provider.counts().refreshes;
            let few = format!("token refreshes: {seen}, at least {REFRESHES} were expected");
            check(seen >= REFRESHES, few);
        }
        Ok(problems)
    }

    /// What the books say is wrong.
    pub(super) fn mismatches(&self) -> Vec<String> {
        let balance = self.ledger.balance();
        let reused = self.provider.counts().reused;
        let wrong = [
            (self.lost(), "went in and did not come out"),
            (balance.doubled, "came out twice"),
            (
                balance.changed,
                "came out but never went in, so their bytes were changed",
            ),
            (reused, "refresh tokens were used twice"),
        ];
        let said = |(count, words): &(u64, &str)| format!("{words}: {count}");
        wrong
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(said)
            .collect()
    }

    /// What did not come out; in a play that was cut short it may still be on its way.
    fn lost(&self) -> u64 {
        if self.cut_short {
            0
        } else {
            self.ledger.balance().missing
        }
    }

    /// Whether the play was stopped before everything had arrived.
    pub(super) fn was_cut_short(&self) -> bool {
        self.cut_short
    }

    /// The sum.
    pub(super) fn totals(&self) -> anyhow::Result<Totals> {
        let balance = self.ledger.balance();
        let spooled = self.spool.counts(Direction::In, ACCOUNT)?;
        Ok(Totals {
            fetched: spooled.done + spooled.waiting + spooled.held,
            delivered: balance.delivered,
            accepted: balance.accepted,
            relayed: balance.relayed,
            refreshes: self.provider.counts().refreshes,
            lost: self.lost(),
            doubled: balance.doubled,
        })
    }
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension == wanted)
}

fn subject(message: &[u8]) -> String {
    let parsed = MessageParser::default().parse_headers(message);
    parsed
        .and_then(|parsed| parsed.subject().map(str::to_owned))
        .unwrap_or_default()
}
