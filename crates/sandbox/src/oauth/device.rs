//! The device authorisation grant (RFC 8628): codes, the page where a person enters one, and the answers to whoever asks too often.
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::token::{error, users};
use crate::grants::random_text;
use crate::http::{Request, Response, field};
use crate::pages;
use crate::state::State;

/// What `slow_down` adds to the interval (section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Letters that no word is made of and no eye confuses (section 6.1).
const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";

/// A code under way.
#[derive(Debug)]
struct Device {
    user_code: String,
    interval: Duration,
    asked: SystemTime,
    expires: SystemTime,
    /// Who allowed it; `Some(None)`: refused.
    answer: Option<Option<String>>,
}

/// Every code under way, by device code.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    codes: HashMap<String, Device>,
    /// So many questions more are answered `slow_down`.
    pub(crate) slow_downs: u32,
}

impl Devices {
    fn begin(&mut self, interval: Duration, life: Duration, now: SystemTime) -> (String, String) {
        self.codes.retain(|_, device| device.expires > now);
        let (device_code, user_code) = (random_text(), user_code());
        let device = Device {
            user_code: user_code.clone(),
            interval,
            asked: now,
            expires: now + life,
            answer: None,
        };
        self.codes.insert(device_code.clone(), device);
        (device_code, user_code)
    }

    /// The codes that wait for a person.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let waiting = self.codes.values().filter(|device| device.answer.is_none());
        waiting.map(|device| device.user_code.clone()).collect()
    }

    /// A person answers; false when there is no such code.
    pub(crate) fn answer(&mut self, user_code: &str, user: Option<&str>) -> bool {
        let mut devices = self.codes.values_mut();
        let device = devices.find(|device| device.user_code == user_code);
        device
            .map(|device| device.answer = Some(user.map(str::to_owned)))
            .is_some()
    }

    /// Who allowed it, or the error; true beside it when the question came too early.
    fn ask(&mut self, device_code: &str, now: SystemTime) -> (Result<String, &'static str>, bool) {
        let Some(device) = self.codes.get_mut(device_code) else {
            return (Err("invalid_grant"), false);
        };
        let early = now < device.asked + device.interval;
        device.asked = now;
        if device.expires <= now {
            return (Err("expired_token"), early);
        }
        if early || self.slow_downs > 0 {
            self.slow_downs = self.slow_downs.saturating_sub(u32::from(!early));
            device.interval += SLOWER;
            return (Err("slow_down"), early);
        }
        match device.answer.clone() {
            None => (Err("authorization_pending"), false),
            Some(None) => (Err("access_denied"), false),
            Some(Some(user)) => {
                // Good once.
                self.codes.remove(device_code);
                (Ok(user), false)
            }
        }
    }
}

fn user_code() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes after boot");
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    let (one, two) = letters.split_at(4);
    one.iter().chain(&['-']).chain(two).collect()
}

/// `POST /device_authorization`, for a client that is known.
pub(super) fn begin(state: &mut State, base: &str, now: SystemTime) -> Response {
    let knobs = &state.knobs;
    let (interval, life) = (knobs.device_interval, knobs.device_life);
    let (device_code, user_code) = state.devices.begin(interval, life, now);
    Response::json(
        200,
        &json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": format!("{base}/device"),
            "verification_uri_complete": format!("{base}/device?user_code={user_code}"),
            "expires_in": number(life),
            "interval": number(interval),
        }),
    )
}

/// Whole seconds where they are; tests are in a greater hurry.
fn number(span: Duration) -> Value {
    if span.subsec_nanos() == 0 {
        Value::from(span.as_secs())
    } else {
        Value::from(span.as_secs_f64())
    }
}

/// `grant_type=urn:ietf:params:oauth:grant-type:device_code`: who allowed it, or the refusal.
pub(super) fn ask(
    device_code: &str,
    state: &mut State,
    now: SystemTime,
) -> Result<String, Response> {
    state.counts.device_questions += 1;
    let (answer, early) = state.devices.ask(device_code, now);
    state.counts.device_questions_too_early += u64::from(early);
    answer.map_err(|why| error(400, why, "the code was not entered and allowed, or not yet"))
}

/// `GET /device`: asks for the code, asks whether to allow it, or takes the answer.
pub(super) fn page(request: &Request, state: &mut State) -> Response {
    let value = |name| field(&request.query, name);
    let Some(code) = value("user_code").map(|code| code.trim().to_uppercase()) else {
        return Response::html(200, pages::enter_code());
    };
    if !state.devices.waiting().contains(&code) {
        return Response::html(404, pages::mistake("This code is unknown, used, or over."));
    }
    let allowed = value("login_hint");
    if allowed.is_none() && value("deny").is_none() {
        let page = pages::consent("/device", &request.query, &users(state), "your mail");
        return Response::html(200, page);
    }
    state.devices.answer(&code, allowed);
    Response::html(200, pages::answered())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_too_often_must_ask_less_often_from_then_on() {
        let (mut devices, start) = (Devices::default(), SystemTime::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let interval = Duration::from_secs(5);
        let (code, user_code) = devices.begin(interval, Duration::from_secs(600), start);
        let pending = (Err("authorization_pending"), false);
        assert_eq!(devices.ask(&code, at(5)), pending);
        assert_eq!(devices.ask(&code, at(9)), (Err("slow_down"), true));
        assert_eq!(devices.ask(&code, at(15)), (Err("slow_down"), true));
        assert_eq!(devices.ask(&code, at(30)), pending);
        devices.slow_downs = 1;
        assert_eq!(devices.ask(&code, at(50)), (Err("slow_down"), false));
        assert_eq!(devices.ask(&code, at(70)), pending);
        assert!(devices.answer(&user_code, Some("u")));
        assert_eq!(devices.ask(&code, at(90)), (Ok("u".to_owned()), false));
        assert_eq!(devices.ask(&code, at(120)), (Err("invalid_grant"), false));
    }

    #[test]
    fn a_code_ends_by_refusal_or_by_time() {
        let (mut devices, start) = (Devices::default(), SystemTime::now());
        let (interval, life) = (Duration::ZERO, Duration::from_secs(10));
        let (refused, user_code) = devices.begin(interval, life, start);
        assert!(devices.answer(&user_code, None));
        assert_eq!(devices.ask(&refused, start).0, Err("access_denied"));
        let (late, _) = devices.begin(interval, life, start);
        assert_eq!(devices.ask(&late, start + life).0, Err("expired_token"));
        assert!(!devices.answer("XXXX-XXXX", None));
    }
}
