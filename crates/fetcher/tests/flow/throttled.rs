//! Pauses that a server asked for, over a restart of the daemon.

use std::time::{Duration, Instant};

use sandbox::{Fault, Service};
use spool::{Direction, PauseKind};
use token_store::accounts::{After, Condition};

use crate::gateway::{FILE, Gateway, local, until};
use crate::pop3::{closed, left, pop3, provider, rests};

const USER_AT: &str = "support@example.com at 127.0.0.1";

impl Gateway {
    fn waits(&self, words: &str) -> bool {
        matches!(self.condition(), Some(Condition::Waiting { why, until }) if why.contains(words) && until > 0)
    }

    fn pauses(&self, port: u16) -> Vec<PauseKind> {
        let peer = format!("{USER_AT}:{port}");
        let pauses = self.parts.spool.pauses(Direction::In, "support", &peer);
        pauses.unwrap().iter().map(|pause| pause.kind).collect()
    }
}

#[test]
fn a_time_that_the_server_named_outlives_a_restart_and_only_a_person_who_lifts_it_ends_it() {
    local(async {
        let (gateway, provider) = (Gateway::new(), provider(&[closed(1, 900)]).await);
        let words = "BAD Request is throttled. Suggested Backoff Time: 3600000 milliseconds";
        provider.fault(Service::Imap, "SELECT", 1, Fault::Reply(words.into()));
        let port = provider.imap().port();
        let mailbox = gateway.mailbox_at(port, After::Delete, FILE);
        let running = gateway.start(mailbox.clone());
        until("it is shown", || gateway.waits("a pause of 3600 s")).await;
        until("it is kept", || gateway.pauses(port) == [PauseKind::Told]).await;
        running.stop().await;
        let sign_ins = || provider.counts().imap_sign_ins;
        assert_eq!(sign_ins(), 1);

        let running = gateway.start(mailbox.clone());
        until("it is shown again, in the server's words", || {
            gateway.waits("a pause of 3600 s") && gateway.waits("Request is throttled")
        })
        .await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            gateway.parts.poke.notify_one();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(sign_ins(), 1, "neither the restart nor a poke knocks");
        let spool = &gateway.parts.spool;
        let lifted = spool.end_pauses(Direction::In, "support", &PauseKind::ALL);
        lifted.await.unwrap();
        gateway.parts.poke.notify_one();
        until("it is fetched", || left(&provider) == 0).await;
        running.stop().await;
        assert_eq!(gateway.pauses(port), []);
    });
}

#[test]
fn a_quota_is_waited_for_after_a_restart_too_and_another_server_is_asked_at_once() {
    local(async {
        let (gateway, first) = (Gateway::new(), provider(&[]).await);
        let words = "NO [OVERQUOTA] Account exceeded command or bandwidth limits";
        first.fault(Service::Imap, "SELECT", 1, Fault::Reply(words.into()));
        let mailbox = gateway.mailbox_at(first.imap().port(), After::Delete, FILE);
        for _ in 0..2 {
            let running = gateway.start(mailbox.clone());
            until("it is shown", || {
                gateway.waits("a quota of this account is used up")
            })
            .await;
            running.stop().await;
        }
        assert_eq!(first.counts().imap_sign_ins, 1);

        let second = provider(&[closed(1, 900)]).await;
        let moved = gateway.mailbox_at(second.imap().port(), After::Delete, FILE);
        let running = gateway.start(moved);
        until("the other one is fetched", || left(&second) == 0).await;
        running.stop().await;

        let running = gateway.start(mailbox);
        until("it is shown", || gateway.waits("used up")).await;
        gateway.parts.poke.notify_one();
        until(
            "a person who wants it now gets it: that time was our guess",
            || first.counts().imap_sign_ins == 2,
        )
        .await;
        running.stop().await;
    });
}

#[test]
fn a_login_delay_is_obeyed_after_a_restart_too() {
    local(async {
        let (gateway, provider) = (Gateway::new(), provider(&[closed(1, 900)]).await);
        provider.set_features(|f| f.pop3.login_delay = Some(3600));
        let mailbox = pop3(gateway.mailbox_at(provider.pop3().port(), After::Delete, FILE));
        let running = gateway.start(mailbox.clone());
        until("the first session deletes it", || left(&provider) == 0).await;
        rests(&gateway).await;
        running.stop().await;
        let running = gateway.start(mailbox);
        until("the restarted one waits for the server's leave", || {
            matches!(gateway.condition(), Some(Condition::Working { doing }) if doing.contains("LOGIN-DELAY"))
        })
        .await;
        assert_eq!(provider.counts().pop3_sign_ins, 1);
        let spool = &gateway.parts.spool;
        let lifted = spool.end_pauses(Direction::In, "support", &PauseKind::ALL);
        lifted.await.unwrap();
        gateway.parts.poke.notify_one();
        until("a person lifts it", || provider.counts().pop3_sign_ins == 2).await;
        running.stop().await;
    });
}
