//! The table of senders and relays.
use super::*;
use provider_template::Tls;
use std::time::Duration;
use token_store::Secret;
use token_store::accounts::{Auth, Sasl};

fn relay(name: &str, senders: &[&str]) -> Relay {
    Relay {
        name: name.to_owned(),
        template: None,
        host: "smtp.example".to_owned(),
        port: 587,
        tls: Tls::Starttls,
        tls_ca_file: None,
        user: "user".to_owned(),
        auth: Auth::Password(Secret::new("x")),
        sasl: Sasl::Auto,
        senders: senders.iter().map(|s| (*s).to_owned()).collect(),
        connections: 1,
        rate: None,
        keep_trying: Duration::from_secs(1),
        bounces_to: None,
        fallback: None,
        send_as: None,
        recipients: None,
        messages_per_connection: None,
        no_initial_response: false,
        paused: false,
        declared_in: None,
    }
}

#[test]
fn an_exact_sender_comes_before_its_domain_and_that_before_the_star() {
    let relays = [
        relay("exact", &["Support@Example.com"]),
        relay("domain", &["@example.com", "@münchen.example"]),
        relay("rest", &["*"]),
    ];
    let routes = Routes::new(&relays).expect("a table");
    for (sender, expected) in [
        ("support@example.com", Some("exact")),
        ("SUPPORT@EXAMPLE.COM", Some("exact")),
        ("other@example.com", Some("domain")),
        ("other@EXAMPLE.com", Some("domain")),
        ("a@münchen.example", Some("domain")),
        ("\"a@b\"@example.com", Some("domain")),
        ("a@sub.example.com", None),
        ("a@example.com.evil", None),
        ("@example.com", None),
        ("", None),
    ] {
        assert_eq!(routes.by_envelope(sender), expected, "{sender:?}");
        // The header's From is matched by the same rules, and the star comes last.
        assert_eq!(
            routes.by_from(sender),
            expected.or(Some("rest")),
            "{sender:?}"
        );
    }
}

#[test]
fn without_a_star_strangers_and_the_null_sender_have_no_relay() {
    let routes = Routes::new(&[relay("one", &["a@example.com", "@example.org"])]).expect("a table");
    for sender in ["", "b@example.com", "a@example.net"] {
        assert_eq!(routes.by_envelope(sender), None, "{sender:?}");
        assert_eq!(routes.by_from(sender), None, "{sender:?}");
    }
    assert!(Routes::default().is_empty() && !routes.is_empty());
}

#[test]
fn two_relays_with_one_sender_are_both_named_and_one_relay_may_repeat_itself() {
    let twice = [
        relay("first", &["a@b.example"]),
        relay("second", &["A@b.example"]),
    ];
    let why = Routes::new(&twice).expect_err("a conflict");
    assert!(
        why.contains("first") && why.contains("second") && why.contains("A@b.example"),
        "{why}"
    );
    assert!(Routes::new(&[relay("one", &["a@b.example", "A@B.example"])]).is_ok());
}

#[test]
fn what_is_no_sender_is_refused_with_the_relays_name() {
    for pattern in ["support", "@", "a@", "**", "", "a b@c"] {
        let why = Routes::new(&[relay("one", &[pattern])]).expect_err(pattern);
        assert!(why.contains("one") && why.contains("neither"), "{why}");
    }
}

#[test]
fn a_fallback_exists_is_another_and_has_none_itself() {
    let with = |name: &str, fallback: Option<&str>| Relay {
        fallback: fallback.map(str::to_owned),
        ..relay(name, &[&format!("{name}@x.example")])
    };
    let wrong = |relays: &[Relay]| Routes::new(relays).expect_err("a mistake");
    assert!(Routes::new(&[with("a", Some("b")), with("b", None)]).is_ok());
    assert!(wrong(&[with("a", Some("b"))]).contains("does not exist"));
    assert!(wrong(&[with("a", Some("a"))]).contains("the relay itself"));
    let circle = [with("a", Some("b")), with("b", Some("a"))];
    assert!(wrong(&circle).contains("has a fallback itself"));
}
