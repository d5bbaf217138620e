//! SASL payloads against the vectors of their documents, and the care for what must not be sent.

use super::*;

fn decoded(payload: &str) -> String {
    String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap()
}

#[test]
fn oauthbearer_is_the_example_of_rfc_7628() {
    let payload = oauthbearer(
        "user@example.com",
        "server.example.com",
        143,
        "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==",
    );
    assert_eq!(
        payload.as_deref(),
        Ok(
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        )
    );
}

#[test]
fn xoauth2_is_the_example_of_its_inventor() {
    assert_eq!(
        xoauth2(
            "someuser@example.com",
            "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
        )
        .as_deref(),
        Ok(
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
        )
    );
}

#[test]
fn plain_is_the_example_of_rfc_4616_and_login_is_bare_base64() {
    assert_eq!(
        plain("tim", "tanstaaftanstaaf").as_deref(),
        Ok("AHRpbQB0YW5zdGFhZnRhbnN0YWFm")
    );
    assert_eq!(login("tim").as_deref(), Ok("dGlt"));
}

#[test]
fn comma_and_equals_in_a_user_name_are_escaped_once() {
    let payload = oauthbearer("a,b=c,=2C", "h", 1, "t").unwrap();
    assert!(decoded(&payload).starts_with("n,a=a=2Cb=3Dc=2C=3D2C,\u{1}host=h\u{1}"));
}

#[test]
fn nothing_with_a_control_character_is_ever_encoded() {
    let refused = |what| Err(SaslError::Control { what });
    for bad in ["\0", "a\r\nb", "a\u{1}auth=Bearer x", "\u{7f}", "\u{85}"] {
        assert_eq!(xoauth2(bad, "t"), refused("user name"));
        assert_eq!(xoauth2("u", bad), refused("token"));
        assert_eq!(oauthbearer(bad, "h", 1, "t"), refused("user name"));
        assert_eq!(oauthbearer("u", bad, 1, "t"), refused("host name"));
        assert_eq!(oauthbearer("u", "h", 1, bad), refused("token"));
        assert_eq!(plain(bad, "p"), refused("user name"));
        assert_eq!(plain("u", bad), refused("password"));
        assert_eq!(login(bad), refused("user name or password"));
    }
    assert!(plain("jörg@example.org", "pässwörd €").is_ok());
}

#[test]
fn the_error_challenge_of_rfc_7628_is_read() {
    let challenge = error_challenge(
        "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0=",
    );
    assert_eq!(challenge.status.as_deref(), Some("invalid_token"));
    assert_eq!(challenge.scope.as_deref(), Some("example_scope"));
    assert_eq!(challenge.schemes, None);
    assert_eq!(
        challenge.to_string(),
        "status invalid_token, scope wanted: example_scope"
    );
}

#[test]
fn an_error_challenge_is_read_however_it_is_dressed() {
    let json = r#"{"status":400,"schemes":"Bearer","scope":""}"#;
    let padded = STANDARD.encode(json);
    let stripped = padded.trim_end_matches('=');
    let spaced = format!(" {}\r\n {}", &padded[..8], &padded[8..]);
    for dress in [padded.as_str(), stripped, spaced.as_str(), json] {
        let challenge = error_challenge(dress);
        assert_eq!(challenge.status.as_deref(), Some("400"), "{dress}");
        assert_eq!(challenge.schemes.as_deref(), Some("Bearer"), "{dress}");
        assert_eq!(challenge.to_string(), "status 400");
    }
}

#[test]
fn an_error_challenge_that_is_nonsense_is_kept_as_a_harmless_line() {
    assert_eq!(error_challenge("").raw, "");
    assert_eq!(
        error_challenge("no base64 at all!").raw,
        "no base64 at all!"
    );
    let shouting = error_challenge(&STANDARD.encode("two\r\nlines\u{1b}[31m"));
    assert_eq!(shouting.raw, "two  lines [31m");
    assert_eq!(shouting.to_string(), shouting.raw);
    let long = error_challenge(&STANDARD.encode("é".repeat(100_000)));
    assert!(long.raw.len() <= CHALLENGE_CAP && long.raw.starts_with('é'));
    for byte in 0..=255u8 {
        error_challenge(&STANDARD.encode([byte, 0xff, byte]));
    }
}

#[test]
fn a_mechanism_is_chosen_that_is_offered_and_fits_the_credential() {
    use Mechanism::*;
    let all = &["login", "PLAIN", "OAuthBearer", "xoauth2", "GSSAPI"][..];
    let table = [
        (None, all, true, Some(Xoauth2)),
        (None, all, false, Some(Plain)),
        (None, &["LOGIN", "OAUTHBEARER"][..], true, Some(Oauthbearer)),
        (None, &["LOGIN", "OAUTHBEARER"][..], false, Some(Login)),
        (None, &["PLAIN"][..], true, None),
        (None, &["XOAUTH2"][..], false, None),
        (Some(Oauthbearer), all, true, Some(Oauthbearer)),
        (Some(Oauthbearer), &["XOAUTH2"][..], true, None),
        (Some(Plain), all, true, None),
    ];
    for (explicit, offered, bearer, expected) in table {
        assert_eq!(
            choose(explicit, offered.iter().copied(), bearer),
            expected,
            "{explicit:?} of {offered:?}"
        );
    }
}

#[test]
fn error_challenges_are_answered_without_the_token() {
    assert_eq!(error_answer(Mechanism::Xoauth2), "");
    assert_eq!(error_answer(Mechanism::Oauthbearer), "AQ==");
    assert_eq!(STANDARD.decode("AQ==").unwrap(), [1]);
}
