//! Tokens that end at the worst moment: a fresh one, at once, and not one message lost or doubled.

use std::time::{Duration, Instant};

use provider_template::{Answer, Autofill, Config, Entry, Request};
use sandbox::{Fault, Knobs, Provider, Service};
use token_store::Secret;
use token_store::accounts::{After, Auth, Condition, Mailbox};
use tokio_util::sync::CancellationToken;

use crate::fake::Fake;
use crate::gateway::{Gateway, local, mail, sorted, until};

const USER: &str = "support@sandbox.test";

/// A provider, and a gateway with consent to it.
struct Rig {
    provider: Provider,
    gateway: Gateway,
    mailbox: Mailbox,
    _stop: tokio_util::sync::DropGuard,
}

impl Rig {
    async fn new(token_life: Duration) -> Self {
        let stop = CancellationToken::new();
        let knobs = Knobs {
            token_life,
            ..Knobs::default()
        };
        let provider = Provider::start(knobs, stop.clone()).await.unwrap();
        provider.set_features(|features| features.end_expired_sessions = true);
        let gateway = Gateway::new();
        let tokens = &gateway.parts.tokens;
        let entries = vec![entry(&provider)];
        tokens.store().import(entries, true).await.unwrap();
        let rig = Self {
            mailbox: mailbox(&gateway, &provider),
            provider,
            gateway,
            _stop: stop.drop_guard(),
        };
        rig.consent().await;
        rig
    }

    async fn consent(&self) {
        let planted = self.provider.consent(USER);
        let tokens = &self.gateway.parts.tokens;
        tokens.seed("t", Secret::new(planted)).await.unwrap();
    }

    fn put(&self, n: usize, size: usize) {
        self.provider.put_mail(USER, mail(n, size));
    }

    /// Waits until the mailbox is empty, and so everything delivered and acknowledged.
    async fn is_through(&self) {
        until("the mailbox is empty", || {
            self.provider.folder(USER, "INBOX").is_empty()
        })
        .await;
    }

    fn has_once(&self, mails: Vec<Vec<u8>>) {
        assert_eq!(self.gateway.delivered(), sorted(mails.clone()));
        let order = std::fs::read_to_string(self.gateway.folder.path().join("order")).unwrap();
        assert_eq!(order.lines().count(), mails.len(), "each exactly once");
    }
}

fn mailbox(gateway: &Gateway, provider: &Provider) -> Mailbox {
    let nowhere = Fake::start("");
    Mailbox {
        host: "127.0.0.1".into(),
        port: provider.imap().port(),
        user: USER.into(),
        auth: Auth::Token("t".into()),
        ..gateway.mailbox(&nowhere, After::Delete)
    }
}

/// A token config that can be refreshed at the provider.
pub(crate) fn entry(provider: &Provider) -> Entry {
    let (id, secret) = provider.client();
    let mut config = Config {
        client_id: id,
        client_secret: Secret::new(secret),
        scope: "mail".into(),
        ..Config::default()
    };
    let fields = [
        ("client_id", Autofill::ClientId),
        ("client_secret", Autofill::ClientSecret),
        ("refresh_token", Autofill::RefreshToken),
    ];
    let answers = [
        ("access_token", Answer::Token),
        ("expires_in", Answer::TokenExpirationDate),
        ("refresh_token", Answer::RefreshToken),
        ("error", Answer::ErrorCode),
        ("error_description", Answer::ErrorDescription),
    ];
    config.requests.token_by_refresh_token = Some(Request {
        url: format!("{}/token", provider.url()),
        parameters: vec![("grant_type".to_owned(), "refresh_token".to_owned())],
        autofilled: fields.map(|(n, v)| (n.to_owned(), v)).to_vec(),
        answers: answers.map(|(n, v)| (n.to_owned(), v)).to_vec(),
        ..Request::default()
    });
    Entry {
        name: "t".into(),
        valid: true,
        config,
        rest: Default::default(),
    }
}

#[test]
fn a_token_that_expires_mid_session_costs_one_sign_in_and_no_message() {
    local(async {
        let rig = Rig::new(Duration::from_secs(2)).await;
        for n in 0..20 {
            rig.put(n, 2_000);
        }
        // The listing takes longer than the token lives: the bodies are asked for by an expired session.
        let late = Fault::Delay(Duration::from_millis(2_100));
        rig.provider.fault(Service::Imap, "UID FETCH 1:*", 1, late);
        let running = rig.gateway.start(rig.mailbox.clone());
        rig.is_through().await;
        running.stop().await;
        rig.has_once((0..20).map(|n| mail(n, 2_000)).collect());
        let counts = rig.provider.counts();
        assert!(counts.imap_sign_ins >= 2, "{counts:?}");
        assert_eq!((counts.refused, counts.reused), (0, 0), "{counts:?}");
    });
}

#[test]
fn a_token_that_expires_mid_literal_leaves_nothing_half_delivered() {
    local(async {
        let rig = Rig::new(Duration::from_secs(3600)).await;
        for (n, size) in [4_000, 700_000, 4_000].into_iter().enumerate() {
            rig.put(n, size);
        }
        // Both the small ones and the large one are cut within their bodies, and the token is dead by then.
        let provider = &rig.provider;
        provider.fault(Service::Imap, "UID FETCH 1 ", 1, Fault::Cut(1_000));
        provider.fault(Service::Imap, "UID FETCH 2 ", 1, Fault::Cut(300_000));
        let running = rig.gateway.start(rig.mailbox.clone());
        until("the first session is signed in", || {
            provider.counts().imap_sign_ins > 0
        })
        .await;
        provider.expire_access_tokens();
        rig.is_through().await;
        running.stop().await;
        rig.has_once(
            [4_000, 700_000, 4_000]
                .into_iter()
                .enumerate()
                .map(|(n, size)| mail(n, size))
                .collect(),
        );
        assert_eq!(provider.counts().refused, 1);
        assert_eq!(provider.counts().refreshes, 2);
    });
}

#[test]
fn a_session_whose_token_expires_while_idle_is_opened_again_with_a_fresh_one() {
    local(async {
        let rig = Rig::new(Duration::from_secs(1)).await;
        let running = rig.gateway.start(rig.mailbox.clone());
        until("idle sessions have ended twice", || {
            rig.provider.counts().imap_sign_ins >= 3
        })
        .await;
        rig.put(1, 500);
        rig.is_through().await;
        running.stop().await;
        rig.has_once(vec![mail(1, 500)]);
        let counts = rig.provider.counts();
        assert_eq!((counts.refused, counts.reused), (0, 0), "{counts:?}");
        assert!(
            counts.refreshes <= counts.imap_sign_ins + 1,
            "one refresh a session: {counts:?}"
        );
    });
}

#[test]
fn a_challenge_in_json_is_read_the_token_replaced_once_and_mail_flows_on() {
    local(async {
        let rig = Rig::new(Duration::from_secs(3600)).await;
        let running = rig.gateway.start(rig.mailbox.clone());
        until("it waits", || rig.gateway.waits_for_mail()).await;
        rig.provider.expire_access_tokens();
        rig.provider.drop_connections(Service::Imap);
        rig.put(1, 500);
        let begun = Instant::now();
        rig.is_through().await;
        assert!(begun.elapsed() < Duration::from_secs(10), "no long pause");
        running.stop().await;
        let counts = rig.provider.counts();
        assert_eq!((counts.refused, counts.refreshes), (1, 2), "{counts:?}");
    });
}

#[test]
fn without_consent_mail_waits_in_the_mailbox_and_flows_after_it() {
    local(async {
        let rig = Rig::new(Duration::from_secs(3600)).await;
        let running = rig.gateway.start(rig.mailbox.clone());
        until("it waits", || rig.gateway.waits_for_mail()).await;
        rig.provider.revoke(USER);
        rig.provider.drop_connections(Service::Imap);
        rig.put(1, 500);
        until("a person is asked", || {
            matches!(rig.gateway.condition(), Some(Condition::Blocked { .. }))
        })
        .await;
        assert_eq!(rig.provider.folder(USER, "INBOX").len(), 1);
        rig.consent().await;
        rig.gateway.parts.poke.notify_one();
        rig.is_through().await;
        running.stop().await;
        rig.has_once(vec![mail(1, 500)]);
    });
}

#[test]
fn throttling_rejects_no_token_and_is_shown_as_what_it_is() {
    local(async {
        let rig = Rig::new(Duration::from_secs(3600)).await;
        let words = "BAD User is authenticated but not connected.";
        rig.provider
            .fault(Service::Imap, "SELECT", 1, Fault::Reply(words.into()));
        rig.put(1, 500);
        let running = rig.gateway.start(rig.mailbox.clone());
        until("it is shown", || {
            matches!(rig.gateway.condition(), Some(Condition::Waiting { why, .. })
                if why.contains("asks for patience") && why.contains(words))
        })
        .await;
        rig.gateway.parts.poke.notify_one();
        rig.is_through().await;
        running.stop().await;
        let counts = rig.provider.counts();
        assert_eq!((counts.refused, counts.refreshes), (0, 1), "{counts:?}");
    });
}

#[test]
fn an_account_is_left_alone_for_as_long_as_the_server_says_whoever_pokes() {
    local(async {
        let rig = Rig::new(Duration::from_secs(3600)).await;
        let words = "BAD Request is throttled. Suggested Backoff Time: 1500 milliseconds";
        rig.provider.fault(
            Service::Imap,
            "UID FETCH 1:*",
            1,
            Fault::Reply(words.into()),
        );
        rig.put(1, 500);
        let running = rig.gateway.start(rig.mailbox.clone());
        until("it is shown, with the time", || {
            matches!(rig.gateway.condition(), Some(Condition::Waiting { why, until })
                if why.contains("a pause of 2 s") && why.contains("Request is throttled") && until > 0)
        })
        .await;
        let begun = Instant::now();
        until("it is tried again", || {
            rig.gateway.parts.poke.notify_one();
            rig.provider.counts().imap_sign_ins == 2
        })
        .await;
        assert!(
            begun.elapsed() > Duration::from_millis(1_300),
            "{:?}",
            begun.elapsed()
        );
        rig.is_through().await;
        running.stop().await;
    });
}
