//! States and times in words; pure.

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::Timestamp;
use token_store::TokenStatus;
use token_store::accounts::{Condition, Light};
use token_store::state::State;

/// How something fares; the colour and the sign beside a word, never instead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    /// Switched off, or nothing to say.
    Off,
    Good,
    /// Will be tried again, or wants somebody's attention soon.
    Warn,
    /// Waits for a person.
    Bad,
}

impl Tone {
    /// The class in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// Whether somebody should look.
    pub(crate) fn wants_attention(self) -> bool {
        self >= Self::Warn
    }
}

/// A state in words, with its tone.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    source = r#"<span class="state {{ tone.class() }}">{{ words }}</span>"#,
    ext = "html"
)]
pub(crate) struct Badge {
    pub(crate) tone: Tone,
    pub(crate) words: String,
}
/// Escapes what it holds itself.
impl HtmlSafe for Badge {}

impl Badge {
    pub(crate) fn new(tone: Tone, words: impl Into<String>) -> Self {
        Self {
            tone,
            words: words.into(),
        }
    }
}

/// Words of others, in which `backticks` set a command.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    source = r#"{% for (code, text) in parts %}{% if *code %}<code>{{ text }}</code>{% else %}{{ text }}{% endif %}{% endfor %}"#,
    ext = "html"
)]
pub(crate) struct Prose {
    /// Whether it is a command, and the text.
    parts: Vec<(bool, String)>,
}
/// Escapes what it holds itself.
impl HtmlSafe for Prose {}

impl Prose {
    pub(crate) fn new(words: &str) -> Self {
        let pieces: Vec<&str> = words.split('`').collect();
        // A backtick without its other half is a backtick.
        if pieces.len().is_multiple_of(2) {
            return Self {
                parts: vec![(false, words.to_owned())],
            };
        }
        let parts = pieces
            .into_iter()
            .enumerate()
            .filter(|(_, text)| !text.is_empty());
        Self {
            parts: parts
                .map(|(i, text)| (i % 2 == 1, text.to_owned()))
                .collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() || self.parts.iter().all(|(_, text)| text.is_empty())
    }
}

/// A point in time: said as a distance, kept exact for machines and for the pointer that rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    source = r#"<time datetime="{{ exact }}" title="{{ utc }}">{{ distance }}</time>"#,
    ext = "html"
)]
pub(crate) struct Moment {
    exact: String,
    utc: String,
    distance: String,
}
/// Made of digits and words of this file alone.
impl HtmlSafe for Moment {}

impl Moment {
    /// `3 hours ago`, `in 2 minutes`; `at` and `now` in seconds since 1970.
    pub(crate) fn new(at: i64, now: i64) -> Self {
        Self::said(at, distance(at.saturating_sub(now)))
    }

    /// `for 3 hours`: how long something has lasted.
    pub(crate) fn since(at: i64, now: i64) -> Self {
        let words = match now.saturating_sub(at) {
            ..5 => "since just now".to_owned(),
            lasted => format!("for {}", length(lasted.unsigned_abs())),
        };
        Self::said(at, words)
    }

    /// The date and the time, for those who compare them.
    pub(crate) fn exact(at: i64, now: i64) -> Self {
        let mut moment = Self::new(at, now);
        moment.distance.clone_from(&moment.utc);
        moment
    }

    fn said(at: i64, distance: String) -> Self {
        let stamp = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            exact: stamp.to_string(),
            utc: stamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            distance,
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// `12 minutes ago`, `in 3 hours`.
fn distance(seconds: i64) -> String {
    let length = length(seconds.unsigned_abs());
    match seconds {
        -4..=0 => "just now".to_owned(),
        1.. => format!("in {length}"),
        _ => format!("{length} ago"),
    }
}

/// `12 minutes`: one unit, rounded down.
fn length(seconds: u64) -> String {
    match seconds {
        0..60 => count(seconds, "second", "seconds"),
        60..3_600 => count(seconds / 60, "minute", "minutes"),
        3_600..172_800 => count(seconds / 3_600, "hour", "hours"),
        _ => count(seconds / 86_400, "day", "days"),
    }
}

/// Names that a sentence holds.
const NAMES: usize = 10;

/// `a, b and 12 more`.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMES);
    let shown: Vec<&str> = names.take(NAMES).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `1 message`, `12 messages`.
pub(crate) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// An account's condition in a word, and what is to be said beside it.
pub(crate) fn condition(light: Option<&Light>, paused: bool) -> (Badge, String) {
    let Some(light) = light else {
        return if paused {
            (Badge::new(Tone::Off, "paused"), String::new())
        } else {
            (Badge::new(Tone::Off, "not started"), String::new())
        };
    };
    match &light.condition {
        Condition::Starting => (Badge::new(Tone::Off, "starting"), String::new()),
        Condition::Working { doing } => (Badge::new(Tone::Good, "working"), doing.clone()),
        Condition::Waiting { why, .. } => (Badge::new(Tone::Warn, "will try again"), why.clone()),
        Condition::Blocked { why } => (Badge::new(Tone::Bad, "waits for you"), why.clone()),
        Condition::Paused => (Badge::new(Tone::Off, "paused"), String::new()),
        Condition::Stopped => (Badge::new(Tone::Warn, "stopped"), String::new()),
    }
}

/// The tone of a token's own words. An access token that is still good is no more than a warning, whatever became
/// of its refresh token: that has words of its own.
pub(crate) fn token_tone(status: &TokenStatus, now: i64) -> Tone {
    let alive = status.expires_at.is_some_and(|at| at > now);
    let healthy = status.state == State::Ready && status.failure.is_none();
    let never_asked = status.state == State::NeedsConsent && status.failure.is_none();
    match (alive, status.state) {
        _ if !status.valid => Tone::Off,
        (true, _) if healthy => Tone::Good,
        (true, _) => Tone::Warn,
        (false, State::Ready) if healthy && status.expires_at.is_none() => Tone::Good,
        (false, State::Ready) => Tone::Warn,
        (false, _) if never_asked => Tone::Warn,
        (false, _) => Tone::Bad,
    }
}

/// The tone of a refresh token's own words: nothing to say, but when it is known to be over.
pub(crate) fn refresh_tone(status: &TokenStatus, now: i64) -> Tone {
    let expired = status.refresh_expires_at.is_some_and(|at| at <= now);
    let refused = status.state == State::NeedsConsent && status.failure.is_some();
    if status.valid && (expired || refused) {
        Tone::Bad
    } else {
        Tone::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_use_one_unit_and_the_right_number() {
        for (seconds, words) in [
            (0, "just now"),
            (1, "in 1 second"),
            (-59, "59 seconds ago"),
            (-60, "1 minute ago"),
            (3_599, "in 59 minutes"),
            (3_600, "in 1 hour"),
            (-172_799, "47 hours ago"),
            (-172_800, "2 days ago"),
        ] {
            assert_eq!(distance(seconds), words);
        }
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        let names = || names.iter().map(String::as_str);
        assert_eq!(listed(names().take(2)), "0, 1");
        assert_eq!(listed(names()), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }

    #[test]
    fn a_moment_is_exact_for_machines_and_survives_nonsense() {
        let html = Moment::new(1_795_000_000, 1_795_000_060).render().unwrap();
        assert_eq!(
            html,
            r#"<time datetime="2026-11-18T11:06:40Z" title="2026-11-18 11:06:40 UTC">1 minute ago</time>"#
        );
        assert!(Moment::new(i64::MAX, 0).render().is_ok());
    }

    #[test]
    fn backticks_set_commands_and_everything_is_escaped() {
        let html = |words: &str| Prose::new(words).render().unwrap();
        assert_eq!(
            html("run `a <b>` now"),
            "run <code>a &#60;b&#62;</code> now"
        );
        assert_eq!(html("it`s <b>"), "it`s &#60;b&#62;");
        assert!(Prose::new("").is_empty());
    }

    #[test]
    fn words_of_others_are_escaped_in_a_badge() {
        let html = Badge::new(Tone::Bad, "<script>").render().unwrap();
        assert_eq!(html, r#"<span class="state bad">&#60;script&#62;</span>"#);
    }
}
