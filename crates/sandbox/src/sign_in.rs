//! The server's side of SASL: what a client presented, and whether it opens the mailbox.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::SystemTime;

use crate::state::State;

/// What a client presented; the secret never leaves this module's callers.
#[derive(PartialEq, Eq)]
pub(crate) struct Presented {
    pub(crate) user: String,
    pub(crate) secret: Secret,
}

/// A token or a password.
#[derive(PartialEq, Eq)]
pub(crate) enum Secret {
    Bearer(String),
    Password(String),
}

/// Who is signed in, and until when their token is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedIn {
    pub(crate) user: String,
    pub(crate) expires: Option<SystemTime>,
}

/// Reads a base64 payload of a mechanism; None when it isn't one.
pub(crate) fn present(mechanism: &str, base64: &[u8]) -> Option<Presented> {
    let text = String::from_utf8(STANDARD.decode(base64).ok()?).ok()?;
    match mechanism {
        "XOAUTH2" => xoauth2(&text),
        "OAUTHBEARER" => oauthbearer(&text),
        "PLAIN" => plain(&text),
        _ => None,
    }
}

/// `user=U ^A auth=Bearer T ^A ^A`.
fn xoauth2(text: &str) -> Option<Presented> {
    let (user, auth) = text
        .strip_prefix("user=")?
        .strip_suffix("\x01\x01")?
        .split_once('\x01')?;
    Some(bearer(user, auth.strip_prefix("auth=Bearer ")?))
}

/// `n,a=U,^A key=value ^A ... ^A ^A` (RFC 7628 section 3.1).
fn oauthbearer(text: &str) -> Option<Presented> {
    let (header, pairs) = text.strip_suffix("\x01\x01")?.split_once('\x01')?;
    let user = header.strip_prefix("n,a=")?.strip_suffix(',')?;
    let user = user.replace("=2C", ",").replace("=3D", "=");
    let auth = pairs
        .split('\x01')
        .find_map(|pair| pair.strip_prefix("auth="))?;
    Some(bearer(&user, auth.strip_prefix("Bearer ")?))
}

/// `authzid NUL user NUL password` (RFC 4616).
fn plain(text: &str) -> Option<Presented> {
    let mut parts = text.split('\0');
    let (_authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    parts
        .next()
        .is_none()
        .then(|| Presented::password(user, password))
}

fn bearer(user: &str, token: &str) -> Presented {
    Presented {
        user: user.to_owned(),
        secret: Secret::Bearer(token.to_owned()),
    }
}

impl Presented {
    pub(crate) fn password(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            secret: Secret::Password(password.to_owned()),
        }
    }
}

/// Whether what was presented opens this user's mailbox now; a refusal is counted.
pub(crate) fn check(
    state: &mut State,
    presented: Option<Presented>,
    now: SystemTime,
) -> Option<SignedIn> {
    let signed_in = presented.and_then(|Presented { user, secret }| match secret {
        Secret::Bearer(token) => {
            let access = state.grants.access(&token, now)?;
            let theirs = access.user.as_ref().is_none_or(|owner| *owner == user);
            theirs.then_some(SignedIn {
                user,
                expires: Some(access.expires),
            })
        }
        Secret::Password(password) => {
            let right = state.passwords.get(&user) == Some(&password);
            right.then_some(SignedIn {
                user,
                expires: None,
            })
        }
    });
    if signed_in.is_none() {
        state.counts.refused += 1;
    }
    signed_in
}

/// The base64 JSON that goes before the refusal of a token; None where the mechanism has no such step.
pub(crate) fn error_challenge(mechanism: &str) -> Option<String> {
    let json = match mechanism {
        "XOAUTH2" => r#"{"status":"401","schemes":"bearer","scope":"mail"}"#,
        "OAUTHBEARER" => r#"{"status":"invalid_token","schemes":"bearer","scope":"mail"}"#,
        _ => return None,
    };
    Some(STANDARD.encode(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(mechanism: &str, text: &str) -> Option<(String, String)> {
        let presented = present(mechanism, STANDARD.encode(text).as_bytes())?;
        let secret = match presented.secret {
            Secret::Bearer(token) => token,
            Secret::Password(password) => password,
        };
        Some((presented.user, secret))
    }

    #[test]
    fn payloads_are_read_as_the_standards_write_them() {
        let user_and_secret = Some(("u@x.test".to_owned(), "s".to_owned()));
        let xoauth2 = "user=u@x.test\x01auth=Bearer s\x01\x01";
        assert_eq!(given("XOAUTH2", xoauth2), user_and_secret);
        let bearer = "n,a=u@x.test,\x01host=h\x01port=1\x01auth=Bearer s\x01\x01";
        assert_eq!(given("OAUTHBEARER", bearer), user_and_secret);
        assert_eq!(given("PLAIN", "\0u@x.test\0s"), user_and_secret);
        let escaped = "n,a=a=2Cb=3Dc,\x01auth=Bearer s\x01\x01";
        let user = given("OAUTHBEARER", escaped).unwrap().0;
        assert_eq!(user, "a,b=c");
    }

    #[test]
    fn a_payload_that_is_not_quite_right_is_none() {
        assert_eq!(given("XOAUTH2", "user=u\x01auth=Bearer s\x01"), None);
        assert_eq!(given("XOAUTH2", "user=u auth=Bearer s\x01\x01"), None);
        assert_eq!(given("OAUTHBEARER", "n,,\x01auth=Bearer s\x01\x01"), None);
        assert_eq!(given("PLAIN", "u\0s"), None);
        assert!(present("PLAIN", b"***").is_none());
    }
}
