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

/// Asks for several secrets; without a terminal each is one line of standard input, and an empty line is an empty one.
pub(crate) fn secrets(questions: &[&str]) -> Result<Vec<Secret>, Failure> {
    match questions {
        [] => return Ok(Vec::new()),
        [question] => return Ok(vec![secret(question)?]),
        _ => {}
    }
    if std::io::stdin().is_terminal() {
        return questions.iter().map(|question| secret(question)).collect();
    }
    let mut text = String::new();
    std::io::stdin().take(LONGEST).read_to_string(&mut text)?;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() != questions.len() {
        return Err(Failure::new(
            Code::Data,
            format!(
                "standard input must hold {} lines: {}",
                questions.len(),
                questions.join(", ")
            ),
        ));
    }
    Ok(lines.into_iter().map(Secret::new).collect())
}

/// Asks on the terminal also where standard input is taken by something else.
pub(crate) fn secret_beside_input(question: &str) -> Result<Secret, Failure> {
    rpassword::prompt_password(format!("{question}: "))
        .map(Secret::new)
        .map_err(|error| {
            Failure::new(
                Code::Usage,
                format!(
                    "standard input holds the document, so the {question} is asked for on a terminal, and there is none ({error}); \
                     give the document as a file"
                ),
            )
        })
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
