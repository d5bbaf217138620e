//! `postern queue show`: all that is known of one message, or the message itself.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use spool::{MessageId, QueueDelivery, QueueEntry, Spool, Stored};
use token_store::accounts::show_size;

use super::list::span;
use crate::cli::exit::{Code, Failure};
use crate::cli::table;

/// A header section is shown up to here; longer ones are not made for people.
const HEADER: u64 = 64 * 1024;
/// What is read at once of a large message.
const CHUNK: usize = 256 * 1024;

/// Prints what is known of a message, its header section last.
pub(crate) async fn show(spool: &Spool, entry: &QueueEntry, json: bool) -> Result<(), Failure> {
    let header = if entry.kept {
        header(body(spool, entry).await?)?
    } else {
        String::new()
    };
    if json {
        let mut value = serde_json::to_value(entry)?;
        value["header"] = header.into();
        return table::json(&value);
    }
    for (key, value) in facts(entry).iter().filter(|(_, value)| !value.is_empty()) {
        table::line(&format!(
            "{:<13}{}",
            format!("{key}:"),
            table::one_line(value)
        ))?;
    }
    entry.deliveries.iter().try_for_each(delivery)?;
    if !header.is_empty() {
        table::line("\nheader:")?;
    }
    header
        .lines()
        .try_for_each(|line| table::line(&format!("  {}", table::one_line(line))))
}

fn facts(entry: &QueueEntry) -> Vec<(&'static str, String)> {
    let row = &entry.row;
    let origin = match (&entry.own, &entry.folder, entry.uid) {
        (Some(own), None, _) => format!("a {own} of Postern's own"),
        (_, Some(folder), Some(uid)) if entry.aside => {
            format!("{folder}, UID {uid}; moved out of the way there")
        }
        (_, Some(folder), Some(uid)) => format!("{folder}, UID {uid}"),
        _ => String::new(),
    };
    let size = format!("{} ({} bytes)", show_size(row.size), row.size);
    let size = match entry.kept {
        true => size,
        false => format!("{size}; the body is not in the spool"),
    };
    vec![
        ("message", row.id.to_string()),
        ("way", row.direction.clone()),
        ("account", row.account.clone()),
        ("came from", origin),
        ("state", row.state.clone()),
        ("size", size),
        ("from", row.from.clone()),
        ("to", row.to.join(", ")),
        ("subject", row.subject.clone()),
        ("Message-ID", entry.message_id.clone()),
        ("X-GM-MSGID", entry.provider_id.clone().unwrap_or_default()),
        ("SHA-256", entry.sha256.clone()),
        ("age", span(row.age_seconds)),
    ]
}

fn delivery(delivery: &QueueDelivery) -> Result<(), Failure> {
    let who = delivery.recipient.as_deref().unwrap_or("the ticket system");
    let attempts = usize::try_from(delivery.attempts).unwrap_or(usize::MAX);
    let mut words = format!(
        "\n{}: {}, {}",
        table::one_line(who),
        delivery.state,
        table::count(attempts, "attempt")
    );
    if let Some(held) = delivery.held_seconds {
        words.push_str(&format!(", held for {}", span(held.max(1))));
    }
    if let Some(next) = delivery.next_seconds {
        words.push_str(&format!(", next try {}", span(next)));
    }
    table::line(&words)?;
    if !delivery.why.is_empty() {
        table::line(&format!("  {}", table::one_line(&delivery.why)))?;
    }
    if let Some(wanted) = &delivery.hold_wanted {
        table::line(&format!(
            "  if this attempt fails: {}",
            table::one_line(wanted)
        ))?;
    }
    for output in delivery.output.iter().flat_map(|output| output.lines()) {
        table::line(&format!("  | {}", table::one_line(output)))?;
    }
    Ok(())
}

/// The header section, for reading.
fn header(body: Stored) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    match body {
        Stored::Inline(whole) => bytes = whole,
        Stored::File(file) => {
            file.take(HEADER).read_to_end(&mut bytes)?;
        }
    }
    bytes.truncate(usize::try_from(HEADER).unwrap_or(usize::MAX));
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().take_while(|line| !line.is_empty());
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Writes the message to standard output.
pub(crate) async fn raw(spool: &Spool, entry: &QueueEntry) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return Err(Failure::new(
            Code::Usage,
            "a stranger's bytes can steer a terminal: pipe them into a program, or name a file with --output",
        ));
    }
    let body = body(spool, entry).await?;
    copy(body, entry, &mut std::io::stdout().lock())
}

/// Writes the message to a new file, which only its owner can read.
pub(crate) async fn save(spool: &Spool, entry: &QueueEntry, file: &Path) -> Result<(), Failure> {
    let body = body(spool, entry).await?;
    let cannot = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "; name a new one, nothing is written over",
            _ => "",
        };
        Failure::new(
            Code::CannotCreate,
            format!("{}: {error}{hint}", file.display()),
        )
    };
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(cannot)?;
    let written = copy(body, entry, &mut out).and_then(|()| out.sync_all().map_err(cannot));
    if written.is_err() {
        // Half a message is worse than none.
        let _ = std::fs::remove_file(file);
        return written;
    }
    table::line(&format!(
        "message {} is in {}, {} bytes",
        entry.row.id,
        file.display(),
        entry.row.size
    ))
}

async fn body(spool: &Spool, entry: &QueueEntry) -> Result<Stored, Failure> {
    if entry.kept {
        return Ok(spool.open_body(MessageId(entry.row.id)).await?);
    }
    Err(Failure::new(
        Code::Data,
        format!(
            "the body of message {0} is not in the spool but in the mailbox; `postern queue retry {0}` fetches it",
            entry.row.id
        ),
    ))
}

/// Copies a body and sees that it is the one that was taken in.
fn copy(body: Stored, entry: &QueueEntry, out: &mut impl Write) -> Result<(), Failure> {
    let mut hasher = Sha256::new();
    match body {
        Stored::Inline(bytes) => {
            hasher.update(&bytes);
            out.write_all(&bytes)?;
        }
        Stored::File(mut file) => {
            let mut chunk = vec![0; CHUNK];
            loop {
                let read = file.read(&mut chunk)?;
                if read == 0 {
                    break;
                }
                hasher.update(&chunk[..read]);
                out.write_all(&chunk[..read])?;
            }
        }
    }
    out.flush()?;
    let found: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found == entry.sha256 {
        return Ok(());
    }
    Err(Failure::new(
        Code::Io,
        format!(
            "the body of message {} is damaged: its SHA-256 is {found}",
            entry.row.id
        ),
    ))
}
