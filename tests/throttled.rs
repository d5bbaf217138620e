//! A server that wants to be left alone for a time it names: shown, sat out over kills and restarts, and lifted by a person alone.

use crate::harness::eventually;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use sandbox::{Fault, Service};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

fn words_of(setup: &Setup) -> String {
    let status = setup.ok(&["status", "--json"], "");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["mailboxes"][0]["words"].as_str().unwrap().to_owned()
}

#[test]
fn a_time_that_a_server_named_is_shown_and_sat_out_over_a_kill_and_a_reload() {
    let rig = Rig::new(Duration::from_secs(3600));
    let user = "desk";
    rig.provider.set_password(user, "pass");
    let account = |poll: &str| {
        format!(
            "mailboxes:\n  - name: {user}\n    protocol: imap\n    host: 127.0.0.1\n    port: {}\n    tls: none\n    user: {user}\n    \
             auth: {{password: pass}}\n    deliver: {{maildir: {}/tickets}}\n    poll: {poll}\n",
            rig.provider.imap().port(),
            rig.path().display()
        )
    };
    let setup = Setup::new(&rig, &account("5m"));
    rig.provider
        .put_mail(user, b"Subject: m\r\n\r\nbody\r\n".to_vec());
    let words = "BAD Request is throttled. Suggested Backoff Time: 600000 milliseconds";
    rig.provider
        .fault(Service::Imap, "SELECT", 1, Fault::Reply(words.into()));
    let is_shown = || {
        let words = words_of(&setup);
        words.contains("the server asks for a pause of 600 s")
            && words.contains("Request is throttled")
            && words.contains("next try 20")
    };
    let daemon = setup.start();
    eventually("it is shown", SOON, is_shown);
    daemon.kill9();

    let daemon = setup.start();
    eventually("it is shown after a kill", SOON, is_shown);
    setup.write(&account("6m"));
    daemon.signal(rustix::process::Signal::HUP);
    let fetched = || setup.run(&["mailbox", "fetch", user], "");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let answer = fetched();
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert_eq!(answer.status.code(), Some(75), "{said}");
        assert!(
            said.contains("when its server allows it") && said.contains("--now"),
            "{said}"
        );
    }
    eventually("it is shown after a reload", SOON, is_shown);
    assert_eq!(rig.provider.counts().imap_sign_ins, 1, "nobody knocked");

    setup.ok(&["mailbox", "fetch", user, "--now"], "");
    eventually("a person who insists gets it", SOON, || {
        rig.provider.folder(user, "INBOX").is_empty()
    });
    assert!(fetched().status.success(), "nothing is kept any more");
    assert!(daemon.stop().success());
}
