//! In a browser on this machine: the redirect comes back to a loopback port.

use std::path::Path;

use tokio::time::{Instant, timeout_at};

use super::loopback::Loopback;
use super::{CONSENT_LIFE, Completed, Request, callback_path, complete, done, session};
use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::table;

pub(super) async fn request(file: &Path, office: Office, order: &Request) -> Result<(), Failure> {
    let loopback = Loopback::bind(order.port).await?;
    let path = callback_path(&office);
    let redirect_uri = format!("http://{}:{}{path}", order.host.name(), loopback.port());
    let session = session()?;
    let tokens = office.tokens()?;
    let url = tokens
        .begin(&order.name, &redirect_uri, &session, order.sign_in())
        .await?;
    // While a person signs in, the daemon may start, and other commands may work.
    drop((tokens, office));

    table::line(&url)?;
    eprintln!(
        "\nOpen this address in a browser on this machine and sign in as the mailbox's user."
    );
    eprintln!(
        "The provider sends you back to {redirect_uri}; waiting for that, 10 minutes at most."
    );
    let end = Instant::now() + CONSENT_LIFE;
    loop {
        let callback = timeout_at(end, loopback.next(&path)).await;
        let Ok(callback) = callback else {
            return Err(Failure::new(
                Code::Temporary,
                "nobody came back within 10 minutes; the token is as it was",
            ));
        };
        match complete(file, &session, &callback.answer).await {
            Ok(consented) => {
                callback
                    .reply(true, "The token is stored. You can close this window.")
                    .await;
                return done(&consented);
            }
            Err(Completed::NotOurs(words)) => {
                eprintln!("postern: a redirect that is not ours was refused: {words}");
                callback.reply(false, &words).await;
            }
            Err(Completed::Failed(words, failure)) => {
                callback.reply(false, &words).await;
                return Err(failure);
            }
        }
    }
}
