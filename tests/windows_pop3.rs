//! `kill -9` inside the windows of a POP3 session, where a deletion counts only when QUIT is answered.

use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::{eventually, sha256};
use crate::real_imap::{filing_command, hashes_of};
use crate::windows::{
    MESSAGE, NEVER, deadly_command, names, setup_by, unacknowledged, wait_until_dead,
};
use sandbox::{Fault, Service, Uidl};
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

fn setup(rig: &Rig, command: &[&Path]) -> Setup {
    setup_by("pop3", rig.provider.pop3().port(), rig, command, "delete")
}

fn left(rig: &Rig) -> usize {
    rig.provider.folder("desk", "INBOX").len()
}

/// A second life: everything is acknowledged, and the command got each message once.
fn and_then_once(rig: &Rig, setup: &Setup, filed: &Path, messages: usize) {
    // The server notices that the client is gone, and gives the maildrop free.
    rig.provider.clear_faults();
    rig.provider.drop_connections(Service::Pop3);
    let daemon = setup.start();
    eventually("everything is acknowledged", SOON, || {
        left(rig) == 0 && unacknowledged(setup) == 0
    });
    assert!(daemon.stop().success());
    assert_eq!(
        names(filed).len(),
        messages,
        "something was delivered again"
    );
}

#[test]
fn killed_before_the_server_has_deleted_only_the_deletion_is_repeated() {
    for uidl in [Uidl::Unique, Uidl::Digest, Uidl::Missing] {
        let rig = Rig::new(Duration::from_secs(3600));
        rig.provider.set_features(|f| f.pop3.uidl = uidl);
        let (script, filed) = filing_command(rig.path());
        let setup = setup(&rig, &[&script, &filed]);
        let withheld = Fault::Delay(NEVER);
        rig.provider.fault(Service::Pop3, "QUIT", 1, withheld);
        for _ in 0..3 {
            rig.provider.put_mail("desk", MESSAGE.to_vec());
        }
        let daemon = setup.start();
        eventually(
            "all are delivered, and the session is about to end",
            SOON,
            || names(&filed).len() == 3 && unacknowledged(&setup) == 3,
        );
        daemon.kill9();
        assert_eq!(left(&rig), 3, "nothing was deleted yet");
        and_then_once(&rig, &setup, &filed, 3);
    }
}

#[test]
fn killed_while_the_server_has_deleted_and_not_answered_nothing_comes_again() {
    for uidl in [Uidl::Unique, Uidl::Missing] {
        let rig = Rig::new(Duration::from_secs(3600));
        rig.provider.set_features(|f| f.pop3.uidl = uidl);
        let (script, filed) = filing_command(rig.path());
        let setup = setup(&rig, &[&script, &filed]);
        let withheld = Fault::Withhold(NEVER);
        rig.provider.fault(Service::Pop3, "QUIT", 1, withheld);
        rig.provider.put_mail("desk", MESSAGE.to_vec());
        let daemon = setup.start();
        eventually("the mailbox is empty", SOON, || {
            names(&filed).len() == 1 && left(&rig) == 0
        });
        daemon.kill9();
        and_then_once(&rig, &setup, &filed, 1);
    }
}

#[test]
fn killed_between_the_commands_success_and_the_commit_a_message_comes_twice_with_one_delivery_id() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (script, filed) = deadly_command(rig.path());
    let setup = setup(&rig, &[&script, &filed]);
    rig.provider.put_mail("desk", MESSAGE.to_vec());
    wait_until_dead(setup.start());
    assert_eq!(
        left(&rig),
        1,
        "the mailbox was touched before the delivery was on disk"
    );
    and_then_once(&rig, &setup, &filed, 2);
    assert_eq!(
        hashes_of(&filed).into_iter().collect::<Vec<_>>(),
        [(sha256(MESSAGE), 2)]
    );
    let ids: Vec<String> = names(&filed)
        .iter()
        .map(|name| name.rsplit_once('.').unwrap().0.to_owned())
        .collect();
    assert_eq!(ids[0], ids[1], "the second delivery has another id");
}
