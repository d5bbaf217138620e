//! Mailboxes and relays made, changed, paused and deleted on the command line, beside a daemon and without one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::place::{Place, SOON, USER};

/// A field of an account in `postern status`.
fn field(place: &Place, kind: &str, name: &str, key: &str) -> String {
    let report = place.ok(&[kind, "list", "--json"], "");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let accounts = report.as_array().unwrap();
    let found = accounts.iter().find(|account| account["name"] == name);
    found.map_or(String::new(), |account| {
        account[key].to_string().trim_matches('"').to_owned()
    })
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < SOON, "not in time: {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

fn files_in(place: &Place, maildir: &str) -> usize {
    std::fs::read_dir(place.path(maildir).join("new")).map_or(0, Iterator::count)
}

/// The words of a mailbox of the pretend provider, with a token.
fn add<'a>(name: &'a str, port: &'a str, maildir: &'a str) -> [&'a str; 15] {
    [
        "mailbox",
        "add",
        name,
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--tls",
        "none",
        "--user",
        USER,
        "--token",
        "t",
        "--maildir",
        maildir,
    ]
}

#[test]
fn a_mailbox_added_beside_a_daemon_is_fetched_at_once_paused_and_deleted() {
    let place = Place::new();
    place
        .provider
        .put_mail(USER, b"Subject: one\r\n\r\nbody\r\n".to_vec());
    let refresh_token = place.provider.consent(USER);
    place.ok(&["token", "seed", "t"], &format!("{refresh_token}\n"));
    let _daemon = place.daemon();
    let (port, maildir) = (place.provider.imap().port().to_string(), place.path("mail"));
    let added = add("desk", &port, maildir.to_str().unwrap());
    place.ok(&added, "");
    eventually("the message came", || files_in(&place, "mail") == 1);
    place.ends(&added, "", 65);

    place.ok(&["mailbox", "pause", "desk"], "");
    eventually("it is paused", || {
        field(&place, "mailbox", "desk", "state") == "paused"
    });
    place
        .provider
        .put_mail(USER, b"Subject: two\r\n\r\nbody\r\n".to_vec());
    let show = place.ok(&["mailbox", "show", "desk"], "");
    assert!(
        show.contains("paused by a person") && show.contains("auth.token: t"),
        "{show}"
    );
    place.ok(&["mailbox", "resume", "desk"], "");
    eventually("the second came", || files_in(&place, "mail") == 2);

    let edited = place.ok(&["mailbox", "edit", "desk", "--after", "keep"], "");
    assert_eq!(edited, "desk is changed\n");
    let same = place.ok(&["mailbox", "edit", "desk", "--after", "keep"], "");
    assert_eq!(same, "desk is the same already\n");
    place.ends(&["token", "delete", "t"], "", 65);
    place.ok(&["mailbox", "delete", "desk"], "");
    eventually("it is gone", || {
        field(&place, "mailbox", "desk", "state").is_empty()
    });
}

#[test]
fn mistakes_are_told_by_key_and_nothing_is_made_of_them() {
    let place = Place::new();
    let output = place.run(
        &[
            "mailbox",
            "add",
            "desk",
            "--user",
            "u",
            "--protocol",
            "pop3",
            "--after",
            "seen",
            "--set",
            "poll=often",
        ],
        "password\n",
    );
    assert_eq!(output.status.code(), Some(65));
    let said = String::from_utf8(output.stderr).unwrap();
    for words in [
        "host: is missing; expected a host name, since no provider template gives one",
        "after: POP3 can't mark messages as seen",
        "poll: found \"often\"; expected a duration",
        "deliver: is missing",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert_eq!(place.ok(&["mailbox", "list", "--json"], "").trim(), "[]");
    place.ends(
        &["mailbox", "add", "desk", "--set", "auth.password=visible"],
        "",
        64,
    );
    place.ends(&["mailbox", "show", "desk"], "", 65);
}

/// Hands a message to the submission listener.
fn submit(port: &str, from: &str) -> String {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let lines = format!(
        "EHLO x\r\nMAIL FROM:<{from}>\r\nRCPT TO:<c@example.net>\r\nDATA\r\nSubject: reply\r\n\r\nbody\r\n.\r\nQUIT\r\n"
    );
    for line in lines.split_inclusive("\r\n") {
        stream.write_all(line.as_bytes()).unwrap();
    }
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn a_relay_with_replies_that_wait_is_not_deleted_and_without_a_daemon_all_works_too() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let listen = port.clone();
    let place = Place::with(sandbox::Knobs::default(), |_, _| String::new());
    let config = std::fs::read_to_string(place.path("postern.yaml")).unwrap();
    let config = config.replace(
        "submission: []",
        &format!("submission: [{{listen: '127.0.0.1:{listen}'}}]"),
    );
    std::fs::write(place.path("postern.yaml"), config).unwrap();
    let add = [
        "relay",
        "add",
        "out",
        "--host",
        "127.0.0.1",
        "--port",
        "1",
        "--tls",
        "none",
        "--user",
        USER,
        "--sender",
        "desk@example.com",
    ];
    place.ok(&add, "secret\n");
    let other = [
        "relay",
        "add",
        "other",
        "--host",
        "127.0.0.1",
        "--tls",
        "none",
        "--user",
        USER,
        "--sender",
        "Desk@example.com",
    ];
    let refused = place.run(&other, "secret\n");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains(
            "senders: the sender \"Desk@example.com\" is claimed by the relay out already"
        ),
        "{said}"
    );
    let shown = place.ok(&["relay", "show", "out", "--json"], "");
    assert!(
        shown.contains("\"auth.password\": \"***\"") && !shown.contains("secret"),
        "{shown}"
    );

    place.ok(&["relay", "pause", "out"], "");
    {
        let _daemon = place.daemon();
        eventually("it is paused, over the start", || {
            field(&place, "relay", "out", "state") == "paused"
        });
        let said = submit(&port, "desk@example.com");
        assert!(said.contains("\r\n250 2.0.0 "), "{said}");
        let refused = place.run(&["relay", "delete", "out"], "");
        assert_eq!(refused.status.code(), Some(65));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("1 waiting, 0 held"), "{said}");
    }
    place.ok(&["queue", "hold", "--all"], "");
    place.ends(&["relay", "delete", "out"], "", 65);
    place.ok(&["queue", "delete", "--all", "--held", "--yes"], "");
    place.ok(&["relay", "delete", "out"], "");
    assert_eq!(place.ok(&["relay", "list", "--json"], "").trim(), "[]");
}
