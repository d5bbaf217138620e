//! AUTH (RFC 4954) by what the server offers and the account has.
use super::{Client, ClientError, Stage};
use token_store::Credential;
use token_store::accounts::Sasl;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::sasl::{self, ErrorChallenge, Mechanism};
use wire::smtp::Reply;

/// Who signs in, where, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) user: &'a str,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) sasl: Sasl,
    pub(crate) credential: &'a Credential,
    /// The payload only after the server's 334 (Microsoft).
    pub(crate) no_initial_response: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Signs in. A refusal is [`ClientError::SignIn`] with everything the server said.
    pub(crate) async fn sign_in(&mut self, identity: Identity<'_>) -> Result<(), ClientError> {
        let mechanism = choose(identity, &self.offered.auth)?;
        let name = mechanism.name();
        let mut answers = payloads(mechanism, identity)?.into_iter();
        // LOGIN has no initial response.
        let with_command = !identity.no_initial_response && mechanism != Mechanism::Login;
        let command = match answers.as_slice() {
            [payload] if with_command => format!("AUTH {name} {payload}"),
            _ => format!("AUTH {name}"),
        };
        if with_command {
            answers.next();
        }
        let mut reply = self.ask(Stage::Auth, &command).await?;
        let mut challenge = None;
        loop {
            reply = match reply.code {
                235 if challenge.is_none() => return Ok(()),
                334 => match answers.next() {
                    Some(payload) => self.ask(Stage::Auth, &payload).await?,
                    // Everything was said: the server explains its refusal, and says it again as a reply after our answer.
                    None if challenge.is_none() => {
                        challenge = Some(Box::new(decode(&reply)));
                        self.ask(Stage::Auth, sasl::error_answer(mechanism)).await?
                    }
                    None => return Err(out_of_step(&reply)),
                },
                400..600 => {
                    return Err(ClientError::SignIn {
                        mechanism: name,
                        reply,
                        challenge,
                    });
                }
                _ => return Err(out_of_step(&reply)),
            };
        }
    }
}

fn out_of_step(reply: &Reply) -> ClientError {
    ClientError::Lost {
        stage: Stage::Auth,
        what: format!("the server is out of step: {reply}"),
    }
}

fn decode(reply: &Reply) -> ErrorChallenge {
    sasl::error_challenge(reply.text().trim())
}

fn choose(identity: Identity<'_>, offered: &[String]) -> Result<Mechanism, ClientError> {
    let explicit = match identity.sasl {
        Sasl::Auto => None,
        Sasl::Xoauth2 => Some(Mechanism::Xoauth2),
        Sasl::Oauthbearer => Some(Mechanism::Oauthbearer),
        Sasl::Plain => Some(Mechanism::Plain),
        Sasl::Login => Some(Mechanism::Login),
    };
    let bearer = matches!(identity.credential, Credential::Bearer(_));
    sasl::choose(explicit, offered.iter().map(String::as_str), bearer).ok_or_else(|| {
        let what = if bearer { "a token" } else { "a password" };
        ClientError::NoMechanism {
            offered: match offered {
                [] => "no AUTH at all".to_owned(),
                names => names.join(" "),
            },
            wanted: match explicit {
                None => what.to_owned(),
                Some(mechanism) => format!("{what} and asks for {}", mechanism.name()),
            },
        }
    })
}

/// What is said, in order.
fn payloads(mechanism: Mechanism, identity: Identity<'_>) -> Result<Vec<String>, ClientError> {
    let secret = match identity.credential {
        Credential::Password(password) => password.expose(),
        Credential::Bearer(token) => token.secret.expose(),
    };
    let Identity {
        user, host, port, ..
    } = identity;
    Ok(match mechanism {
        Mechanism::Xoauth2 => vec![sasl::xoauth2(user, secret)?],
        Mechanism::Oauthbearer => vec![sasl::oauthbearer(user, host, port, secret)?],
        Mechanism::Plain => vec![sasl::plain(user, secret)?],
        Mechanism::Login => vec![sasl::login(user)?, sasl::login(secret)?],
    })
}
