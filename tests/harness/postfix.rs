//! A private Postfix as the provider's submission server: STARTTLS and TLS, sign-in by Dovecot, mail kept in a Maildir.

use super::dovecot::Dovecot;
use super::rig::{Rig, open_to_all};
use super::{eventually, free_port, port_open};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The user and group that own what arrives.
const SINK_UID: u32 = 5000;

/// A running Postfix; stopped when dropped.
pub(crate) struct Postfix {
    pub(crate) submission: u16,
    pub(crate) submissions: u16,
    dir: PathBuf,
    sink: PathBuf,
}

impl Postfix {
    /// Starts it inside the rig's folder, asking `dovecot` about sign-ins. Chunks are taken on the submission port alone.
    pub(crate) fn start(rig: &Rig, dovecot: &Dovecot) -> Self {
        Self::start_with(rig, dovecot, "")
    }

    /// The same, with more lines of `main.cf`.
    pub(crate) fn start_with(rig: &Rig, dovecot: &Dovecot, more: &str) -> Self {
        assert!(
            Path::new("/usr/sbin/postfix").exists(),
            "Postfix is missing: install postfix (tests/run does)"
        );
        let dir = rig.path().join("p");
        let sink = rig.path().join("sink");
        for path in [
            &dir,
            &dir.join("etc"),
            &dir.join("queue"),
            &dir.join("data"),
            &sink,
        ] {
            std::fs::create_dir_all(path).unwrap();
            open_to_all(path);
        }
        let status = Command::new("chown")
            .arg("postfix:")
            .arg(dir.join("data"))
            .status()
            .unwrap();
        assert!(status.success(), "chown to the postfix user: {status}");
        chown(&sink, Some(SINK_UID), Some(SINK_UID)).unwrap();
        let postfix = Self {
            submission: free_port(),
            submissions: free_port(),
            dir,
            sink,
        };
        let main_cf = postfix.main_cf(rig, dovecot) + more;
        std::fs::write(postfix.etc().join("main.cf"), main_cf).unwrap();
        std::fs::write(postfix.etc().join("master.cf"), postfix.master_cf()).unwrap();
        let output = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(postfix.etc())
            .arg("start")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "Postfix did not start: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        eventually("Postfix listens", Duration::from_secs(20), || {
            port_open(postfix.submission) && port_open(postfix.submissions)
        });
        postfix
    }

    fn etc(&self) -> PathBuf {
        self.dir.join("etc")
    }

    /// Every message that arrived: the recipient's local part, as Postfix noted it on top, and the bytes as stored with LF line ends.
    pub(crate) fn arrived(&self) -> Vec<(String, Vec<u8>)> {
        let folders = ["new", "cur"].map(|sub| self.sink.join("all").join(sub));
        let files = folders
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .flatten();
        files
            .map(|file| std::fs::read(file.path()).unwrap())
            .map(|bytes| (recipient_of(&bytes), bytes))
            .collect()
    }

    /// Messages Postfix still holds in its own queue.
    pub(crate) fn queued(&self) -> usize {
        ["incoming", "active", "deferred", "maildrop"]
            .iter()
            .map(|name| files_below(&self.dir.join("queue").join(name)))
            .sum()
    }

    fn main_cf(&self, rig: &Rig, dovecot: &Dovecot) -> String {
        let (dir, top, sink) = (
            self.dir.display(),
            rig.path().display(),
            self.sink.display(),
        );
        let auth = dovecot.auth_socket();
        let auth = auth.display();
        format!(
            "compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = {top}/postfix.log
maillog_file_prefixes = {top}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = provider.example
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
biff = no
local_header_rewrite_clients =
message_size_limit = 104857600
mailbox_size_limit = 0
virtual_mailbox_limit = 0
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtpd_timeout = 3s
smtpd_tls_cert_file = {top}/server.pem
smtpd_tls_key_file = {top}/server.key
smtpd_tls_security_level = may
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth}
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
  check_recipient_access inline:{{ {{reject@x.test=550 5.1.1 no such user}}, {{defer@x.test=451 4.3.0 try again later}} }}
  permit_sasl_authenticated, reject
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {sink}
virtual_uid_maps = static:{SINK_UID}
virtual_gid_maps = static:{SINK_UID}
virtual_minimum_uid = 1
virtual_transport = virtual
"
        )
    }

    fn master_cf(&self) -> String {
        let (submission, submissions) = (self.submission, self.submissions);
        format!(
            "127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_auth_only=yes
127.0.0.1:{submissions} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_discard_ehlo_keywords=chunking
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"
        )
    }
}

/// The local part in the `X-Original-To` field that Postfix's virtual delivery adds.
fn recipient_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("X-Original-To: "))
        .expect("Postfix notes the recipient");
    line.split('@').next().unwrap_or_default().to_owned()
}

fn files_below(path: &Path) -> usize {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                files_below(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let stopped = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(self.etc())
            .arg("stop")
            .output();
        if !stopped.is_ok_and(|output| output.status.success()) {
            eprintln!("Postfix in {} did not stop", self.dir.display());
        }
    }
}
