//! A reply that nobody takes: its report reaches the ticket command once, and what answers it by itself starts no loop.

use crate::harness::eventually;
use crate::harness::postern::{BINARY, Setup};
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use sandbox::{Fault, Service};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// A ticket system of the worst kind: it files what it is given, and answers everything without saying that a machine does.
fn answering_command(setup: &Path, dir: &Path) -> (PathBuf, PathBuf) {
    let filed = dir.join("filed");
    std::fs::create_dir_all(&filed).unwrap();
    let script = dir.join("answer");
    let text = format!(
        "#!/bin/sh\ncat > \"$1/$POSTERN_DELIVERY_ID\"\nto=$(sed -n 's/^From: .*<\\(.*\\)>.*/\\1/p' \"$1/$POSTERN_DELIVERY_ID\" | head -n 1)\n\
         printf 'Subject: we have got it\\nTo: %s\\n\\nthanks\\n' \"$to\" | POSTERN_CONFIG='{}' '{BINARY}' sendmail -f desk@help.example \"$to\" >> \"$1/.answers\" 2>&1\necho $? >> \"$1/.answers\"\nexit 0\n",
        setup.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (script, filed)
}

fn filed(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let whole = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    whole
        .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
        .collect()
}

#[test]
fn a_report_reaches_the_ticket_command_once_and_an_answer_to_it_starts_no_loop() {
    let rig = Rig::new(Duration::from_secs(600));
    let (script, dir) = answering_command(&rig.path().join("postern.yaml"), rig.path());
    let (imap, smtp) = (rig.provider.imap().port(), rig.provider.smtp().port());
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n  - {{name: desk, host: 127.0.0.1, port: {imap}, tls: none, user: desk, auth: {{token: desk}}, deliver: {{command: ['{}', '{}']}}}}\n\
         relays:\n  - {{name: desk, host: 127.0.0.1, port: {smtp}, tls: none, user: desk, auth: {{token: desk}}, senders: ['@help.example'], bounces_to: {{mailbox: desk}}}}\n",
        rig.token_config_yaml("desk"),
        script.display(),
        dir.display()
    );
    let setup = Setup::new(&rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    let refusal = "550 5.1.1 nobody of that name".to_owned();
    rig.provider.fault(
        Service::Smtp,
        "RCPT TO:<gone@y.test>",
        1,
        Fault::Reply(refusal),
    );
    let daemon = setup.start();
    let sent = Submitter::connect(setup.submission).unwrap().send(
        "desk@help.example",
        &["gone@y.test"],
        b"Subject: [Ticket#42] answer\r\nFrom: desk@help.example\r\n\r\nhello\r\n",
    );
    assert_eq!(sent, Sent::Accepted);
    let answers = dir.join(".answers");
    eventually("the report is filed and answered", SOON, || {
        filed(&dir).len() == 1
            && std::fs::read_to_string(&answers).is_ok_and(|a| a.ends_with("67\n"))
    });
    let report = filed(&dir).remove(0);
    assert!(
        report.contains("Subject: Undeliverable: [Ticket#42] answer"),
        "{report}"
    );
    assert!(report.contains("550 5.1.1 nobody of that name"), "{report}");
    eventually("nothing is in flight any more", SOON, || {
        setup.ok(&["queue", "list", "--json"], "").trim() == "[]"
    });
    assert_eq!(filed(&dir).len(), 1);

    // The same report once more, through the mailbox: it is known, shown, and not filed again.
    rig.provider.put_mail("desk", report.into_bytes());
    rig.provider
        .put_mail("desk", b"From: A <a@y.test>\r\n\r\nfresh\r\n".to_vec());
    eventually("the fresh one is filed and acknowledged", SOON, || {
        filed(&dir).len() == 2 && rig.provider.folder("desk", "INBOX").len() == 1
    });
    let queue = setup.ok(&["queue", "list", "--json"], "");
    assert!(queue.contains("came back: a loop"), "{queue}");
    assert!(daemon.stop().success());
    assert_eq!(filed(&dir).len(), 2);
}
