//! Thousands of messages with poison among them, and a restart every 500: each good one once, in order, the poison held.

use std::collections::BTreeSet;

use fastrand::Rng;
use spool::Direction;
use token_store::accounts::After;

use crate::fake::Fake;
use crate::gateway::{ALL, Gateway, local};

/// In every test run; `POSTERN_TEST_MESSAGES=10000` is the long form.
const MESSAGES: usize = 2_000;
/// Messages that one process delivers before the next one takes over.
const A_LIFE: usize = 500;
/// Refuses poison for good; notes the number of everything else. Nothing but the shell, so that thousands take seconds.
const COMMAND: &str = "while IFS= read -r line; do case $line in 'X-Poison: yes'*) exit 65;; 'Subject: number '*) n=${line#Subject: number };; \
    esac; done; echo \"${n%?}\" >> \"$0/../order\"";

fn number(n: usize, poison: bool) -> Vec<u8> {
    let mark = if poison { "X-Poison: yes\r\n" } else { "" };
    format!("From: a@example.com\r\nSubject: number {n}\r\n{mark}\r\nbody {n}\r\n").into_bytes()
}

/// The numbers that were delivered, in their order.
fn delivered(gateway: &Gateway) -> Vec<usize> {
    let order = std::fs::read_to_string(gateway.folder.path().join("order")).unwrap_or_default();
    order.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn every_good_one_is_delivered_once_and_in_order_and_the_poison_is_held() {
    let messages = std::env::var("POSTERN_TEST_MESSAGES").ok();
    let messages = messages.map_or(MESSAGES, |text| text.parse().unwrap());
    let seed = std::env::var("POSTERN_TEST_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |text| text.parse().unwrap());
    println!("POSTERN_TEST_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let poison: BTreeSet<usize> = rng
        .choose_multiple(0..messages, messages / 100)
        .into_iter()
        .collect();
    local(async {
        let (gateway, fake) = (Gateway::new(), Fake::start(ALL));
        for n in 0..messages {
            fake.add(&number(n, poison.contains(&n)));
        }
        let spool = gateway.parts.spool.clone();
        let good = messages - poison.len();
        let held = || spool.counts(Direction::In, "support").unwrap().held as usize;
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(600);
        let mut lives = 0;
        loop {
            lives += 1;
            let aim = good.min(lives * A_LIFE);
            let running = gateway.start(gateway.mailbox_with(&fake, After::Delete, COMMAND));
            let done = || delivered(&gateway).len();
            while done() < aim || (aim == good && held() < poison.len()) {
                let now = tokio::time::Instant::now();
                assert!(now < end, "{} delivered, {} held", done(), held());
                // Nobody waits half a minute for the next try of what was refused.
                if done() >= aim {
                    let refused = spool.not_due().unwrap().into_iter();
                    let refused = refused.filter(|message| {
                        let entry = spool.show(*message).unwrap();
                        entry.is_some_and(|entry| entry.row.state != "held")
                    });
                    spool.retry(Some(refused.collect())).await.unwrap();
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            running.stop().await;
            if aim == good {
                break;
            }
        }
        assert!(lives >= messages / A_LIFE, "{lives} lives");
        let expected: Vec<usize> = (0..messages).filter(|n| !poison.contains(n)).collect();
        assert_eq!(delivered(&gateway), expected);
        let queue = spool.queue(Some(Direction::In)).unwrap();
        let subjects: BTreeSet<String> = queue.iter().map(|row| row.subject.clone()).collect();
        let poisons = poison.iter().map(|n| format!("number {n}")).collect();
        assert_eq!(subjects, poisons);
        assert!(queue.iter().all(|row| row.state == "held"));
        assert_eq!(
            fake.look("INBOX").len(),
            poison.len(),
            "the mailbox keeps them"
        );
    });
}
