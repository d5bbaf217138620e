//! Dialling real sockets on loopback: addresses, deadlines, and TLS servers with every kind of bad certificate.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::lines::{LineError, Lines};

const LIMIT: Duration = Duration::from_secs(10);

/// A CA of our own, with its certificate in a file.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Ca {
    fn new() -> Self {
        Self::named("Test CA")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn trust(&self) -> Trust {
        Trust::new(Some(&self.file())).unwrap()
    }

    /// A TLS acceptor whose certificate is for `name`, valid until the end of `year`.
    fn acceptor(&self, name: &str, year: i32) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn listen() -> (TcpListener, Target) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = Target {
        host: "localhost".to_owned(),
        port: listener.local_addr().unwrap().port(),
        tls: Tls::Implicit,
    };
    (listener, target)
}

/// Serves one TLS connection that says hello and echoes, while the client connects.
async fn meet(acceptor: TlsAcceptor, trust: &Trust) -> Result<Stream, DialError> {
    let (listener, target) = listen().await;
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        if let Ok(mut tls) = acceptor.accept(tcp).await {
            let mut word = [0; 5];
            tls.write_all(b"hello\r\n").await.unwrap();
            tls.read_exact(&mut word).await.unwrap();
            assert_eq!(&word, b"QUIT\n");
            // Dropped without close_notify, as many servers do.
        }
    };
    let client = async {
        let stream = connect(&target, trust, LIMIT).await?;
        let mut lines = Lines::new(stream, LIMIT);
        assert_eq!(lines.line(100).await.unwrap().bytes, b"hello");
        lines.send(b"QUIT\n").await.unwrap();
        assert!(matches!(lines.line(100).await, Err(LineError::Closed)));
        Ok(lines.into_stream().unwrap())
    };
    tokio::join!(client, server).0
}

async fn refusal(acceptor: TlsAcceptor, trust: &Trust) -> String {
    match meet(acceptor, trust).await {
        Ok(_) => "connected".to_owned(),
        Err(refused) => refused.to_string(),
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_from_the_ca_file_is_trusted() {
    let ca = Ca::new();
    let stream = meet(ca.acceptor("localhost", 2099), &ca.trust())
        .await
        .unwrap();
    assert!(stream.is_tls());
    assert!(stream.peer_addr().unwrap().ip().is_loopback());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_with_both_names() {
    let ca = Ca::new();
    assert_eq!(
        refusal(ca.acceptor("mail.example.org", 2099), &ca.trust()).await,
        "TLS with localhost failed: its certificate is for mail.example.org, not for localhost"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_its_age() {
    let ca = Ca::new();
    let words = refusal(ca.acceptor("localhost", 2002), &ca.trust()).await;
    assert!(
        words.starts_with("TLS with localhost failed: its certificate expired ")
            && words.ends_with(" days ago"),
        "{words}"
    );
}

#[tokio::test]
async fn an_unknown_issuer_is_refused_and_the_remedy_named() {
    let (ca, other, renewed) = (Ca::new(), Ca::named("Other CA"), Ca::new());
    assert_eq!(
        refusal(ca.acceptor("localhost", 2099), &other.trust()).await,
        "TLS with localhost failed: its certificate comes from an issuer that is not trusted here; if it is your own CA, name its file \
         in tls_ca_file"
    );
    assert_eq!(
        refusal(ca.acceptor("localhost", 2099), &renewed.trust()).await,
        "TLS with localhost failed: its certificate was not signed by the CA of that name that is trusted here; perhaps the CA was \
         renewed"
    );
}

#[tokio::test]
async fn a_machine_without_roots_says_so() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = Trust::over(None, provider);
    let words = refusal(Ca::new().acceptor("localhost", 2099), &trust).await;
    assert!(
        words.contains("trusts no certificate authority at all"),
        "{words}"
    );
}

#[tokio::test]
async fn a_plain_server_on_a_tls_port_is_told_apart() {
    let (listener, target) = listen().await;
    let trust = Trust::new(None).unwrap();
    let server = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"220 plain.example.org ESMTP\r\n")
            .await
            .unwrap();
        // Until the client has given up; what it says is not looked at.
        tcp.read_to_end(&mut Vec::new()).await.ok();
    };
    let (refused, ()) = tokio::join!(connect(&target, &trust, LIMIT), server);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "TLS with localhost failed: what answers there does not speak TLS; perhaps the port wants starttls, or is another service's"
    );
}

/// One side of a STARTTLS dialogue whose server says `answer` to the command, then starts TLS.
async fn upgrade(answer: &'static [u8]) -> Result<Vec<u8>, LineError> {
    let ca = Ca::new();
    let (listener, mut target) = listen().await;
    target.tls = Tls::StartTls;
    let acceptor = ca.acceptor("localhost", 2099);
    let server = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut command = [0; 10];
        tcp.read_exact(&mut command).await.unwrap();
        tcp.write_all(answer).await.unwrap();
        if let Ok(mut tls) = acceptor.accept(tcp).await {
            tls.write_all(b"secret\r\n").await.unwrap();
        }
    };
    let client = async {
        let stream = connect(&target, &ca.trust(), LIMIT).await.unwrap();
        assert!(!stream.is_tls());
        let mut lines = Lines::new(stream, LIMIT);
        lines.send(b"STARTTLS\r\n").await?;
        lines.line(100).await?;
        let stream = lines.into_stream()?;
        let stream = stream
            .start_tls("localhost", &ca.trust(), LIMIT)
            .await
            .unwrap();
        let mut lines = Lines::new(stream, LIMIT);
        Ok(lines.line(100).await?.bytes)
    };
    tokio::join!(client, server).0
}

#[tokio::test]
async fn starttls_upgrades_the_connection() {
    assert_eq!(upgrade(b"220 go\r\n").await.unwrap(), b"secret");
}

#[tokio::test]
async fn bytes_injected_behind_the_go_ahead_of_starttls_end_the_connection() {
    assert!(matches!(
        upgrade(b"220 go\r\n250 AUTH PLAIN\r\n").await,
        Err(LineError::Injected { count: 16 })
    ));
}

#[tokio::test]
async fn tls_within_tls_is_refused() {
    let ca = Ca::new();
    let stream = meet(ca.acceptor("localhost", 2099), &ca.trust())
        .await
        .unwrap();
    let again = stream.start_tls("localhost", &ca.trust(), LIMIT).await;
    assert!(matches!(again, Err(DialError::Tls { .. })));
}

#[tokio::test]
async fn a_handshake_that_never_ends_runs_into_the_deadline() {
    let (listener, target) = listen().await;
    let trust = Trust::new(None).unwrap();
    let limit = Duration::from_millis(50);
    let server = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.read_to_end(&mut Vec::new()).await.ok();
    };
    let (late, ()) = tokio::join!(connect(&target, &trust, limit), server);
    assert!(
        matches!(late, Err(DialError::Timeout { step: "TLS began", after, .. }) if after == limit)
    );
}

#[tokio::test]
async fn every_address_is_tried_before_giving_up() {
    let (listener, target) = listen().await;
    let live = listener.local_addr().unwrap();
    // Nobody listens at this port on the loopback net's other end.
    let dead = SocketAddr::from(([127, 9, 9, 9], target.port));
    let connected = race(vec![dead, live]).await.unwrap();
    assert_eq!(connected.peer_addr().unwrap(), live);
    let refused = race(vec![dead, dead]).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(refused.to_string().matches("127.9.9.9: ").count(), 2);
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error_with_host_and_port() {
    let (listener, mut target) = listen().await;
    target.host = "127.0.0.1".to_owned();
    drop(listener);
    let trust = Trust::new(None).unwrap();
    let refused = connect(&target, &trust, LIMIT).await.unwrap_err();
    let words = refused.to_string();
    assert!(
        words.starts_with(&format!("no connection to 127.0.0.1:{}: ", target.port)),
        "{words}"
    );
}

#[tokio::test]
async fn keepalive_and_nodelay_are_set() {
    use rustix::net::sockopt;
    let (_listener, target) = listen().await;
    let trust = Trust::new(None).unwrap();
    let target = Target {
        tls: Tls::None,
        ..target
    };
    let stream = connect(&target, &trust, LIMIT).await.unwrap();
    let tcp = stream.tcp();
    assert!(tcp.nodelay().unwrap());
    assert!(sockopt::socket_keepalive(tcp).unwrap());
    assert_eq!(sockopt::tcp_keepidle(tcp).unwrap(), KEEPALIVE_IDLE);
}

#[test]
fn only_this_machine_is_loopback() {
    for host in [
        "localhost",
        "LocalHost",
        "localhost.",
        "127.0.0.1",
        "127.255.3.4",
        "127.0.0.1.",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
    ] {
        assert!(is_loopback(host), "{host}");
    }
    for host in [
        "",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "128.0.0.1",
        "0.0.0.0",
        "::",
        "example.com",
        "localhost..",
        "[localhost",
    ] {
        assert!(!is_loopback(host), "{host}");
    }
}

#[test]
fn a_ca_file_of_no_use_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let why = |content: Option<&str>| {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        match Trust::new(Some(&path)) {
            Err(DialError::CaFile { why, path: named }) if named == path => why,
            other => format!("{other:?}"),
        }
    };
    assert!(why(None).contains("No such file"), "{}", why(None));
    assert!(why(Some("just text")).starts_with("there is no certificate in it"));
    let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(why(Some(torn)).starts_with("certificate 1 cannot be used"));
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    assert!(why(Some(cut)).starts_with("certificate 1 cannot be read"));
}
