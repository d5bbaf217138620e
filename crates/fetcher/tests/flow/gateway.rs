//! A gateway of one mailbox in a folder of its own, and what tests ask of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fetcher::{Parts, run};
use provider_template::Tls;
use spool::Spool;
use token_store::accounts::{
    After, Auth, Board, Care, Condition, Deliver, Kind, Mailbox, Protocol, Sasl, StartFrom, Watch,
    Way,
};
use token_store::seal::Key;
use token_store::{Secret, Store, Tokens, TokensOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fake::Fake;

/// Files each message by its delivery id, and appends to `order`.
pub(crate) const FILE: &str = "cat > \"$0/$POSTERN_DELIVERY_ID.part\" && mv \"$0/$POSTERN_DELIVERY_ID.part\" \"$0/$POSTERN_DELIVERY_ID\" \
            && LC_ALL=C sed -n 's/^Subject: number //p; /^.$/q' \"$0/$POSTERN_DELIVERY_ID\" | tr -d '\\r' >> \"$0/../order\"";

/// One gateway's worth of state in a folder of its own.
pub(crate) struct Gateway {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) parts: Parts,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("got")).unwrap();
        let store =
            Store::open(&folder.path().join("accounts.db"), Key::from_bytes([7; 32])).unwrap();
        let parts = Parts {
            spool: Spool::open(folder.path()).unwrap(),
            tokens: Tokens::new(store, TokensOptions::default()).unwrap(),
            board: Board::default(),
            poke: Arc::default(),
        };
        Self { folder, parts }
    }

    pub(crate) fn got(&self) -> PathBuf {
        self.folder.path().join("got")
    }

    /// A mailbox of this server whose command files each message by its delivery id, and appends to `order`.
    pub(crate) fn mailbox(&self, fake: &Fake, after: After) -> Mailbox {
        self.mailbox_with(fake, after, FILE)
    }

    pub(crate) fn mailbox_with(&self, fake: &Fake, after: After, script: &str) -> Mailbox {
        self.mailbox_at(fake.port, after, script)
    }
    /// The same of any server.
    pub(crate) fn mailbox_at(&self, port: u16, after: After, script: &str) -> Mailbox {
        let got = self.got().display().to_string();
        Mailbox {
            name: "support".into(),
            template: None,
            protocol: Protocol::Imap,
            host: "127.0.0.1".into(),
            port,
            tls: Tls::None,
            tls_ca_file: None,
            user: "support@example.com".into(),
            auth: Auth::Password(Secret::new("secret")),
            sasl: Sasl::Auto,
            folders: vec!["INBOX".into()],
            max_undelivered: 500,
            watch: Watch::Idle,
            poll: Duration::from_secs(300),
            start_from: StartFrom::All,
            max_size: 10_000_000,
            deliver: Deliver {
                way: Way::command(vec!["/bin/sh".into(), "-c".into(), script.into(), got]),
                timeout: Duration::from_secs(20),
                concurrency: 1,
            },
            after,
            care: Care::default(),
            paused: false,
            idle_minutes: 25,
            trash_on_delete: false,
            pop3_two_line_auth: false,
            declared_in: None,
        }
    }

    pub(crate) fn start(&self, mailbox: Mailbox) -> Running {
        let shutdown = CancellationToken::new();
        let task = tokio::task::spawn_local(run(mailbox, self.parts.clone(), shutdown.clone()));
        Running { shutdown, task }
    }

    /// What the command got, sorted.
    pub(crate) fn delivered(&self) -> Vec<Vec<u8>> {
        files(&self.got())
    }

    /// Whether everything was listed and fetched, and the session waits.
    pub(crate) fn waits_for_mail(&self) -> bool {
        matches!(self.condition(), Some(Condition::Working { doing }) if doing.contains("waiting for new mail"))
    }

    pub(crate) fn condition(&self) -> Option<Condition> {
        self.parts
            .board
            .get(Kind::Mailbox, "support")
            .map(|light| light.condition)
    }
}

pub(crate) fn files(folder: &Path) -> Vec<Vec<u8>> {
    let whole = |path: &PathBuf| path.extension().is_none();
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    let mut all: Vec<Vec<u8>> = paths
        .filter(whole)
        .map(|p| std::fs::read(p).unwrap())
        .collect();
    all.sort();
    all
}

pub(crate) struct Running {
    pub(crate) shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .expect("run returns after shutdown")
            .unwrap();
    }
}

/// Waits for a condition; the deadline is the test's failure.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

pub(crate) fn mail(n: usize, size: usize) -> Vec<u8> {
    let mut bytes = format!(
        "From: a@example.com\r\nSubject: number {n}\r\nMessage-ID: <{n}@example.com>\r\n\r\n"
    )
    .into_bytes();
    let mut x = n as u32 + 1;
    while bytes.len() < size {
        // Every byte value, line ends of all kinds, dots: what comes must be what went.
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push((x >> 24) as u8);
    }
    bytes
}

pub(crate) fn sorted(mut mails: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    mails.sort();
    mails
}

/// Runs a test with a place for tasks that are not `Send`.
pub(crate) fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

pub(crate) const ALL: &str = "IDLE UIDPLUS MOVE AUTH=PLAIN SASL-IR";
