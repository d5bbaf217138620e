//! Token configs to and from documents in the exchange format.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use token_store::Imported;

use super::named;
use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::table;

/// More is not an exchange document.
const LONGEST_DOCUMENT: u64 = 16 << 20;

pub(super) fn export(
    office: &Office,
    names: &[String],
    secrets: bool,
    output: Option<&Path>,
) -> Result<(), Failure> {
    let store = office.store()?;
    for name in names {
        named(&store, name)?;
    }
    let entries = store.export((!names.is_empty()).then_some(names))?;
    let text = provider_template::write(&entries, secrets);
    let Some(path) = output else {
        std::io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(());
    };
    write_private(path, text.as_bytes()).map_err(|error| {
        Failure::new(
            Code::CannotCreate,
            format!("{} cannot be written: {error}", path.display()),
        )
    })?;
    eprintln!(
        "postern: {} written to {}",
        table::count(entries.len(), "token config"),
        path.display()
    );
    Ok(())
}

/// Whole or not at all, and never readable for others, also where the file existed with other rights.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&fresh);
    })
}

pub(super) async fn import(file: &Path, document: &Path, overwrite: bool) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(
            Code::Data,
            format!("{} cannot be read: {error}", document.display()),
        )
    };
    let mut text = String::new();
    let read = if document == Path::new("-") {
        std::io::stdin()
            .take(LONGEST_DOCUMENT)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(document)
            .and_then(|file| file.take(LONGEST_DOCUMENT).read_to_string(&mut text))
    };
    read.map_err(unreadable)?;
    let entries = provider_template::read(&text).map_err(|problem| {
        let words = format!(
            "{}:{}:{}: {}",
            document.display(),
            problem.line,
            problem.column,
            problem.why
        );
        Failure::new(Code::Data, words)
    })?;
    let office = Office::open(file).await?;
    for (name, done) in office.store()?.import(entries, overwrite).await? {
        let words = match done {
            Imported::Added => "added",
            Imported::Changed => "changed",
            Imported::Unchanged => "is the same already",
            Imported::LeftAlone => "exists already and was left alone; --overwrite changes it",
        };
        table::line(&format!("{name}: {words}"))?;
        if matches!(done, Imported::Added | Imported::Changed) {
            office.tell_changed(&name).await?;
        }
    }
    Ok(())
}
