//! One answer for each recipient, and what they mean together; pure.

use spool::Outcome;
use wire::smtp::Reply;

/// What is known of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::deliver) enum Answer {
    /// Nothing yet.
    None,
    /// Its RCPT was accepted, and perhaps the final dot was sent; it may have the message from then on.
    Accepted {
        /// The final dot was on its way.
        sent: bool,
    },
    /// The reply that decides: a refusal, or the answer to the final dot.
    Reply(&'static str, Reply),
    /// Cannot be sent to this server, and was not.
    Impossible(String),
    /// Not handed over: the connection broke, or was never there.
    Lost(String),
    /// The final dot may have arrived; its answer did not.
    Doubt(String),
}

impl Answer {
    /// Gives all that have no final answer the same one.
    pub(super) fn fill(answers: &mut [Self], why: &str) {
        for answer in answers {
            match answer {
                Self::None | Self::Accepted { sent: false } => *answer = Self::Lost(why.to_owned()),
                Self::Accepted { sent: true } => {
                    *answer = Self::Doubt(format!(
                        "{why}; this was after the message's end, so it may have arrived and come again"
                    ));
                }
                Self::Reply(..) | Self::Impossible(_) | Self::Lost(_) | Self::Doubt(_) => {}
            }
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::None | Self::Accepted { .. } => "no answer".to_owned(),
            Self::Reply(step, reply) => format!("{step} was answered {reply}"),
            Self::Impossible(why) | Self::Lost(why) | Self::Doubt(why) => why.clone(),
        }
    }
}

/// What the answers mean together.
pub(in crate::deliver) struct Judged {
    pub(in crate::deliver) outcome: Outcome,
    /// Who has it now.
    pub(in crate::deliver) done: Vec<String>,
    /// A line for each recipient.
    pub(in crate::deliver) transcript: String,
}

/// The worst answer decides, and a repetition is worth more than a refusal: the next try is for all that do not have it.
pub(in crate::deliver) fn judge(to: &[&str], answers: &[Answer]) -> Judged {
    let mut done = Vec::new();
    let mut transcript = String::new();
    let (mut later, mut refused, mut taken) = (None, None, String::new());
    for (to, answer) in to.iter().zip(answers) {
        let words = answer.in_words();
        transcript.push_str(&format!("{to}: {words}\n"));
        match answer {
            Answer::Reply(_, reply) if reply.is_positive() => {
                done.push((*to).to_owned());
                taken = words;
            }
            Answer::Impossible(_) => {
                refused.get_or_insert(format!("{to}: {words}"));
            }
            Answer::Reply(_, reply) if is_for_good(reply) => {
                refused.get_or_insert(format!("{to}: {words}"));
            }
            _ => {
                later.get_or_insert(format!("{to}: {words}"));
            }
        }
    }
    let outcome = match (later, refused) {
        (Some(why), _) => Outcome::Retry { why, after: None },
        (None, Some(why)) => Outcome::Refused { why },
        (None, None) => Outcome::Delivered { why: taken },
    };
    Judged {
        outcome,
        done,
        transcript,
    }
}

/// Whether a reply refuses this message for good. Some 5xx are about the server's present state (RFC 3463): a full mailbox is
/// emptied, a system's trouble ends.
fn is_for_good(reply: &Reply) -> bool {
    let passes = match reply.enhanced {
        // Mailbox disabled, and mailbox full.
        Some([5, 2, detail]) => matches!(detail, 1 | 2),
        // The mail system: all but a message too big for it, and a feature it lacks.
        Some([5, 3, detail]) => !matches!(detail, 3 | 4),
        // Network and routing.
        Some([5, 4, _]) => true,
        _ => false,
    };
    reply.class() == 5 && !passes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, enhanced: Option<[u16; 3]>) -> Answer {
        Answer::Reply(
            "DATA",
            Reply {
                code,
                enhanced,
                lines: vec!["words".into()],
            },
        )
    }

    fn outcome(answers: &[Answer]) -> (char, Vec<String>) {
        let to = &["a@x", "b@x", "c@x"][..answers.len()];
        let judged = judge(to, answers);
        assert_eq!(judged.transcript.lines().count(), answers.len());
        let letter = match judged.outcome {
            Outcome::Delivered { .. } => 'D',
            Outcome::Retry { .. } => 'r',
            Outcome::Refused { .. } => 'R',
            other => panic!("{other:?}"),
        };
        (letter, judged.done)
    }

    #[test]
    fn a_message_is_delivered_when_all_have_it_and_else_repeated_for_the_rest() {
        let (yes, no, later) = (
            reply(250, None),
            reply(550, Some([5, 1, 1])),
            reply(451, None),
        );
        let lost = Answer::Lost("gone".into());
        let doubt = Answer::Doubt("no answer".into());
        for (answers, letter, done) in [
            (vec![yes.clone()], 'D', 1),
            (vec![yes.clone(), yes.clone(), yes.clone()], 'D', 3),
            (vec![yes.clone(), no.clone()], 'R', 1),
            (vec![no.clone(), later.clone()], 'r', 0),
            (vec![no.clone(), yes.clone(), later.clone()], 'r', 1),
            (vec![yes.clone(), lost], 'r', 1),
            (vec![doubt, no], 'r', 0),
            (vec![Answer::None], 'r', 0),
        ] {
            let (got, who) = outcome(&answers);
            assert_eq!((got, who.len()), (letter, done), "{answers:?}");
        }
    }

    #[test]
    fn a_5xx_is_read_by_its_kind() {
        for (code, enhanced, letter) in [
            (550, None, 'R'),
            (554, Some([5, 6, 0]), 'R'),
            (550, Some([5, 7, 1]), 'R'),
            (552, Some([5, 3, 4]), 'R'),
            (552, Some([5, 2, 2]), 'r'),
            (550, Some([5, 2, 1]), 'r'),
            (554, Some([5, 3, 0]), 'r'),
            (554, Some([5, 4, 6]), 'r'),
            (452, Some([4, 2, 2]), 'r'),
            (421, None, 'r'),
        ] {
            assert_eq!(
                outcome(&[reply(code, enhanced)]).0,
                letter,
                "{code} {enhanced:?}"
            );
        }
    }

    #[test]
    fn only_what_may_have_arrived_is_told_so() {
        let mut answers = [
            Answer::None,
            Answer::Accepted { sent: true },
            Answer::Accepted { sent: false },
            reply(250, None),
        ];
        Answer::fill(&mut answers, "closed");
        assert_eq!(answers[0], Answer::Lost("closed".into()));
        assert!(matches!(&answers[1], Answer::Doubt(why) if why.contains("may have arrived")));
        assert_eq!(answers[2], Answer::Lost("closed".into()));
        assert_eq!(answers[3], reply(250, None));
    }
}
