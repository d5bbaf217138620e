//! The channels, each at its own pace: what is owed is told, what was told is recorded, what failed is tried again later.

use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use token_store::StoreError;
use token_store::notices::{Channel, Notice, Telling};
use tokio::time::Instant;

use super::super::Handle;
use super::mail::Purse;
use super::tidings::Tidings;
use super::{command, mail, webhook};
use crate::config::Notices;

/// Told by one channel at one look; the rest follows at the next, when things may stand otherwise.
const AT_ONCE: usize = 50;
/// So many failures in a row end a look of the channel, since it is the channel that fails and not the notice.
const FAILURES: usize = 3;
/// How long a channel is then left alone.
const REST: Duration = Duration::from_secs(60);

/// Whether a channel is switched on.
pub(super) fn is_on(channels: &Notices, channel: Channel) -> bool {
    match channel {
        Channel::Command => !channels.command.is_empty(),
        Channel::Webhook => channels.webhook.is_some(),
        Channel::Mail => !channels.mail_to.is_empty(),
    }
}

/// What the channels remember from look to look. What must survive is in the rows.
#[derive(Default)]
pub(super) struct Tellers {
    command: Rest,
    webhook: Rest,
    mail: Purse,
}

/// Until when a channel is left alone.
#[derive(Default)]
struct Rest(Option<Instant>);

impl Tellers {
    /// Tells what is owed, by all channels at the same time.
    pub(super) async fn tell(&mut self, handle: &Handle) -> Result<(), StoreError> {
        let channels = handle.notices();
        let notices = handle.tokens().store().notices()?;
        let by_command = async {
            if is_on(&channels, Channel::Command) {
                let send = |tidings| command::tell(&channels.command, tidings);
                one_by_one(handle, Channel::Command, &notices, &mut self.command, send).await;
            }
        };
        let by_webhook = async {
            if let Some(hook) = &channels.webhook {
                let send = |tidings| webhook::tell(hook, tidings);
                one_by_one(handle, Channel::Webhook, &notices, &mut self.webhook, send).await;
            }
        };
        let by_mail = async {
            if is_on(&channels, Channel::Mail) {
                mail::tell(handle, &channels, &notices, &mut self.mail).await;
            }
        };
        tokio::join!(by_command, by_webhook, by_mail);
        Ok(())
    }
}

async fn one_by_one<F: Future<Output = Result<(), String>>>(
    handle: &Handle,
    channel: Channel,
    notices: &[Notice],
    rest: &mut Rest,
    send: impl Fn(Tidings) -> F,
) {
    if rest.0.is_some_and(|until| Instant::now() < until) {
        return;
    }
    let now = jiff::Timestamp::now().as_second();
    let owed = notices
        .iter()
        .filter_map(|notice| Some((notice, notice.owed(channel, now)?)));
    let mut failures = 0;
    for (notice, telling) in owed.take(AT_ONCE) {
        let done = send(Tidings::of(notice, telling)).await;
        failures = if done.is_ok() { 0 } else { failures + 1 };
        record(handle, channel, vec![(notice.id, telling)], done).await;
        if failures == FAILURES {
            rest.0 = Some(Instant::now() + REST);
            return;
        }
    }
}

/// Writes down how the telling went.
pub(super) async fn record(
    handle: &Handle,
    channel: Channel,
    told: Vec<(i64, Telling)>,
    done: Result<(), String>,
) {
    let store = handle.tokens().store();
    let now = jiff::Timestamp::now().as_second();
    let recorded = match done {
        Ok(()) => store.told(channel, told, now).await,
        Err(error) => {
            tracing::warn!(
                channel = channel.key(),
                error,
                "a notice could not be told; it is tried again"
            );
            let ids = told.into_iter().map(|(id, _)| id).collect();
            let luck = fastrand::f64();
            store.not_told(channel, ids, &error, now, luck).await
        }
    };
    if let Err(error) = recorded {
        tracing::error!(channel = channel.key(), %error, "what was told could not be recorded; it may be told again");
    }
}

/// How a channel fared in a test.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// `command`, `webhook` or `mail`.
    pub(crate) channel: String,
    /// Why it failed; None: told.
    pub(crate) error: Option<String>,
}

/// Tells a test by every channel that is switched on.
pub(crate) async fn test(handle: &Handle) -> Vec<Tried> {
    let channels = handle.notices();
    let tidings = || Tidings::test(jiff::Timestamp::now().as_second());
    let mut tried = Vec::new();
    let mut add = |channel: Channel, done: Result<(), String>| {
        let channel = channel.key().to_owned();
        tried.push(Tried {
            channel,
            error: done.err(),
        });
    };
    if is_on(&channels, Channel::Command) {
        let done = command::tell(&channels.command, tidings()).await;
        add(Channel::Command, done);
    }
    if let Some(hook) = &channels.webhook {
        add(Channel::Webhook, webhook::tell(hook, tidings()).await);
    }
    if is_on(&channels, Channel::Mail) {
        add(
            Channel::Mail,
            mail::test(handle, &channels, tidings()).await,
        );
    }
    tried
}
