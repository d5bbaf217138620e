//! A short-named temporary folder with a CA made on the spot, a token endpoint, and a runtime that drives it.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use sandbox::{Knobs, Provider};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The surroundings of one test; everything in it ends with it.
pub(crate) struct Rig {
    pub(crate) provider: Provider,
    shutdown: CancellationToken,
    runtime: Option<tokio::runtime::Runtime>,
    dir: tempfile::TempDir,
}

impl Rig {
    /// Makes folder, certificates and token endpoint. `token_life` is how long an access token is good for.
    pub(crate) fn new(token_life: Duration) -> Self {
        // Unix socket paths end at 108 bytes, so the folder's name is short; servers run as other users and must be able to enter it.
        let dir = tempfile::Builder::new()
            .prefix("pst")
            .tempdir_in("/tmp")
            .unwrap();
        open_to_all(dir.path());
        make_certificates(dir.path());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shutdown = CancellationToken::new();
        let knobs = Knobs {
            token_life,
            ..Knobs::default()
        };
        let provider = runtime
            .block_on(Provider::start(knobs, shutdown.clone()))
            .unwrap();
        Self {
            provider,
            shutdown,
            runtime: Some(runtime),
            dir,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// A token config of the `generic` template at this rig's token endpoint, as YAML for `postern.yaml`.
    pub(crate) fn token_config_yaml(&self, name: &str) -> String {
        let (id, secret) = self.provider.client();
        let oauth = self.provider.oauth();
        format!(
            "  - name: {name}\n    template: generic\n    client_id: {id}\n    client_secret: {secret}\n    scope: mail\n    \
             endpoints: {{authorize: 'http://{oauth}/authorize', token: 'http://{oauth}/token'}}\n"
        )
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
        if std::thread::panicking() {
            eprintln!("logs of the failed test:");
            for log in ["postern.log", "dovecot.log", "postfix.log"] {
                let text = std::fs::read_to_string(self.path().join(log)).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(25).collect();
                eprintln!("--- {log}");
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// Lets every user enter a folder.
pub(crate) fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn make_certificates(dir: &Path) {
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.distinguished_name
        .push(DnType::CommonName, "Postern test CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let server_key = KeyPair::generate().unwrap();
    let server =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &ca).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(dir.join("server.pem"), server.pem()).unwrap();
    std::fs::write(dir.join("server.key"), server_key.serialize_pem()).unwrap();
}
