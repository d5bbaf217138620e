//! The overview: does mail flow, and what wants an administrator.

use std::cmp::Reverse;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::State;
use axum::response::Response;
use spool::{Counts, Direction};
use token_store::TokenStatus;
use token_store::accounts::Kind;

use super::accounts::Fare;
use super::notices::anchor;
use super::{Frame, Section, html};
use crate::chart::{Chart, Unit, days};
use crate::error::PageError;
use crate::session::SignedIn;
use crate::words::{Badge, Tone, count, now, refresh_tone, token_tone};
use crate::{App, Inner};

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    live: Live,
}

/// What is kept up to date while the page is open.
#[derive(Template)]
#[template(path = "overview_live.html")]
struct Live {
    base: String,
    verdict: Badge,
    mailboxes: First<Fare>,
    relays: First<Fare>,
    tokens: First<TokenLine>,
    incoming: Counts,
    outgoing: Counts,
    incoming_day: Chart,
    incoming_month: Chart,
    outgoing_day: Chart,
    outgoing_month: Chart,
}
/// Escapes what it holds itself.
impl HtmlSafe for Live {}

/// Lines of a list on this page; the whole list has a page of its own.
const LINES: usize = 20;
/// Hours of thirty days.
const MONTH: usize = 30 * 24;

/// The first of a list, and how many there are beside them.
struct First<T> {
    shown: Vec<T>,
    more: usize,
}

impl<T> First<T> {
    fn of(mut all: Vec<T>) -> Self {
        let more = all.len().saturating_sub(LINES);
        all.truncate(LINES);
        Self { shown: all, more }
    }
}

struct TokenLine {
    name: String,
    /// Its row on the tokens page.
    anchor: String,
    badge: Badge,
}

/// The overview.
pub(crate) async fn page(State(app): State<App>, by: SignedIn) -> Result<Response, PageError> {
    html(&OverviewPage {
        live: gather(&app)?,
        frame: app.frame(&by, Section::Overview, "Overview")?,
    })
}

/// The living part as HTML.
pub(super) fn live(app: &Inner) -> Result<String, PageError> {
    Ok(gather(app)?.render()?)
}

fn gather(app: &Inner) -> Result<Live, PageError> {
    let counts = app.parts.spool.all_counts()?;
    let fare = |kind, name: &str, paused| app.fare_of(kind, name, paused, &counts);
    let mailboxes = app.store().mailboxes()?;
    let mailboxes = mailboxes
        .iter()
        .map(|m| fare(Kind::Mailbox, &m.name, m.paused));
    let mut mailboxes: Vec<Fare> = mailboxes.collect();
    let relays = app.store().relays()?;
    let relays = relays.iter().map(|r| fare(Kind::Relay, &r.name, r.paused));
    let mut relays: Vec<Fare> = relays.collect();
    let now = now();
    let statuses = app.store().token_statuses()?.into_iter();
    let mut tokens: Vec<_> = statuses.map(|status| token_line(status, now)).collect();
    // What wants attention comes first; else by name, as they are.
    mailboxes.sort_by_key(|fare| Reverse(fare.badge.tone));
    relays.sort_by_key(|fare| Reverse(fare.badge.tone));
    tokens.sort_by_key(|token| Reverse(token.badge.tone));
    let accounts = || mailboxes.iter().chain(&relays);
    let attention = accounts().filter(|fare| fare.wants_attention()).count()
        + tokens
            .iter()
            .filter(|token| token.badge.tone.wants_attention())
            .count();
    let working = accounts().filter(|f| f.badge.tone == Tone::Good).count();
    let charts = |direction, what: &str| {
        let hours = app.parts.spool.delivered_hourly(direction, MONTH)?;
        let day = &hours[hours.len().saturating_sub(24)..];
        Ok::<_, PageError>((
            Chart::new(
                &format!("{what} per hour, the last 24 hours"),
                day,
                Unit::Hour,
            ),
            Chart::new(
                &format!("{what} per day, the last 30 days"),
                &days(&hours),
                Unit::Day,
            ),
        ))
    };
    let (incoming_day, incoming_month) = charts(Direction::In, "Messages in")?;
    let (outgoing_day, outgoing_month) = charts(Direction::Out, "Messages out")?;
    Ok(Live {
        base: app.address.prefix.clone(),
        verdict: verdict(mailboxes.len() + relays.len(), working, attention),
        incoming: sum(&mailboxes),
        outgoing: sum(&relays),
        mailboxes: First::of(mailboxes),
        relays: First::of(relays),
        tokens: First::of(tokens),
        incoming_day,
        incoming_month,
        outgoing_day,
        outgoing_month,
    })
}

/// One line of a token: what is worst about it.
fn token_line(status: TokenStatus, now: i64) -> TokenLine {
    let badge = if !status.valid {
        Badge::new(Tone::Off, "invalid, not used")
    } else if refresh_tone(&status, now) == Tone::Bad {
        Badge::new(Tone::Bad, format!("refresh token {}", status.refresh_token))
    } else {
        Badge::new(token_tone(&status, now), status.token)
    };
    TokenLine {
        anchor: anchor("token", &status.config),
        name: status.config,
        badge,
    }
}

fn verdict(accounts: usize, working: usize, attention: usize) -> Badge {
    match (accounts, working, attention) {
        (0, _, 0) => Badge::new(Tone::Off, "No mailbox and no relay is set up yet."),
        (_, 0, 0) => Badge::new(Tone::Off, "No account is at work yet."),
        (_, _, 0) => Badge::new(Tone::Good, "Mail flows."),
        (_, _, n) => {
            let words = count(n as u64, "thing wants", "things want");
            Badge::new(Tone::Warn, format!("{words} your attention."))
        }
    }
}

fn sum(fares: &[Fare]) -> Counts {
    fares.iter().fold(Counts::default(), |sum, fare| Counts {
        waiting: sum.waiting + fare.counts.waiting,
        held: sum.held + fare.counts.held,
        unacknowledged: sum.unacknowledged + fare.counts.unacknowledged,
        done: sum.done + fare.counts.done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_flows_only_when_an_account_works_and_nothing_wants_attention() {
        for (accounts, working, attention, tone) in [
            (0, 0, 0, Tone::Off),
            (2, 0, 0, Tone::Off),
            (2, 1, 0, Tone::Good),
            (2, 1, 1, Tone::Warn),
            (0, 0, 1, Tone::Warn),
        ] {
            assert_eq!(verdict(accounts, working, attention).tone, tone);
        }
        assert_eq!(verdict(3, 2, 1).words, "1 thing wants your attention.");
    }
}
