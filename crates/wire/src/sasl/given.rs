//! What a client gives to a server that asks for a password; pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A client's answer, decoded; None: it is not base64 of UTF-8 text. `=` is the empty answer of RFC 4954 section 4.
pub fn decoded(answer: &str) -> Option<String> {
    let bytes = match answer {
        "=" => Vec::new(),
        answer => STANDARD.decode(answer).ok()?,
    };
    String::from_utf8(bytes).ok()
}

/// User and password of PLAIN (RFC 4616); None: it is something else, or asks to act for another user.
pub fn plain(answer: &str) -> Option<(&str, &str)> {
    let mut fields = answer.split('\0');
    let (acts_for, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    let is_right = fields.next().is_none() && !user.is_empty() && !password.is_empty();
    let is_own = acts_for.is_empty() || acts_for == user;
    (is_right && is_own).then_some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_base64_of_text_and_nothing_else() {
        assert_eq!(decoded("AHUAcA==").as_deref(), Some("\0u\0p"));
        assert_eq!(decoded("").as_deref(), Some(""));
        assert_eq!(decoded("=").as_deref(), Some(""));
        for wrong in ["AHUAcA", "AHUAcA=", "*", "A HUAcA==", "!!!!", "/w=="] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn plain_names_one_user_with_a_password() {
        assert_eq!(plain("\0u\0p q"), Some(("u", "p q")));
        assert_eq!(plain("u\0u\0p"), Some(("u", "p")));
        for wrong in [
            "",
            "u",
            "u\0p",
            "\0u\0",
            "\0\0p",
            "other\0u\0p",
            "\0u\0p\0more",
        ] {
            assert_eq!(plain(wrong), None, "{wrong:?}");
        }
    }
}
