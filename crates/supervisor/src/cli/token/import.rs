//! Token configs from documents in the exchange format, sealed ones, and other programs' token files.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use token_store::transfer::{Arrivals, Arrived, Parcel, sealed};
use token_store::{Imported, Secret};

use super::foreign;
use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::{prompt, table};

/// More is not an exchange document.
const LONGEST_DOCUMENT: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The document; `-` is standard input.
    file: PathBuf,
    /// Change entries of the same name too, and replace their refresh tokens by newer ones; otherwise they are left alone.
    #[arg(long)]
    overwrite: bool,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    foreign: foreign::Options,
}

pub(crate) async fn import(file: &Path, order: Import) -> Result<(), Failure> {
    let document = &order.file;
    let bytes = read(document)?;
    let office = Office::open(file).await?;
    let store = office.store()?;
    let parcel = if order.foreign.from.is_some() {
        let moved = foreign::read(document, bytes, &order.foreign, &office.config.library)?;
        for line in &moved.lines {
            table::line(line)?;
        }
        moved.parcel
    } else {
        ours(document, bytes)?
    };
    let names: Vec<String> = parcel
        .entries
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    let arrivals = store
        .take_in(parcel, order.overwrite, order.dry_run)
        .await?;
    for line in told(&arrivals, order.dry_run) {
        table::line(&line)?;
    }
    if arrivals == Arrivals::default() {
        table::line("there is nothing in the document")?;
    }
    if order.dry_run {
        return Ok(());
    }
    for name in arrivals.changed() {
        office.tell_changed(&name).await?;
    }
    if order.foreign.from.is_some() && !names.is_empty() {
        table::line(
            "Now stop the other program before the accounts go on here: a refresh token that two programs use may end for both.",
        )?;
    }
    Ok(())
}

/// What a document is called in messages.
fn shown(document: &Path) -> String {
    match document.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => document.display().to_string(),
    }
}

/// All of a document.
fn read(document: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(
            Code::Data,
            format!("{} cannot be read: {error}", shown(document)),
        )
    };
    let mut bytes = Vec::new();
    let read = if document == Path::new("-") {
        std::io::stdin()
            .take(LONGEST_DOCUMENT)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(document)
            .and_then(|file| file.take(LONGEST_DOCUMENT).read_to_end(&mut bytes))
    };
    read.map_err(unreadable)?;
    Ok(bytes)
}

/// A document of the exchange format, or a sealed one.
fn ours(document: &Path, bytes: Vec<u8>) -> Result<Parcel, Failure> {
    let name = shown(document);
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(Code::Data, format!("{name} is not UTF-8 text")))?;
    if sealed::is_sealed(&text) {
        return Ok(sealed::open(&text, &passphrase(document)?)?);
    }
    let entries = provider_template::read(&text).map_err(|problem| {
        let words = format!(
            "{name}:{}:{}: {}",
            problem.line, problem.column, problem.why
        );
        Failure::new(Code::Data, words)
    })?;
    Ok(Parcel {
        entries,
        tokens: Vec::new(),
    })
}

fn passphrase(document: &Path) -> Result<Secret, Failure> {
    let given = if document == Path::new("-") {
        prompt::secret_beside_input("passphrase")?
    } else {
        prompt::secret("passphrase")?
    };
    if given.is_empty() {
        let why = "the document is sealed, and no passphrase was given; nothing was changed";
        return Err(Failure::new(Code::Data, why));
    }
    Ok(given)
}

/// What was done, or would be, a line each.
fn told(arrivals: &Arrivals, tried: bool) -> Vec<String> {
    let say = |done: &'static str, would: &'static str| if tried { would } else { done };
    let entries = arrivals.entries.iter().map(|(name, imported)| {
        let words = match imported {
            Imported::Added => say("added", "would be added"),
            Imported::Changed => say("changed", "would be changed"),
            Imported::Unchanged => "is the same already",
            Imported::LeftAlone => say(
                "exists already and was left alone; --overwrite changes it",
                "exists already and would be left alone; --overwrite changes it",
            ),
        };
        format!("{name}: {words}")
    });
    let tokens = arrivals.tokens.iter().map(|(id, arrived)| {
        let words = match arrived {
            Arrived::Taken => say("taken", "would be taken"),
            Arrived::Replaced => say(
                "taken; the one before is kept aside",
                "would be taken, and the one before kept aside",
            ),
            Arrived::Same => "is the same already",
            Arrived::LeftAlone => say(
                "left alone; --overwrite takes it",
                "would be left alone; --overwrite takes it",
            ),
            Arrived::Older => say(
                "left alone, since the one here works and is newer",
                "would be left alone, since the one here works and is newer",
            ),
        };
        format!("{id}: refresh token {words}")
    });
    entries.chain(tokens).collect()
}
