//! What a person does with messages: retry, hold, release, delete; with many of them after one more question.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use spool::{Direction, MessageId};
use token_store::accounts::Kind;

use super::{Asked, Message, read};
use crate::error::{PageError, see_other};
use crate::flash::Flash;
use crate::pages::{Frame, Section, html};
use crate::session::{Fields, Posted};
use crate::words::{count, now};
use crate::{App, Inner};

/// Messages that are shown before a person says yes.
const SHOWN: usize = 10;
/// A person's reason is a line.
const REASON: usize = 200;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Retry,
    Hold,
    Release,
    Delete,
}

impl Action {
    fn from_word(word: &str) -> Result<Self, PageError> {
        match word {
            "retry" => Ok(Self::Retry),
            "hold" => Ok(Self::Hold),
            "release" => Ok(Self::Release),
            "delete" => Ok(Self::Delete),
            other => Err(PageError::BadForm(format!("no action {other:?}"))),
        }
    }

    /// The word in forms, what is asked, and what was done.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Retry => ("retry", "Try again now", "tried again now"),
            Self::Hold => ("hold", "Hold", "held"),
            Self::Release => ("release", "Release", "released"),
            Self::Delete => ("delete", "Delete for good", "deleted"),
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Retry => "They are due at once; held ones start anew, with all their attempts.",
            Self::Hold => {
                "They wait until somebody releases, retries or deletes them. One that is being delivered right now is held if that attempt fails."
            }
            Self::Release => {
                "Held ones go back to the schedule as they were, due now. One that was given up gets one more attempt."
            }
            Self::Delete => {
                "They are gone for good from Postern. Of an inbound message the mailbox keeps its own copy, which is not fetched again."
            }
        }
    }

    /// Why some were left alone.
    fn left(self) -> &'static str {
        match self {
            Self::Retry => "due already or on the way",
            Self::Hold => "held or delivered already",
            Self::Release => "not held",
            Self::Delete => "being delivered right now",
        }
    }
}

#[derive(Template)]
#[template(path = "queue_confirm.html")]
struct ConfirmPage {
    frame: Frame,
    word: &'static str,
    button: &'static str,
    meaning: &'static str,
    count: String,
    shown: Vec<Message>,
    more: usize,
    /// The chosen messages; empty: all that are found.
    ids: Vec<i64>,
    asked: Asked,
    danger: bool,
    hold: bool,
}

/// Which messages a form is about.
enum Chosen {
    These(Vec<MessageId>),
    /// All that the filters leave.
    Found(Asked),
}

fn chosen(fields: &Fields) -> Result<Chosen, PageError> {
    if fields.ticked("all") {
        return Ok(Chosen::Found(Asked::typed(fields)));
    }
    let ids = fields.all("id").map(|id| id.parse().map(MessageId));
    let ids: Result<Vec<_>, _> = ids.collect();
    Ok(Chosen::These(ids.map_err(|_| PageError::NotFound)?))
}

/// Does it, or asks first: always before messages are deleted, and before anything is done with several.
pub(crate) async fn act(State(app): State<App>, posted: Posted) -> Result<Response, PageError> {
    let fields = &posted.fields;
    let action = Action::from_word(fields.raw("action"))?;
    let chosen = chosen(fields)?;
    let ids = match &chosen {
        Chosen::These(ids) => ids.clone(),
        Chosen::Found(asked) => {
            let search = asked.search();
            read(&app, move |spool| spool.found(&search)).await?
        }
    };
    let refused = match &chosen {
        _ if ids.is_empty() => Some("No message was chosen."),
        // What nobody looked at, one by one or as held mail, is not deleted by the heap.
        Chosen::Found(asked) if action == Action::Delete && asked.state != "held" => Some(
            "Only held messages are deleted all together: filter by the state held, or tick messages one by one.",
        ),
        _ => None,
    };
    if let Some(why) = refused {
        app.flashes.leave(&posted.by.session.id, Flash::bad(why));
        return Ok(see_other(&app.address.link("/queue")));
    }
    let asks = action == Action::Delete || ids.len() > 1;
    if asks && !fields.ticked("confirmed") {
        return confirm(&app, &posted, action, &chosen, ids).await;
    }
    let done = carry_out(&app, action, &ids, fields.text("reason")).await?;
    let (_, _, did) = action.words();
    app.audit(
        &posted.by,
        &format!("queue: {} {did}{}", messages(done), named(&ids)),
    )
    .await;
    let left = ids.len() as u64 - done.min(ids.len() as u64);
    let mut words = format!("{} {did}", messages(done));
    if left > 0 {
        words.push_str(&format!("; {left} left alone: {}", action.left()));
    }
    let flash = match done {
        0 => Flash::bad(&format!("{words}.")),
        _ => Flash::good(&format!("{words}.")),
    };
    app.flashes.leave(&posted.by.session.id, flash);
    let back = match (ids.as_slice(), action) {
        ([one], Action::Retry | Action::Hold | Action::Release) if done == 1 => {
            // A message that is fetched again has left the queue.
            let there = app.parts.spool.message_headline(*one)?.is_some();
            there.then(|| format!("/queue/message?id={}", one.0))
        }
        _ => None,
    };
    Ok(see_other(
        &app.address.link(back.as_deref().unwrap_or("/queue")),
    ))
}

fn messages(n: u64) -> String {
    count(n, "message", "messages")
}

/// The numbers of few messages, for the audit.
fn named(ids: &[MessageId]) -> String {
    if ids.len() > SHOWN {
        return String::new();
    }
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    format!(" (of {})", ids.join(", "))
}

async fn confirm(
    app: &App,
    posted: &Posted,
    action: Action,
    chosen: &Chosen,
    ids: Vec<MessageId>,
) -> Result<Response, PageError> {
    let now = now();
    let first: Vec<MessageId> = ids.iter().take(SHOWN).copied().collect();
    let mut shown = Vec::new();
    for id in first {
        let found = read(app, move |spool| spool.show(id)).await?;
        shown.extend(found.map(|entry| Message::of(&entry.row, now)));
    }
    let (word, button, _) = action.words();
    let (asked, listed) = match chosen {
        Chosen::These(ids) => (Asked::default(), ids.iter().map(|id| id.0).collect()),
        Chosen::Found(asked) => (asked.clone(), Vec::new()),
    };
    let total = messages(ids.len() as u64);
    html(&ConfirmPage {
        frame: app.frame(&posted.by, Section::Queue, &format!("{button}: {total}?"))?,
        word,
        button,
        meaning: action.meaning(),
        more: ids.len().saturating_sub(shown.len()),
        count: total,
        shown,
        ids: listed,
        asked,
        danger: action == Action::Delete,
        hold: action == Action::Hold,
    })
}

async fn carry_out(
    app: &Inner,
    action: Action,
    ids: &[MessageId],
    reason: &str,
) -> Result<u64, PageError> {
    let spool = &app.parts.spool;
    let accounts = spool.accounts_of(ids)?;
    let ids = ids.to_vec();
    let reason: String = reason.chars().take(REASON).collect();
    let done = match action {
        Action::Retry => spool.retry(Some(ids)).await?,
        Action::Hold => spool.hold(ids, &reason).await?,
        Action::Release => spool.release_held(ids).await?,
        Action::Delete => spool.delete(ids).await?,
    };
    if matches!(action, Action::Retry | Action::Release) {
        for (direction, name) in accounts {
            let kind = match direction {
                Direction::In => Kind::Mailbox,
                Direction::Out => Kind::Relay,
            };
            app.parts.gateway.look_again(kind, &name);
        }
    }
    Ok(done)
}
