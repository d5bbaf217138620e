//! In a browser anywhere: it ends on an address that nothing answers, and the person pastes that address here.

use std::io::{BufRead, Read};
use std::path::Path;

use token_store::CallbackAnswer;
use tokio::time::{Instant, timeout_at};

use super::{CONSENT_LIFE, Completed, Request, callback_path, complete, done, session};
use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::table;

/// Codes and states are some hundred bytes; some providers' codes are a few thousand.
const LONGEST_LINE: u64 = 64 * 1024;

pub(super) async fn request(file: &Path, office: Office, order: &Request) -> Result<(), Failure> {
    let redirect_uri = match &order.redirect_uri {
        Some(url) if url.starts_with("http://") && !provider_template::url_is_safe(url) => {
            let why = "--redirect-uri: the code would travel there in clear; expected https://, or http:// on this machine";
            return Err(Failure::new(Code::Usage, why));
        }
        Some(url) => url.clone(),
        None => {
            let port = match order.port {
                0 => String::new(),
                port => format!(":{port}"),
            };
            let path = callback_path(&office);
            format!("http://{}{port}{path}", order.host.name())
        }
    };
    let session = session()?;
    let tokens = office.tokens()?;
    let url = tokens
        .begin(&order.name, &redirect_uri, &session, order.sign_in())
        .await?;
    drop((tokens, office));

    table::line(&url)?;
    eprintln!("\nOpen this address in a browser anywhere and sign in as the mailbox's user.");
    eprintln!(
        "The browser ends on an address that begins with {redirect_uri} and most likely shows an error there; that is as it must be.\n\
         Copy that whole address and paste it here, within 10 minutes:"
    );
    let end = Instant::now() + CONSENT_LIFE;
    loop {
        let Ok(pasted) = timeout_at(end, line()).await else {
            return Err(Failure::new(
                Code::Temporary,
                "nothing was pasted within 10 minutes; the token is as it was",
            ));
        };
        let Some(pasted) = pasted? else {
            return Err(Failure::new(
                Code::Data,
                "standard input ended before the address was pasted; the token is as it was",
            ));
        };
        if pasted.trim().is_empty() {
            continue;
        }
        let Some(answer) = CallbackAnswer::from_pasted(&pasted) else {
            eprintln!(
                "postern: this is not the address where the browser ended (there is no code and state in it); once more:"
            );
            continue;
        };
        match complete(file, &session, &answer).await {
            Ok(consented) => return done(&consented),
            Err(Completed::NotOurs(_)) => {
                eprintln!(
                    "postern: this address belongs to another sign-in than the one above; once more:"
                );
            }
            Err(Completed::Failed(_, failure)) => return Err(failure),
        }
    }
}

/// The next line of standard input; None at its end. A thread waits for it, which ends with the process.
async fn line() -> Result<Option<String>, Failure> {
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        let read = std::io::stdin()
            .lock()
            .take(LONGEST_LINE)
            .read_line(&mut text)?;
        Ok::<_, std::io::Error>((read > 0).then_some(text))
    });
    let read = read
        .await
        .map_err(|error| Failure::new(Code::Software, error.to_string()))?;
    Ok(read?)
}
