//! What a configuration file may point to outside itself: environment variables, files, systemd credentials.

use std::path::{Path, PathBuf};

use provider_template::Secret;

/// A secret file that is longer than this is not one.
const LONGEST_SECRET: u64 = 64 * 1024;

/// Whether secrets are looked up while a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// They must all be there: the daemon, and `postern check`.
    Needed,
    /// Something stands in for them: a command that only looks must not need what the daemon alone can read.
    LeftOut,
}

/// Where names in a configuration file are looked up.
pub(crate) struct Surroundings {
    pub(super) secrets: Secrets,
    variable: fn(&str) -> Option<String>,
    credentials: Vec<PathBuf>,
}

impl Surroundings {
    /// This process: its environment, the credentials systemd passed to it, and for commands typed by root those of the
    /// running service and of the credential stores.
    pub(crate) fn of_this_process(secrets: Secrets) -> Self {
        let passed = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let others = [
            "/run/credentials/postern.service",
            "/etc/credstore",
            "/run/credstore",
        ];
        Self {
            secrets,
            variable: |name| std::env::var(name).ok(),
            credentials: passed
                .into_iter()
                .chain(others.map(PathBuf::from))
                .collect(),
        }
    }

    /// The file of a systemd credential, or where it was looked for.
    pub(super) fn credential(&self, name: &str) -> Result<PathBuf, String> {
        if name.contains('/') || name.starts_with('.') {
            return Err("a credential has a plain name, not a path".to_owned());
        }
        let found = self
            .credentials
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.exists());
        found.ok_or_else(|| format!("there is no systemd credential \"{name}\"; give it with LoadCredential={name}:PATH in the unit"))
    }

    /// The value of an environment variable.
    pub(super) fn variable(&self, name: &str) -> Result<Secret, String> {
        match (self.variable)(name) {
            Some(value) if !value.is_empty() => Ok(Secret::new(value)),
            _ => Err(format!("the environment variable {name} is not set")),
        }
    }

    /// The text of a file, its last line end left out.
    pub(super) fn file(&self, path: &Path) -> Result<Secret, String> {
        let name = path.display();
        let bytes = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > LONGEST_SECRET => {
                return Err(format!(
                    "{name} holds {} bytes, too many for a secret",
                    meta.len()
                ));
            }
            Ok(_) => {
                std::fs::read(path).map_err(|error| format!("{name} cannot be read: {error}"))?
            }
            Err(error) => return Err(format!("{name} cannot be read: {error}")),
        };
        let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8 text"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(format!("{name} is empty"));
        }
        Ok(Secret::new(text))
    }

    #[cfg(test)]
    pub(super) fn for_tests(credentials: PathBuf) -> Self {
        let variable =
            |name: &str| (name == "POSTERN_TEST_SECRET").then(|| "from the environment".to_owned());
        Self {
            secrets: Secrets::Needed,
            variable,
            credentials: vec![credentials],
        }
    }
}
