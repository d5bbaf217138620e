//! Every grant against the pretend provider, through `Tokens` alone.

mod alone;
mod devices;
mod people;
mod revoking;

use crate::support::{folder, open, tokens};
use provider_template::{Endpoints, Library, Order, Secret};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use sandbox::{Knobs, Provider};
use std::time::Duration;
use tempfile::TempDir;
use token_store::{TokenStatus, Tokens};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::{CancellationToken, DropGuard};

const ANNA: &str = "anna@sandbox.test";
const BERTA: &str = "berta@sandbox.test";
const CALLBACK: &str = "http://127.0.0.1:8025/oauth2/callback";

/// A provider and a store beside it.
struct House {
    provider: Provider,
    tokens: Tokens,
    folder: TempDir,
    _shutdown: DropGuard,
}

impl House {
    async fn new() -> Self {
        let shutdown = CancellationToken::new();
        let knobs = Knobs {
            device_interval: Duration::from_millis(20),
            ..Knobs::default()
        };
        let provider = Provider::start(knobs, shutdown.clone()).await.unwrap();
        let folder = folder();
        Self {
            provider,
            tokens: tokens(open(folder.path().join("accounts.db"))),
            folder,
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// Another process on the same files.
    fn beside(&self) -> Tokens {
        tokens(open(self.folder.path().join("accounts.db")))
    }

    /// A token config of the generic template, its endpoints discovered.
    async fn config(&self, name: &str, change: impl FnOnce(&mut Order)) {
        let (id, secret) = self.provider.client();
        let mut order = Order {
            name: name.into(),
            client_id: id,
            client_secret: Secret::new(secret),
            scope: Some("mail offline_access".into()),
            endpoints: Endpoints {
                discovery: Some(self.provider.url()),
                ..Endpoints::default()
            },
            valid: true,
            ..Order::default()
        };
        change(&mut order);
        let library = Library::load(None);
        let store = self.tokens.store();
        store
            .add_token_config(&library, "generic", order)
            .await
            .unwrap();
    }

    fn statuses(&self, config: &str) -> Vec<TokenStatus> {
        let mut statuses = self.tokens.store().token_statuses().unwrap();
        statuses.retain(|status| status.config == config);
        statuses
    }

    fn status(&self, config: &str) -> TokenStatus {
        self.statuses(config).remove(0)
    }

    /// Whom the token that a config gives now is for.
    async fn user_of(&self, config: &str) -> Option<String> {
        let token = self.tokens.access(config).await.unwrap();
        self.provider.user_of(token.secret.expose())
    }

    /// What a browser gets: the whole answer.
    async fn get(&self, url: &str) -> String {
        let path = url.strip_prefix(&self.provider.url()).unwrap();
        let mut stream = tokio::net::TcpStream::connect(self.provider.oauth())
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Where the provider sends the browser of a person who signs in under this name and accepts.
    async fn signs_in(&self, url: &str, user: &str) -> String {
        let mut url = oauth2::url::Url::parse(url).unwrap();
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "login_hint")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(pairs)
            .append_pair("login_hint", user);
        let answer = self.get(url.as_str()).await;
        let (_, place) = answer.split_once("Location: ").unwrap();
        place.split("\r\n").next().unwrap().to_owned()
    }
}

/// An RSA key: private and public as PEM, and a certificate over it.
fn key() -> (String, String, String) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(vec!["postern.example".into()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    (key.serialize_pem(), key.public_key_pem(), certificate.pem())
}
