//! Accounts that hang outside of IMAP: at a POP3 server in each of its states, at a TLS handshake, at a token endpoint. The others go on.

use std::time::{Duration, Instant};

use provider_template::Tls;
use sandbox::{Fault, Provider, Service};
use token_store::Secret;
use token_store::accounts::{After, Auth, Mailbox};

use crate::fake::Fake;
use crate::gateway::{ALL, FILE, Gateway, local, mail, until};
use crate::pop3::{USER, closed, pop3, provider};
use crate::tokens::entry;

/// Longer than any test waits.
const FOR_EVER: Fault = Fault::Delay(Duration::from_secs(600));

fn named(mailbox: Mailbox, n: usize) -> Mailbox {
    Mailbox {
        name: format!("account {n}"),
        ..mailbox
    }
}

/// With one account that hangs, three others fetch, deliver and delete in no more time than they would take alone.
async fn others_lose_no_time(
    gateway: &Gateway,
    hanging: Mailbox,
    hangs: impl FnMut() -> bool,
    what: &str,
) {
    let mut running = vec![gateway.start(named(hanging, 0))];
    until(&format!("it hangs: {what}"), hangs).await;
    let begun = Instant::now();
    let imap = Fake::start(ALL);
    let drops = [
        provider(&[closed(1, 900)]).await,
        provider(&[closed(2, 900)]).await,
    ];
    imap.add(&mail(3, 900));
    let mailboxes = [
        gateway.mailbox(&imap, After::Delete),
        pop3(gateway.mailbox_at(drops[0].pop3().port(), After::Delete, FILE)),
        gateway.mailbox_at(drops[1].imap().port(), After::Delete, FILE),
    ];
    for (n, mailbox) in (1..).zip(mailboxes) {
        running.push(gateway.start(named(mailbox, n)));
    }
    until("the others are through", || {
        let left = |drop: &Provider| drop.folder(USER, "INBOX").len();
        imap.look("INBOX").is_empty() && drops.iter().all(|drop| left(drop) == 0)
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{what}");
    for running in running {
        running.shutdown.cancel();
    }
}

#[test]
fn a_pop3_server_that_hangs_in_whatever_state_costs_the_others_no_time() {
    for state in [
        "GREETING", "CAPA", "AUTH", "LIST", "UIDL", "RETR", "DELE", "QUIT",
    ] {
        local(async {
            let (gateway, slow) = (Gateway::new(), provider(&[closed(0, 900)]).await);
            slow.fault(Service::Pop3, state, 1, FOR_EVER);
            let mailbox = pop3(gateway.mailbox_at(slow.pop3().port(), After::Delete, FILE));
            let hangs = || slow.counts().faults == 1;
            others_lose_no_time(&gateway, mailbox, hangs, state).await;
        });
    }
}

#[test]
fn a_handshake_that_nobody_answers_costs_the_others_no_time() {
    local(async {
        let gateway = Gateway::new();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        silent.set_nonblocking(true).unwrap();
        let port = silent.local_addr().unwrap().port();
        let mut mailbox = gateway.mailbox_at(port, After::Delete, FILE);
        mailbox.tls = Tls::Implicit;
        let mut accepted = Vec::new();
        let hangs = || {
            accepted.extend(silent.accept());
            !accepted.is_empty()
        };
        others_lose_no_time(&gateway, mailbox, hangs, "TLS").await;
    });
}

#[test]
fn a_token_endpoint_that_never_answers_costs_the_others_no_time() {
    local(async {
        let (gateway, slow) = (Gateway::new(), provider(&[]).await);
        let tokens = &gateway.parts.tokens;
        let entries = vec![entry(&slow)];
        tokens.store().import(entries, true).await.unwrap();
        let planted = slow.consent(USER);
        tokens.seed("t", Secret::new(planted)).await.unwrap();
        slow.fault(Service::Oauth, "/token", 9, FOR_EVER);
        let mut mailbox = gateway.mailbox_at(slow.imap().port(), After::Delete, FILE);
        mailbox.auth = Auth::Token("t".into());
        let hangs = || slow.counts().faults == 1;
        others_lose_no_time(&gateway, mailbox, hangs, "the token endpoint").await;
    });
}
