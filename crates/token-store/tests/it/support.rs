//! A store in a temporary folder, token configs for the endpoint, and waiting for conditions.

use crate::endpoint::Endpoint;
use provider_template::{Answer, Autofill, Config, Entry, Flow, Request, Tls};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use token_store::accounts::{
    After, Auth, Care, Deliver, Mailbox, Protocol, Relay, Sasl, StartFrom, Watch, Way,
};
use token_store::seal::Key;
use token_store::{Secret, Store, TokenStatus, Tokens, TokensOptions};

/// A folder with accounts.db, and an endpoint.
pub(crate) struct Rig {
    pub(crate) endpoint: Endpoint,
    pub(crate) tokens: Tokens,
    folder: TempDir,
}

impl Rig {
    /// One token config, `t`, without a token.
    pub(crate) async fn new() -> Self {
        let endpoint = Endpoint::start().await;
        let folder = folder();
        let tokens = tokens(open(folder.path().join("accounts.db")));
        let rig = Self {
            endpoint,
            tokens,
            folder,
        };
        rig.import(rig.entry("t")).await;
        rig
    }

    /// The same, seeded with a refresh token that works.
    pub(crate) async fn seeded() -> Self {
        let rig = Self::new().await;
        let planted = rig.endpoint.world().plant();
        rig.tokens.seed("t", Secret::new(planted)).await.unwrap();
        rig
    }

    pub(crate) fn store(&self) -> &Store {
        self.tokens.store()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("accounts.db")
    }

    /// Another process on the same file, as far as files and locks go.
    pub(crate) fn beside(&self) -> Tokens {
        tokens(open(self.database()))
    }

    pub(crate) async fn import(&self, entry: Entry) {
        self.store().import(vec![entry], true).await.unwrap();
    }

    pub(crate) fn status(&self, config: &str) -> TokenStatus {
        let statuses = self.store().token_statuses().unwrap();
        statuses.into_iter().find(|s| s.config == config).unwrap()
    }

    /// An authorisation-code config for the endpoint.
    pub(crate) fn entry(&self, name: &str) -> Entry {
        let token = self.endpoint.url("/token");
        let client = [
            ("client_id", Autofill::ClientId),
            ("client_secret", Autofill::ClientSecret),
        ];
        let mut config = Config {
            client_id: "client".into(),
            client_secret: Secret::new("planted-client-secret"),
            scope: "mail".into(),
            ..Config::default()
        };
        config.requests.authorization_code = Some(request(
            &self.endpoint.url("/authorize"),
            &[("response_type", "code"), ("access_type", "offline")],
            &[
                ("client_id", Autofill::ClientId),
                ("redirect_uri", Autofill::RedirectUrl),
                ("scope", Autofill::Scope),
                ("state", Autofill::State),
            ],
        ));
        let code = [
            client[0],
            client[1],
            ("code", Autofill::AuthorizationCode),
            ("redirect_uri", Autofill::RedirectUrl),
        ];
        config.requests.token_by_authorization_code = Some(request(
            &token,
            &[("grant_type", "authorization_code")],
            &code,
        ));
        let refresh = [
            client[0],
            client[1],
            ("refresh_token", Autofill::RefreshToken),
            ("scope", Autofill::Scope),
        ];
        config.requests.token_by_refresh_token = Some(request(
            &token,
            &[("grant_type", "refresh_token")],
            &refresh,
        ));
        Entry {
            name: name.into(),
            valid: true,
            config,
            rest: serde_json::Map::default(),
        }
    }

    /// A client-credentials config for the endpoint.
    pub(crate) fn app_entry(&self, name: &str) -> Entry {
        let mut entry = self.entry(name);
        entry.config.flow = Flow::ClientCredentials;
        let fields = [
            ("client_id", Autofill::ClientId),
            ("scope", Autofill::Scope),
        ];
        entry.config.requests.token_by_client_credentials = Some(request(
            &self.endpoint.url("/token"),
            &[("grant_type", "client_credentials")],
            &fields,
        ));
        entry
    }
}

/// In memory where there is such a place: what an fsync costs is not what these tests are about.
pub(crate) fn folder() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.unwrap()
}

pub(crate) fn key() -> Key {
    Key::from_bytes([7; 32])
}

pub(crate) fn open(path: PathBuf) -> Store {
    Store::open(&path, key()).unwrap()
}

pub(crate) fn tokens(store: Store) -> Tokens {
    Tokens::new(store, TokensOptions::default()).unwrap()
}

fn request(url: &str, parameters: &[(&str, &str)], autofilled: &[(&str, Autofill)]) -> Request {
    Request {
        url: url.into(),
        parameters: parameters
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        autofilled: autofilled
            .iter()
            .map(|(k, v)| ((*k).to_owned(), *v))
            .collect(),
        answers: vec![
            ("access_token".into(), Answer::Token),
            ("refresh_token".into(), Answer::RefreshToken),
        ],
        rest: serde_json::Map::default(),
    }
}

pub(crate) fn mailbox(name: &str, auth: Auth) -> Mailbox {
    Mailbox {
        name: name.into(),
        template: None,
        protocol: Protocol::Imap,
        host: "imap.example.com".into(),
        port: 993,
        tls: Tls::Implicit,
        tls_ca_file: None,
        user: "support@example.com".into(),
        auth,
        sasl: Sasl::Auto,
        folders: vec!["INBOX".into()],
        max_undelivered: 500,
        watch: Watch::Every(Duration::from_secs(60)),
        poll: Duration::from_secs(300),
        start_from: StartFrom::Date(0),
        max_size: 1 << 20,
        deliver: Deliver {
            way: Way::command(vec!["cat".into()]),
            timeout: Duration::from_secs(600),
            concurrency: 1,
        },
        after: After::Move {
            folder: "Done".into(),
            create: true,
        },
        care: Care::default(),
        paused: false,
        idle_minutes: 25,
        trash_on_delete: false,
        pop3_two_line_auth: false,
        declared_in: None,
    }
}

pub(crate) fn relay(name: &str, auth: Auth) -> Relay {
    Relay {
        name: name.into(),
        template: None,
        host: "smtp.example.com".into(),
        port: 587,
        tls: Tls::Starttls,
        tls_ca_file: Some("/etc/ca.pem".into()),
        user: "support@example.com".into(),
        auth,
        sasl: Sasl::Xoauth2,
        senders: vec!["*".into()],
        connections: 3,
        rate: Some(30),
        keep_trying: Duration::from_secs(432_000),
        bounces_to: None,
        fallback: None,
        send_as: None,
        recipients: None,
        messages_per_connection: None,
        no_initial_response: true,
        paused: true,
        declared_in: None,
    }
}

/// Waits for a condition; fails after ten seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
