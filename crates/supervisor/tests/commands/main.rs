//! The command line of the real binary, without and beside a running daemon, against a pretend provider.
#![expect(clippy::unwrap_used, reason = "in a test a surprise ends the test")]

mod accounts;
mod grants;
mod place;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;

use place::{Place, USER, get, location};

/// Signs in at the provider as a browser would: there, back to the command, and what the person reads then.
fn sign_in(url: &str) -> String {
    get(&location(url))
}

/// `postern token request`, a forged redirect, then the true one.
fn request(place: &Place) {
    let mut child = place
        .command(&["token", "request", "t", "--user", USER])
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut url = String::new();
    stdout.read_line(&mut url).unwrap();
    let url = url.trim();
    assert!(
        url.contains("code_challenge_method=S256") && url.contains("redirect_uri="),
        "{url}"
    );

    let redirect = url.split("redirect_uri=").nth(1).unwrap();
    let redirect = redirect.split('&').next().unwrap();
    let redirect = redirect.replace("%3A", ":").replace("%2F", "/");
    let forged = get(&format!("{redirect}?state=guessed&code=stolen"));
    assert!(forged.starts_with("HTTP/1.1 400 "), "{forged}");
    let landed = sign_in(url);
    assert!(
        landed.starts_with("HTTP/1.1 200 ") && landed.contains("stored"),
        "{landed}"
    );
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "t has its token\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_token_is_requested_used_and_refreshed_without_a_daemon() {
    let place = Place::new();
    place.ends(&["token", "access", "t"], "", 77);
    request(&place);
    let token = place.ok(&["token", "access", "t"], "");
    assert!(
        token.trim().len() > 10 && token.lines().count() == 1,
        "{token}"
    );
    assert_eq!(
        place.ok(&["token", "access", "t"], ""),
        token,
        "still good, so the same"
    );
    assert!(place.ok(&["token", "refresh", "t"], "").contains("until 2"));
    assert_ne!(place.ok(&["token", "access", "t"], ""), token);
    assert!(place.ok(&["token", "list"], "").contains("ready"));
}

#[test]
fn beside_a_daemon_the_same_commands_go_through_it() {
    let place = Place::new();
    let _daemon = place.daemon();
    request(&place);
    let token = place.ok(&["token", "access", "t"], "");
    place.ok(&["token", "refresh", "t"], "");
    assert_ne!(place.ok(&["token", "access", "t"], ""), token);
    let status: serde_json::Value =
        serde_json::from_str(&place.ok(&["status", "--json"], "")).unwrap();
    assert_eq!(status["running"], true);
    assert_eq!(status["tokens"][0]["config"], "t");
    place.ok(&["check"], "");
    assert_eq!(place.provider.counts().refused, 0, "no code was used twice");
}

#[test]
fn a_seeded_refresh_token_gives_access() {
    let place = Place::new();
    let refresh_token = place.provider.consent(USER);
    place.ends(&["token", "seed", "t"], "", 65);
    place.ends(&["token", "seed", "t"], "two\nlines\n", 65);
    place.ok(&["token", "seed", "t"], &format!("{refresh_token}\n"));
    place.ok(&["token", "access", "t"], "");
}

#[test]
fn token_configs_are_made_exported_imported_and_deleted() {
    let place = Place::new();
    let made = [
        "token",
        "add",
        "g",
        "--template",
        "google",
        "--client-id",
        "c",
    ];
    place.ok(&made, "planted\n");
    place.ends(&made, "planted\n", 65);
    let unknown = [
        "token",
        "add",
        "h",
        "--template",
        "gogle",
        "--client-id",
        "c",
    ];
    place.ends(&unknown, "planted\n", 65);

    let file = place.path("out.yaml");
    let file = file.to_str().unwrap();
    place.ok(&["token", "export", "g", "--output", file], "");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.contains("planted") && !text.contains("sandbox-secret"),
        "{text}"
    );
    let without = place.ok(&["token", "export", "--without-secrets"], "");
    assert!(without.contains("Name: g") && !without.contains("planted"));

    let left = place.ok(&["token", "import", file], "");
    assert!(
        left.contains("g: exists already and was left alone"),
        "{left}"
    );
    let same = place.ok(&["token", "import", file, "--overwrite"], "");
    assert!(same.contains("g: is the same already"), "{same}");
    place.ok(&["token", "delete", "g"], "");
    place.ends(&["token", "show", "g"], "", 65);
    assert!(
        place
            .ok(&["token", "import", "-"], &text)
            .contains("g: added")
    );
    place.ends(&["token", "import", "-"], "- Name: [", 65);
    place.ends(&["token", "delete", "t"], "", 65);
    assert!(
        !place
            .ok(&["token", "show", "g", "--json"], "")
            .contains("planted")
    );
}

#[test]
fn without_a_daemon_the_databases_answer_and_what_needs_it_says_so() {
    let place = Place::new();
    let status: serde_json::Value =
        serde_json::from_str(&place.ends(&["status", "--json"], "", 69)).unwrap();
    assert_eq!(status["running"], false);
    place.ends(&["mailbox", "fetch", "any"], "", 69);
    assert_eq!(place.ok(&["queue", "list", "--json"], "").trim(), "[]");
    place.ends(&["queue", "delete", "7"], "", 65);
    assert_eq!(
        place.ok(&["queue", "retry", "--all"], "").trim(),
        "0 messages to be tried again when the daemon runs"
    );
    place.ends(&["queue", "retry"], "", 64);
    place.ends(&["queue", "retry", "7", "--all"], "", 64);
    place.ends(&["queue", "delete", "--all", "--yes"], "", 64);
    place.ends(&["queue", "list", "--mailbox", "m", "--relay", "r"], "", 64);
    let none = place.ok(&["queue", "delete", "--all", "--held"], "");
    assert_eq!(none.trim(), "0 messages deleted");
    place.ends(&["no-such-command"], "", 64);
    assert!(place.ok(&["--version"], "").starts_with("postern "));
    place.ends(&["admin", "password"], "short\n", 65);
    assert!(
        place
            .ok(&["admin", "password"], "long enough\n")
            .starts_with("admin ")
    );
}
