//! The table of each preset: every exit code, and what the outputs add.

use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Read {
    Delivered,
    Refused,
    Retry,
}
use Read::*;

fn of(preset: Preset, ending: &Ending, stdout: &str, stderr: &str) -> (Read, Patience) {
    let (outcome, patience) = read(preset, ending, stdout.as_bytes(), stderr.as_bytes());
    let kind = match outcome {
        Outcome::Delivered { .. } => Delivered,
        Outcome::Refused { .. } => Refused,
        Outcome::Retry { after: None, .. } => Retry,
        other => panic!("{other:?} is nothing a command's end can mean"),
    };
    (kind, patience)
}

/// What differs from the preset `command`.
fn differs(preset: Preset, code: i32) -> Option<(Read, Patience)> {
    match (preset, code) {
        (Preset::Znuny, 1) => Some((Refused, Patience::Usual)),
        (Preset::Znuny | Preset::Rt, 75) => Some((Retry, Patience::Weekend)),
        (Preset::Osticket, 66 | 255) => Some((Retry, Patience::Weekend)),
        (Preset::Zammad, 1..=125 | 128..) => Some((Retry, Patience::Few)),
        _ => None,
    }
}

#[test]
fn every_exit_code_of_every_preset_is_read_by_its_table() {
    for preset in Preset::ALL {
        for code in 0..=255 {
            let usual = match code {
                0 => (Delivered, Patience::Usual),
                64 | 65 | 66 | 67 | 70 | 76 | 77 | 78 => (Refused, Patience::Usual),
                _ => (Retry, Patience::Usual),
            };
            let expected = differs(preset, code).unwrap_or(usual);
            let got = of(preset, &Ending::Exit(code), "ticket 7", "warning");
            assert_eq!(got, expected, "{preset:?} {code}");
        }
    }
}

#[test]
fn rts_not_ok_is_held_at_once_whichever_output_shows_it() {
    let refusal = "rt-mailgate: connecting to http://rt\nnot ok - Could not load a valid user\n";
    for (stdout, stderr) in [(refusal, ""), ("", refusal)] {
        let (outcome, patience) = read(
            Preset::Rt,
            &Ending::Exit(0),
            stdout.as_bytes(),
            stderr.as_bytes(),
        );
        assert_eq!(patience, Patience::HoldAtOnce);
        assert_eq!(
            outcome.why(),
            "exit code 0, but RT answered: not ok - Could not load a valid user"
        );
    }
    for fine in ["ok\nTicket: 7\n", "it is not ok to say so\n", "\u{fffd}"] {
        let got = of(Preset::Rt, &Ending::Exit(0), fine, fine);
        assert_eq!(got, (Delivered, Patience::Usual), "{fine}");
    }
    let other = of(Preset::Command, &Ending::Exit(0), refusal, refusal);
    assert_eq!(other, (Delivered, Patience::Usual));
}

#[test]
fn signals_timeouts_and_failing_to_start_are_tried_again() {
    for preset in Preset::ALL {
        let few = match preset {
            Preset::Zammad => Patience::Few,
            _ => Patience::Usual,
        };
        for (ending, patience) in [
            (Ending::Signal(9), few),
            (Ending::TimedOut(Duration::from_secs(600)), few),
            (Ending::NotStarted("no such file".into()), Patience::Usual),
        ] {
            assert_eq!(
                of(preset, &ending, "", ""),
                (Retry, patience),
                "{preset:?} {ending:?}"
            );
        }
    }
}
