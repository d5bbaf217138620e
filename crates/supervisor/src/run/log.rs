//! The log: text, JSON or the journal, with a cap on crates whose finest levels would print tokens.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Log, LogFormat};

/// These print what travels on the wire, tokens and passwords among it, below `info`.
const TALKATIVE: [&str; 8] = [
    "async_imap",
    "imap_proto",
    "rustls",
    "reqwest",
    "hyper",
    "hyper_util",
    "h2",
    "tokio_rustls",
];

/// Starts the log of the process; a second call changes nothing.
pub(crate) fn init(log: Log) {
    let filter = filter(log.level);
    let (layer, excuse) = match log.format {
        LogFormat::Text => (text(), None),
        LogFormat::Json => (
            fmt::layer().json().with_writer(std::io::stderr).boxed(),
            None,
        ),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(journal) => (
                journal.with_syslog_identifier("postern".to_owned()).boxed(),
                None,
            ),
            Err(error) => (text(), Some(error)),
        },
    };
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
    if let Some(error) = excuse {
        tracing::warn!("the journal cannot be reached ({error}); the log goes to standard error");
    }
}

fn text() -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // The journal stamps each line itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        return layer.without_time().boxed();
    }
    layer.boxed()
}

fn filter(level: Level) -> Targets {
    let capped = level.min(Level::INFO);
    TALKATIVE
        .iter()
        .fold(Targets::new().with_default(level), |filter, target| {
            filter.with_target(*target, capped)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_is_never_enabled_where_it_would_print_tokens() {
        for target in [
            "async_imap::client",
            "rustls::conn",
            "hyper::proto",
            "reqwest::connect",
        ] {
            assert!(
                !filter(Level::TRACE).would_enable(target, &Level::DEBUG),
                "{target}"
            );
            assert!(
                filter(Level::TRACE).would_enable(target, &Level::INFO),
                "{target}"
            );
            assert!(
                !filter(Level::WARN).would_enable(target, &Level::INFO),
                "{target}"
            );
        }
        assert!(filter(Level::TRACE).would_enable("fetcher::imap", &Level::TRACE));
    }
}
