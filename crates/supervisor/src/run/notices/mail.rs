//! Notices by mail: what is owed at one moment is one message, through a relay that works at that moment.
//!
//! The message goes into the spool like every reply, so that once it is told, nothing loses it. Its header marks it as our own.

use std::time::Duration;

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use sha2::{Digest, Sha256};
use spool::{Headline, ORIGIN_HEADER, Outgoing, Own, OwnKind, Recipient};
use token_store::accounts::{Board, Condition, Kind, Relay};
use token_store::notices::{Channel, Notice, Telling};
use tokio::time::Instant;

use super::super::Handle;
use super::tell::record;
use super::tidings::Tidings;
use crate::config::Notices;

/// So many mails may follow each other at once, and then one in each pause: what goes wrong together comes in few mails.
const BURST: u32 = 3;
const PAUSE: Duration = Duration::from_secs(300);
/// What lasts is told daily; what was told more than this long ago goes into a mail that is written anyhow, so that the daily
/// ones become one.
const TOGETHER: i64 = 12 * 3600;
/// A mail with more is no longer read; the rest is counted, and the page has it.
const LISTED: usize = 100;

/// How many mails may be written yet.
pub(super) struct Purse {
    left: u32,
    filled: Instant,
}

impl Default for Purse {
    fn default() -> Self {
        Self {
            left: BURST,
            filled: Instant::now(),
        }
    }
}

impl Purse {
    fn has_one(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.duration_since(self.filled) >= PAUSE {
            self.left += 1;
            self.filled += PAUSE;
        }
        if self.left == BURST {
            self.filled = now;
        }
        self.left > 0
    }

    fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

/// Writes one mail about everything that is owed, if anything is and a relay works.
pub(super) async fn tell(
    handle: &Handle,
    channels: &Notices,
    notices: &[Notice],
    purse: &mut Purse,
) {
    let now = jiff::Timestamp::now().as_second();
    let owed = owed(notices, now);
    if owed.is_empty() || !purse.has_one(Instant::now()) {
        return;
    }
    let told: Vec<(i64, Telling)> = owed.iter().map(|(n, telling)| (n.id, *telling)).collect();
    let key = key(&owed);
    let tidings: Vec<Tidings> = owed
        .iter()
        .map(|(n, telling)| Tidings::of(n, *telling))
        .collect();
    match send(handle, channels, &tidings, key).await {
        // They wait for a relay, and nothing has failed.
        Ok(false) => {}
        Ok(true) => {
            purse.take();
            record(handle, Channel::Mail, told, Ok(())).await;
        }
        Err(error) => record(handle, Channel::Mail, told, Err(error)).await,
    }
}

/// A test.
pub(super) async fn test(
    handle: &Handle,
    channels: &Notices,
    tidings: Tidings,
) -> Result<(), String> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| error.to_string())?;
    match send(handle, channels, &[tidings], key).await? {
        true => Ok(()),
        false => Err(
            "no relay works at this moment that it could go through; `postern status` shows them"
                .to_owned(),
        ),
    }
}

/// What the next mail is about: all that is due, and what lasts beside it. The new first.
fn owed(notices: &[Notice], now: i64) -> Vec<(&Notice, Telling)> {
    let due = |notice: &Notice| notice.owed(Channel::Mail, now);
    if notices.iter().all(|notice| due(notice).is_none()) {
        return Vec::new();
    }
    let soon = |notice: &Notice| notice.owed(Channel::Mail, now + 24 * 3600 - TOGETHER);
    let telling = |notice: &Notice| {
        due(notice).or_else(|| soon(notice).filter(|telling| *telling == Telling::Repeated))
    };
    let mut owed: Vec<_> = notices
        .iter()
        .filter_map(|notice| Some((notice, telling(notice)?)))
        .collect();
    owed.sort_by_key(|(_, telling)| match telling {
        Telling::Raised => 0,
        Telling::Mended => 1,
        Telling::Repeated => 2,
    });
    owed
}

/// Names the mail: written again after a kill, it is the same one for the spool.
fn key(owed: &[(&Notice, Telling)]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"notices by mail");
    for (notice, telling) in owed {
        let told = notice.told(Channel::Mail);
        let part = (notice.id, telling.key(), told.raised_at, told.mended_at);
        hash.update(format!("{part:?}"));
    }
    hash.finalize().into()
}

/// Puts the mail into the spool. False: no relay works at this moment.
async fn send(
    handle: &Handle,
    channels: &Notices,
    tidings: &[Tidings],
    key: [u8; 32],
) -> Result<bool, String> {
    let relays = handle
        .tokens()
        .store()
        .relays()
        .map_err(|e| e.to_string())?;
    let Some((relay, from)) = choose(&relays, handle.board(), channels.mail_from.as_deref()) else {
        return Ok(false);
    };
    let spool = handle.spool();
    let origin = spool.origin(&Own::new(OwnKind::Notice));
    let (text, headline) = compose(&from, &channels.mail_to, tidings, &origin)?;
    let failed = |error: spool::SpoolError| error.to_string();
    let mut body = spool.body();
    body.write(&text).await.map_err(failed)?;
    let body = body.finish(true).await.map_err(failed)?;
    let outgoing = Outgoing {
        smtputf8: !from.is_ascii() || channels.mail_to.iter().any(|to| !to.is_ascii()),
        sender: from,
        relay,
        recipients: channels.mail_to.iter().map(Recipient::from).collect(),
        eight_bit: false,
        ret: None,
        envid: None,
        // One that fails is held and shown, and the next daily one says the same.
        automatic: true,
        conversation: None,
        headline,
        body,
    };
    spool.take_out_once(outgoing, key).await.map_err(failed)?;
    Ok(true)
}

/// A relay that works, and the sender it takes: the configured one where its relay works, else another relay's own.
fn choose(relays: &[Relay], board: &Board, mail_from: Option<&str>) -> Option<(String, String)> {
    let works = |relay: &&Relay| {
        let light = board.get(Kind::Relay, &relay.name);
        light.is_some_and(|light| matches!(light.condition, Condition::Working { .. }))
    };
    let chosen = mail_from.and_then(|from| {
        let relay = relays
            .iter()
            .filter(works)
            .find(|relay| serves(relay, from))?;
        Some((relay.name.clone(), from.to_owned()))
    });
    let own = |relay: &Relay| Some((relay.name.clone(), own_sender(relay)?));
    chosen.or_else(|| relays.iter().filter(works).find_map(own))
}

/// Whether a relay takes this sender.
pub(crate) fn serves(relay: &Relay, from: &str) -> bool {
    let from = from.to_lowercase();
    let domain = from.rsplit_once('@').map_or("", |(_, domain)| domain);
    relay.senders.iter().any(|sender| {
        let sender = sender.to_lowercase();
        sender == from || sender == "*" || sender.strip_prefix('@') == Some(domain)
    })
}

/// An address that the relay serves: one that it names, else who signs in there.
fn own_sender(relay: &Relay) -> Option<String> {
    let named = relay.senders.iter().chain([&relay.user]);
    let is_address = |sender: &&String| sender.parse::<lettre::Address>().is_ok();
    named.into_iter().find(is_address).cloned()
}

fn compose(
    from: &str,
    to: &[String],
    tidings: &[Tidings],
    origin: &str,
) -> Result<(Vec<u8>, Headline), String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the mail could not be composed: {error}");
    let address = |address: &str| {
        address
            .parse()
            .map_err(|e: lettre::address::AddressError| wrong(&e))
    };
    let sender: lettre::Address = address(from)?;
    let subject = subject(tidings);
    let message_id = format!("<notice.{:016x}@{}>", fastrand::u64(..), sender.domain());
    let mut builder = MessageBuilder::new()
        .from(Mailbox::new(Some("Postern".to_owned()), sender))
        .subject(&subject)
        .message_id(Some(message_id.clone()))
        .header(AutoSubmitted)
        .header(Origin(origin.to_owned()));
    for recipient in to {
        builder = builder.to(Mailbox::new(None, address(recipient)?));
    }
    let message = builder.body(text(tidings)).map_err(|error| wrong(&error))?;
    let headline = Headline {
        from: from.to_owned(),
        subject,
        message_id,
    };
    Ok((message.formatted(), headline))
}

fn subject(tidings: &[Tidings]) -> String {
    let word = |state: Telling| match state {
        Telling::Raised => "",
        Telling::Repeated => "still: ",
        Telling::Mended => "mended: ",
    };
    if let [one] = tidings {
        return format!(
            "[Postern] {}{}: {}",
            word(one.state),
            one.about,
            one.kind.replace('_', " ")
        );
    }
    let count = |state| tidings.iter().filter(|t| t.state == state).count();
    let parts = [
        (count(Telling::Raised), "new"),
        (count(Telling::Mended), "mended"),
        (count(Telling::Repeated), "lasting"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    format!("[Postern] {} notices: {}", tidings.len(), parts.join(", "))
}

fn text(tidings: &[Tidings]) -> String {
    let mut text = String::new();
    for one in tidings.iter().take(LISTED) {
        let line = match one.state {
            Telling::Raised => format!(
                "{}: {}.\n  What to do: {}.\n",
                one.about, one.words, one.advice
            ),
            Telling::Repeated => format!(
                "{} (since {}): {}.\n  What to do: {}.\n",
                one.about, one.since, one.words, one.advice
            ),
            Telling::Mended => format!("{}: mended. It was: {}.\n", one.about, one.words),
        };
        text.push_str(&line);
        text.push('\n');
    }
    if tidings.len() > LISTED {
        text.push_str(&format!(
            "And {} more; `postern notices` lists them all.\n\n",
            tidings.len() - LISTED
        ));
    }
    text.push_str("-- \nPostern tells of each notice once, daily while it lasts, and once more when it is mended.\n");
    text
}

/// RFC 3834: nobody's machine should answer.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Marks our own mail, should it come back to one of our mailboxes.
#[derive(Clone)]
struct Origin(String);

impl Header for Origin {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str(ORIGIN_HEADER)
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

#[cfg(test)]
mod tests;
