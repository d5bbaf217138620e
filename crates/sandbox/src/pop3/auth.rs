//! Who signs in: AUTH in one line or two, and USER with PASS.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::SystemTime;
use wire::lines::LineError;

use super::{LINE_CAP, Maildrop, Session};
use crate::sign_in::{self, Presented};

const REFUSED: &str = "-ERR [AUTH] the credentials were refused";

impl Session {
    /// AUTH (RFC 5034), with the initial response or after a `+`.
    pub(super) async fn auth(&mut self, arguments: &str) -> Result<(), LineError> {
        let (mechanism, initial) = match arguments.split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial.as_bytes().to_vec())),
            None => (arguments, None),
        };
        let mechanism = mechanism.to_ascii_uppercase();
        let offered = self.shared.with(|state| state.features.mechanisms.clone());
        if !offered.iter().any(|name| *name == mechanism) {
            self.say("-ERR this mechanism is not offered");
            return Ok(());
        }
        let presented = if mechanism == "LOGIN" {
            let user = self.ask("VXNlcm5hbWU6").await?;
            let password = self.ask("UGFzc3dvcmQ6").await?;
            let text = |base64: Vec<u8>| String::from_utf8(STANDARD.decode(base64).ok()?).ok();
            text(user)
                .zip(text(password))
                .map(|(user, password)| Presented::password(&user, &password))
        } else {
            let payload = match initial {
                Some(payload) => payload,
                None => self.ask("").await?,
            };
            sign_in::present(&mechanism, &payload)
        };
        if !self.sign_in(presented) {
            if let Some(challenge) = sign_in::error_challenge(&mechanism) {
                // The client's answer is empty or `AQ==`; either way the refusal follows.
                self.ask(&challenge).await?;
            }
            self.say(REFUSED);
        }
        Ok(())
    }

    pub(super) fn pass(&mut self, password: &str) {
        let Some(user) = self.user.take() else {
            self.say("-ERR USER first");
            return;
        };
        if !self.sign_in(Some(Presented::password(&user, password))) {
            self.say(REFUSED);
        }
    }

    /// Opens the maildrop, or says that somebody else has it; false: the credentials are not right.
    fn sign_in(&mut self, presented: Option<Presented>) -> bool {
        let checked = self
            .shared
            .with(|state| sign_in::check(state, presented, SystemTime::now()));
        let Some(signed_in) = checked else {
            return false;
        };
        self.maildrop = Maildrop::open(&self.shared, &signed_in.user);
        if self.maildrop.is_some() {
            self.shared.with(|state| state.counts.pop3_sign_ins += 1);
            self.say("+OK signed in");
        } else {
            self.say("-ERR [IN-USE] another session has the maildrop");
        }
        true
    }

    /// A continuation, and the client's line.
    async fn ask(&mut self, challenge: &str) -> Result<Vec<u8>, LineError> {
        self.say(&format!("+ {challenge}"));
        self.flush().await?;
        Ok(self.lines.line(LINE_CAP).await?.bytes)
    }
}
