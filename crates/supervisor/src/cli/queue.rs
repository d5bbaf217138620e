//! `postern queue`: messages in flight, and what a person may do with them.

use std::path::Path;

use clap::{Args, Subcommand};
use spool::{Direction, MessageId, QueueEntry, QueueRow, Spool};

use super::exit::{Code, Failure};
use super::office::Office;
use super::table;
use crate::config::show_size;
use crate::control::Question;

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List messages in flight.
    List {
        #[command(flatten)]
        direction: Which,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one message: its deliveries, and the command's output.
    Show {
        /// The message's number, as `postern queue list` shows it.
        id: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Try messages again now; held ones start anew.
    #[command(
        after_help = "Examples:\n  postern queue retry 12 13\n  postern queue retry --all --outbound"
    )]
    Retry(Chosen),
    /// Delete messages for good. Of an inbound message the mailbox keeps its own copy.
    Delete(Chosen),
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Which {
    /// Only messages on their way to the ticket system.
    #[arg(long, conflicts_with = "outbound")]
    inbound: bool,
    /// Only replies on their way to a relay.
    #[arg(long)]
    outbound: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// Message numbers, as `postern queue list` shows them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<i64>,
    /// All messages, or all of a direction.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    direction: Which,
}

impl Which {
    fn direction(self) -> Option<Direction> {
        match (self.inbound, self.outbound) {
            (true, _) => Some(Direction::In),
            (_, true) => Some(Direction::Out),
            _ => None,
        }
    }
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: QueueCommand) -> Result<(), Failure> {
    let office = Office::open(file).await?;
    let spool = office.spool()?;
    match command {
        QueueCommand::List { direction, json } => list(&spool.queue(direction.direction())?, json),
        QueueCommand::Show { id, json } => {
            let entry = spool.show(MessageId(id))?.ok_or_else(|| unknown(id))?;
            if json {
                table::json(&entry)
            } else {
                show(&entry)
            }
        }
        QueueCommand::Retry(chosen) => {
            let messages = choose(&spool, &chosen)?;
            let count = match office.daemon() {
                Some(client) => client
                    .ask(&Question::Retry {
                        messages: Some(messages),
                    })
                    .await?
                    .as_u64()
                    .unwrap_or_default(),
                None => {
                    spool
                        .retry(Some(messages.into_iter().map(MessageId).collect()))
                        .await?
                }
            };
            table::line(&format!(
                "{count} to be tried again{}",
                if office.daemon().is_some() {
                    " now"
                } else {
                    " when the daemon runs"
                }
            ))
        }
        QueueCommand::Delete(chosen) => {
            let messages = choose(&spool, &chosen)?;
            let count = match office.daemon() {
                Some(client) => client
                    .ask(&Question::Delete { messages })
                    .await?
                    .as_u64()
                    .unwrap_or_default(),
                None => {
                    spool
                        .delete(messages.into_iter().map(MessageId).collect())
                        .await?
                }
            };
            table::line(&format!("{count} deleted"))
        }
    }
}

/// The chosen messages; one that doesn't exist stops it all, so that nothing is done by half.
fn choose(spool: &Spool, chosen: &Chosen) -> Result<Vec<i64>, Failure> {
    if chosen.all {
        return Ok(spool
            .queue(chosen.direction.direction())?
            .into_iter()
            .map(|row| row.id)
            .collect());
    }
    for id in &chosen.ids {
        spool.show(MessageId(*id))?.ok_or_else(|| unknown(*id))?;
    }
    Ok(chosen.ids.clone())
}

fn unknown(id: i64) -> Failure {
    Failure::new(Code::Data, format!("there is no message {id} in flight"))
}

fn list(rows: &[QueueRow], json: bool) -> Result<(), Failure> {
    if json {
        return table::json(&rows);
    }
    if rows.is_empty() {
        return table::line("nothing is in flight");
    }
    let rows: Vec<[String; 9]> = rows.iter().map(cells).collect();
    table::print(
        [
            "ID",
            "WAY",
            "ACCOUNT",
            "STATE",
            "SIZE",
            "AGE",
            "NEXT",
            "FROM / SUBJECT",
            "WHY",
        ],
        &rows,
    )
}

fn cells(row: &QueueRow) -> [String; 9] {
    [
        row.id.to_string(),
        row.direction.clone(),
        row.account.clone(),
        row.state.clone(),
        show_size(row.size),
        span(row.age_seconds),
        row.next_seconds.map(span).unwrap_or_default(),
        format!("{} / {}", row.from, row.subject),
        row.why.clone(),
    ]
}

/// Seconds as people say them: the largest unit alone.
fn span(seconds: i64) -> String {
    match seconds {
        i64::MIN..=0 => "now".to_owned(),
        1..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn show(entry: &QueueEntry) -> Result<(), Failure> {
    let row = &entry.row;
    let lines = [
        ("message", row.id.to_string()),
        ("way", row.direction.clone()),
        ("account", row.account.clone()),
        ("state", row.state.clone()),
        (
            "size",
            format!("{} ({} bytes)", show_size(row.size), row.size),
        ),
        ("from", row.from.clone()),
        ("to", row.to.join(", ")),
        ("subject", row.subject.clone()),
        ("Message-ID", entry.message_id.clone()),
        ("SHA-256", entry.sha256.clone()),
        ("provider id", entry.provider_id.clone().unwrap_or_default()),
        ("age", span(row.age_seconds)),
    ];
    for (key, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        table::line(&format!(
            "{:<13}{}",
            format!("{key}:"),
            table::one_line(value)
        ))?;
    }
    for delivery in &entry.deliveries {
        let who = delivery.recipient.as_deref().unwrap_or("the ticket system");
        let next = delivery
            .next_seconds
            .map(|next| format!(", next try {}", span(next)))
            .unwrap_or_default();
        let words = format!(
            "\n{who}: {}, {} attempts{next}",
            delivery.state, delivery.attempts
        );
        table::line(&words)?;
        if !delivery.why.is_empty() {
            table::line(&format!("  {}", table::one_line(&delivery.why)))?;
        }
        for output in delivery.output.iter().flat_map(|output| output.lines()) {
            table::line(&format!("  | {}", table::one_line(output)))?;
        }
    }
    Ok(())
}
