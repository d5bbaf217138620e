//! The test of one account, step by step as it happens: for the page, for `postern mailbox test` and `relay test`, and for `postern check`.

use std::time::Duration;

use provider_template::Tls;
use token_store::Tokens;
use token_store::accounts::Definition;
use wire::dial::{self, Target, Trust};

/// Name, TCP and TLS, each: somebody waits.
const STEP: Duration = Duration::from_secs(20);

/// One step: what was looked at, and what was found, or what is wrong.
pub(crate) type Found = Result<String, String>;

/// Looks at an account and tells each step as it ends. Nothing is changed or delivered; through a relay a test message goes to
/// `to`, where there is one.
pub(crate) async fn test(
    account: &Definition,
    tokens: &Tokens,
    to: Option<&str>,
    tell: &mut (dyn FnMut(String, Found) + Send),
) {
    let reached = way(account, tell).await;
    match account {
        Definition::Mailbox(mailbox) => {
            if reached {
                let server = &mut |step: fetcher::Step| tell(step.what, step.found);
                fetcher::check_server(mailbox, tokens, server).await;
            }
            let deliveries = &mut |step: fetcher::Step| tell(step.what, step.found);
            fetcher::check_deliveries(mailbox, deliveries).await;
        }
        Definition::Relay(relay) if reached => {
            let steps = &mut |step: sender::Step| tell(step.what, step.found);
            sender::test(relay, tokens, to, steps).await;
        }
        Definition::Relay(_) => {}
    }
}

/// The way to the server; false: it ends before.
async fn way(account: &Definition, tell: &mut (dyn FnMut(String, Found) + Send)) -> bool {
    let (tls, ca_file) = match account {
        Definition::Mailbox(mailbox) => (mailbox.tls, &mailbox.tls_ca_file),
        Definition::Relay(relay) => (relay.tls, &relay.tls_ca_file),
    };
    let trust = match Trust::new(ca_file.as_deref()) {
        Ok(trust) => trust,
        Err(error) => {
            tell("the CA file".to_owned(), Err(error.to_string()));
            return false;
        }
    };
    let (host, port) = account.server();
    let target = Target {
        host: host.to_owned(),
        port,
        tls: match tls {
            Tls::Implicit => dial::Tls::Implicit,
            Tls::Starttls => dial::Tls::StartTls,
            Tls::None => dial::Tls::None,
        },
    };
    dial::look(&target, &trust, STEP, tell).await
}
