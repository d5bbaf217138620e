//! The device authorisation grant (RFC 8628): a code for a person, and asking whether it was entered.

use super::answer::{self, Answered, Names, seconds};
use super::body::{self, Body};
use super::form::{Ask, Form, finished, further_form, hide};
use super::http::Answer;
use super::verdict::{Grant, Trouble, Verdict, unanswered};
use super::{Exchange, assertion, one_line};
use crate::Secret;
use provider_template::{Entry, url_is_safe};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

/// Where the answer names no interval (RFC 8628 section 3.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// A server that asks for a longer pause means something else by the number.
const INTERVAL_CAP: Duration = Duration::from_secs(300);
/// `expires_in` must be there; where it is missing, as long as Google and Microsoft give at least.
const LIFE: Duration = Duration::from_secs(900);
/// Providers give half an hour at most.
const LIFE_CAP: Duration = Duration::from_secs(3600);

/// What a person enters where, and how long it is good.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) device_code: Secret,
    pub(crate) user_code: Secret,
    pub(crate) verification_uri: String,
    /// The same with the code in it.
    pub(crate) complete_uri: Option<Secret>,
    pub(crate) life: Duration,
    pub(crate) interval: Duration,
}

/// What the token endpoint says to the question whether the code was entered.
#[derive(Debug)]
pub(crate) enum Polled {
    Granted(Grant),
    /// Not yet.
    Pending,
    /// Not yet, and ask less often.
    SlowDown,
    /// No answer, or one that decides nothing; after this long at least.
    Later(Option<Duration>),
    /// It came to nothing, for good.
    Over(Trouble),
}

impl Exchange {
    /// Asks for a code.
    pub(crate) async fn begin_device(&self, entry: &Entry) -> Result<Started, Verdict> {
        let url = self
            .further_url(entry, |e| &e.device, |d| &d.device)
            .await?;
        let Some(url) = url else {
            return Err(Verdict::FixConfiguration(Trouble {
                words: format!(
                    "the token config {} has no endpoint for device codes",
                    entry.name
                ),
                advice:
                    "give the device endpoint, if the provider has one, or sign in in a browser"
                        .into(),
            }));
        };
        let signed = self.sign_client(entry).await?;
        let form = further_form(entry, &[("scope", &entry.config.scope)], &signed);
        let answer = self.http.post(url, &form).await.map_err(unanswered)?;
        match started(&answer) {
            Some(started) => Ok(started),
            None => Err(super::complaint(entry, answer, &form)),
        }
    }

    /// Asks once whether the code was entered.
    pub(crate) async fn poll_device(&self, entry: &Entry, device_code: &Secret) -> Polled {
        let ask = Ask::DeviceCode { device_code };
        let (answer, form, names) = match self.send(entry, ask).await {
            Ok(sent) => sent,
            Err(Verdict::FixConfiguration(trouble)) => return Polled::Over(trouble),
            Err(_) => return Polled::Later(None),
        };
        let retry_after = answer.retry_after;
        if let Some(polled) = told(&answer, &names, &form) {
            return polled;
        }
        match finished(entry, super::decide(answer, &names), &form) {
            Verdict::Granted(grant) => Polled::Granted(self.told(entry, grant)),
            Verdict::Retry { after, .. } => Polled::Later(after.or(retry_after)),
            Verdict::AskPerson(trouble) | Verdict::FixConfiguration(trouble) => {
                Polled::Over(trouble)
            }
        }
    }

    pub(super) async fn sign_client(&self, entry: &Entry) -> Result<assertion::Signed, Verdict> {
        if entry.config.postern.assertion.is_none() {
            return Ok(assertion::Signed::default());
        }
        let token_url = self.any_token_url(entry).await?;
        assertion::sign_client(entry, token_url.as_str(), SystemTime::now())
    }
}

/// What only the answers of this grant say (RFC 8628 section 3.5); None leaves the answer to the general rules.
pub(super) fn told(answer: &Answer, names: &Names<'_>, form: &Form) -> Option<Polled> {
    let read = answer::read(answer.status, &answer.body, names);
    let (Answered::Complaint(complaint), None) = (read, &answer.cut) else {
        return None;
    };
    Some(match complaint.error.as_str() {
        "authorization_pending" => Polled::Pending,
        "slow_down" => Polled::SlowDown,
        "expired_token" | "code_expired" => Polled::Over(expired()),
        // The second is Microsoft's.
        "access_denied" | "authorization_declined" => {
            let mut trouble = Trouble {
                words: complaint.words(answer.status),
                advice: "whoever entered the code refused; request the token again".into(),
            };
            hide(&mut trouble, form);
            Polled::Over(trouble)
        }
        _ => return None,
    })
}

/// Nobody entered the code in time.
pub(crate) fn expired() -> Trouble {
    Trouble {
        words: "the code was not entered in time".into(),
        advice: "request the token again, and enter the new code".into(),
    }
}

/// Reads the answer of the device endpoint; None when it holds no code.
pub(super) fn started(answer: &Answer) -> Option<Started> {
    let Body::Fields(map) = body::read(&answer.body) else {
        return None;
    };
    let text = |name: &str| map.get(name).and_then(Value::as_str).map(str::trim);
    // Google's draft spelling is still in use.
    let uri = |names: [&str; 2]| {
        let urls = names.into_iter().filter_map(text);
        urls.into_iter()
            .find(|url| url_is_safe(url))
            .map(str::to_owned)
    };
    let shown = text("user_code").filter(|code| !code.is_empty() && one_line(code) == **code);
    let (true, Some(user_code)) = ((200..300).contains(&answer.status), shown) else {
        return None;
    };
    Some(Started {
        device_code: Secret::new(text("device_code").filter(|code| !code.is_empty())?),
        user_code: Secret::new(user_code),
        verification_uri: uri(["verification_uri", "verification_url"])?,
        complete_uri: uri(["verification_uri_complete", "verification_url_complete"])
            .map(Secret::new),
        life: span(&map, "expires_in", LIFE).min(LIFE_CAP),
        interval: span(&map, "interval", INTERVAL).min(INTERVAL_CAP),
    })
}

fn span(map: &Map<String, Value>, name: &str, missing: Duration) -> Duration {
    map.get(name).and_then(seconds).unwrap_or(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<Started> {
        started(&Answer {
            status: 200,
            retry_after: None,
            redirect: None,
            body: body.into(),
            cut: None,
        })
    }

    #[test]
    fn a_code_is_read_with_its_dates_or_their_defaults() {
        let full = r#"{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://a.example/device",
            "verification_uri_complete":"https://a.example/device?c=WDJB-MJHT","expires_in":"1800","interval":7}"#;
        let full = read(full).unwrap();
        assert_eq!(full.device_code.expose(), "d");
        assert_eq!(full.user_code.expose(), "WDJB-MJHT");
        assert_eq!(full.life, Duration::from_secs(1800));
        assert_eq!(full.interval, Duration::from_secs(7));
        assert!(full.complete_uri.is_some());
        let google =
            r#"{"device_code":"d","user_code":"A","verification_url":"https://g.example/device"}"#;
        let google = read(google).unwrap();
        assert_eq!(google.verification_uri, "https://g.example/device");
        assert_eq!((google.life, google.interval), (LIFE, INTERVAL));
        assert!(google.complete_uri.is_none());
        let long = r#"{"device_code":"d","user_code":"A","verification_uri":"https://g.example","expires_in":1e12,"interval":1e12}"#;
        let long = read(long).unwrap();
        assert_eq!((long.life, long.interval), (LIFE_CAP, INTERVAL_CAP));
    }

    #[test]
    fn an_answer_that_leads_a_person_astray_is_none() {
        for body in [
            "",
            "<html>",
            r#"{"error":"invalid_client"}"#,
            r#"{"device_code":"","user_code":"A","verification_uri":"https://a.example"}"#,
            r#"{"device_code":"d","user_code":"A"}"#,
            r#"{"device_code":"d","user_code":"A","verification_uri":"javascript:alert(1)"}"#,
            r#"{"device_code":"d","user_code":"A","verification_uri":"http://a.example"}"#,
            r#"{"device_code":"d","user_code":"A\u001b[2J","verification_uri":"https://a.example"}"#,
        ] {
            assert!(read(body).is_none(), "{body}");
        }
    }
}
