//! From nothing to a signed-in connection: dial, greeting, CAPA, STLS, and AUTH or USER with PASS.

use std::collections::VecDeque;
use std::time::Duration;

use token_store::Credential;
use token_store::accounts::{Mailbox, Sasl};
use tokio::io::{AsyncRead, AsyncWrite};
use wire::dial::{self, Tls, Trust};
use wire::sasl::{self, ErrorChallenge, Mechanism};

use super::capabilities::Capabilities;
use super::connection::Connection;
use super::reply::Reply;
use crate::credential::{DIAL, dialled, refused, replies, target};
use crate::error::{FetchError, Refusal};
use crate::refusal::meaning;

/// Longest AUTH line with an initial response, CRLF included (RFC 5034 section 4: then it goes after the `+`).
const AUTH_LINE: usize = 255;
/// Error challenges answered in one exchange; an honest server sends one.
const CHALLENGES: usize = 3;

/// Connects up to the point where credentials may be sent: greeting read, TLS up, capabilities known.
pub(crate) async fn connect(
    mailbox: &Mailbox,
    patience: Duration,
) -> Result<(Connection, Capabilities), FetchError> {
    let target = target(mailbox);
    if target.tls == Tls::None && !dial::is_loopback(&target.host) {
        return Err(FetchError::Blocked(format!(
            "{} would be reached without TLS, which is for this machine only",
            target.host
        )));
    }
    let trust = Trust::new(mailbox.tls_ca_file.as_deref()).map_err(dialled)?;
    let stream = dial::connect(&target, &trust, DIAL)
        .await
        .map_err(dialled)?;
    let mut connection = Connection::new(stream, patience);
    connection.ok("the connection").await?;
    if target.tls == Tls::StartTls {
        let offered = capabilities(&mut connection).await?;
        // A server that has no CAPA may have STLS all the same.
        if offered.told && !offered.has("STLS") {
            return Err(FetchError::Blocked(format!(
                "{} does not offer STLS on port {}",
                target.host, target.port
            )));
        }
        connection.ask("STLS", "STLS").await?;
        let stream = connection
            .into_stream()?
            .start_tls(&target.host, &trust, DIAL)
            .await
            .map_err(dialled)?;
        connection = Connection::new(stream, patience);
    }
    // What was said before TLS may have come from anybody: it is asked again.
    let offered = capabilities(&mut connection).await?;
    Ok((connection, offered))
}

/// CAPA; a server that refuses it has none to tell.
pub(super) async fn capabilities<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
) -> Result<Capabilities, FetchError> {
    let mut found = Capabilities::default();
    match connection.ask("CAPA", "CAPA").await {
        Ok(_) => {}
        Err(FetchError::Refused(_)) => return Ok(found),
        Err(e) => return Err(e),
    }
    found.told = true;
    connection.rows("CAPA", |line| found.add(line)).await?;
    Ok(found)
}

/// How a credential is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Sasl(Mechanism),
    /// USER and PASS (RFC 1939 section 7).
    Commands,
}

/// Picks the way by the credential, the configuration and what is offered; the error says what is missing.
fn way(configured: Sasl, offered: &Capabilities, bearer: bool) -> Result<Way, FetchError> {
    let explicit = match configured {
        Sasl::Auto => None,
        Sasl::Xoauth2 => Some(Mechanism::Xoauth2),
        Sasl::Oauthbearer => Some(Mechanism::Oauthbearer),
        Sasl::Plain => Some(Mechanism::Plain),
        Sasl::Login => Some(Mechanism::Login),
    };
    let listed = offered.mechanisms().next().is_some();
    let commands = !bearer
        && (offered.has("USER") || !offered.told)
        && matches!(explicit, None | Some(Mechanism::Login));
    match sasl::choose(explicit, offered.mechanisms(), bearer) {
        Some(Mechanism::Login) if commands => Ok(Way::Commands),
        Some(mechanism) => Ok(Way::Sasl(mechanism)),
        None if commands => Ok(Way::Commands),
        // A server that lists nothing is asked for what is wanted; its answer is as good as a list.
        None if !listed && (bearer || explicit.is_some()) => {
            let usual = if bearer {
                Mechanism::Xoauth2
            } else {
                Mechanism::Plain
            };
            let wanted = explicit.unwrap_or(usual);
            if wanted.is_bearer() == bearer {
                Ok(Way::Sasl(wanted))
            } else {
                Err(no_way(explicit, offered, bearer))
            }
        }
        None => Err(no_way(explicit, offered, bearer)),
    }
}

fn no_way(explicit: Option<Mechanism>, offered: &Capabilities, bearer: bool) -> FetchError {
    let usual = if bearer {
        "XOAUTH2 or OAUTHBEARER"
    } else {
        "PLAIN, LOGIN or USER"
    };
    let wanted = explicit.map_or(usual, Mechanism::name);
    FetchError::Blocked(format!(
        "the server offers no way to sign in that fits this mailbox: it wants {wanted}, offered is `{}`",
        offered.words()
    ))
}

/// Signs in, and gives the capabilities that hold from then on.
pub(crate) async fn sign_in<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    offered: &Capabilities,
    mailbox: &Mailbox,
    credential: &Credential,
) -> Result<Capabilities, FetchError> {
    let bearer = matches!(credential, Credential::Bearer(_));
    let mut challenge = None;
    let result = match way(mailbox.sasl, offered, bearer)? {
        Way::Sasl(mechanism) => {
            let replies = replies(mechanism, mailbox, credential)?;
            let two_lines = mailbox.pop3_two_line_auth;
            auth(connection, mechanism, replies, two_lines, &mut challenge).await
        }
        Way::Commands => user_and_pass(connection, mailbox, credential).await,
    };
    if let Err(refusal) = result? {
        return Err(blamed(refusal, challenge, offered, mailbox, credential));
    }
    // Some servers tell more, or other, once they know whom they talk to (RFC 2449 section 5).
    match offered.told {
        true => capabilities(connection).await,
        false => Ok(Capabilities::default()),
    }
}

/// What a refused sign-in means: the credential is to blame, unless the server says that it is something else (RFC 2449, RFC 3206).
fn blamed(
    refusal: Refusal,
    challenge: Option<ErrorChallenge>,
    offered: &Capabilities,
    mailbox: &Mailbox,
    credential: &Credential,
) -> FetchError {
    match refusal.code.as_deref() {
        Some("LOGIN-DELAY") => FetchError::Patience {
            why: refusal.to_string(),
            after: offered.login_delay(),
        },
        Some("SYS/PERM") => FetchError::Denied(format!(
            "{refusal}. The credential is not to blame: see at the provider that {} may use POP3",
            mailbox.user
        )),
        _ => match meaning(refusal) {
            FetchError::Refused(refusal) => refused(refusal, challenge, &mailbox.user, credential),
            other => other,
        },
    }
}

/// USER and PASS; Ok(Err): the server refused one of them.
async fn user_and_pass<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    mailbox: &Mailbox,
    credential: &Credential,
) -> Result<Result<(), Refusal>, FetchError> {
    let Credential::Password(password) = credential else {
        return Err(FetchError::Blocked(
            "USER and PASS take a password, and this mailbox has a token".into(),
        ));
    };
    let said = [("USER", mailbox.user.as_str()), ("PASS", password.expose())];
    if said
        .iter()
        .any(|(_, text)| text.chars().any(char::is_control))
    {
        return Err(FetchError::Blocked(
            "the user name or the password contains a control character; nothing was sent".into(),
        ));
    }
    for (command, text) in said {
        connection
            .send(command, &format!("{command} {text}\r\n"))
            .await?;
        match connection.reply(command).await? {
            Reply::Ok(_) => {}
            Reply::Err(refusal) => return Ok(Err(refusal)),
            Reply::Go(_) => {
                return Err(FetchError::Again(format!(
                    "the server asked for more after {command}"
                )));
            }
        }
    }
    Ok(Ok(()))
}

/// One AUTH (RFC 5034); Ok(Err): the server refused. In two lines where the first answer is too long for one, the mechanism speaks second, or the provider wants it so.
async fn auth<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    mechanism: Mechanism,
    mut replies: VecDeque<String>,
    two_lines: bool,
    challenge: &mut Option<ErrorChallenge>,
) -> Result<Result<(), Refusal>, FetchError> {
    let name = mechanism.name();
    let one_line = |reply: &String| format!("AUTH {name} {reply}\r\n");
    let fits =
        |line: &String| !two_lines && mechanism != Mechanism::Login && line.len() <= AUTH_LINE;
    let mut sent_all = false;
    match replies.front().map(one_line).filter(fits) {
        Some(line) => {
            replies.pop_front();
            sent_all = true;
            connection.send("AUTH", &line).await?;
        }
        None => connection.send("AUTH", &format!("AUTH {name}\r\n")).await?,
    }
    let mut challenges = 0;
    loop {
        match connection.reply("AUTH").await? {
            Reply::Ok(_) => return Ok(Ok(())),
            // Refused before anything was presented: this server wants it in one line, however long.
            Reply::Err(refusal)
                if !sent_all && refusal.code.is_none() && mechanism != Mechanism::Login =>
            {
                let Some(reply) = replies.pop_front() else {
                    return Ok(Err(refusal));
                };
                sent_all = true;
                connection.send("AUTH", &one_line(&reply)).await?;
            }
            Reply::Err(refusal) => return Ok(Err(refusal)),
            Reply::Go(text) => match replies.pop_front() {
                Some(reply) => {
                    sent_all = true;
                    connection.send("AUTH", &format!("{reply}\r\n")).await?;
                }
                // All was said: this is the error challenge, and the answer to it brings the -ERR (RFC 7628 section 3.2.3).
                None if challenges < CHALLENGES => {
                    challenges += 1;
                    *challenge = Some(sasl::error_challenge(&text));
                    let answer = format!("{}\r\n", sasl::error_answer(mechanism));
                    connection.send("AUTH", &answer).await?;
                }
                None => {
                    return Err(FetchError::Again(
                        "the server keeps asking instead of answering AUTH".into(),
                    ));
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(lines: &[&str]) -> Capabilities {
        let mut offered = Capabilities::default();
        offered.told = true;
        lines.iter().for_each(|line| offered.add(line.as_bytes()));
        offered
    }

    #[test]
    fn a_password_goes_by_plain_else_by_user_and_pass_else_by_login() {
        let way = |lines: &[&str]| way(Sasl::Auto, &offers(lines), false);
        assert_eq!(
            way(&["USER", "SASL LOGIN PLAIN"]).unwrap(),
            Way::Sasl(Mechanism::Plain)
        );
        assert_eq!(way(&["USER", "SASL LOGIN"]).unwrap(), Way::Commands);
        assert_eq!(way(&["SASL LOGIN"]).unwrap(), Way::Sasl(Mechanism::Login));
        assert!(matches!(
            way(&["SASL XOAUTH2", "TOP"]),
            Err(FetchError::Blocked(_))
        ));
        assert!(matches!(way(&["TOP"]), Err(FetchError::Blocked(_))));
    }

    #[test]
    fn a_server_without_capa_is_tried_with_what_is_usual() {
        let silent = Capabilities::default();
        assert_eq!(way(Sasl::Auto, &silent, false).unwrap(), Way::Commands);
        assert_eq!(
            way(Sasl::Plain, &silent, false).unwrap(),
            Way::Sasl(Mechanism::Plain)
        );
        assert_eq!(
            way(Sasl::Auto, &silent, true).unwrap(),
            Way::Sasl(Mechanism::Xoauth2)
        );
        assert_eq!(
            way(Sasl::Oauthbearer, &silent, true).unwrap(),
            Way::Sasl(Mechanism::Oauthbearer)
        );
    }

    #[test]
    fn a_token_never_goes_by_a_password_mechanism() {
        for configured in [Sasl::Auto, Sasl::Plain, Sasl::Login] {
            let offered = offers(&["USER", "SASL PLAIN LOGIN"]);
            assert!(matches!(
                way(configured, &offered, true),
                Err(FetchError::Blocked(_))
            ));
        }
        assert!(way(Sasl::Plain, &Capabilities::default(), true).is_err());
    }
}
