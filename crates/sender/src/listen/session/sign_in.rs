//! What a client needs before it may send: TLS (RFC 3207) and a user (RFC 4954).
use super::{BARE_LINE, Heard, LONG_LINE, Next, STOPPING, Session};
use crate::listen::command::{Auth, Mail, Mechanism, NOT_OFFERED, PARAMETER};
use crate::listen::door::Offer;
use crate::listen::guests::Guests;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use token_store::submitters::Submitter;
use token_store::{Secret, Store, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};
use wire::lines::LineError;
use wire::{printable, sasl::given};

/// RFC 4954 section 4: the longest line of an exchange.
const ANSWER_LINE: usize = 12_288;
/// Failed sign-ins before the connection is closed.
const FAILURES: u32 = 3;
const ABORTED: &str = "501 5.7.0 The sign-in was aborted";
const NOT_BASE64: &str = "501 5.5.2 That is not base64 of a text";
const REFUSED: &str = "535 5.7.8 User name or password is wrong";
const TLS_FIRST: &str = "530 5.7.0 Say STARTTLS first";
const SIGN_IN_FIRST: &str = "530 5.7.0 Sign in first, with AUTH";

/// What came of an exchange.
enum Answer {
    Given(Secret),
    /// The reply that ends it.
    Fault(&'static str),
    /// The session is over, and the client is told why.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn offers_starttls(&self) -> bool {
        matches!(self.shared.door.tls, Offer::Starttls(_)) && !self.client.is_under_tls
    }

    pub(super) fn offers_sign_in(&self) -> bool {
        self.shared.door.sign_in && !self.needs_tls()
    }

    /// On this machine nobody listens in who could not read the files as well.
    fn needs_tls(&self) -> bool {
        self.shared.door.is_public && !self.client.is_under_tls
    }

    /// Whether the client has yet to sign in.
    pub(super) fn is_stranger(&self) -> bool {
        self.shared.door.sign_in && self.client.user.is_none()
    }

    /// When the session has lasted too long.
    pub(super) fn over(&self) -> Instant {
        let limits = &self.shared.limits;
        self.client.since
            + match self.is_stranger() {
                true => limits.sign_in_timeout.min(limits.session_timeout),
                false => limits.session_timeout,
            }
    }

    /// A user who was removed or changed meanwhile signs in again.
    fn look_again(&mut self) -> Result<(), StoreError> {
        let (Some(user), Some(users)) = (&self.client.user, &self.shared.users) else {
            return Ok(());
        };
        if !users.is_unchanged(user)? {
            self.client.user = None;
        }
        Ok(())
    }

    pub(super) fn start_tls(&mut self) -> Next {
        if !self.offers_starttls() {
            self.fault(match self.client.is_under_tls {
                true => "503 5.5.1 TLS is on already",
                false => NOT_OFFERED,
            });
            return Next::Command;
        }
        // What somebody on the way has put there would be taken for the client's own words afterwards.
        if !self.lines.buffered().is_empty() {
            warn!(peer = %self.client.peer, "something followed STARTTLS before TLS had begun; the connection was closed");
            self.fault("554 5.5.1 Nothing may follow STARTTLS before TLS has begun");
            return Next::Close;
        }
        self.reply("220 2.0.0 Begin TLS");
        Next::StartTls
    }

    /// Why this client may not begin this message.
    pub(super) fn may_not_send(&mut self, mail: &Mail) -> Option<String> {
        if self.needs_tls() {
            return Some(TLS_FIRST.to_owned());
        }
        if let Err(error) = self.look_again() {
            warn!(peer = %self.client.peer, %error, "a user could not be looked up");
            return Some("451 4.3.0 The users cannot be read now, try again later".to_owned());
        }
        if self.is_stranger() {
            return Some(SIGN_IN_FIRST.to_owned());
        }
        if mail.names_author && !self.shared.door.sign_in {
            return Some(PARAMETER.to_owned());
        }
        // A null sender is decided by the header's From, at the end of the message.
        match mail.sender.as_str() {
            "" => None,
            sender => self.is_not_theirs(sender),
        }
    }

    /// The reply when the user may not send as an address.
    pub(super) fn is_not_theirs(&self, address: &str) -> Option<String> {
        let user = self.client.user.as_ref()?;
        if user.may_send_as(address) {
            return None;
        }
        let (name, address) = (
            printable(user.name.as_bytes()),
            printable(address.as_bytes()),
        );
        warn!(peer = %self.client.peer, user = %name, sender = %address, "a user may not send as this sender");
        Some(format!(
            "553 5.7.1 The user {name} may not send as <{address}>"
        ))
    }

    /// One exchange. Break: the session is over.
    pub(super) async fn sign_in(&mut self, auth: Auth) -> Result<ControlFlow<()>, LineError> {
        let shared = Arc::clone(&self.shared);
        let Some(users) = self.is_ready_for_sign_in(shared.users.as_ref()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let (user, password) = match self.exchange(auth).await? {
            Ok(given) => given,
            Err(Answer::Fault(reply)) => {
                self.fault(reply);
                return Ok(ControlFlow::Continue(()));
            }
            Err(_) => return Ok(ControlFlow::Break(())),
        };
        let over = self.over();
        let checked = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => {
                self.reply(STOPPING);
                return Ok(ControlFlow::Break(()));
            }
            // Whoever guesses waits for a turn, and holds no place meanwhile for longer than any stranger.
            () = sleep_until(over) => {
                self.reply("421 4.7.0 Nobody has signed in for too long");
                return Ok(ControlFlow::Break(()));
            }
            checked = check(&shared.guests, self.client.address, users, &user, password) => checked,
        };
        Ok(self.checked(&user, checked))
    }

    /// The users, if this is the moment to ask for one.
    fn is_ready_for_sign_in<'a>(&mut self, users: Option<&'a Store>) -> Option<&'a Store> {
        let is_extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        let fault = if !self.shared.door.sign_in || users.is_none() {
            NOT_OFFERED
        } else if self.needs_tls() {
            "538 5.7.11 A password is taken under TLS only: say STARTTLS first"
        } else if !is_extended {
            "503 5.5.1 Say EHLO first"
        } else if self.client.user.is_some() {
            "503 5.5.1 You have signed in already"
        } else if self.envelope.is_some() {
            "503 5.5.1 AUTH comes before MAIL"
        } else {
            return users;
        };
        self.fault(fault);
        None
    }

    /// User and password, asked for where the client has not given them with its command.
    async fn exchange(
        &mut self,
        auth: Auth,
    ) -> Result<Result<(String, Secret), Answer>, LineError> {
        let first = match (auth.mechanism, auth.initial) {
            (_, Some(initial)) => decoded(initial.expose()),
            (Mechanism::Plain, None) => self.ask("").await?,
            (Mechanism::Login, None) => self.ask("VXNlcm5hbWU6").await?,
        };
        let first = match first {
            Answer::Given(first) => first,
            other => return Ok(Err(other)),
        };
        if auth.mechanism == Mechanism::Plain {
            let given = given::plain(first.expose());
            let given = given.map(|(user, password)| (user.to_owned(), Secret::new(password)));
            return Ok(given.ok_or(Answer::Fault(REFUSED)));
        }
        Ok(match self.ask("UGFzc3dvcmQ6").await? {
            Answer::Given(password) => Ok((first.expose().to_owned(), password)),
            other => Err(other),
        })
    }

    /// A question in base64, and its answer.
    async fn ask(&mut self, question: &str) -> Result<Answer, LineError> {
        self.reply(&format!("334 {question}"));
        Ok(match self.next_line(ANSWER_LINE).await? {
            Heard::Line(line) if !line.crlf => Answer::Fault(BARE_LINE),
            Heard::Line(line) if line.bytes == b"*" => Answer::Fault(ABORTED),
            Heard::Line(line) => {
                let text = String::from_utf8(line.bytes).map(Secret::new);
                text.map_or(Answer::Fault(NOT_BASE64), |text| decoded(text.expose()))
            }
            Heard::TooLong => {
                self.lines.skip_line(super::SKIPPED_LINE).await?;
                Answer::Fault(LONG_LINE)
            }
            Heard::Over => Answer::Over,
        })
    }

    fn checked(
        &mut self,
        user: &str,
        checked: Result<Option<Submitter>, StoreError>,
    ) -> ControlFlow<()> {
        let name = printable(user.as_bytes());
        match checked {
            Ok(Some(submitter)) => {
                info!(peer = %self.client.peer, user = %name, "a submission client has signed in");
                self.client.user = Some(submitter);
                self.reply("235 2.7.0 Welcome");
                return ControlFlow::Continue(());
            }
            Ok(None) => {
                warn!(peer = %self.client.peer, user = %name, "a submission client gave a wrong user name or password");
                self.fault(REFUSED);
            }
            Err(error) => {
                warn!(peer = %self.client.peer, user = %name, %error, "a password could not be checked");
                self.reply("454 4.7.0 The password cannot be checked now, try again later");
                return ControlFlow::Continue(());
            }
        }
        self.client.failures += 1;
        if self.client.failures < FAILURES {
            return ControlFlow::Continue(());
        }
        self.reply("421 4.7.0 Too many failed sign-ins");
        ControlFlow::Break(())
    }
}

/// One password at a time from one address, slower after each that was wrong; one that was right a while ago at once.
async fn check(
    guests: &Guests,
    from: Option<IpAddr>,
    users: &Store,
    user: &str,
    password: Secret,
) -> Result<Option<Submitter>, StoreError> {
    if let Some(known) = users.remembered_submitter(user, &password)? {
        return Ok(Some(known));
    }
    let guesser = guests.guesser(from, Instant::now());
    let _turn = guesser.turn().await;
    if let Some(known) = users.remembered_submitter(user, &password)? {
        return Ok(Some(known));
    }
    sleep(guesser.pause(Instant::now())).await;
    let found = users.sign_in_submitter(user, password).await?;
    guesser.note(found.is_some(), Instant::now());
    Ok(found)
}

fn decoded(answer: &str) -> Answer {
    let text = given::decoded(answer);
    text.map_or(Answer::Fault(NOT_BASE64), |text| {
        Answer::Given(Secret::new(text))
    })
}
