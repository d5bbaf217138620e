//! Token configs to documents in the exchange format, in clear or sealed with a passphrase.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use token_store::transfer::{Parcel, file_name, sealed};

use super::named;
use crate::cli::exit::{Code, Failure};
use crate::cli::office::Office;
use crate::cli::{prompt, table};

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Token configs' names.
    names: Vec<String>,
    /// Leave client secrets empty, and keys and passwords out.
    #[arg(long, conflicts_with = "with_tokens")]
    without_secrets: bool,
    /// Seal the document with a passphrase, which is asked for, or read from standard input.
    #[arg(long)]
    passphrase: bool,
    /// Refresh tokens too, for another installation of Postern; only sealed.
    #[arg(long, requires = "passphrase")]
    with_tokens: bool,
    /// Show secrets on a terminal, too.
    #[arg(long)]
    in_clear: bool,
    /// Write to this file, readable for you alone, instead of standard output; in a folder, to a file named after the time.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn export(office: &Office, order: &Export) -> Result<(), Failure> {
    let store = office.store()?;
    for name in &order.names {
        named(&store, name)?;
    }
    let names = (!order.names.is_empty()).then_some(order.names.as_slice());
    let mut parcel = Parcel {
        entries: store.export(names)?,
        tokens: Vec::new(),
    };
    if order.with_tokens {
        parcel.tokens = store.export_tokens(names)?;
    }
    let text = if order.passphrase {
        let passphrase = prompt::new_password("passphrase")?;
        if order.without_secrets {
            parcel.entries.iter_mut().for_each(forget_secrets);
        }
        sealed::seal(&parcel, &passphrase)?
    } else {
        provider_template::write(&parcel.entries, !order.without_secrets)
    };
    let Some(path) = &order.output else {
        let shows = !order.without_secrets && !order.passphrase && !order.in_clear;
        if shows && std::io::stdout().is_terminal() {
            return Err(Failure::new(
                Code::Usage,
                "this would show secrets on the terminal; --output FILE writes them to a file, --without-secrets leaves them out, \
                 --in-clear shows them",
            ));
        }
        std::io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(());
    };
    let path = within(path, jiff::Timestamp::now());
    write_private(&path, text.as_bytes()).map_err(|error| {
        Failure::new(
            Code::CannotCreate,
            format!("{} cannot be written: {error}", path.display()),
        )
    })?;
    eprintln!(
        "postern: {} written to {}",
        table::count(parcel.entries.len(), "token config"),
        path.display()
    );
    if !parcel.tokens.is_empty() {
        eprintln!(
            "postern: with {}; once another installation uses them, let this one rest: a provider that sees a refresh token twice may end \
             the whole grant",
            table::count(parcel.tokens.len(), "refresh token")
        );
    }
    Ok(())
}

fn forget_secrets(entry: &mut provider_template::Entry) {
    entry.config.client_secret = token_store::Secret::default();
    entry.config.private_key = token_store::Secret::default();
    entry.config.password = token_store::Secret::default();
}

/// In a folder, the name that exports have elsewhere, too.
fn within(path: &Path, now: jiff::Timestamp) -> PathBuf {
    if path.is_dir() {
        path.join(file_name(now))
    } else {
        path.to_owned()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_into_a_folder_is_named_after_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let now: jiff::Timestamp = "2026-11-24T10:05:09Z".parse().unwrap();
        assert_eq!(
            within(folder.path(), now),
            folder
                .path()
                .join("PosternTokenConfigs_20261124_100509.yml")
        );
        let file = folder.path().join("x.yml");
        assert_eq!(within(&file, now), file);
    }
}
