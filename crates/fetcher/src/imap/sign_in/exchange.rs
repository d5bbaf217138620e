//! The two ways to present a credential: an AUTHENTICATE exchange, and the LOGIN command.

use std::collections::VecDeque;

use imap_proto::Response;
use token_store::Credential;
use token_store::accounts::Mailbox;
use wire::sasl::{self, Mechanism};

use super::super::capabilities::Capabilities;
use super::super::connection::{Connection, Said, Socket};
use super::super::names::quoted;
use crate::error::FetchError;

/// Error challenges answered in one exchange; an honest server sends one.
const CHALLENGES: usize = 3;
/// Longest literal that LITERAL- lets a client send without asking (RFC 7888 section 5).
const LITERAL_MINUS: usize = 4096;

/// One AUTHENTICATE.
pub(super) struct Exchange {
    pub(super) mechanism: Mechanism,
    pub(super) replies: VecDeque<String>,
    /// What the server said of a token that it refuses.
    pub(super) challenge: Option<sasl::ErrorChallenge>,
}

impl Exchange {
    pub(super) async fn run(
        &mut self,
        connection: &mut Connection<impl Socket>,
        initial_response: bool,
        told: &mut Option<Capabilities>,
    ) -> Result<(), FetchError> {
        let name = self.mechanism.name();
        // LOGIN has no initial response: the server speaks first.
        let first = if initial_response && self.mechanism != Mechanism::Login {
            self.replies.pop_front()
        } else {
            None
        };
        let line = match first {
            Some(reply) => format!("AUTHENTICATE {name} {reply}"),
            None => format!("AUTHENTICATE {name}"),
        };
        let sent = connection.send("AUTHENTICATE", &line).await?;
        let mut challenges = 0;
        loop {
            match connection
                .next(&sent, |response| keep(told, response))
                .await?
            {
                Said::Untagged(()) => {}
                Said::Done(()) => return Ok(()),
                Said::Go(text) => match self.replies.pop_front() {
                    Some(reply) => connection.send_bare(&sent, &reply).await?,
                    // All was said: this is the error challenge, and the answer to it brings the tagged NO (RFC 7628 section 3.2.3).
                    None if challenges < CHALLENGES => {
                        challenges += 1;
                        self.challenge = Some(sasl::error_challenge(&text));
                        connection
                            .send_bare(&sent, sasl::error_answer(self.mechanism))
                            .await?;
                    }
                    None => {
                        return Err(FetchError::Again(
                            "the server keeps asking instead of answering AUTHENTICATE".into(),
                        ));
                    }
                },
            }
        }
    }
}

fn keep(told: &mut Option<Capabilities>, response: &Response<'_>) {
    if let Some(capabilities) = Capabilities::from_response(response) {
        *told = Some(capabilities);
    }
}

/// The LOGIN command (RFC 9051 section 6.2.3).
pub(super) async fn login(
    connection: &mut Connection<impl Socket>,
    capabilities: &Capabilities,
    mailbox: &Mailbox,
    credential: &Credential,
    told: &mut Option<Capabilities>,
) -> Result<(), FetchError> {
    let Credential::Password(password) = credential else {
        return Err(FetchError::Blocked(
            "LOGIN takes a password, and this mailbox has a token".into(),
        ));
    };
    let words = [mailbox.user.as_str(), password.expose()];
    if words.iter().any(|word| word.chars().any(char::is_control)) {
        return Err(FetchError::Blocked(
            "user name or password has a control character, such as a line end; LOGIN can't carry it".into(),
        ));
    }
    let mut lines = login_lines(words, capabilities).into_iter();
    let first = lines.next().unwrap_or_default();
    let sent = connection.send("LOGIN", &first).await?;
    loop {
        match connection
            .next(&sent, |response| keep(told, response))
            .await?
        {
            Said::Untagged(()) => {}
            Said::Done(()) => return Ok(()),
            Said::Go(_) => match lines.next() {
                Some(line) => connection.send_bare(&sent, &line).await?,
                None => {
                    return Err(FetchError::Again(
                        "the server asked for more after LOGIN".into(),
                    ));
                }
            },
        }
    }
}

/// LOGIN as it is written: each element after the first waits for the server's go-ahead. What is not ASCII goes as a literal, without
/// waiting where the server takes that (RFC 7888).
fn login_lines(words: [&str; 2], capabilities: &Capabilities) -> Vec<String> {
    let mut lines = vec!["LOGIN".to_owned()];
    for word in words {
        let plus = capabilities.has("LITERAL+")
            || (capabilities.has("LITERAL-") && word.len() <= LITERAL_MINUS);
        let last = lines.len() - 1;
        match quoted(word) {
            Some(quoted) => lines[last].push_str(&format!(" {quoted}")),
            None if plus => lines[last].push_str(&format!(" {{{}+}}\r\n{word}", word.len())),
            None => {
                lines[last].push_str(&format!(" {{{}}}", word.len()));
                lines.push(word.to_owned());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_waits_with_a_literal_only_where_it_must() {
        let lines =
            |words, offered: &[&str]| login_lines(words, &offered.iter().copied().collect());
        assert_eq!(lines(["u", "p"], &["LITERAL+"]), [r#"LOGIN "u" "p""#]);
        assert_eq!(
            lines(["u", "pä"], &["LITERAL-"]),
            ["LOGIN \"u\" {3+}\r\npä"]
        );
        assert_eq!(lines(["ü", "pä"], &[]), ["LOGIN {2}", "ü {3}", "pä"]);
        assert_eq!(lines(["ü", "p"], &[]), ["LOGIN {2}", "ü \"p\""]);
        let long = "ä".repeat(2_049);
        assert_eq!(
            lines(["u", &long], &["LITERAL-"]),
            [r#"LOGIN "u" {4098}"#, &long]
        );
    }
}
