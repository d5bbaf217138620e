//! The relay against the pretend provider, over a real spool and a real token store.
use super::*;
use provider_template::{Endpoints, Library, Order, Tls};
use sandbox::{Fault, Knobs, Provider, Service};
use spool::{Direction, Headline, MessageId, Outgoing, QueueRow};
use std::future::Future;
use std::time::Instant;
use token_store::accounts::{Auth, Condition, Sasl};
use token_store::{Secret, Store, TokensOptions, seal};
use tokio::task::JoinSet;

mod account;
mod bounces;
mod fitting;
mod schedule;
mod sending;
mod taking_over;

const USER: &str = "support@helpdesk.example";
const TEXT: &[u8] = b"Subject: hello\r\n\r\n.dot\r\nend\r\n";

/// A provider, a spool, a token store; and a relay between them once it is started.
struct House {
    provider: Provider,
    parts: Parts,
    relay: Relay,
    timing: Timing,
    stop_provider: CancellationToken,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl House {
    /// With a token config that has a refresh token.
    async fn build() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let stop_provider = CancellationToken::new();
        let provider = Provider::start(Knobs::default(), stop_provider.clone())
            .await
            .expect("a provider");
        let key = seal::Key::from_bytes([7; 32]);
        let store = Store::open(&folder.path().join("accounts.db"), key).expect("a store");
        let (client_id, client_secret) = provider.client();
        let order = Order {
            name: "token".to_owned(),
            client_id,
            client_secret: Secret::new(client_secret),
            scope: Some("mail".to_owned()),
            endpoints: Endpoints {
                authorize: Some(format!("{}/authorize", provider.url())),
                token: Some(format!("{}/token", provider.url())),
                ..Endpoints::default()
            },
            valid: true,
            ..Order::default()
        };
        store
            .add_token_config(&Library::load(None), "generic", order)
            .await
            .expect("a token config");
        let tokens = Tokens::new(store, TokensOptions::default()).expect("tokens");
        tokens
            .seed("token", Secret::new(provider.consent(USER)))
            .await
            .expect("a refresh token");
        let parts = Parts {
            spool: Spool::open(folder.path()).expect("a spool"),
            tokens,
            board: Board::default(),
            poke: Arc::new(Notify::new()),
            sent: None,
        };
        let relay = Relay {
            name: "out".to_owned(),
            template: None,
            host: "127.0.0.1".to_owned(),
            port: provider.smtp().port(),
            tls: Tls::None,
            tls_ca_file: None,
            user: USER.to_owned(),
            auth: Auth::Token("token".to_owned()),
            sasl: Sasl::Auto,
            senders: vec!["*".to_owned()],
            connections: 2,
            rate: None,
            keep_trying: Duration::from_secs(5 * 86_400),
            bounces_to: None,
            fallback: None,
            send_as: None,
            recipients: None,
            messages_per_connection: None,
            no_initial_response: false,
            paused: false,
            declared_in: None,
        };
        let timing = Timing {
            first: Duration::from_secs(1),
            doubt_pause: Duration::from_secs(1),
            poll: Duration::from_millis(300),
            ..Timing::default()
        };
        Self {
            provider,
            parts,
            relay,
            timing,
            stop_provider,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            _folder: folder,
        }
    }

    /// Starts the relay as it is configured now.
    fn start(&mut self) {
        let (relay, parts) = (self.relay.clone(), self.parts.clone());
        self.tasks
            .spawn(relay_timed(relay, parts, self.timing, self.stop.clone()));
    }

    async fn put(&self, recipients: &[&str]) -> MessageId {
        self.put_text(recipients, TEXT).await
    }

    async fn put_text(&self, recipients: &[&str], text: &[u8]) -> MessageId {
        self.put_as(recipients, text, |_| {}).await
    }

    /// With what else was said at submission.
    async fn put_as(
        &self,
        recipients: &[&str],
        text: &[u8],
        change: impl FnOnce(&mut Outgoing),
    ) -> MessageId {
        let mut writer = self.parts.spool.body();
        writer.write(text).await.expect("a disk");
        let body = writer.finish(true).await.expect("a disk");
        let mut outgoing = Outgoing {
            sender: USER.to_owned(),
            relay: "out".to_owned(),
            recipients: recipients.iter().map(|r| (*r).into()).collect(),
            ret: None,
            envid: None,
            automatic: false,
            conversation: None,
            smtputf8: false,
            eight_bit: false,
            headline: Headline::default(),
            body,
        };
        change(&mut outgoing);
        self.parts.spool.take_out(outgoing).await.expect("a spool")
    }

    fn queue(&self) -> Vec<QueueRow> {
        self.parts
            .spool
            .queue(Some(Direction::Out))
            .expect("the queue")
    }

    fn condition(&self) -> Option<Condition> {
        self.parts
            .board
            .get(Kind::Relay, "out")
            .map(|light| light.condition)
    }

    async fn until_sent(&self, count: usize) {
        let what = format!("{count} messages submitted and settled");
        until(&what, async || {
            self.provider.submitted().len() == count && self.queue().is_empty()
        })
        .await;
    }

    /// Stops the relay and waits for it.
    async fn stop(&mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.tasks.join_next()).await;
        assert!(
            ended
                .expect("the relay ends")
                .is_none_or(|task| task.is_ok())
        );
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop_provider.cancel();
    }
}

/// Waits for a condition, with an end.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
