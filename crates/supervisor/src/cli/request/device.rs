//! On any device, by a code: shown here, entered there, asked about until it is done.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use token_store::{Consented, DeviceSignIn, DeviceState};

use super::done;
use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::table;
use crate::run::status::clock;

/// Between looks at how the daemon fares with it.
const LOOK: Duration = Duration::from_secs(1);

/// Shows the code, and waits for its end. The row of the sign-in is on disk: where a daemon runs it asks the provider, and where
/// none runs this command does; either goes on where the other ended.
pub(super) async fn follow(file: &Path, begun: DeviceSignIn) -> Result<(), Failure> {
    let code = begun.user_code.expose();
    table::line(&format!("{}  {code}", begun.verification_uri))?;
    let ends = begun.expires_at.duration_since(std::time::UNIX_EPOCH);
    let ends = ends.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    });
    eprintln!(
        "\nOpen {} on any device, enter the code {code}, and sign in as the mailbox's user.",
        begun.verification_uri
    );
    if let Some(complete) = &begun.complete_uri
        && std::io::stderr().is_terminal()
        && let Some(picture) = picture(complete.expose())
    {
        eprintln!("Or photograph this with a telephone:\n\n{picture}");
    }
    eprintln!("Waiting for that until {}.", clock(ends));
    loop {
        let office = Office::open(file).await?;
        let tokens = office.tokens()?;
        let wait = match office.daemon() {
            Some(_) => Some(LOOK),
            None => tokens.poll_device(&begun.config).await?,
        };
        let now = tokens.device_sign_in(&begun.config)?;
        let Some(now) = now.filter(|now| now.user_code == begun.user_code) else {
            return Err(Failure::new(
                Code::Temporary,
                "another sign-in was begun in place of this one",
            ));
        };
        match now.state {
            DeviceState::Waiting => {}
            DeviceState::Granted { signed_in_as } => {
                return done(&Consented {
                    config: begun.config,
                    signed_in_as,
                });
            }
            DeviceState::Refused { words } => return Err(Failure::new(Code::NotAllowed, words)),
        }
        drop((tokens, office));
        tokio::time::sleep(wait.unwrap_or(LOOK)).await;
    }
}

/// A QR code in half blocks, white on black whatever the terminal's colours are; None for what is too long for one.
fn picture(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let drawn = code.render::<Dense1x2>().quiet_zone(true).build();
    let lines = drawn
        .lines()
        .map(|line| format!("\x1b[97;40m{line}\x1b[0m\n"));
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_as_wide_as_the_code_and_its_margin_and_states_its_colours() {
        let picture = picture("https://id.example/device?user_code=WDJB-MJHT").unwrap();
        // Version 4 is 33 modules wide, with four of margin on each side; two rows to a line.
        assert_eq!(picture.lines().count(), (33_usize + 8).div_ceil(2));
        for line in picture.lines() {
            let inner = line.strip_prefix("\x1b[97;40m").unwrap();
            let inner = inner.strip_suffix("\x1b[0m").unwrap();
            assert_eq!(inner.chars().count(), 33 + 8);
        }
        assert!(super::picture(&"x".repeat(5000)).is_none());
    }
}
