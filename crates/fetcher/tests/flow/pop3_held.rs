//! Held mail of a maildrop: bodies over their time are left to a server that keeps them, and to no other.

use std::time::Duration;

use sandbox::{Provider, Uidl};
use spool::MessageId;
use token_store::accounts::{After, Mailbox, Watch};

use crate::gateway::{Gateway, local, sorted, until};
use crate::held::SICK;
use crate::pop3::{USER, closed, left, pop3, provider};

/// A mailbox whose ticket system is sick, that keeps no held body, and looks often.
fn mailbox(gateway: &Gateway, provider: &Provider) -> Mailbox {
    let mut mailbox = pop3(gateway.mailbox_at(provider.pop3().port(), After::Delete, SICK));
    mailbox.watch = Watch::Every(Duration::from_millis(50));
    mailbox.care.max_held = 0;
    mailbox
}

impl Gateway {
    fn keeps(&self, message: MessageId) -> bool {
        let entry = self.parts.spool.show(message).unwrap();
        entry.is_some_and(|entry| entry.kept)
    }
}

#[test]
fn a_body_over_its_time_is_left_to_the_maildrop_and_fetched_again_when_retried() {
    for uidl in [Uidl::Unique, Uidl::Missing] {
        local(async {
            let mails = [closed(0, 400), closed(1, 700)];
            let (gateway, provider) = (Gateway::new(), provider(&mails).await);
            provider.set_features(|f| {
                f.pop3.uidl = uidl;
                f.pop3.expire = Some("NEVER");
            });
            let running = gateway.start(mailbox(&gateway, &provider));
            let messages = gateway.hold_all(2).await;
            until("the maildrop alone keeps them", || {
                messages.iter().all(|message| !gateway.keeps(*message))
            })
            .await;
            let again = provider.counts().pop3_sign_ins + 3;
            until("they are met again", || {
                provider.counts().pop3_sign_ins >= again
            })
            .await;
            let held = gateway.held();
            assert_eq!(held.len(), 2, "they stay listed, each once: {held:#?}");
            for row in &held {
                let told = row.why.matches("kept by the mailbox alone").count();
                assert_eq!(told, 1, "{row:#?}");
            }
            gateway.cure();
            gateway.parts.spool.retry(None).await.unwrap();
            gateway.parts.poke.notify_one();
            until("they are fetched again, delivered and deleted", || {
                left(&provider) == 0
            })
            .await;
            running.stop().await;
            assert_eq!(gateway.delivered(), sorted(mails.to_vec()));
        });
    }
}

#[test]
fn a_body_that_the_maildrop_has_no_more_or_may_delete_is_kept_however_old() {
    local(async {
        let mails = [closed(1, 400), closed(2, 500)];
        let (gateway, provider) = (Gateway::new(), provider(&mails).await);
        provider.set_features(|f| f.pop3.expire = Some("0"));
        let running = gateway.start(mailbox(&gateway, &provider));
        let messages = gateway.hold_all(2).await;
        let look_thrice = async || {
            let looked = provider.counts().pop3_sign_ins + 3;
            until("it looks again", || {
                provider.counts().pop3_sign_ins >= looked
            })
            .await;
        };
        look_thrice().await;
        assert!(messages.iter().all(|message| gateway.keeps(*message)));
        provider.empty_folder(USER, "INBOX");
        provider.set_features(|f| f.pop3.expire = None);
        look_thrice().await;
        assert!(messages.iter().all(|message| gateway.keeps(*message)));
        running.stop().await;
    });
}
