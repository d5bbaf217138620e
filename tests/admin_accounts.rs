//! Mailboxes and relays in a real browser: added with a password and with a token, changed, paused, deleted.

use crate::admin_page::PASSWORD;
use crate::harness::chromium::Chromium;
use crate::harness::postern::{Daemon, Setup};
use crate::harness::rig::Rig;
use crate::harness::{eventually, free_port};
use std::time::Duration;

const USER: &str = "desk@sandbox.test";
const SOON: Duration = Duration::from_secs(30);

/// A daemon with a token config and nothing else, and a browser in which an administrator is signed in.
pub(crate) fn desk(rig: &Rig, accounts: &str) -> (Daemon, Setup, Chromium, String) {
    let port = free_port();
    let mut setup = Setup::new(rig, "");
    setup.web = format!("{{listen: '127.0.0.1:{port}', public_url: 'http://localhost:{port}'}}");
    setup.write(&format!(
        "token_configs:\n{}{accounts}",
        rig.token_config_yaml("desk")
    ));
    setup.ok(&["admin", "password"], PASSWORD);
    let refresh_token = rig.provider.consent(USER);
    setup.ok(&["token", "seed", "desk"], &format!("{refresh_token}\n"));
    let daemon = setup.start();
    let mut browser = Chromium::start();
    let page = format!("http://localhost:{port}");
    browser.open(&page);
    browser.fill("name", "admin");
    browser.fill("password", PASSWORD);
    browser.press("Sign in");
    browser.shows("Overview");
    (daemon, setup, browser, page)
}

#[test]
fn a_mailbox_is_added_with_a_token_changed_paused_and_deleted() {
    let rig = Rig::new(Duration::from_secs(600));
    let (_daemon, setup, mut browser, page) = desk(&rig, "");
    browser.open(&format!("{page}/mailboxes"));
    browser.shows("There is no mailbox yet.");
    browser.press("Add a mailbox");
    assert!(
        !browser.sees("[name='auth.password']"),
        "OAuth2 is chosen, so no password is asked for"
    );
    browser.picture("mailbox-add");

    // Everything is judged on the server; what was typed stays, and each mistake is at its field.
    browser.fill("name", "support");
    browser.fill("port", "imap");
    browser.choose("after", "move");
    browser.press("Save");
    browser.shows("Nothing was saved yet.");
    let said = browser.text();
    for words in [
        "User: is missing; expected the user name to sign in with",
        "Token config: found an empty text; expected the name of a token config",
        "Command: is missing",
        "Port: found \"imap\"; expected a number from 1 to 65535",
        "To the folder",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert_eq!(
        browser.eval("document.querySelector('[name=port]').value"),
        "imap"
    );
    browser.picture("mailbox-mistakes");

    let maildir = rig.path().join("mail");
    browser.fill("user", USER);
    browser.fill("auth.token", "desk");
    browser.fill("host", "127.0.0.1");
    browser.fill("port", &rig.provider.imap().port().to_string());
    browser.fill("tls", "none");
    browser.choose("deliver", "maildir");
    browser.fill("deliver.maildir", maildir.to_str().unwrap());
    browser.choose("after", "delete");
    rig.provider
        .put_mail(USER, b"Subject: one\r\n\r\nbody\r\n".to_vec());
    browser.press("Save");
    browser.shows("The mailbox support was added.");
    let arrived = |n| std::fs::read_dir(maildir.join("new")).is_ok_and(|found| found.count() == n);
    eventually("it is fetched at once", SOON, || arrived(1));
    browser.picture("mailbox");

    browser.press("Pause support");
    browser.shows("The mailbox support is paused.");
    rig.provider
        .put_mail(USER, b"Subject: two\r\n\r\nbody\r\n".to_vec());
    browser.press("Let support go on");
    browser.shows("The mailbox support goes on.");
    eventually("it goes on", SOON, || arrived(2));

    // Two editors: the second is told.
    browser.press("Edit");
    browser.shows("Edit support");
    browser.fill("folders", "INBOX\nArchive");
    setup.ok(&["mailbox", "edit", "support", "--after", "keep"], "");
    browser.press("Save");
    browser.shows("was changed by somebody else meanwhile");
    browser.open(&format!("{page}/mailboxes/edit?name=support"));
    browser.choose("after", "seen");
    browser.press("Save");
    browser.shows("The mailbox support was changed.");
    assert!(
        setup
            .ok(&["mailbox", "show", "support"], "")
            .contains("after: seen")
    );
    browser.open(&format!("{page}/mailboxes"));
    browser.picture("mailboxes");
    browser.press("Details of support");
    browser.press("Delete");
    browser.shows("The mailbox itself and what is in it are not touched.");
    browser.press("Delete");
    browser.shows("The mailbox support was deleted.");
    assert_eq!(setup.ok(&["mailbox", "list", "--json"], "").trim(), "[]");
}

#[test]
fn a_mailbox_with_a_password_keeps_it_unseen_and_does_not_send_it_elsewhere_and_scripts_are_not_needed()
 {
    let rig = Rig::new(Duration::from_secs(600));
    let (_daemon, setup, mut browser, page) = desk(&rig, "");
    browser.scripts(false);
    browser.open(&format!("{page}/mailboxes/add"));
    browser.choose("auth", "password");
    assert!(browser.sees("[name='auth.password']") && !browser.sees("[name='auth.token']"));
    let maildir = rig.path().join("mail");
    browser.fill("name", "plain <b>");
    browser.fill("user", USER);
    browser.fill("auth.password", "planted in a form");
    browser.fill("host", "127.0.0.1");
    browser.fill("port", &rig.provider.imap().port().to_string());
    browser.fill("tls", "none");
    browser.choose("deliver", "maildir");
    browser.fill("deliver.maildir", maildir.to_str().unwrap());
    browser.choose("paused", "1");
    browser.press("Save");
    browser.shows("The mailbox plain <b> was added.");
    let shown = browser.eval("document.documentElement.outerHTML");
    assert!(!shown.as_str().unwrap().contains("planted"), "{shown}");

    browser.press("Edit");
    let shown = browser.eval("document.documentElement.outerHTML");
    assert!(!shown.as_str().unwrap().contains("planted"), "{shown}");
    browser.fill("host", "localhost");
    browser.press("Save");
    browser.shows("Password: type it once more: it is to be sent to localhost:");
    browser.fill("auth.password", "typed again");
    browser.press("Save");
    browser.shows("was changed.");
    browser.press("Edit");
    browser.choose("after", "keep");
    browser.press("Save");
    browser.shows("was changed.");
    let show = setup.ok(&["mailbox", "show", "plain <b>"], "");
    assert!(
        show.contains("auth.password: ***") && show.contains("after: keep"),
        "{show}"
    );
}

#[test]
fn a_relay_is_added_with_the_providers_limits_and_what_a_file_declares_is_not_changed_here() {
    let rig = Rig::new(Duration::from_secs(600));
    let file = "relays:\n  - name: declared\n    host: 127.0.0.1\n    port: 1\n    tls: none\n    user: u\n    auth: {password: p}\n    \
                senders: [declared@example.com]\n";
    let (_daemon, setup, mut browser, page) = desk(&rig, file);
    browser.open(&format!("{page}/relays"));
    browser.shows("Declared in postern.yaml");
    assert!(!browser.text().contains("Edit"));
    browser.press("Pause declared");
    browser.shows("A person paused it; it stays paused over restarts until it is resumed.");
    browser.open(&format!("{page}/relays/edit?name=declared"));
    browser.shows("is declared in postern.yaml; change it there.");

    browser.press("Add a relay");
    browser.choose("auth", "password");
    browser.fill("name", "out");
    browser.fill("user", "helpdesk@example.com");
    browser.fill("auth.password", "secret");
    browser.fill("template", "google");
    browser.fill("senders", "declared@example.com\n@example.org");
    browser.picture("relay-add");
    assert_eq!(
        browser.eval("document.querySelector('[name=host]').placeholder"),
        "smtp.gmail.com"
    );
    browser.press("Save");
    browser.shows(
        "Senders: the sender \"declared@example.com\" is claimed by the relay declared already",
    );
    browser.fill("auth.password", "secret");
    browser.fill("senders", "@example.org");
    browser.choose("paused", "1");
    browser.press("Save");
    browser.shows("smtp.gmail.com");
    browser.picture("relay");
    let shown = setup.ok(&["relay", "show", "out"], "");
    assert!(
        shown.contains("template: google") && shown.contains("senders: @example.org"),
        "{shown}"
    );
    browser.open(&format!("{page}/relays"));
    browser.picture("relays");
}

#[test]
fn a_test_shows_each_step_as_it_happens_with_scripts_and_without_and_a_relay_sends_a_message() {
    let rig = Rig::new(Duration::from_secs(600));
    let maildir = rig.path().join("mail");
    let file = format!(
        "mailboxes:\n  - name: support\n    host: 127.0.0.1\n    port: {}\n    tls: none\n    user: {USER}\n    auth: {{token: desk}}\n    \
         deliver: {{maildir: {}}}\n    paused: true\nrelays:\n  - name: out\n    host: 127.0.0.1\n    port: {}\n    tls: none\n    user: {USER}\n    \
         auth: {{token: desk}}\n    senders: [{USER}]\n  - name: nowhere\n    host: no-such-host.invalid\n    user: {USER}\n    auth: {{token: desk}}\n    senders: [n@example.com]\n    paused: true\n",
        rig.provider.imap().port(),
        maildir.display(),
        rig.provider.smtp().port()
    );
    let (_daemon, setup, mut browser, page) = desk(&rig, &file);
    for scripts in [true, false] {
        browser.scripts(scripts);
        browser.open(&format!("{page}/mailboxes/show?name=support"));
        browser.press("Test");
        browser.shows("Everything answers.");
        let said = browser.text();
        for words in [
            "TCP to port",
            "answers; it offers",
            &format!("the sign-in of {USER}"),
            "the folder INBOX",
            "the maildir",
        ] {
            assert!(said.contains(words), "{words:?} is not in {said}");
        }
    }
    browser.picture("mailbox-test");
    assert!(
        !maildir.join("new").exists(),
        "nothing was delivered or made"
    );

    browser.scripts(true);
    browser.open(&format!("{page}/relays/show?name=out"));
    browser.fill("to", "boss@sandbox.test");
    browser.press("Test");
    browser.shows("Everything answers.");
    assert!(
        browser
            .text()
            .contains(&format!("sent as {USER}, and taken: 250")),
        "{}",
        browser.text()
    );
    let arrived = rig.provider.submitted();
    assert_eq!(arrived.len(), 1);
    browser.open(&format!("{page}/relays/show?name=nowhere"));
    browser.press("Test");
    browser.shows("the name no-such-host.invalid could not be resolved");
    browser.shows("Not everything is well.");

    let tested = setup.ok(&["relay", "test", "out", "--to", "boss@sandbox.test"], "");
    assert!(
        tested.contains("\u{2713} relay out: a test message to boss@sandbox.test"),
        "{tested}"
    );
    let failed = setup.run(&["relay", "test", "nowhere"], "");
    assert_eq!(failed.status.code(), Some(1));
    let tested = setup.ok(&["mailbox", "test", "support"], "");
    assert!(tested.contains("everything answers"), "{tested}");
}
