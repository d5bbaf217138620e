//! Codes, refresh tokens and access tokens: who was granted what, and what a used one means.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::knobs::Knobs;

/// A code must be used within this time (RFC 6749 section 4.1.2 asks for at most ten minutes).
const CODE_LIFE: Duration = Duration::from_secs(60);
/// Expired access tokens, and codes, are swept when a table holds this many, so that it never grows without end.
const SWEEP_AT: usize = 1024;
/// Used refresh tokens that a family remembers; an older one is as refused as an unknown one.
const USED_KEPT: usize = 256;

/// A refresh token's descent: all tokens that came from one consent.
#[derive(Debug)]
struct Family {
    user: String,
    revoked: bool,
    used: Vec<String>,
}

#[derive(Debug)]
struct Refresh {
    family: u64,
    used: bool,
}

#[derive(Debug)]
struct Code {
    user: String,
    redirect_uri: String,
    challenge: Option<String>,
    expires: SystemTime,
    /// The family that came of it; a second use revokes that.
    family: Option<u64>,
}

/// What an access token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// None: the client itself (client credentials), which may open every mailbox.
    pub(crate) user: Option<String>,
    pub(crate) expires: SystemTime,
    family: Option<u64>,
}

/// A good answer of the token endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
}

/// Why a grant was refused, in words for `error_description`; the `error` is `invalid_grant`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotGranted {
    /// With words made for this one.
    Spoken(String),
    /// A refresh token that was used before.
    Reused,
    /// Everything else.
    Invalid(&'static str),
}

impl NotGranted {
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Spoken(words) => words,
            Self::Reused => {
                "the refresh token was used before; all tokens of its sign-in are revoked"
            }
            Self::Invalid(why) => why,
        }
    }
}

/// Every grant the provider knows of.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    codes: HashMap<String, Code>,
    families: HashMap<u64, Family>,
    refresh: HashMap<String, Refresh>,
    access: HashMap<String, Access>,
    last_family: u64,
}

impl Grants {
    /// A new consent of a user, with the refresh token that came of it.
    pub(crate) fn consent(&mut self, user: &str) -> String {
        let family = self.new_family(user);
        self.add_refresh(family, random_text())
    }

    /// A refresh token of the caller's choice, as if that user had consented.
    pub(crate) fn consent_as(&mut self, user: &str, refresh_token: &str) {
        let family = self.new_family(user);
        self.add_refresh(family, refresh_token.to_owned());
    }

    /// An access token out of thin air.
    pub(crate) fn issue(&mut self, user: Option<&str>, life: Duration, now: SystemTime) -> String {
        self.add_access(user.map(str::to_owned), None, life, now)
    }

    /// A new sign-in of a user, with both tokens.
    pub(crate) fn granted(&mut self, user: &str, knobs: &Knobs, now: SystemTime) -> Granted {
        let family = self.new_family(user);
        Granted {
            refresh_token: Some(self.add_refresh(family, random_text())),
            access_token: self.add_access(
                Some(user.to_owned()),
                Some(family),
                knobs.token_life,
                now,
            ),
        }
    }

    /// What the redirect carries back.
    pub(crate) fn code(
        &mut self,
        user: &str,
        redirect_uri: &str,
        challenge: Option<&str>,
        now: SystemTime,
    ) -> String {
        if self.codes.len() >= SWEEP_AT {
            self.codes.retain(|_, code| code.expires > now);
        }
        let text = random_text();
        let code = Code {
            user: user.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            challenge: challenge.map(str::to_owned),
            expires: now + CODE_LIFE,
            family: None,
        };
        self.codes.insert(text.clone(), code);
        text
    }

    /// `grant_type=authorization_code`, with the PKCE check of RFC 7636 section 4.6.
    pub(crate) fn exchange(
        &mut self,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&str>,
        knobs: &Knobs,
        now: SystemTime,
    ) -> Result<Granted, NotGranted> {
        let Some(known) = self.codes.get(code) else {
            return Err(NotGranted::Invalid("the code is unknown"));
        };
        if let Some(family) = known.family {
            self.revoke_family(family);
            return Err(NotGranted::Invalid(
                "the code was used before; what came of it is revoked",
            ));
        }
        if known.expires <= now {
            return Err(NotGranted::Invalid("the code has expired"));
        }
        if known.redirect_uri != redirect_uri {
            return Err(NotGranted::Invalid("the redirect_uri is another one"));
        }
        if let Some(challenge) = &known.challenge {
            let Some(verifier) = verifier else {
                return Err(NotGranted::Invalid("the code_verifier is missing"));
            };
            if challenge_of(verifier) != *challenge {
                return Err(NotGranted::Invalid("the code_verifier is wrong"));
            }
        }
        let user = known.user.clone();
        let family = self.new_family(&user);
        if let Some(code) = self.codes.get_mut(code) {
            code.family = Some(family);
        }
        Ok(Granted {
            refresh_token: Some(self.add_refresh(family, random_text())),
            access_token: self.add_access(Some(user), Some(family), knobs.token_life, now),
        })
    }

    /// `grant_type=refresh_token`, with rotation and, if asked for, punishment of a second use.
    pub(crate) fn refresh(
        &mut self,
        token: &str,
        knobs: &Knobs,
        now: SystemTime,
    ) -> Result<Granted, NotGranted> {
        let Some(known) = self.refresh.get_mut(token) else {
            return Err(NotGranted::Invalid("the refresh token is unknown"));
        };
        let family_id = known.family;
        if known.used && knobs.punish_reuse {
            self.revoke_family(family_id);
            return Err(NotGranted::Reused);
        }
        let Some(family) = self.families.get_mut(&family_id).filter(|f| !f.revoked) else {
            return Err(NotGranted::Invalid("the refresh token was revoked"));
        };
        let user = family.user.clone();
        let mut refresh_token = None;
        if knobs.rotate {
            if !std::mem::replace(&mut known.used, true) {
                family.used.push(token.to_owned());
            }
            if family.used.len() > USED_KEPT {
                self.refresh.remove(&family.used.remove(0));
            }
            refresh_token = Some(self.add_refresh(family_id, random_text()));
        }
        Ok(Granted {
            access_token: self.add_access(Some(user), Some(family_id), knobs.token_life, now),
            refresh_token,
        })
    }

    /// What an access token is good for now; None when it is unknown, expired or revoked.
    pub(crate) fn access(&self, token: &str, now: SystemTime) -> Option<&Access> {
        let access = self.access.get(token)?;
        let revoked = access
            .family
            .and_then(|family| self.families.get(&family))
            .is_some_and(|family| family.revoked);
        (access.expires > now && !revoked).then_some(access)
    }

    /// Every access token handed out so far is expired from now on; refresh tokens stay good.
    pub(crate) fn expire_access_tokens(&mut self) {
        self.access.clear();
    }

    /// A user takes every consent back.
    pub(crate) fn revoke(&mut self, user: &str) {
        for family in self.families.values_mut() {
            family.revoked |= family.user == user;
        }
    }

    /// The client takes a token back, and with it all that came of the same sign-in.
    pub(crate) fn revoke_token(&mut self, token: &str) {
        let of_refresh = self.refresh.get(token).map(|refresh| refresh.family);
        let of_access = self.access.remove(token).and_then(|access| access.family);
        if let Some(family) = of_refresh.or(of_access) {
            self.revoke_family(family);
        }
    }

    fn revoke_family(&mut self, family: u64) {
        if let Some(family) = self.families.get_mut(&family) {
            family.revoked = true;
        }
    }

    fn new_family(&mut self, user: &str) -> u64 {
        self.last_family += 1;
        let family = Family {
            user: user.to_owned(),
            revoked: false,
            used: Vec::new(),
        };
        self.families.insert(self.last_family, family);
        self.last_family
    }

    fn add_refresh(&mut self, family: u64, token: String) -> String {
        let refresh = Refresh {
            family,
            used: false,
        };
        self.refresh.insert(token.clone(), refresh);
        token
    }

    fn add_access(
        &mut self,
        user: Option<String>,
        family: Option<u64>,
        life: Duration,
        now: SystemTime,
    ) -> String {
        if self.access.len() >= SWEEP_AT {
            self.access.retain(|_, access| access.expires > now);
        }
        let token = random_text();
        let access = Access {
            user,
            expires: now + life,
            family,
        };
        self.access.insert(token.clone(), access);
        token
    }
}

/// The S256 challenge of a verifier (RFC 7636 section 4.2).
pub(crate) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// 256 random bits as text.
pub(crate) fn random_text() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes after boot");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLBACK: &str = "http://127.0.0.1:1/back";

    #[test]
    fn the_challenge_is_the_one_of_the_rfc() {
        // RFC 7636 appendix B.
        assert_eq!(
            challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn a_code_is_good_once_and_its_second_use_revokes_what_came_of_it() {
        let (mut grants, knobs, now) = (Grants::default(), Knobs::default(), SystemTime::now());
        let code = grants.code("u", CALLBACK, Some(&challenge_of("v")), now);
        let wrong = grants.exchange(&code, CALLBACK, Some("w"), &knobs, now);
        assert!(matches!(wrong, Err(NotGranted::Invalid(_))));
        let granted = grants
            .exchange(&code, CALLBACK, Some("v"), &knobs, now)
            .unwrap();
        assert!(grants.access(&granted.access_token, now).is_some());
        let again = grants.exchange(&code, CALLBACK, Some("v"), &knobs, now);
        assert!(matches!(again, Err(NotGranted::Invalid(_))));
        assert_eq!(grants.access(&granted.access_token, now), None);
        let refresh = granted.refresh_token.unwrap();
        assert!(grants.refresh(&refresh, &knobs, now).is_err());
    }

    #[test]
    fn a_code_is_bound_to_its_redirect_and_to_its_time() {
        let (mut grants, knobs, now) = (Grants::default(), Knobs::default(), SystemTime::now());
        let code = grants.code("u", CALLBACK, None, now);
        let elsewhere = grants.exchange(&code, "http://127.0.0.1:2/back", None, &knobs, now);
        assert!(elsewhere.is_err());
        let late = grants.exchange(&code, CALLBACK, None, &knobs, now + CODE_LIFE);
        assert!(late.is_err());
        assert!(grants.exchange(&code, CALLBACK, None, &knobs, now).is_ok());
    }

    #[test]
    fn a_used_refresh_token_revokes_its_family_when_reuse_is_punished() {
        let (mut grants, knobs, now) = (Grants::default(), Knobs::default(), SystemTime::now());
        let first = grants.consent("u");
        let granted = grants.refresh(&first, &knobs, now).unwrap();
        let second = granted.refresh_token.unwrap();
        assert_eq!(grants.refresh(&first, &knobs, now), Err(NotGranted::Reused));
        assert!(grants.refresh(&second, &knobs, now).is_err());
        assert_eq!(grants.access(&granted.access_token, now), None);
    }

    #[test]
    fn without_punishment_an_old_refresh_token_stays_good() {
        let (mut grants, now) = (Grants::default(), SystemTime::now());
        let knobs = Knobs {
            punish_reuse: false,
            ..Knobs::default()
        };
        let first = grants.consent("u");
        for _ in 0..3 {
            assert!(grants.refresh(&first, &knobs, now).is_ok());
        }
    }

    #[test]
    fn the_tables_do_not_grow_without_end() {
        let (mut grants, now) = (Grants::default(), SystemTime::now());
        let knobs = Knobs {
            token_life: Duration::from_secs(1),
            ..Knobs::default()
        };
        let mut token = grants.consent("u");
        for second in 0..5_000 {
            let now = now + Duration::from_secs(second);
            let granted = grants.refresh(&token, &knobs, now).unwrap();
            token = granted.refresh_token.unwrap();
        }
        assert!(grants.access.len() <= SWEEP_AT);
        assert!(grants.refresh.len() <= USED_KEPT + 2);
    }
}
