//! What is done with the chosen messages: by the daemon where one runs, else here.

use std::io::{BufRead, IsTerminal, Write};

use spool::{MessageId, QueueRow, Spool};

use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::table;
use crate::control::Question;

/// Messages in one question: its line stays far below the longest that the daemon reads.
const STEP: usize = 10_000;
/// Messages that are shown before a person is asked.
const SHOWN: usize = 10;

/// What is to be done.
pub(crate) enum Action {
    Retry,
    Hold { reason: String },
    Release,
    Delete { yes: bool },
}

impl Action {
    fn question(&self, messages: Vec<i64>) -> Question {
        match self {
            Self::Retry => Question::Retry {
                messages: Some(messages),
            },
            Self::Hold { reason } => Question::Hold {
                messages,
                reason: reason.clone(),
            },
            Self::Release => Question::Release { messages },
            Self::Delete { .. } => Question::Delete { messages },
        }
    }

    async fn alone(&self, spool: &Spool, messages: Vec<i64>) -> Result<u64, Failure> {
        let messages = messages.into_iter().map(MessageId).collect();
        Ok(match self {
            Self::Retry => spool.retry(Some(messages)).await?,
            Self::Hold { reason } => spool.hold(messages, reason).await?,
            Self::Release => spool.release_held(messages).await?,
            Self::Delete { .. } => spool.delete(messages).await?,
        })
    }

    /// What was done, and why not to the others.
    fn words(&self, done: usize, left: usize, daemon: bool) -> String {
        let when = if daemon {
            "now"
        } else {
            "when the daemon runs"
        };
        let done = table::count(done, "message");
        let (done, why) = match self {
            Self::Retry => (
                format!("{done} to be tried again {when}"),
                "due already or on the way",
            ),
            Self::Hold { .. } => (format!("{done} held"), "held or delivered already"),
            Self::Release => (format!("{done} released, due {when}"), "not held"),
            Self::Delete { .. } => (format!("{done} deleted"), "being delivered right now"),
        };
        match left {
            0 => done,
            left => format!("{done}; {left} left alone: {why}"),
        }
    }
}

/// Does it, and says how many it was done to.
pub(crate) async fn act(
    office: &Office,
    spool: &Spool,
    rows: &[QueueRow],
    action: &Action,
) -> Result<(), Failure> {
    if matches!(action, Action::Delete { yes: false }) && !rows.is_empty() {
        confirm(rows)?;
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut done = 0;
    for step in ids.chunks(STEP) {
        let step = step.to_vec();
        done += match office.daemon() {
            Some(client) => client
                .ask(&action.question(step))
                .await?
                .as_u64()
                .unwrap_or_default(),
            None => action.alone(spool, step).await?,
        };
    }
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    let left = ids.len().saturating_sub(done);
    table::line(&action.words(done, left, office.daemon().is_some()))
}

/// Asks a person before messages are gone for good.
fn confirm(rows: &[QueueRow]) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Code::Usage,
            format!(
                "{} would be deleted for good; say so with --yes",
                table::count(rows.len(), "message")
            ),
        ));
    }
    for row in rows.iter().take(SHOWN) {
        table::line(&format!(
            "{}  {}  {} / {}",
            row.id,
            table::one_line(&row.account),
            table::one_line(&row.from),
            table::one_line(&row.subject)
        ))?;
    }
    if rows.len() > SHOWN {
        table::line(&format!("and {} more", rows.len() - SHOWN))?;
    }
    print_question(rows.len())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Code::NotAllowed, "nothing was deleted"))
}

fn print_question(count: usize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    write!(
        out,
        "Delete {} for good? [y/N] ",
        table::count(count, "message")
    )?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_said_with_what_was_not_and_why() {
        let delete = Action::Delete { yes: true };
        assert_eq!(delete.words(1, 0, true), "1 message deleted");
        assert_eq!(
            delete.words(2, 1, true),
            "2 messages deleted; 1 left alone: being delivered right now"
        );
        assert_eq!(
            Action::Retry.words(3, 0, false),
            "3 messages to be tried again when the daemon runs"
        );
        assert_eq!(
            Action::Release.words(1, 0, true),
            "1 message released, due now"
        );
    }
}
