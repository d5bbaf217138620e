//! TLS: what it forgets, what may not cross it, and that nobody from beyond this machine sends without it.
use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::os::unix::fs::PermissionsExt;
use wire::dial::{self, DialError, Stream, Target, Tls as Way, Trust};

const MAIL: &str = "MAIL FROM:<a@helpdesk.example>";
/// NUL znuny NUL secret-word
const SIGN_IN: &str = "AUTH PLAIN AHpudW55AHNlY3JldC13b3Jk";
const LIMIT: Duration = Duration::from_secs(20);

/// A CA, and the files of a certificate from it.
pub(super) struct Files {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    trust: Trust,
}

impl Files {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, issuer.pem()).expect("a file");
        let files = Self {
            trust: Trust::new(Some(&ca)).expect("a CA"),
            folder,
            issuer,
        };
        files.issue("localhost");
        files
    }

    fn issue(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let paths = self.paths();
        std::fs::write(paths.chain, certificate.pem()).expect("a file");
        std::fs::write(&paths.key, key.serialize_pem()).expect("a file");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(paths.key, mode).expect("our file");
    }

    fn paths(&self) -> CertificateFiles {
        CertificateFiles {
            chain: self.folder.path().join("chain.pem"),
            key: self.folder.path().join("key.pem"),
        }
    }

    /// As a listener has read it.
    pub(super) fn certificate(&self) -> wire::accept::Certificate {
        let paths = self.paths();
        wire::accept::Certificate::load(&paths.chain, &paths.key).expect("a certificate")
    }

    fn starttls(&self) -> Protection {
        Protection::Starttls(self.paths())
    }

    fn implicit(&self) -> Protection {
        Protection::Implicit(self.paths())
    }

    async fn plain(&self, server: &Server) -> Stream {
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port: server.address.port(),
            tls: Way::None,
        };
        let plain = dial::connect(&target, &self.trust, LIMIT).await;
        plain.expect("a connection")
    }

    /// A connection under TLS from the first byte, for a name.
    async fn secure(&self, server: &Server, name: &str) -> Result<Talk<Stream>, DialError> {
        let plain = self.plain(server).await;
        let secured = plain.start_tls(name, &self.trust, LIMIT).await;
        secured.map(Talk::over)
    }

    /// A session after STARTTLS.
    async fn upgraded(&self, mut talk: Talk<Stream>) -> Talk<Stream> {
        assert!(talk.ask("STARTTLS").await.starts_with("220 2.0.0"));
        assert!(talk.heard.is_empty());
        let secured = talk.stream.start_tls("localhost", &self.trust, LIMIT).await;
        Talk::over(secured.expect("TLS"))
    }

    async fn greeted(&self, server: &Server) -> Talk<Stream> {
        let mut talk = Talk::over(self.plain(server).await);
        assert_eq!(talk.code().await, "220");
        talk
    }
}

/// On every address of this machine, so that clients from beyond it get there.
fn public(rules: &mut Submission) {
    rules.listen = Listen::Tcp("0.0.0.0:0".parse().expect("an address"));
}

#[tokio::test]
async fn after_starttls_the_session_has_forgotten_everything() {
    let files = Files::new();
    let server = Server::with(|rules| {
        rules.tls = files.starttls();
        rules.sign_in = true;
    })
    .await;
    server.let_in("znuny", None).await;
    let mut talk = files.greeted(&server).await;
    let offer = talk.ask("EHLO before").await;
    assert!(offer.contains("250-STARTTLS\r\n"), "{offer}");
    talk.dialogue(&[
        (SIGN_IN, "235"),
        (MAIL, "250"),
        ("RCPT TO:<b@example.org>", "250"),
    ])
    .await;
    let mut talk = files.upgraded(talk).await;
    talk.dialogue(&[("DATA", "503"), (MAIL, "503 5.5.1 Say EHLO")])
        .await;
    let offer = talk.ask("EHLO after").await;
    assert!(!offer.contains("STARTTLS"), "{offer}");
    talk.dialogue(&[
        ("STARTTLS", "503 5.5.1 TLS is on"),
        (MAIL, "530"),
        (SIGN_IN, "235"),
    ])
    .await;
    talk.until_data().await;
    talk.say(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(talk.code().await, "250");
    let (received, _) = server.whole(&server.stored().await[0]).await;
    assert!(received.starts_with("Received: from after "), "{received}");
    assert!(received.contains(" with ESMTPSA id "), "{received}");
}

#[tokio::test]
async fn bytes_behind_starttls_end_the_connection_and_are_never_commands() {
    let files = Files::new();
    let server = Server::with(|rules| rules.tls = files.starttls()).await;
    let injected = format!("STARTTLS\r\nEHLO x\r\n{MAIL}\r\n");
    for bytes in [injected.as_str(), "STARTTLS\r\nR"] {
        let mut talk = files.greeted(&server).await;
        talk.ask("EHLO x").await;
        talk.say(bytes).await;
        assert!(
            talk.reply()
                .await
                .starts_with("554 5.5.1 Nothing may follow")
        );
        assert_eq!(talk.code().await, "closed");
    }
    // What comes behind the reply is read as a handshake, and is none.
    let mut talk = files.greeted(&server).await;
    talk.ask("EHLO x").await;
    assert!(talk.ask("STARTTLS").await.starts_with("220"));
    talk.say(format!("EHLO x\r\n{MAIL}\r\n")).await;
    let mut rest = Vec::new();
    // Closed by TLS's alert, or reset: either way nothing was answered.
    let _ended = talk.stream.read_to_end(&mut rest).await;
    assert!(!rest.windows(3).any(|three| three == b"250"), "{rest:?}");
    assert_eq!(server.waiting(), 0);
}

#[tokio::test]
async fn implicit_tls_serves_with_the_certificate_that_lies_there_now() {
    let files = Files::new();
    let server = Server::with(|rules| rules.tls = files.implicit()).await;
    let mut talk = files.secure(&server, "localhost").await.expect("TLS");
    assert_eq!(talk.code().await, "220");
    assert!(!talk.ask("EHLO x").await.contains("STARTTLS"));
    talk.until_data().await;
    talk.say(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(talk.code().await, "250");
    let (received, _) = server.whole(&server.stored().await[0]).await;
    assert!(received.contains(" with ESMTPS id "), "{received}");

    files.issue("renewed.example");
    let mut renewed = files.secure(&server, "renewed.example").await.expect("TLS");
    assert_eq!(renewed.code().await, "220");
    // Rubbish in its place changes nothing.
    std::fs::write(files.paths().chain, "rubbish").expect("a file");
    let mut still = files.secure(&server, "renewed.example").await.expect("TLS");
    assert_eq!(still.code().await, "220");
    assert!(talk.ask("NOOP").await.starts_with("250"));
}

#[tokio::test]
async fn under_implicit_tls_a_full_house_says_so_and_a_client_without_tls_hears_nothing() {
    let files = Files::new();
    let server = Server::with(|rules| {
        rules.tls = files.implicit();
        rules.limits.connections = 1;
    })
    .await;
    let mut plain = server.knock().await;
    plain.say("EHLO x\r\n").await;
    let mut rest = Vec::new();
    let _ended = plain.stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"2"), "{rest:?}");
    drop(plain);
    let mut first = loop {
        let mut talk = files.secure(&server, "localhost").await.expect("TLS");
        if talk.code().await == "220" {
            break talk;
        }
    };
    let mut second = files.secure(&server, "localhost").await.expect("TLS");
    assert!(second.reply().await.starts_with("421 4.3.2"));
    assert!(first.ask("NOOP").await.starts_with("250"));
}

#[tokio::test]
async fn from_beyond_this_machine_nobody_sends_without_tls_and_a_user() {
    let files = Files::new();
    for sign_in in [false, true] {
        // No configuration has the first of them; even so it would be no open relay.
        for tls in [Protection::None, files.starttls()] {
            let is_none = tls == Protection::None;
            let server = Server::with(|rules| {
                public(rules);
                (rules.tls, rules.sign_in) = (tls, sign_in);
            })
            .await;
            server.let_in("znuny", None).await;
            let mut talk = files.greeted(&server).await;
            assert!(!talk.ask("EHLO x").await.contains("AUTH"));
            talk.dialogue(&[
                (MAIL, "530 5.7.0"),
                ("MAIL FROM:<>", "530"),
                (SIGN_IN, "538 5.7.11"),
                ("AUTH LOGIN", "538"),
                (MAIL, "530"),
                ("RCPT TO:<b@example.org>", "503"),
                ("DATA", "503"),
            ])
            .await;
            if is_none {
                assert!(talk.ask("STARTTLS").await.starts_with("502"));
            } else {
                needs_a_user(files.upgraded(talk).await).await;
            }
        }
        let server = Server::with(|rules| {
            public(rules);
            (rules.tls, rules.sign_in) = (files.implicit(), sign_in);
        })
        .await;
        server.let_in("znuny", None).await;
        let mut talk = files.secure(&server, "localhost").await.expect("TLS");
        assert_eq!(talk.code().await, "220");
        needs_a_user(talk).await;
    }
}

async fn needs_a_user(mut talk: Talk<Stream>) {
    let offer = talk.ask("EHLO x").await;
    assert!(offer.contains("AUTH PLAIN LOGIN"), "{offer}");
    talk.dialogue(&[
        (MAIL, "530 5.7.0"),
        ("MAIL FROM:<>", "530"),
        ("AUTH PLAIN AHpudW55AHdyb25nLXdvcmQ=", "535"),
        (MAIL, "530"),
        ("RCPT TO:<b@example.org>", "503"),
        ("BDAT 7 LAST\r\nhello", "503"),
        (SIGN_IN, "235"),
        (MAIL, "250"),
    ])
    .await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up() {
    let files = Files::new();
    let server = Server::with(|rules| {
        rules.tls = files.implicit();
        rules.limits.command_timeout = Duration::from_millis(50);
    })
    .await;
    let mut silent = server.knock().await;
    assert_eq!(silent.code().await, "closed");
}
