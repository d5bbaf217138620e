//! From nothing to a signed-in connection: dial, greeting, capabilities, STARTTLS, SASL or LOGIN.

mod exchange;

use std::time::Duration;

use imap_proto::{Capability, Response};
use token_store::Credential;
use token_store::accounts::{Mailbox, Sasl};
use wire::dial::{self, Tls, Trust};
use wire::sasl::{self, Mechanism};

use super::capabilities::Capabilities;
use super::connection::{Connection, Socket};
use crate::credential::{DIAL, dialled, refused, replies, target};
use crate::error::FetchError;

use self::exchange::{Exchange, login};

/// Bounds the wait for each response. A piece of a body (512 KiB) must arrive within it, so that 9 KB a second is enough.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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
    let mut capabilities = connection.greeting(Capabilities::from_response).await?;
    if target.tls == Tls::StartTls {
        let offered = match capabilities.take() {
            Some(known) => known,
            None => ask(&mut connection).await?,
        };
        if !offered.has("STARTTLS") {
            return Err(FetchError::Blocked(format!(
                "{} does not offer STARTTLS on port {}",
                target.host, target.port
            )));
        }
        connection.run("STARTTLS", "STARTTLS", |_| {}).await?;
        let stream = connection
            .into_stream()?
            .start_tls(&target.host, &trust, DIAL)
            .await
            .map_err(dialled)?;
        // What was said before TLS may have come from anybody: nothing of it is kept.
        connection = Connection::new(stream, patience);
    }
    let capabilities = match capabilities {
        Some(known) => known,
        None => ask(&mut connection).await?,
    };
    Ok((connection, capabilities))
}

pub(super) async fn ask(
    connection: &mut Connection<impl Socket>,
) -> Result<Capabilities, FetchError> {
    let mut found = Capabilities::default();
    let keep = |response: &Response<'_>| {
        if let Some(told) = Capabilities::from_response(response) {
            found = told;
        }
    };
    connection.run("CAPABILITY", "CAPABILITY", keep).await?;
    Ok(found)
}

/// How a credential is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Sasl(Mechanism),
    /// The LOGIN command (RFC 9051 section 6.2.3).
    Command,
}

/// Picks the way by the credential, the configuration and what is offered; the error says what is missing.
fn way(configured: Sasl, capabilities: &Capabilities, bearer: bool) -> Result<Way, FetchError> {
    let explicit = match configured {
        Sasl::Auto => None,
        Sasl::Xoauth2 => Some(Mechanism::Xoauth2),
        Sasl::Oauthbearer => Some(Mechanism::Oauthbearer),
        Sasl::Plain => Some(Mechanism::Plain),
        Sasl::Login => Some(Mechanism::Login),
    };
    let login_command = !bearer
        && !capabilities.has("LOGINDISABLED")
        && matches!(explicit, None | Some(Mechanism::Login));
    match sasl::choose(explicit, capabilities.mechanisms(), bearer) {
        Some(Mechanism::Login) if login_command => Ok(Way::Command),
        Some(mechanism) => Ok(Way::Sasl(mechanism)),
        None if login_command => Ok(Way::Command),
        None => {
            let wanted = explicit.map_or(
                if bearer {
                    "XOAUTH2 or OAUTHBEARER"
                } else {
                    "PLAIN or LOGIN"
                },
                Mechanism::name,
            );
            let disabled = if capabilities.has("LOGINDISABLED") {
                ", and LOGIN is disabled"
            } else {
                ""
            };
            let offered = capabilities.mechanisms().collect::<Vec<_>>().join(" ");
            let offered = wire::printable(offered.as_bytes());
            Err(FetchError::Blocked(format!(
                "the server offers no way to sign in that fits this mailbox: it wants {wanted}, offered is `{offered}`{disabled}"
            )))
        }
    }
}

/// Signs in, and gives the capabilities that hold from then on.
pub(crate) async fn sign_in(
    connection: &mut Connection<impl Socket>,
    capabilities: &Capabilities,
    mailbox: &Mailbox,
    credential: &Credential,
) -> Result<Capabilities, FetchError> {
    let bearer = matches!(credential, Credential::Bearer(_));
    let mut told = None;
    let (result, challenge) = match way(mailbox.sasl, capabilities, bearer)? {
        Way::Sasl(mechanism) => {
            let replies = replies(mechanism, mailbox, credential)?;
            let mut exchange = Exchange {
                mechanism,
                replies,
                challenge: None,
            };
            let result = exchange
                .run(connection, capabilities.has("SASL-IR"), &mut told)
                .await;
            (result, exchange.challenge)
        }
        Way::Command => (
            login(connection, capabilities, mailbox, credential, &mut told).await,
            None,
        ),
    };
    match result {
        Ok(()) => {}
        Err(e) => return Err(refused(e.refused()?, challenge, &mailbox.user, credential)),
    }
    let capabilities = match told {
        Some(capabilities) => capabilities,
        None => ask(connection).await?,
    };
    // A server that tells nothing is tried all the same.
    if !capabilities.words().is_empty()
        && !capabilities.has("IMAP4REV1")
        && !capabilities.has("IMAP4REV2")
    {
        return Err(FetchError::Blocked(format!(
            "the server speaks neither IMAP4rev1 nor IMAP4rev2: it offers `{}`",
            capabilities.words()
        )));
    }
    Ok(capabilities)
}

/// What is agreed on after the sign-in, where the server offers it: UTF-8, and who we are. A refusal changes nothing.
pub(crate) async fn introduce(
    connection: &mut Connection<impl Socket>,
    capabilities: &Capabilities,
) -> Result<(), FetchError> {
    // Some providers let nobody select a folder before they know who it is (RFC 2971).
    let who = concat!(
        r#"ID ("name" "Postern" "version" ""#,
        env!("CARGO_PKG_VERSION"),
        r#"")"#
    );
    let mut enabled = false;
    let each = |response: &Response<'_>| {
        let Response::Capabilities(words) = response else {
            return;
        };
        enabled |= words.iter().any(|word| {
            matches!(word, Capability::Atom(name) if name.eq_ignore_ascii_case("UTF8=ACCEPT"))
        });
    };
    let (utf8, id) = (("ENABLE", "ENABLE UTF8=ACCEPT"), ("ID", who));
    let answers = match (capabilities.offers_utf8(), capabilities.has("ID")) {
        (true, true) => connection.run_both([utf8, id], each).await?.to_vec(),
        (true, false) => vec![connection.try_run(utf8, each).await?],
        (false, true) => vec![connection.try_run(id, each).await?],
        (false, false) => Vec::new(),
    };
    for refusal in answers.into_iter().filter_map(Result::err) {
        tracing::debug!("{refusal}");
    }
    connection.utf8 = capabilities.rev2_only() || enabled;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(words: &[&str]) -> Capabilities {
        words.iter().copied().collect()
    }

    #[test]
    fn a_password_goes_by_plain_else_by_the_login_command() {
        let way = |words: &[&str]| way(Sasl::Auto, &offers(words), false);
        assert_eq!(
            way(&["AUTH=PLAIN", "AUTH=LOGIN"]).unwrap(),
            Way::Sasl(Mechanism::Plain)
        );
        assert_eq!(way(&["AUTH=LOGIN"]).unwrap(), Way::Command);
        assert_eq!(way(&[]).unwrap(), Way::Command);
    }

    #[test]
    fn logindisabled_is_obeyed() {
        let Err(FetchError::Blocked(why)) = way(Sasl::Auto, &offers(&["LOGINDISABLED"]), false)
        else {
            panic!()
        };
        assert!(why.contains("LOGIN is disabled"), "{why}");
        assert_eq!(
            way(
                Sasl::Login,
                &offers(&["LOGINDISABLED", "AUTH=LOGIN"]),
                false
            )
            .unwrap(),
            Way::Sasl(Mechanism::Login)
        );
    }

    #[test]
    fn a_token_never_goes_by_a_password_mechanism() {
        for configured in [Sasl::Auto, Sasl::Plain, Sasl::Login] {
            assert!(matches!(
                way(configured, &offers(&["AUTH=PLAIN", "AUTH=LOGIN"]), true),
                Err(FetchError::Blocked(_))
            ));
        }
    }
}
