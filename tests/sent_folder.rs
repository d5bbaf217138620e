//! A reply in doubt: what a real Sent folder shows is not sent again, what it does not show is.

use crate::harness::dovecot::Dovecot;
use crate::harness::eventually;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use crate::real_imap::mailbox_yaml;
use crate::real_relay::as_stored;
use sandbox::{Fault, Service};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// The pause before a second try is five minutes; for this test it is over.
fn end_the_pause(setup: &Setup) {
    let db = rusqlite::Connection::open(setup.state_dir().join("spool.db")).unwrap();
    let changed = db.execute(
        "UPDATE delivery SET due_at = 1 WHERE doubts = 1 AND state = 'due'",
        (),
    );
    assert_eq!(changed.unwrap(), 1);
}

#[test]
fn a_reply_in_doubt_is_not_sent_again_if_a_real_sent_folder_has_that_very_submission() {
    let rig = Rig::new(Duration::from_secs(3600));
    let dovecot = Dovecot::start(&rig);
    // A folder that the server shows, with other mail in it.
    dovecot.put_in(
        "desk",
        Some("Sent"),
        b"Subject: other\nMessage-ID: <other@help.example>\n\nx\n",
    );
    let more = "    auth: {token: desk}\n    tls: implicit\n    deliver: {command: [/bin/true]}\n    after: keep\n    start_from: now\n";
    let smtp = rig.provider.smtp().port();
    let accounts = format!(
        "token_configs:\n{}mailboxes:\n{}relays:\n  - {{name: desk, host: 127.0.0.1, port: {smtp}, tls: none, user: desk, auth: {{token: desk}}, senders: ['*']}}\n",
        rig.token_config_yaml("desk"),
        mailbox_yaml(&rig, "desk", dovecot.imaps, more),
    );
    let setup = Setup::new(&rig, &accounts);
    setup.ok(&["token", "seed", "desk"], &rig.provider.consent("desk"));
    let daemon = setup.start();
    let mut session = Submitter::connect(setup.submission).unwrap();
    // What the account keeps of the first try, as the server would: the very copy, one of another submission, nothing.
    for (case, tries) in [("the copy", 1), ("another submission", 2), ("nothing", 2)] {
        rig.provider.take_submitted();
        rig.provider.fault(Service::Smtp, ".", 1, Fault::Lose);
        let message = format!(
            "Subject: {case}\r\nMessage-ID: <doubt@help.example>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\nx\r\n"
        );
        assert_eq!(
            session.send("desk@help.example", &["who@y.test"], message.as_bytes()),
            Sent::Accepted
        );
        let queue = || setup.ok(&["queue", "list", "--json"], "");
        eventually("it is in doubt", SOON, || {
            queue().contains("the end of the message")
        });
        let first = rig.provider.submitted().remove(0).bytes;
        match case {
            "the copy" => dovecot.put_in("desk", Some("Sent"), &as_stored(&first)),
            // The first case's copy has the same Message-ID, and another trace line.
            _ => assert_eq!(dovecot.count("desk", Some("Sent")), 2),
        }
        end_the_pause(&setup);
        eventually("it is settled", SOON, || queue().trim() == "[]");
        assert_eq!(rig.provider.submitted().len(), tries, "{case}");
    }
    let log = std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    assert!(log.contains("is in the account's Sent folder"), "{log}");
    assert!(!log.contains("could not be looked up"), "{log}");
    assert!(daemon.stop().success());
}
