//! A private Dovecot: IMAP and POP3 over TLS and STARTTLS, tokens checked by introspection at the rig's token endpoint.

use super::rig::{Rig, open_to_all};
use super::{eventually, free_port, port_open};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The user and group that own the mail; Dovecot refuses root.
const MAIL_UID: u32 = 5000;

/// A running Dovecot; stopped when dropped.
pub(crate) struct Dovecot {
    pub(crate) imap: u16,
    pub(crate) imaps: u16,
    pub(crate) pop3: u16,
    pub(crate) pop3s: u16,
    dir: PathBuf,
    written: std::cell::Cell<u64>,
}

impl Dovecot {
    /// Starts it inside the rig's folder.
    pub(crate) fn start(rig: &Rig) -> Self {
        assert!(
            Path::new("/usr/sbin/dovecot").exists(),
            "Dovecot is missing: install dovecot-imapd, dovecot-lmtpd and dovecot-pop3d (tests/run does)"
        );
        let dir = rig.path().join("d");
        for folder in ["d", "d/base", "d/state", "mail"] {
            let path = rig.path().join(folder);
            std::fs::create_dir_all(&path).unwrap();
            open_to_all(&path);
        }
        chown(rig.path().join("mail"), Some(MAIL_UID), Some(MAIL_UID)).unwrap();
        let dovecot = Self {
            imap: free_port(),
            imaps: free_port(),
            pop3: free_port(),
            pop3s: free_port(),
            dir,
            written: std::cell::Cell::new(0),
        };
        dovecot.write_config(rig);
        let status = Command::new("/usr/sbin/dovecot")
            .arg("-c")
            .arg(dovecot.config())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "Dovecot did not start: {status}");
        eventually("Dovecot listens", Duration::from_secs(20), || {
            [dovecot.imap, dovecot.imaps, dovecot.pop3, dovecot.pop3s]
                .into_iter()
                .all(port_open)
        });
        dovecot
    }

    /// The socket at which Postfix asks for sign-ins.
    pub(crate) fn auth_socket(&self) -> PathBuf {
        self.dir.join("base/auth-client")
    }

    /// The socket at which it takes mail by LMTP, for any user.
    pub(crate) fn lmtp_socket(&self) -> PathBuf {
        self.dir.join("base/lmtp")
    }

    /// What a user's INBOX holds, in no order.
    pub(crate) fn messages(&self, user: &str) -> Vec<Vec<u8>> {
        let maildir = self.home(user).join("Maildir");
        ["cur", "new"]
            .iter()
            .filter_map(|sub| std::fs::read_dir(maildir.join(sub)).ok())
            .flatten()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }

    fn config(&self) -> PathBuf {
        self.dir.join("dovecot.conf")
    }

    fn home(&self, user: &str) -> PathBuf {
        self.dir.parent().unwrap().join("mail").join(user)
    }

    /// Puts a message into a user's INBOX the way a mail server does: written aside, then renamed into `new`.
    pub(crate) fn put(&self, user: &str, stored: &[u8]) {
        self.put_in(user, None, stored);
    }

    /// The same for a folder, by its name on disk (`None`: INBOX).
    pub(crate) fn put_in(&self, user: &str, folder: Option<&str>, stored: &[u8]) {
        let top = self.home(user).join("Maildir");
        let maildir = folder.map_or(top.clone(), |name| top.join(format!(".{name}")));
        if !maildir.exists() {
            for sub in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(maildir.join(sub)).unwrap();
                chown(maildir.join(sub), Some(MAIL_UID), Some(MAIL_UID)).unwrap();
            }
            for path in [self.home(user), top, maildir.clone()] {
                chown(path, Some(MAIL_UID), Some(MAIL_UID)).unwrap();
            }
        }
        let n = self.written.replace(self.written.get() + 1);
        let name = format!("{n:010}.M{n}P{}.localhost", std::process::id());
        let aside = maildir.join("tmp").join(&name);
        std::fs::write(&aside, stored).unwrap();
        chown(&aside, Some(MAIL_UID), Some(MAIL_UID)).unwrap();
        std::fs::rename(aside, maildir.join("new").join(name)).unwrap();
    }

    /// Loses the list of UIDs of a user's INBOX: the next session finds another UIDVALIDITY.
    pub(crate) fn forget_uids(&self, user: &str) {
        for entry in std::fs::read_dir(self.home(user).join("Maildir")).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with("dovecot-uid") || name.starts_with("dovecot.index") {
                std::fs::remove_file(path).unwrap();
            }
        }
        // UIDVALIDITY is the second in which the list was made.
        let second = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs()
        };
        let then = second();
        eventually("the next second", Duration::from_secs(2), || {
            second() > then
        });
    }

    /// How many messages a user's folder holds (`None`: INBOX).
    pub(crate) fn count(&self, user: &str, folder: Option<&str>) -> usize {
        let maildir = self.home(user).join("Maildir");
        let maildir = folder.map_or(maildir.clone(), |name| maildir.join(format!(".{name}")));
        ["cur", "new"]
            .iter()
            .filter_map(|sub| std::fs::read_dir(maildir.join(sub)).ok())
            .map(Iterator::count)
            .sum()
    }

    /// How tokens are checked: by asking the rig's token endpoint.
    fn write_introspection(&self, rig: &Rig) {
        let oauth = rig.provider.oauth();
        std::fs::write(
            self.dir.join("oauth2.conf.ext"),
            format!(
                "introspection_mode = post\nintrospection_url = http://{oauth}/introspect\nforce_introspection = yes\n\
                 username_attribute = username\nactive_attribute = active\nactive_value = true\ntimeout_msecs = 10000\n"
            ),
        )
        .unwrap();
    }

    fn pop3_service(&self) -> String {
        let (pop3, pop3s) = (self.pop3, self.pop3s);
        format!(
            "service pop3-login {{
  service_count = 0
  process_min_avail = 1
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
"
        )
    }

    fn write_config(&self, rig: &Rig) {
        let dir = self.dir.display();
        let top = rig.path().display();
        self.write_introspection(rig);
        let (imap, imaps) = (self.imap, self.imaps);
        let pop3 = self.pop3_service();
        let config = format!(
            r#"base_dir = {dir}/base
state_dir = {dir}/state
log_path = {top}/dovecot.log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{top}/server.pem
ssl_key = <{top}/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2 oauthbearer
auth_username_format = %Ln
auth_failure_delay = 0
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {dir}/oauth2.conf.ext
}}
passdb {{
  driver = static
  mechanisms = plain login
  args = password=pass
}}
userdb {{
  driver = static
  args = uid={MAIL_UID} gid={MAIL_UID} home={top}/mail/%n allow_all_users=yes
}}
first_valid_uid = 1
mail_location = maildir:~/Maildir
mail_fsync = never
mail_max_userip_connections = 2000
mailbox_idle_check_interval = 1 secs
service anvil {{
  # Failed sign-ins are not slowed down: every client here is 127.0.0.1.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener auth-client {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service imap-login {{
  service_count = 0
  process_min_avail = 1
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
{pop3}service stats {{
  client_limit = 1000
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    special_use = \Sent
  }}
}}
"#
        );
        std::fs::write(self.config(), config).unwrap();
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let stopped = Command::new("/usr/sbin/dovecot")
            .arg("-c")
            .arg(self.config())
            .arg("stop")
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("Dovecot in {} did not stop", self.dir.display());
        }
    }
}
