//! What a command's end means; the one place where exit codes are read.

use std::time::Duration;

use spool::Outcome;

/// How a command ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It exited with this code.
    Exit(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It took longer than this and was killed with all it started.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(String),
    /// The spool has no such message, or no longer what was taken in.
    NoMessage(String),
}

/// Codes of sysexits.h that mean the message, or the command's own set-up, will not do; held after few tries.
const REFUSED: [(i32, &str); 8] = [
    (64, "usage error"),
    (65, "data error"),
    (66, "no input"),
    (67, "no such user"),
    (70, "internal error"),
    (76, "protocol error"),
    (77, "no permission"),
    (78, "configuration error"),
];

/// The outcome of a delivery by command. Everything that isn't clearly for good is tried again.
pub(crate) fn outcome(ending: &Ending) -> Outcome {
    match ending {
        Ending::Exit(0) => Outcome::Delivered {
            why: "exit code 0".into(),
        },
        Ending::Exit(code) => match REFUSED.iter().find(|(refused, _)| refused == code) {
            Some((_, word)) => Outcome::Refused {
                why: format!("exit code {code} ({word})"),
            },
            None => retry(match code {
                75 => "exit code 75 (try again later)".into(),
                69 => "exit code 69 (service unavailable)".into(),
                code => format!("exit code {code}"),
            }),
        },
        Ending::Signal(signal) => retry(format!("killed by signal {signal}")),
        Ending::TimedOut(after) => retry(format!(
            "took longer than {} s and was killed",
            after.as_secs()
        )),
        Ending::NotStarted(why) => retry(why.clone()),
        Ending::NoMessage(why) => Outcome::Refused { why: why.clone() },
    }
}

fn retry(why: String) -> Outcome {
    Outcome::Retry { why, after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_is_delivered_and_only_eight_codes_are_refusals() {
        for code in 0..=255 {
            let got = outcome(&Ending::Exit(code));
            match code {
                0 => assert!(matches!(got, Outcome::Delivered { .. })),
                64 | 65 | 66 | 67 | 70 | 76 | 77 | 78 => {
                    assert!(matches!(got, Outcome::Refused { .. }), "{code}")
                }
                _ => assert!(matches!(got, Outcome::Retry { after: None, .. }), "{code}"),
            }
        }
    }

    #[test]
    fn signals_timeouts_and_failing_to_start_are_tried_again() {
        for ending in [
            Ending::Signal(9),
            Ending::TimedOut(Duration::from_secs(600)),
            Ending::NotStarted("no such file".into()),
        ] {
            assert!(
                matches!(outcome(&ending), Outcome::Retry { .. }),
                "{ending:?}"
            );
        }
    }
}
