//! Certificates from files, good and bad, and new ones while the server runs.
use super::*;
use crate::dial::{Target, Tls, Trust, connect};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs::Permissions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(20);

/// A folder with a CA, and a chain with its key.
struct Files {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer,
        };
        std::fs::write(files.path("ca.pem"), files.issuer.pem()).unwrap();
        files.issue("localhost");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a new key, and a chain that begins with a new certificate.
    fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = format!("{name}\n{}{}", certificate.pem(), self.issuer.pem());
        std::fs::write(self.path("chain.pem"), chain).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        self.mode(0o600);
    }

    fn mode(&self, mode: u32) {
        std::fs::set_permissions(self.path("key.pem"), Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self) -> Result<Certificate, CertificateError> {
        Certificate::load(&self.path("chain.pem"), &self.path("key.pem"))
    }

    /// The words of the error for a file with this content, without the folder.
    fn error(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.words()
    }

    fn words(&self) -> String {
        let folder = format!("{}/", self.folder.path().display());
        self.load().unwrap_err().to_string().replace(&folder, "")
    }
}

/// Whether a client that trusts the CA and asks for `name` gets through, and a word both ways.
async fn greet(files: &Files, certificate: &Certificate, name: &str) -> Result<(), String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = Target {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        tls: Tls::None,
    };
    let trust = Trust::new(Some(&files.path("ca.pem"))).unwrap();
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = certificate.accept(tcp, LIMIT).await.ok()?;
        let mut word = [0; 2];
        tls.read_exact(&mut word).await.ok()?;
        tls.write_all(&word).await.ok()
    };
    let client = async {
        let plain = connect(&target, &trust, LIMIT).await.unwrap();
        let tls = plain.start_tls(name, &trust, LIMIT).await;
        let mut tls = tls.map_err(|error| error.to_string())?;
        tls.write_all(b"hi").await.unwrap();
        let mut word = [0; 2];
        tls.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"hi");
        Ok(())
    };
    tokio::join!(server, client).1
}

#[tokio::test]
async fn a_chain_is_shown_and_a_renewed_one_from_the_next_handshake_on() {
    let files = Files::new();
    let certificate = files.load().unwrap();
    assert_eq!(certificate.refresh(), None);
    greet(&files, &certificate, "localhost").await.unwrap();
    files.issue("renewed.example");
    assert_eq!(certificate.refresh(), Some(Ok(())));
    assert_eq!(certificate.refresh(), None);
    greet(&files, &certificate, "renewed.example")
        .await
        .unwrap();
    let refused = greet(&files, &certificate, "localhost").await.unwrap_err();
    assert!(refused.contains("is for renewed.example"), "{refused}");
}

#[tokio::test]
async fn half_a_renewal_keeps_the_certificate_of_before_and_is_told_once() {
    let files = Files::new();
    let certificate = files.load().unwrap();
    let old = std::fs::read(files.path("key.pem")).unwrap();
    files.issue("renewed.example");
    let new = std::fs::read(files.path("key.pem")).unwrap();
    std::fs::write(files.path("key.pem"), old).unwrap();
    let told = certificate.refresh().unwrap().unwrap_err().to_string();
    assert!(
        told.contains("not the key of the first certificate"),
        "{told}"
    );
    assert_eq!(certificate.refresh(), None);
    greet(&files, &certificate, "localhost").await.unwrap();
    std::fs::remove_file(files.path("key.pem")).unwrap();
    assert!(certificate.refresh().unwrap().is_err());
    std::fs::write(files.path("key.pem"), new).unwrap();
    files.mode(0o640);
    assert_eq!(certificate.refresh(), Some(Ok(())));
    greet(&files, &certificate, "renewed.example")
        .await
        .unwrap();
}

#[test]
fn files_of_no_use_are_told_with_file_and_line() {
    let files = Files::new();
    let chain = std::fs::read_to_string(files.path("chain.pem")).unwrap();
    let key = std::fs::read_to_string(files.path("key.pem")).unwrap();
    let second = chain
        .lines()
        .enumerate()
        .filter(|(_, l)| l.contains("BEGIN"))
        .nth(1)
        .unwrap()
        .0;
    let begin = "-----BEGIN CERTIFICATE-----\n";
    for (content, words) in [
        ("just text", "chain.pem: there is no certificate in it; expected PEM, with a line -----BEGIN CERTIFICATE-----".to_owned()),
        (&format!("\n{begin}AAAA\n"), "chain.pem, line 2: what begins here has no line -----END".to_owned()),
        (
            &format!("{begin}AAAA\n-----END CERTIFICATE-----\n"),
            "chain.pem, line 1: certificate 1, which begins here, cannot be used: ".to_owned(),
        ),
        (
            &chain.lines().enumerate().map(|(n, l)| if n == second + 2 { "!!!\n".to_owned() } else { format!("{l}\n") }).collect::<String>(),
            format!("chain.pem, line {}: certificate 2, which begins here, cannot be used: ", second + 1),
        ),
    ] {
        let told = files.error("chain.pem", content);
        assert!(told.starts_with(&words), "{told}\n{words}");
    }
    std::fs::write(files.path("chain.pem"), &chain).unwrap();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (content, words) in [
        (
            chain.as_str(),
            "key.pem: there is no private key in it".to_owned(),
        ),
        (
            encrypted,
            "key.pem, line 1: the key is encrypted".to_owned(),
        ),
        (
            "-----BEGIN PRIVATE KEY-----\n####\n-----END PRIVATE KEY-----\n",
            "key.pem, line 1: the key that begins here cannot be read".to_owned(),
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "key.pem: the key cannot be used".to_owned(),
        ),
        (
            &KeyPair::generate().unwrap().serialize_pem(),
            "key.pem: this is not the key of the first certificate in chain.pem".to_owned(),
        ),
    ] {
        let told = files.error("key.pem", content);
        assert!(told.starts_with(&words), "{told}\n{words}");
    }
    std::fs::write(files.path("key.pem"), &key).unwrap();
    assert!(files.load().is_ok());
    std::fs::remove_file(files.path("key.pem")).unwrap();
    assert!(
        files
            .words()
            .starts_with("key.pem: it cannot be read: No such file")
    );
}

#[test]
fn a_key_that_others_may_read_or_change_is_refused() {
    let files = Files::new();
    for mode in [0o400, 0o600, 0o640, 0o440] {
        files.mode(mode);
        assert!(files.load().is_ok(), "{mode:o}");
    }
    for mode in [0o644, 0o660, 0o604, 0o602, 0o601] {
        files.mode(mode);
        let told = files.words();
        let words =
            format!("key.pem: others may read or change this private key (its mode is {mode:04o})");
        assert!(told.starts_with(&words), "{told}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_runs_into_the_deadline() {
    let certificate = Files::new().load().unwrap();
    let (_silent, stream) = tokio::io::duplex(1024);
    let refused = certificate.accept(stream, Duration::from_millis(20)).await;
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
