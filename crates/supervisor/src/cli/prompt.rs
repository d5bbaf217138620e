//! Secrets from a prompt without echo, or from standard input; never from an argument, which every user of the machine can read.

use std::io::{IsTerminal, Read};

use token_store::Secret;

use super::exit::{Code, Failure};

/// More is not a secret but a mistaken redirection.
const LONGEST: u64 = 64 * 1024;

/// Asks for a secret; without a terminal it is all of standard input, its last line end left out.
pub(crate) fn secret(question: &str) -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        return Ok(Secret::new(rpassword::prompt_password(format!(
            "{question}: "
        ))?));
    }
    let mut text = String::new();
    let read = std::io::stdin()
        .take(LONGEST + 1)
        .read_to_string(&mut text)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if read as u64 > LONGEST || text.chars().any(char::is_control) {
        return Err(Failure::new(
            Code::Data,
            "standard input must hold the secret on one line, and nothing else",
        ));
    }
    Ok(Secret::new(text))
}

/// As [`secret`], and on a terminal asked for twice.
pub(crate) fn new_password(question: &str) -> Result<Secret, Failure> {
    let first = secret(question)?;
    if std::io::stdin().is_terminal() && secret("once more")? != first {
        return Err(Failure::new(
            Code::Data,
            "the two passwords differ; nothing was changed",
        ));
    }
    Ok(first)
}
