//! What rows of deliveries hold, and that those of the first release are still read.

use super::*;

fn of(way: Way) -> Deliver {
    Deliver {
        way,
        timeout: Duration::from_secs(600),
        concurrency: 1,
    }
}

fn command(preset: Preset, directory: Option<&str>) -> Deliver {
    of(Way::Command(TicketCommand {
        command: vec!["/bin/true".into(), "x".into()],
        preset,
        directory: directory.map(PathBuf::from),
    }))
}

#[test]
fn a_row_of_the_first_release_is_read_and_written_as_it_was() {
    let row = r#"{"command":["/bin/true","x"],"timeout":{"secs":600,"nanos":0},"concurrency":1}"#;
    let read: Deliver = serde_json::from_str(row).unwrap();
    assert_eq!(read, command(Preset::Command, None));
    assert_eq!(serde_json::to_string(&read).unwrap(), row);
}

#[test]
fn every_way_is_read_as_it_was_written_but_for_the_secret() {
    let mut ways = vec![
        command(Preset::Osticket, Some("/opt/osticket")),
        of(Way::Maildir("/var/mail/support".into())),
    ];
    for server in ["/run/lmtp", "localhost:24", "[::1]:24"] {
        ways.push(of(Way::Lmtp(Lmtp {
            server: LmtpServer::parse(server).unwrap(),
            to: vec!["a@example.com".into(), "b@example.com".into()],
        })));
    }
    for way in ways {
        let row = serde_json::to_string(&way).unwrap();
        assert_eq!(serde_json::from_str::<Deliver>(&row).unwrap(), way, "{row}");
    }
    let http = of(Way::Http(Http {
        url: "https://desk.example.com/mail?key=k".into(),
        secret: Secret::new("hunter2"),
        ca_file: None,
    }));
    let row = serde_json::to_string(&http).unwrap();
    assert!(!row.contains("hunter2"), "{row}");
    let mut read: Deliver = serde_json::from_str(&row).unwrap();
    *read.secret_mut().unwrap() = Secret::new("hunter2");
    assert_eq!(read, http);
    assert!(!format!("{http:?}").contains("hunter2"));
    assert_eq!(http.in_words(), "https://desk.example.com/mail");
}

#[test]
fn a_row_of_two_ways_or_of_a_server_that_is_none_is_refused() {
    for row in [
        r#"{"maildir":"/m","lmtp":"/l","timeout":{"secs":1,"nanos":0},"concurrency":1}"#,
        r#"{"lmtp":"localhost","timeout":{"secs":1,"nanos":0},"concurrency":1}"#,
    ] {
        assert!(serde_json::from_str::<Deliver>(row).is_err(), "{row}");
    }
}

#[test]
fn presets_are_known_by_the_same_word_everywhere() {
    for preset in Preset::ALL {
        let word = format!("\"{}\"", preset.as_str());
        assert_eq!(serde_json::to_string(&preset).unwrap(), word);
    }
}
