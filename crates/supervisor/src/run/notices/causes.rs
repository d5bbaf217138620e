//! How things stand -> what an administrator must see. Pure.
//!
//! A cause that is told already lasts until it is known to be over: a mailbox that has only just started again after its failure, or a
//! disk with a little more room, is no good news yet.

use std::collections::{BTreeMap, BTreeSet};

use spool::{Direction, HeldReport};
use token_store::Outage;
use token_store::accounts::{Condition, Kind as Account, Light};
use token_store::notices::{About, Cause, Kind, Notice, TokenTrouble, TroubleKind};

use super::super::status::day;
use super::world::World;

/// A mailbox or relay that fails may recover by itself; after this somebody should look.
const FAILING: i64 = 3600;
/// Beside what the spool itself needs, a database that grows and a log.
const DISK_LOW: u64 = 256 << 20;
/// From here on the disk is no longer low.
const DISK_WELL: u64 = 512 << 20;
/// A network that is only just back after a pause has answered by then. Seconds.
const LASTING: i64 = 30;
/// So many failures of one token in a row take as long.
const LASTING_TRIES: u32 = 5;
/// So many tokens of one endpoint whose configs want to be told of expiry are told one by one; more are one outage.
const ONE_BY_ONE: usize = 10;
/// So many names are listed; the rest is counted.
const NAMED: usize = 3;
/// A channel that failed so often in a row (a quarter of an hour) is a cause of its own.
const CHANNEL_TRIES: u32 = 6;

/// What is wrong, the gravest first.
pub(super) fn causes(world: &World) -> Vec<Cause> {
    let mut causes = of_tokens(&world.tokens);
    causes.extend(of_endpoints(world));
    causes.extend(of_accounts(world));
    // Where only our own notices are held, one about that would bring the next.
    let held_mail = world.held.iter().filter(|report| report.newest_at > 0);
    causes.extend(held_mail.map(held));
    causes.extend(world.held.iter().filter_map(|report| ending(world, report)));
    causes.extend(of_dropped(&world.dropped));
    causes.extend(of_disk(world));
    causes.extend(of_channels(world));
    causes
}

/// One for each token config, however many users' tokens it gives.
fn of_tokens(troubles: &[TokenTrouble]) -> Vec<Cause> {
    let mut grouped: BTreeMap<(TroubleRank, &str), Vec<&TokenTrouble>> = BTreeMap::new();
    for trouble in troubles {
        if let Some(rank) = rank(trouble) {
            let key = (rank, trouble.id.config.as_str());
            grouped.entry(key).or_default().push(trouble);
        }
    }
    let cause = |((rank, config), troubles): ((TroubleRank, &str), Vec<&TokenTrouble>)| {
        let first = troubles[0];
        let (words, advice) = say(rank, first);
        let subjects = troubles.iter().map(|trouble| trouble.id.subject.as_str());
        let mut words = words;
        if troubles.len() > 1 {
            words = format!("{words}; so it is for {}", list(subjects, troubles.len()));
        } else if !first.used_by.is_empty() && rank <= TroubleRank::Consent {
            let waiting = list(
                first.used_by.iter().map(String::as_str),
                first.used_by.len(),
            );
            words = format!("{words}; waiting for it: {waiting}");
        }
        Cause {
            kind: rank.kind(),
            about: About::Token(config.to_owned()),
            words,
            advice,
        }
    };
    grouped.into_iter().map(cause).collect()
}

/// Which troubles become a notice about their token, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TroubleRank {
    Configuration,
    Consent,
    RefreshExpired,
    RefreshEnding,
}

impl TroubleRank {
    fn kind(self) -> Kind {
        match self {
            Self::Configuration => Kind::Configuration,
            Self::Consent => Kind::ConsentNeeded,
            Self::RefreshExpired => Kind::RefreshTokenExpired,
            Self::RefreshEnding => Kind::RefreshTokenEnding,
        }
    }
}

/// None: another notice tells of it, or the token config does not want to be told.
fn rank(trouble: &TokenTrouble) -> Option<TroubleRank> {
    let wanted = trouble.notifications.expired_refresh_token;
    match trouble.kind {
        TroubleKind::Broken => Some(TroubleRank::Configuration),
        TroubleKind::NeedsConsent => Some(TroubleRank::Consent),
        TroubleKind::RefreshExpired(_) if wanted => Some(TroubleRank::RefreshExpired),
        TroubleKind::RefreshEnding(_) if wanted => Some(TroubleRank::RefreshEnding),
        _ => None,
    }
}

fn say(rank: TroubleRank, trouble: &TokenTrouble) -> (String, String) {
    let config = &trouble.id.config;
    let request =
        format!("request a new token, on the tokens page or with `postern token request {config}`");
    let said = trouble.failure.as_ref();
    match (rank, trouble.kind) {
        (_, TroubleKind::RefreshExpired(at)) => {
            (format!("the refresh token ended on {}", day(at)), request)
        }
        (_, TroubleKind::RefreshEnding(at)) => (
            format!(
                "the refresh token ends on {}, and no refresh has moved that date",
                day(at)
            ),
            request,
        ),
        (TroubleRank::Configuration, _) => (
            format!(
                "the provider refuses the configuration: {}",
                said.map_or("it did not say why", |failure| plain(&failure.words))
            ),
            said.map_or_else(|| "check the token config".to_owned(), |f| f.advice.clone()),
        ),
        _ => match said {
            Some(failure) => (
                format!("a person must sign in again: {}", plain(&failure.words)),
                failure.advice.clone(),
            ),
            None => ("no token was requested yet".to_owned(), request),
        },
    }
}

/// One for each token endpoint that lets tokens end, and one for each token that wants to be told alone.
fn of_endpoints(world: &World) -> Vec<Cause> {
    let mut stuck: BTreeMap<&str, Vec<&TokenTrouble>> = BTreeMap::new();
    for trouble in world.tokens.iter().filter(|t| t.kind == TroubleKind::Stuck) {
        stuck.entry(&trouble.endpoint).or_default().push(trouble);
    }
    let mut causes = Vec::new();
    // Tokens that ended while the host slept are about to be replaced.
    stuck.retain(|endpoint, troubles| {
        let away = |outage: &Outage| {
            outage.endpoint.starts_with(*endpoint) && world.now - outage.since >= LASTING
        };
        troubles.iter().any(|t| t.attempts >= LASTING_TRIES) || world.outages.iter().any(away)
    });
    for (endpoint, troubles) in stuck {
        causes.push(outage(endpoint, &troubles));
        let told_of = |trouble: &&TokenTrouble| {
            trouble.notifications.expired_token && trouble.expired_at.is_some()
        };
        let alone: Vec<_> = troubles.into_iter().filter(told_of).collect();
        if alone.len() <= ONE_BY_ONE {
            causes.extend(alone.into_iter().map(expired));
        }
    }
    causes
}

fn outage(endpoint: &str, troubles: &[&TokenTrouble]) -> Cause {
    let names: BTreeSet<&str> = troubles.iter().map(|t| t.id.config.as_str()).collect();
    let tokens = match troubles.len() {
        1 => format!("the token {} has ended", list(names, 1)),
        count => format!(
            "{count} tokens have ended ({})",
            list(names.iter().copied(), names.len())
        ),
    };
    // Of the endpoint's failures the same is taken at every look.
    let said = troubles.iter().find_map(|trouble| trouble.failure.as_ref());
    let words = match said {
        Some(failure) => format!(
            "{tokens}, and no request for a new one succeeds: {}",
            plain(&failure.words)
        ),
        None => format!("{tokens}, and no new one has come"),
    };
    let advice = said.map_or("it is tried again by itself; look into the log", |f| {
        &f.advice
    });
    Cause {
        kind: Kind::EndpointFailing,
        about: About::Endpoint(endpoint.to_owned()),
        words,
        advice: advice.to_owned(),
    }
}

fn expired(trouble: &TokenTrouble) -> Cause {
    let ended = trouble.expired_at.map(day).unwrap_or_default();
    Cause {
        kind: Kind::TokenExpired,
        about: About::Token(trouble.id.config.clone()),
        words: format!("the access token ended on {ended}, and no new one has come"),
        advice: "it is tried again by itself; the notice about the token endpoint says more"
            .to_owned(),
    }
}

fn of_accounts(world: &World) -> Vec<Cause> {
    // Their tokens' own notices name them.
    let explained: BTreeSet<&str> = world
        .tokens
        .iter()
        .filter(|t| t.kind <= TroubleKind::Stuck)
        .flat_map(|t| t.used_by.iter().map(String::as_str))
        .collect();
    let open = |about: &About| is_open(&world.known, Kind::AccountFailing, about);
    let mut causes = Vec::new();
    let mut seen = BTreeSet::new();
    for (kind, name, light) in &world.accounts {
        let about = about(*kind, name);
        let told = open(&about);
        let words = match told {
            Some(notice) => lasts(light, world.now, notice),
            None if explained.contains(about.to_string().as_str()) => None,
            None => fails(light, world.now),
        };
        causes.extend(words.map(|words| failing(about.clone(), words)));
        seen.insert(about);
    }
    // Accounts of an earlier run that have not appeared yet.
    let unseen = |notice: &&Notice| {
        !world.settled
            && notice.is_open()
            && notice.cause.kind == Kind::AccountFailing
            && !seen.contains(&notice.cause.about)
    };
    causes.extend(world.known.iter().filter(unseen).map(|n| n.cause.clone()));
    causes
}

fn about(kind: Account, name: &str) -> About {
    match kind {
        Account::Mailbox => About::Mailbox(name.to_owned()),
        Account::Relay => About::Relay(name.to_owned()),
    }
}

/// Why an account needs somebody who looks; None: it does not, or not yet.
fn fails(light: &Light, now: i64) -> Option<String> {
    match &light.condition {
        Condition::Blocked { why } => Some(format!("waits for you: {}", plain(why))),
        Condition::Waiting { why, .. } => light
            .failing_since
            .filter(|since| now - since >= FAILING)
            .map(|_| format!("has not worked for an hour: {}", plain(why))),
        _ => None,
    }
}

/// The same of one that was told of: it lasts until the account works, or is meant not to.
fn lasts(light: &Light, now: i64, told: &Notice) -> Option<String> {
    match &light.condition {
        Condition::Working { .. } | Condition::Paused => None,
        _ => fails(light, now).or_else(|| Some(told.cause.words.clone())),
    }
}

fn failing(about: About, words: String) -> Cause {
    Cause {
        kind: Kind::AccountFailing,
        about,
        words,
        advice: "`postern check` tries every account and says what is wrong; `postern status` shows how each fares".to_owned(),
    }
}

/// The counts are of this moment: told when the first is held, and daily.
fn held(report: &HeldReport) -> Cause {
    let messages = match report.count {
        1 => "1 message is held".to_owned(),
        count => format!("{count} messages are held"),
    };
    let (about, kept) = match report.direction {
        Direction::In => (
            About::Mailbox(report.account.clone()),
            "mail for the ticket system",
        ),
        Direction::Out => (About::Relay(report.account.clone()), "replies"),
    };
    Cause {
        kind: Kind::HeldMail,
        about,
        words: format!("{messages} ({kept}); of the last one: {}", plain(&report.last_error)),
        advice: "`postern queue list` shows them; `postern queue retry` lets them try again once the reason is gone".to_owned(),
    }
}

/// Said from two thirds of the time or of the room on, long before anything is given up.
fn ending(world: &World, report: &HeldReport) -> Option<Cause> {
    if report.direction != Direction::In {
        return None;
    }
    let care = world.care.get(&report.account)?;
    let held_for = i64::try_from(care.held_for.as_secs()).ok()?;
    let old = report
        .oldest_body_at
        .filter(|at| world.now.saturating_sub(*at) >= held_for / 3 * 2);
    let words = if let Some(at) = old {
        let end = day(at.saturating_add(held_for));
        format!(
            "the copies of held messages are given up here from {end} on, when held_for is over"
        )
    } else if report.bytes >= care.max_held / 3 * 2 {
        "the copies of held messages fill two thirds of max_held; beyond it the oldest are given up here"
            .to_owned()
    } else {
        return None;
    };
    Some(Cause {
        kind: Kind::HeldMailEnding,
        about: About::Mailbox(report.account.clone()),
        words: format!("{words}; the mailbox keeps its own"),
        advice: "`postern queue list` shows them: let them try again, release or delete them, or allow more with `held_for` and `max_held`".to_owned(),
    })
}

/// Its sender was told that it is accepted, and is no longer there to be told otherwise.
fn of_dropped(dropped: &[String]) -> Option<Cause> {
    let last = dropped.last()?;
    let messages = match dropped.len() {
        1 => "1 message that `postern sendmail` left while no daemon ran is refused".to_owned(),
        count => {
            format!(
                "{count} messages that `postern sendmail` left while no daemon ran are refused; the last one"
            )
        }
    };
    Some(Cause {
        kind: Kind::DroppedMail,
        about: About::DropDirectory,
        words: format!("{messages}: {}", plain(last)),
        advice: "mend the reason (the `senders` of a relay, say) and reload: it is tried again then, and every hour; or remove the file"
            .to_owned(),
    })
}

fn of_disk(world: &World) -> Option<Cause> {
    let told = is_open(&world.known, Kind::DiskLow, &About::Disk).is_some();
    let low = world.free? < if told { DISK_WELL } else { DISK_LOW };
    low.then(|| Cause {
        kind: Kind::DiskLow,
        about: About::Disk,
        words: format!(
            "less than {} MiB are free where the spool lies; without room no mail is taken",
            DISK_LOW >> 20
        ),
        advice: "make room; mail goes on by itself".to_owned(),
    })
}

fn of_channels(world: &World) -> Vec<Cause> {
    let failing = |channel: &token_store::notices::Channel| {
        let about = About::Channel(channel.key().to_owned());
        let told = is_open(&world.known, Kind::ChannelFailing, &about).is_some();
        let enough = if told { 1 } else { CHANNEL_TRIES };
        let worst = world
            .known
            .iter()
            .filter_map(|notice| notice.failing(*channel))
            .max_by_key(|told| told.tries)
            .filter(|told| told.tries >= enough)?;
        let why = worst.error.as_deref().unwrap_or_default();
        Some(Cause {
            kind: Kind::ChannelFailing,
            about,
            words: format!("notices cannot be told this way: {}", plain(why)),
            advice:
                "correct `notices` in postern.yaml, reload, and try it with `postern notices test`"
                    .to_owned(),
        })
    };
    world.channels.iter().filter_map(failing).collect()
}

fn is_open<'a>(known: &'a [Notice], kind: Kind, about: &About) -> Option<&'a Notice> {
    known
        .iter()
        .find(|n| n.is_open() && n.cause.kind == kind && n.cause.about == *about)
}

/// Others' words in the middle of ours.
fn plain(words: &str) -> &str {
    words.trim().trim_end_matches('.')
}

/// `a, b, c and 9 more`.
fn list<'a>(names: impl IntoIterator<Item = &'a str>, count: usize) -> String {
    let named: Vec<&str> = names
        .into_iter()
        .filter(|n| !n.is_empty())
        .take(NAMED)
        .collect();
    let more = count.saturating_sub(named.len());
    match (named.is_empty(), more) {
        (true, _) => format!("{count} users"),
        (false, 0) => named.join(", "),
        (false, _) => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests;
