//! What a command's end means: exit codes lie, each ticket system's in its own way; pure.

use std::time::Duration;

use spool::Outcome;
use token_store::accounts::Preset;

use super::patience::Patience;

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

/// What a shell says when there was nothing to run.
const NOT_RUN: [i32; 2] = [126, 127];

/// The outcome of a delivery by command, and how long it is worth repeating. Everything that isn't clearly for good is tried again.
pub(crate) fn read(
    preset: Preset,
    ending: &Ending,
    stdout: &[u8],
    stderr: &[u8],
) -> (Outcome, Patience) {
    match ending {
        Ending::Exit(0) => success(preset, stdout, stderr),
        Ending::Exit(code) => failure(preset, *code),
        Ending::Signal(signal) => begun(preset, format!("killed by signal {signal}")),
        Ending::TimedOut(after) => begun(
            preset,
            format!("took longer than {} s and was killed", after.as_secs()),
        ),
        Ending::NotStarted(why) => (retry(why.clone()), Patience::Usual),
    }
}

fn success(preset: Preset, stdout: &[u8], stderr: &[u8]) -> (Outcome, Patience) {
    // rt-mailgate exits with 0 also when RT has answered that it did not want the message; with --debug it shows that answer.
    if preset == Preset::Rt
        && let Some(answer) = not_ok(stderr).or_else(|| not_ok(stdout))
    {
        let why = format!("exit code 0, but RT answered: {answer}");
        return (Outcome::Refused { why }, Patience::HoldAtOnce);
    }
    let why = "exit code 0".into();
    (Outcome::Delivered { why }, Patience::Usual)
}

/// RT's refusal, where a line of an output begins with it.
fn not_ok(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().find(|line| line.starts_with("not ok"))?;
    Some(line.trim_end().to_owned())
}

fn failure(preset: Preset, code: i32) -> (Outcome, Patience) {
    let known = REFUSED.iter().find(|(refused, _)| *refused == code);
    let why = match (code, known) {
        (75, _) => "exit code 75 (try again later)".to_owned(),
        (69, _) => "exit code 69 (service unavailable)".to_owned(),
        (_, Some((_, word))) => format!("exit code {code} ({word})"),
        _ => format!("exit code {code}"),
    };
    match (preset, code) {
        // Nothing on standard input, or an option it doesn't know.
        (Preset::Znuny, 1) => (Outcome::Refused { why }, Patience::Usual),
        // Any exception, also one that no repetition mends; RT's for a queue that doesn't exist.
        (Preset::Znuny | Preset::Rt, 75) => (retry(why), Patience::Weekend),
        // An answer of the endpoint that may be about the message or about the set-up; an uncaught error of PHP.
        (Preset::Osticket, 66 | 255) => (retry(why), Patience::Weekend),
        (Preset::Zammad, code) if !NOT_RUN.contains(&code) => (retry(why), Patience::Few),
        _ if known.is_some() => (Outcome::Refused { why }, Patience::Usual),
        _ => (retry(why), Patience::Usual),
    }
}

/// It was begun, and nobody knows how far it came.
fn begun(preset: Preset, why: String) -> (Outcome, Patience) {
    let patience = match preset {
        Preset::Zammad => Patience::Few,
        _ => Patience::Usual,
    };
    (retry(why), patience)
}

fn retry(why: String) -> Outcome {
    Outcome::Retry { why, after: None }
}

#[cfg(test)]
#[path = "reading/tests.rs"]
mod tests;
