//! `postern key`: the key that seals secrets in the database.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use token_store::seal::{Key, KeyError};

use super::exit::{Code, Failure};
use super::office::Office;
use super::table;
use crate::control::{KeyText, Question};
use crate::run::key;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Seal every secret with a new key, in one transaction; the former key then opens nothing any more.
    #[command(
        after_help = "Keep a copy of the new key. Where the key is a systemd credential, name a file for the new one, and make it the credential \
                      afterwards:\n  postern key rotate --new-key-file /root/postern.key.new\n  install -m 600 /root/postern.key.new /etc/credstore/postern.key"
    )]
    Rotate {
        /// Take the new key from this file; it is made there when there is none.
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
    },
}

/// Does what was asked for.
pub(crate) async fn carry_out(file: &Path, command: KeyCommand) -> Result<(), Failure> {
    let KeyCommand::Rotate { new_key_file } = command;
    let given = new_key_file.as_deref().map(read_or_make).transpose()?;
    let office = Office::open(file).await?;
    if let Some(client) = office.daemon() {
        let key = given.map(|key| KeyText(key.text().expose().to_owned()));
        let done = client.ask(&Question::RotateKey { key }).await?;
        return table::line(done.as_str().unwrap_or_default());
    }
    let store = office.store()?;
    let source = &office.config.key;
    let values = key::rotate(source, &store, given)
        .await
        .map_err(|error| Failure::new(code(&error), error.to_string()))?;
    table::line(&key::done(values, source))
}

fn code(error: &key::RotateError) -> Code {
    match error {
        key::RotateError::Credential { .. } => Code::Usage,
        _ => Code::Io,
    }
}

/// A key of the administrator's.
fn read_or_make(path: &Path) -> Result<Key, Failure> {
    let made = match Key::read(path) {
        Err(KeyError::Missing { .. }) => {
            let random = |error: String| Failure::new(Code::Software, error);
            let key = Key::generate().map_err(|error| random(error.to_string()))?;
            key.write_new(path).map(|()| key)
        }
        read => read,
    };
    made.map_err(|error| {
        let denied = matches!(&error, KeyError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied);
        let code = if denied { Code::NotAllowed } else { Code::Data };
        Failure::new(code, error.to_string())
    })
}
