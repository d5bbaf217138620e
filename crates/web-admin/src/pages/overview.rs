//! The overview: does mail flow, and what wants an administrator.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use spool::Counts;
use token_store::TokenStatus;
use token_store::accounts::Kind;

use super::accounts::Fare;
use super::{Frame, Section, html};
use crate::App;
use crate::error::PageError;
use crate::session::SignedIn;
use crate::words::{Badge, Tone, count, now, refresh_tone, token_tone};

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    verdict: Badge,
    mailboxes: Vec<Fare>,
    relays: Vec<Fare>,
    tokens: Vec<TokenLine>,
    incoming: Counts,
    outgoing: Counts,
}

struct TokenLine {
    name: String,
    badge: Badge,
}

/// The overview.
pub(crate) async fn page(State(app): State<App>, by: SignedIn) -> Result<Response, PageError> {
    let mailboxes = app.store().mailboxes()?;
    let mailboxes = mailboxes
        .iter()
        .map(|m| app.fare(Kind::Mailbox, &m.name, m.paused));
    let mut mailboxes = mailboxes.collect::<Result<Vec<_>, _>>()?;
    let relays = app.store().relays()?;
    let relays = relays
        .iter()
        .map(|r| app.fare(Kind::Relay, &r.name, r.paused));
    let mut relays = relays.collect::<Result<Vec<_>, _>>()?;
    let now = now();
    let statuses = app.store().token_statuses()?.into_iter();
    let mut tokens: Vec<_> = statuses.map(|status| token_line(status, now)).collect();
    // What wants attention comes first; else by name, as they are.
    mailboxes.sort_by_key(|fare| Reverse(fare.badge.tone));
    relays.sort_by_key(|fare| Reverse(fare.badge.tone));
    tokens.sort_by_key(|token| Reverse(token.badge.tone));
    let attention = mailboxes
        .iter()
        .chain(&relays)
        .filter(|fare| fare.wants_attention())
        .count()
        + tokens
            .iter()
            .filter(|token| token.badge.tone.wants_attention())
            .count();
    let working = mailboxes
        .iter()
        .chain(&relays)
        .filter(|f| f.badge.tone == Tone::Good)
        .count();
    html(&OverviewPage {
        frame: app.frame(&by, Section::Overview, "Overview")?,
        verdict: verdict(mailboxes.len() + relays.len(), working, attention),
        incoming: sum(&mailboxes),
        outgoing: sum(&relays),
        mailboxes,
        relays,
        tokens,
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
