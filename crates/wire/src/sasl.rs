//! SASL payloads (XOAUTH2, OAUTHBEARER RFC 7628, PLAIN RFC 4616, LOGIN) and the decoded error challenge; pure.

pub mod given;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, general_purpose};

/// Decodes what servers send: with or without padding, and with stray bits at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How much of an error challenge is kept: the longest one seen from a provider is under 300 bytes.
const CHALLENGE_CAP: usize = 1024;

/// A mechanism Postern can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Google's and Microsoft's own bearer mechanism.
    Xoauth2,
    /// RFC 7628.
    Oauthbearer,
    /// RFC 4616.
    Plain,
    /// The two-question password mechanism that was never made a standard.
    Login,
}

impl Mechanism {
    /// Every mechanism, in the order in which [`choose`] prefers them.
    const ALL: [Self; 4] = [Self::Xoauth2, Self::Oauthbearer, Self::Plain, Self::Login];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::Oauthbearer => "OAUTHBEARER",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }

    /// From a configuration or capability word, in any case; None for one Postern doesn't speak.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether it presents a token; the others present a password.
    pub fn is_bearer(self) -> bool {
        matches!(self, Self::Xoauth2 | Self::Oauthbearer)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Picks by what the server offers (names in any case); `bearer` says whether a token is to be presented, or a password.
/// `explicit` None is "auto": with a token XOAUTH2, else OAUTHBEARER; with a password PLAIN, else LOGIN. An explicit one that isn't
/// offered, or that doesn't fit the credential, is None.
pub fn choose<'a>(
    explicit: Option<Mechanism>,
    offered: impl IntoIterator<Item = &'a str>,
    bearer: bool,
) -> Option<Mechanism> {
    let offered: Vec<Mechanism> = offered
        .into_iter()
        .filter_map(Mechanism::from_name)
        .collect();
    Mechanism::ALL.into_iter().find(|mechanism| {
        mechanism.is_bearer() == bearer
            && explicit.is_none_or(|wanted| wanted == *mechanism)
            && offered.contains(mechanism)
    })
}

/// base64(`user=` U ^A `auth=Bearer ` T ^A^A).
pub fn xoauth2(user: &str, token: &str) -> Result<String, SaslError> {
    printable(user, "user name")?;
    printable(token, "token")?;
    Ok(STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01")))
}

/// base64(`n,a=` U `,^Ahost=` H ^A `port=` P ^A `auth=Bearer ` T ^A^A), RFC 7628 section 3.1. In the user name `=` and `,` are
/// written `=3D` and `=2C` (RFC 5801 section 4).
pub fn oauthbearer(user: &str, host: &str, port: u16, token: &str) -> Result<String, SaslError> {
    printable(host, "host name")?;
    bearer(user, &format!("host={host}\x01port={port}\x01"), token)
}

/// The same for a server that is not known here: host and port are optional.
pub fn oauthbearer_anywhere(user: &str, token: &str) -> Result<String, SaslError> {
    bearer(user, "", token)
}

fn bearer(user: &str, place: &str, token: &str) -> Result<String, SaslError> {
    printable(user, "user name")?;
    printable(token, "token")?;
    // `=` first, or the escapes would be escaped again.
    let user = user.replace('=', "=3D").replace(',', "=2C");
    Ok(STANDARD.encode(format!("n,a={user},\x01{place}auth=Bearer {token}\x01\x01")))
}

/// base64(NUL U NUL P).
pub fn plain(user: &str, password: &str) -> Result<String, SaslError> {
    printable(user, "user name")?;
    printable(password, "password")?;
    Ok(STANDARD.encode(format!("\0{user}\0{password}")))
}

/// base64 of one LOGIN answer.
pub fn login(text: &str) -> Result<String, SaslError> {
    printable(text, "user name or password")?;
    Ok(STANDARD.encode(text))
}

fn printable(text: &str, what: &'static str) -> Result<(), SaslError> {
    if text.chars().any(char::is_control) {
        return Err(SaslError::Control { what });
    }
    Ok(())
}

/// The base64 JSON a server sends with a refusal: `status`, `schemes`, `scope`; `raw` when it isn't that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorChallenge {
    /// An HTTP status (Google, Microsoft) or an error word of RFC 6750 such as `invalid_token`.
    pub status: Option<String>,
    /// The authentication schemes that the server takes.
    pub schemes: Option<String>,
    /// The scope that a token needs here.
    pub scope: Option<String>,
    /// The decoded text, fit for a log line: without control characters, and not longer than 1 KiB.
    pub raw: String,
}

impl fmt::Display for ErrorChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(status) = &self.status else {
            return f.write_str(&self.raw);
        };
        write!(f, "status {status}")?;
        if let Some(scope) = self.scope.as_deref().filter(|scope| !scope.is_empty()) {
            write!(f, ", scope wanted: {scope}")?;
        }
        Ok(())
    }
}

/// Decodes it; never fails, whatever the bytes.
pub fn error_challenge(base64: &str) -> ErrorChallenge {
    let bytes = decode(base64).unwrap_or_else(|| base64.as_bytes().to_vec());
    let raw = log_line(&bytes);
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        return ErrorChallenge {
            raw,
            ..ErrorChallenge::default()
        };
    };
    // Some servers send the status as a number.
    let field = |name| match json.get(name) {
        Some(serde_json::Value::String(text)) => Some(log_line(text.as_bytes())),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    ErrorChallenge {
        status: field("status"),
        schemes: field("schemes"),
        scope: field("scope"),
        raw,
    }
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    let packed: String = base64
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .collect();
    LENIENT
        .decode(&packed)
        .or_else(|_| general_purpose::URL_SAFE_NO_PAD.decode(packed.trim_end_matches('=')))
        .ok()
}

fn log_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::new();
    for c in text.trim().chars() {
        if line.len() + c.len_utf8() > CHALLENGE_CAP {
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

/// What to answer to an error challenge: an empty line (XOAUTH2) or `AQ==` (OAUTHBEARER, RFC 7628 section 3.2.3). The mechanisms
/// with a password have no such challenge; `*` cancels them (RFC 4954, RFC 9051).
pub fn error_answer(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Xoauth2 => "",
        Mechanism::Oauthbearer => "AQ==",
        Mechanism::Plain | Mechanism::Login => "*",
    }
}

/// A user name, password or token that must not be sent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SaslError {
    /// It could end a line or a field early, and so say something else than it should.
    #[error("the {what} contains a control character; nothing was sent")]
    Control {
        /// Which of them.
        what: &'static str,
    },
}
