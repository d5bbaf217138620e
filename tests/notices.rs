//! Notices of the real binary: what is wrong is told once on the page, by the command, the webhook and a mail, and once more when it
//! is mended; neither a restart nor a kill makes more than one repetition of it.

use crate::admin_page::{Browser, PASSWORD};
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::{eventually, free_port};
use crate::real_imap::filing_command;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A look every five seconds, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const RELAY_USER: &str = "out@sandbox.test";

/// Everything that a webhook was sent: signature headers and bodies.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Vec<String>>>);

impl Hook {
    /// Listens until the test's process ends; the first `failures` requests are answered 500.
    fn start(failures: usize) -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let hook = Self::default();
        let seen = hook.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (mut stream, mut request) = (stream, Vec::new());
                let mut chunk = [0; 4096];
                while !request.ends_with(b"}") {
                    match stream.read(&mut chunk) {
                        Ok(read) if read > 0 => request.extend_from_slice(&chunk[..read]),
                        _ => break,
                    }
                }
                let status = if number < failures {
                    "500 No"
                } else {
                    "200 OK"
                };
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _gone = stream.write_all(answer.as_bytes());
                if number >= failures {
                    seen.0
                        .lock()
                        .unwrap()
                        .push(String::from_utf8(request).unwrap());
                }
            }
        });
        (hook, port)
    }

    /// `kind about state` of each, in the order they came.
    fn lines(&self) -> Vec<String> {
        let line = |request: &String| {
            let body = request.split_once("\r\n\r\n").unwrap().1;
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            let word = |key: &str| json[key].as_str().unwrap().to_owned();
            format!("{} {} {}", word("kind"), word("about"), word("state"))
        };
        self.0.lock().unwrap().iter().map(line).collect()
    }
}

/// A command that writes a line for each notice and then does what `more` says.
fn telling_command(dir: &Path, more: &str) -> (PathBuf, PathBuf) {
    let (script, told) = (dir.join("tell"), dir.join("told"));
    let text = format!(
        "#!/bin/sh\necho \"$POSTERN_NOTICE_KIND $POSTERN_NOTICE_ABOUT $POSTERN_NOTICE_STATE\" >> {}\n{more}\n",
        told.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (script, told)
}

fn lines_of(told: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(told).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn user(name: &str) -> String {
    format!("{name}@sandbox.test")
}

/// Mailboxes with a token each, and a relay with a password that goes on working.
fn accounts(rig: &Rig, names: &[&str]) -> String {
    let (script, filed) = filing_command(rig.path());
    let mut text = "token_configs:\n".to_owned();
    for name in names {
        text.push_str(&rig.token_config_yaml(name));
    }
    text.push_str("mailboxes:\n");
    for name in names {
        text.push_str(&format!(
            "  - name: {name}\n    host: 127.0.0.1\n    port: {}\n    tls: none\n    user: {}\n    auth: {{token: {name}}}\n    \
             deliver: {{command: ['{}', '{}']}}\n    after: delete\n",
            rig.provider.imap().port(),
            user(name),
            script.display(),
            filed.display()
        ));
    }
    rig.provider.set_password(RELAY_USER, "relay-password");
    text.push_str(&format!(
        "relays:\n  - name: out\n    host: 127.0.0.1\n    port: {}\n    tls: none\n    user: {RELAY_USER}\n    \
         auth: {{password: relay-password}}\n    senders: [{RELAY_USER}]\n",
        rig.provider.smtp().port()
    ));
    text
}

/// Seeds tokens, so that the daemon finds everything well.
fn seed(rig: &Rig, setup: &Setup, name: &str) {
    let refresh_token = rig.provider.consent(&user(name));
    setup.ok(&["token", "seed", name], &refresh_token);
}

/// The provider takes a consent back, and the mail server refuses what was handed out under it.
fn revoke(rig: &Rig, setup: &Setup, name: &str) {
    rig.provider.revoke(&user(name));
    let refused = setup.run(&["token", "refresh", name], "");
    assert!(!refused.status.success(), "the consent is gone");
}

fn subjects(rig: &Rig) -> Vec<String> {
    let subject = |mail: &sandbox::Submitted| {
        let text = String::from_utf8_lossy(&mail.bytes).into_owned();
        let line = text.lines().find(|line| line.starts_with("Subject: "));
        line.unwrap_or_default()
            .trim_start_matches("Subject: ")
            .to_owned()
    };
    rig.provider.submitted().iter().map(subject).collect()
}

/// How often a line is there.
fn count(lines: &[String], wanted: &str) -> usize {
    lines.iter().filter(|line| *line == wanted).count()
}

/// The page, `postern status` and `postern notices` show it, with a link to where it can be mended.
fn shown_everywhere(setup: &Setup, browser: &mut Browser) {
    let page = browser.get("/mailboxes").body;
    let link = "<a href=\"/tokens?about=one#token-one\">Token one</a>: a person must sign in again: invalid_grant";
    assert!(page.contains(link), "{page}");
    let status = setup.ok(&["status", "--json"], "");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["notices"][0]["kind"], "consent_needed");
    assert_eq!(status["notices"][0]["about"], "token one");
    let listed = setup.ok(&["notices"], "");
    assert!(listed.contains("token one (since "), "{listed}");
    assert!(
        listed.contains("what to do: request a new token"),
        "{listed}"
    );
}

/// The mail says that no person wrote it, and whose it is; the post is signed.
fn marked_as_ours(rig: &Rig, hook: &Hook) {
    let mail = rig.provider.submitted().remove(0);
    let text = String::from_utf8(mail.bytes).unwrap();
    assert_eq!(mail.sender, RELAY_USER);
    assert_eq!(mail.recipients, ["root@example.com"]);
    for line in ["Auto-Submitted: auto-generated\r\n", "X-Postern-Origin: "] {
        assert!(text.contains(line), "{text}");
    }
    let post = hook.0.lock().unwrap()[0].to_lowercase();
    assert!(post.contains("x-postern-signature: sha256="), "{post}");
}

#[test]
fn a_consent_that_is_gone_is_told_once_everywhere_and_once_more_when_it_is_back() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, told) = telling_command(rig.path(), "");
    // The webhook fails at first, which repeats nothing on the other channels.
    let (hook, hook_port) = Hook::start(1);
    let page_port = free_port();
    let mut setup = Setup::new(&rig, "");
    setup.web =
        format!("{{listen: '127.0.0.1:{page_port}', public_url: 'http://localhost:{page_port}'}}");
    setup.write(&format!(
        "notices:\n  command: ['{}']\n  webhook: {{url: 'http://127.0.0.1:{hook_port}/hook', secret: hook-secret}}\n  \
         mail_to: root@example.com\n{}",
        script.display(),
        accounts(&rig, &["one", "two"])
    ));
    seed(&rig, &setup, "one");
    seed(&rig, &setup, "two");
    setup.ok(&["admin", "password"], PASSWORD);
    let daemon = setup.start();
    let mut browser = Browser::sign_in(page_port);
    assert!(!browser.get("/").body.contains("class=\"notices\""));
    assert_eq!(setup.ok(&["notices"], ""), "nothing needs you\n");

    revoke(&rig, &setup, "one");
    let raised = "consent_needed token one raised";
    let by_mail = "[Postern] token one: consent needed";
    eventually("it is told by every channel", SOON, || {
        let by_command = count(&lines_of(&told), raised) == 1;
        by_command && hook.lines() == [raised] && subjects(&rig) == [by_mail]
    });
    shown_everywhere(&setup, &mut browser);
    marked_as_ours(&rig, &hook);

    // A restart tells nothing again: what is new afterwards shows that it has looked and told.
    daemon.kill9();
    let daemon = setup.start();
    revoke(&rig, &setup, "two");
    let second = "consent_needed token two raised";
    eventually("the second one is told by every channel", SOON, || {
        let by_command = count(&lines_of(&told), second) == 1;
        by_command && count(&hook.lines(), second) == 1 && subjects(&rig).len() == 2
    });
    assert_eq!(count(&lines_of(&told), raised), 1);
    assert_eq!(count(&hook.lines(), raised), 1);
    assert_eq!(
        subjects(&rig),
        [by_mail, "[Postern] token two: consent needed"]
    );

    seed(&rig, &setup, "one");
    let mended = "consent_needed token one mended";
    eventually("that it is mended is told by every channel", SOON, || {
        let by_command = count(&lines_of(&told), mended) == 1;
        by_command && count(&hook.lines(), mended) == 1 && subjects(&rig).len() == 3
    });
    assert_eq!(
        subjects(&rig)[2],
        "[Postern] mended: token one: consent needed"
    );
    let page = Browser::sign_in(page_port).get("/").body;
    assert!(
        page.contains("Token two") && !page.contains("Token one"),
        "{page}"
    );
    let all = setup.ok(&["notices", "--all"], "");
    assert!(
        all.contains("token one (since ") && all.contains(", mended "),
        "{all}"
    );

    setup.ok(&["notices", "test"], "");
    assert_eq!(count(&lines_of(&told), "test postern raised"), 1);
    assert_eq!(count(&hook.lines(), "test postern raised"), 1);
    drop(daemon);
}

#[test]
fn a_kill_between_telling_and_recording_repeats_one_telling_and_no_mail() {
    let rig = Rig::new(Duration::from_secs(3600));
    let once = rig.path().join("killed");
    let kill = format!(
        "[ -e {0} ] || {{ touch {0}; kill -9 $PPID; }}",
        once.display()
    );
    let (script, told) = telling_command(rig.path(), &kill);
    let setup = Setup::new(&rig, "");
    setup.write(&format!(
        "notices:\n  command: ['{}']\n  mail_to: [root@example.com]\n{}",
        script.display(),
        accounts(&rig, &["one"])
    ));
    seed(&rig, &setup, "one");
    let daemon = setup.start();
    rig.provider.revoke(&user("one"));
    let _killed_meanwhile = setup.run(&["token", "refresh", "one"], "");
    eventually("the command has killed the daemon that told", SOON, || {
        once.exists()
    });
    drop(daemon);

    let _daemon = setup.start();
    let raised = "consent_needed token one raised";
    eventually("it is told again, and the mail went out", SOON, || {
        count(&lines_of(&told), raised) == 2 && !subjects(&rig).is_empty()
    });
    // The mail may be the one that the killed daemon wrote; only what is recorded as told is told as mended.
    eventually("the mail is recorded", SOON, || {
        setup.ok(&["notices"], "").contains("mail: told ")
    });
    seed(&rig, &setup, "one");
    eventually("that it is mended is told", SOON, || {
        count(&lines_of(&told), "consent_needed token one mended") == 1 && subjects(&rig).len() == 2
    });
    assert_eq!(lines_of(&told).len(), 3, "{:?}", lines_of(&told));
    assert_eq!(
        subjects(&rig),
        [
            "[Postern] token one: consent needed",
            "[Postern] mended: token one: consent needed"
        ]
    );
}

#[test]
fn held_mail_is_told_of_when_the_first_is_held() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, told) = telling_command(rig.path(), "");
    let setup = Setup::new(&rig, "");
    let refusing = rig.path().join("refuse");
    std::fs::write(&refusing, "#!/bin/sh\necho 'no such queue' >&2\nexit 65\n").unwrap();
    std::fs::set_permissions(&refusing, std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = accounts(&rig, &["one"]);
    let filing = rig.path().join("file-each");
    let text = text.replace(
        &filing.display().to_string(),
        &refusing.display().to_string(),
    );
    setup.write(&format!(
        "notices:\n  command: ['{}']\n{text}",
        script.display()
    ));
    seed(&rig, &setup, "one");
    let daemon = setup.start();
    rig.provider
        .put_mail(&user("one"), b"Subject: for nobody\r\n\r\nx\r\n".to_vec());
    let raised = "held_mail mailbox one raised";
    // Refused, and tried twice more without the pauses; once it is held it is left alone.
    eventually("the message is held", SOON, || {
        let list = setup.ok(&["queue", "list"], "");
        if !list.contains("held") {
            setup.ok(&["queue", "retry", "--all"], "");
        }
        list.contains("held")
    });
    eventually("the held message is told of", SOON, || {
        count(&lines_of(&told), raised) == 1
    });
    let listed = setup.ok(&["notices"], "");
    assert!(
        listed.contains("mailbox one (since ") && listed.contains("1 message is held"),
        "{listed}"
    );
    drop(daemon);
}
