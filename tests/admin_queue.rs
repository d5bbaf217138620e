//! The queue in a real browser: looked through, one message opened, held, released, downloaded, and many deleted.

use crate::admin_accounts::desk;
use crate::harness::chromium::Chromium;
use crate::harness::postern::Setup;
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use std::time::Duration;

const SCRIPT: &str = "<script>document.title='caught'</script>";

/// Hands in a reply; its bytes as they are sent.
fn reply(port: u16, subject: &str, to: &str) {
    let message = format!(
        "From: Desk <desk@example.com>\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{to}>\r\n\r\nbody\r\n"
    );
    let mut session = Submitter::connect(port).unwrap();
    let sent = session.send("desk@example.com", &[to], message.as_bytes());
    assert_eq!(sent, Sent::Accepted);
}

#[test]
fn messages_are_found_held_released_downloaded_and_deleted_in_the_browser() {
    let rig = Rig::new(Duration::from_secs(600));
    let file = "relays:\n  - name: out\n    host: 127.0.0.1\n    port: 1\n    tls: none\n    user: u\n    auth: {password: p}\n    \
                senders: ['*']\n    paused: true\n";
    let (_daemon, setup, mut browser, page) = desk(&rig, file);
    for n in 0..45 {
        reply(
            setup.submission,
            &format!("Ticket {n}"),
            &format!("c{n}@example.net"),
        );
    }
    reply(setup.submission, SCRIPT, "evil@example.net");

    browser.open(&page);
    browser.press("Queue");
    browser.shows("Messages in flight, the newest first");
    browser.shows(SCRIPT);
    assert_ne!(browser.eval("document.title"), "caught");
    let size = browser.eval("document.documentElement.outerHTML.length");
    assert!(size.as_u64().unwrap() < 60_000, "{size}");
    browser.picture("queue");
    browser.press("Older");
    browser.shows("Ticket 0");
    browser.press("Newer");
    browser.shows("Ticket 44");
    browser.fill("q", "C7@EXAMPLE");
    browser.press("Show");
    browser.shows("Ticket 7");
    assert!(!browser.text().contains("Ticket 17"));

    browser.press("Ticket 7");
    browser.shows("Message-ID: <c7@example.net>");
    browser.picture("message");
    browser.press("Hold");
    browser.shows("1 message held.");
    browser.shows("held by a person");
    browser.press("Release");
    browser.shows("1 message released.");
    // The download is the message as it was taken, and no page: the browser must not show it.
    let got = browser.eval(
        "(async () => { const a = await fetch(document.querySelector('a[download]').href); \
         return [a.headers.get('content-type'), a.headers.get('content-disposition'), await a.text()]; })()",
    );
    assert_eq!(got[0], "message/rfc822");
    assert!(
        got[1]
            .as_str()
            .unwrap()
            .starts_with("attachment; filename=\"message-"),
        "{got}"
    );
    let bytes = got[2].as_str().unwrap();
    assert!(
        bytes.contains("\r\nSubject: Ticket 7\r\n") && bytes.ends_with("\r\n\r\nbody\r\n"),
        "{got}"
    );

    many(&mut browser, &setup, &page);
}

/// Asked once more first, and only what is held is deleted all together.
fn many(browser: &mut Chromium, setup: &Setup, page: &str) {
    browser.open(&format!("{page}/queue?relay=out"));
    browser.choose("all", "1");
    browser.press("Delete");
    browser.shows("Only held messages are deleted all together");
    browser.open(&format!("{page}/queue?relay=out&q=Ticket"));
    browser.choose("all", "1");
    browser.press("Hold");
    browser.shows("Hold: 45 messages?");
    browser.fill("reason", "looked into");
    browser.picture("queue-confirm");
    browser.press("Hold");
    browser.shows("45 messages held.");
    browser.open(&format!("{page}/queue?state=held"));
    browser.shows("held by a person: looked into");
    browser.click("[name=id]");
    browser.press("Delete");
    browser.shows("Delete for good: 1 message?");
    browser.press("Delete for good");
    browser.shows("1 message deleted.");
    browser.open(&format!("{page}/queue?state=held"));
    browser.choose("all", "1");
    browser.press("Delete");
    browser.shows("and 34 more");
    browser.press("Delete for good");
    browser.shows("44 messages deleted.");
    let left = setup.ok(&["queue", "list", "--json"], "");
    let left: serde_json::Value = serde_json::from_str(&left).unwrap();
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    browser.open(&format!("{page}/queue/raw?id=999999"));
    browser.shows("Not found");
}
