//! STARTTLS: demanded where it is configured, safe against what is sent before it, and everything asked anew after it.
use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn target(port: u16) -> Target {
    Target {
        host: "localhost".to_owned(),
        port,
        tls: Tls::StartTls,
    }
}

async fn connect_to(script: &Script) -> ClientError {
    let trust = Trust::new(None).expect("the system's roots");
    let target = target(script.address().port());
    let connected = Client::connect(&target, &trust, "me", Patience::default()).await;
    connected.err().expect("no connection")
}

#[tokio::test]
async fn a_server_that_offers_no_starttls_gets_no_sign_in() {
    let dialogue = vec![
        Step::send("220 mx\r\n"),
        Step::line("EHLO"),
        Step::send("250-mx\r\n250 AUTH PLAIN\r\n"),
        Step::Stall,
    ];
    let script = Script::start(vec![dialogue]).await.expect("a port");
    let error = connect_to(&script).await;
    assert!(matches!(error, ClientError::NoStartTls), "{error}");
    let said = script.finished().await.expect("the dialogue");
    assert_eq!(said.len(), 1, "{said:?}");
}

#[tokio::test]
async fn what_is_sent_behind_the_go_ahead_is_an_attack_and_not_an_answer() {
    let dialogue = vec![
        Step::send("220 mx\r\n"),
        Step::line("EHLO"),
        Step::send("250-mx\r\n250 STARTTLS\r\n"),
        Step::line("STARTTLS"),
        Step::send("220 go\r\n250-evil.example\r\n250 AUTH LOGIN\r\n"),
        Step::Stall,
    ];
    let script = Script::start(vec![dialogue]).await.expect("a port");
    let error = connect_to(&script).await;
    assert!(
        matches!(error, ClientError::Injected { count: 34 }),
        "{error}"
    );
    let said = script.finished().await.expect("the dialogue");
    assert_eq!(said.len(), 2, "{said:?}");
}

#[tokio::test]
async fn a_refused_starttls_is_shown_in_the_servers_words() {
    let dialogue = vec![
        Step::send("220 mx\r\n"),
        Step::line("EHLO"),
        Step::send("250-mx\r\n250 STARTTLS\r\n"),
        Step::line("STARTTLS"),
        Step::send("454 4.7.0 TLS not available due to local problem\r\n"),
        Step::Stall,
    ];
    let script = Script::start(vec![dialogue]).await.expect("a port");
    let error = connect_to(&script).await;
    assert_eq!(
        error.to_string(),
        "the server answered STARTTLS with: 454 4.7.0 TLS not available due to local problem"
    );
}

/// A CA file and a server certificate for `localhost`.
fn certificates(folder: &std::path::Path) -> (std::path::PathBuf, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let file = folder.join("ca.pem");
    std::fs::write(&file, issuer.pem()).expect("a disk");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![certificate.der().clone()], key)
    .expect("a configuration");
    (file, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn after_tls_only_what_is_offered_there_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, acceptor) = certificates(folder.path());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let target = target(listener.local_addr().expect("an address").port());
    let server = async {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut plain = Lines::new(stream, Duration::from_secs(20));
        plain.send(b"220 mx\r\n").await.expect("a client");
        plain.line(512).await.expect("EHLO");
        plain
            .send(b"250-mx\r\n250-STARTTLS\r\n250-SIZE 1\r\n250 AUTH PLAIN\r\n")
            .await
            .expect("a client");
        assert_eq!(plain.line(512).await.expect("STARTTLS").bytes, b"STARTTLS");
        plain.send(b"220 go\r\n").await.expect("a client");
        let stream = acceptor
            .accept(plain.into_stream().expect("nothing early"))
            .await
            .expect("TLS");
        let mut secured = Lines::new(stream, Duration::from_secs(20));
        assert_eq!(
            secured.line(512).await.expect("EHLO again").bytes,
            b"EHLO me"
        );
        secured
            .send(b"250-mx\r\n250-8BITMIME\r\n250 AUTH XOAUTH2\r\n")
            .await
            .expect("a client");
    };
    let client = async {
        let trust = Trust::new(Some(&ca)).expect("a CA");
        Client::connect(&target, &trust, "me", Patience::default())
            .await
            .expect("a connection")
    };
    let (client, ()) = tokio::join!(client, server);
    let expected = Capabilities {
        eight_bit_mime: true,
        auth: vec!["XOAUTH2".to_owned()],
        ..Capabilities::default()
    };
    assert_eq!(client.offered, expected);
}
