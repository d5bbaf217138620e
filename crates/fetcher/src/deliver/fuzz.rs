//! What the ticket system's server may answer to a delivery by LMTP or HTTP, and what is read from a message for its envelope.

use std::time::Duration;

use spool::Outcome;
use wire::lines::Lines;
use wire::smtp::{self, Reply};

use super::http::answer::pause;
use super::lmtp::answers::{Answer, judge};
pub(crate) use super::lmtp::envelope::{may_stand_in_a_command, return_path};
use crate::fuzz::{Packets, assert_is_shown_safely, run};

/// Replies to the recipients of one message, and a pause as HTTP names it.
pub fn delivery_answer(bytes: &[u8]) {
    let replies = run(replies(bytes));
    let answers: Vec<Answer> = replies
        .iter()
        .map(|reply| Answer::Reply("RCPT", reply.clone()))
        .collect();
    let to = vec!["a@example.com"; answers.len()];
    let judged = judge(&to, &answers);
    let taken = replies.iter().filter(|reply| reply.is_positive()).count();
    assert_eq!(judged.done.len(), taken);
    assert_eq!(
        matches!(judged.outcome, Outcome::Delivered { .. }),
        taken == replies.len(),
        "{:?}",
        judged.outcome
    );
    judged.transcript.lines().for_each(assert_is_shown_safely);
    assert_is_shown_safely(judged.outcome.why());
    if let Ok(text) = std::str::from_utf8(bytes) {
        let now = Duration::from_secs(1_700_000_000);
        // Whatever its length, a pause must fit on the clock.
        let _ = pause(text.trim(), now).map(|pause| now.saturating_add(pause));
    }
}

async fn replies(bytes: &[u8]) -> Vec<Reply> {
    let packets = Packets {
        bytes,
        size: usize::MAX,
    };
    let mut lines = Lines::new(packets, Duration::from_secs(60));
    let mut found = Vec::new();
    while let Ok(reply) = smtp::read(&mut lines).await {
        found.push(reply);
    }
    found
}
