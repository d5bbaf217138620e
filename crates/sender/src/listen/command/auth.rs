//! AUTH (RFC 4954), as far as it is told by the command alone.
use super::{Fault, PARAMETER_SYNTAX, value};
use token_store::Secret;

const SYNTAX: Fault = "501 5.5.4 Syntax: AUTH PLAIN|LOGIN [initial response]";
const UNKNOWN: Fault = "504 5.5.4 The mechanisms here are PLAIN and LOGIN";

/// How a client wants to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Auth {
    pub(crate) mechanism: Mechanism,
    /// The first answer, in base64, where the client did not wait to be asked.
    pub(crate) initial: Option<Secret>,
}

/// What can be verified against a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Two questions; never made a standard, and the only one that some clients know.
    Login,
}

/// Reads the command's line.
pub(super) fn parse(text: &str) -> Result<Auth, Fault> {
    let mut words = text.split(' ').filter(|word| !word.is_empty()).skip(1);
    let mechanism = words.next().ok_or(SYNTAX)?;
    let initial = words.next().map(Secret::new);
    if words.next().is_some() {
        return Err(SYNTAX);
    }
    let mechanism = match mechanism {
        m if m.eq_ignore_ascii_case("PLAIN") => Mechanism::Plain,
        m if m.eq_ignore_ascii_case("LOGIN") => Mechanism::Login,
        _ => return Err(UNKNOWN),
    };
    Ok(Auth { mechanism, initial })
}

/// Whether MAIL has the parameter AUTH.
pub(super) fn names_author(parameters: &str) -> Result<bool, Fault> {
    match value(parameters, "AUTH") {
        None => Ok(false),
        Some("") => Err(PARAMETER_SYNTAX),
        Some(_) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mechanism_is_read_in_any_case_and_the_answer_stays_secret() {
        let auth = parse("auth plain  AHUAcA==").expect("a command");
        assert_eq!(auth.mechanism, Mechanism::Plain);
        assert_eq!(auth.initial, Some(Secret::new("AHUAcA==")));
        assert!(!format!("{auth:?}").contains("AHUA"), "{auth:?}");
        let login = parse("AUTH Login").expect("a command");
        assert_eq!((login.mechanism, login.initial), (Mechanism::Login, None));
    }
}
