//! What an endpoint's answer means for the message; pure but for the clock of a date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::HeaderValue;
use spool::Outcome;

use super::connection::Answered;

/// The message itself will not do: the answer is the same whenever it is asked. Held after few tries.
const REFUSED: [u16; 7] = [
    400, // Bad Request
    413, // Content Too Large
    415, // Unsupported Media Type
    422, // Unprocessable Content
    451, // Unavailable For Legal Reasons
    501, // Not Implemented
    505, // HTTP Version Not Supported
];

/// The outcome of a delivery by HTTP. Whatever may be the endpoint's state or set-up (a wrong secret, a path that is not there during
/// a deployment) is tried again for days: it concerns every message, and is mended by people.
pub(super) fn read(answered: &Answered) -> Outcome {
    let status = answered.status;
    let why = format!("HTTP {status}");
    match status.as_u16() {
        200..=299 => Outcome::Delivered { why },
        300..=399 => later(
            format!("{why}: redirects are not followed; put the new address into deliver.http.url"),
            answered,
        ),
        code if REFUSED.contains(&code) => Outcome::Refused {
            why: match first_line(&answered.body) {
                Some(line) => format!("{why}: {line}"),
                None => why,
            },
        },
        401 | 403 => later(
            format!(
                "{why}: the endpoint does not accept our signature, or this sender; compare deliver.http.secret"
            ),
            answered,
        ),
        404 | 405 | 410 => later(
            format!("{why}: nothing takes messages there; check deliver.http.url"),
            answered,
        ),
        _ => later(why, answered),
    }
}

fn later(why: String, answered: &Answered) -> Outcome {
    Outcome::Retry {
        why,
        after: answered.retry_after,
    }
}

/// The beginning of a body, if it is text.
fn first_line(body: &[u8]) -> Option<String> {
    let line = body.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let fits = !line.is_empty() && line.len() <= 200;
    fits.then(|| wire::printable(line))
}

/// RFC 9110 section 10.2.3: seconds, or a date.
pub(super) fn retry_after(value: Option<&HeaderValue>) -> Option<Duration> {
    let text = value?.to_str().ok()?.trim();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    pause(text, now)
}

pub(in crate::deliver) fn pause(text: &str, now: Duration) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let at = Duration::from_secs(u64::try_from(at.as_second()).ok()?);
    Some(at.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn of(code: u16, body: &str) -> Outcome {
        read(&Answered {
            status: StatusCode::from_u16(code).unwrap(),
            retry_after: Some(Duration::from_secs(7)),
            body: body.into(),
        })
    }

    #[test]
    fn every_status_is_read_by_the_table() {
        for code in 100..=599 {
            let expected = match code {
                200..=299 => 'D',
                400 | 413 | 415 | 422 | 451 | 501 | 505 => 'R',
                _ => 'r',
            };
            let got = match of(code, "words") {
                Outcome::Delivered { .. } => 'D',
                Outcome::Refused { .. } => 'R',
                Outcome::Retry { after, .. } => {
                    assert_eq!(after, Some(Duration::from_secs(7)), "{code}");
                    'r'
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(got, expected, "{code}");
        }
    }

    #[test]
    fn a_refusal_is_quoted_and_what_to_do_is_said() {
        let refused = of(422, "no such queue\nstack trace");
        assert_eq!(
            refused.why(),
            "HTTP 422 Unprocessable Entity: no such queue"
        );
        assert!(
            of(302, "")
                .why()
                .contains("put the new address into deliver.http.url")
        );
        assert!(of(403, "").why().contains("compare deliver.http.secret"));
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = Duration::from_secs(784_111_777);
        let seconds = |text| pause(text, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:30 GMT"), Some(0), "past");
        for nonsense in ["", "soon", "-5", "1.5"] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }
}
