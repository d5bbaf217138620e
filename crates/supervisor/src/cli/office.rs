//! Where a command does its work: through the daemon that runs, or alone with the lock, so that no refresh token is ever used by two processes.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use spool::Spool;
use token_store::{Store, Tokens, TokensOptions};
use tokio::time::{Instant, sleep};

use super::exit::{Code, Failure};
use crate::config::{Config, KeySource, Secrets};
use crate::control::{Client, ClientError, Question};
use crate::run::{self, COMMAND, Lock, LockError, OpenError};

/// Another command holds the lock for moments, a starting daemon until its socket is there.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// The configuration, and the way to its state.
pub(crate) struct Office {
    pub(crate) config: Config,
    reach: Reach,
    /// Where a command that only looks keeps what it needs; gone with it.
    _scratch: Option<tempfile::TempDir>,
}

enum Reach {
    Daemon(Client),
    Alone { _lock: Lock },
}

impl Office {
    /// As [`Office::open`], for a command that changes nothing: where nothing is kept yet, nothing is made either, and the
    /// work is done on a scratch folder.
    pub(crate) async fn look(file: &Path) -> Result<Self, Failure> {
        let mut config = Config::read(file, Secrets::Needed)?;
        if run::has_state(&config) || Client::reach(&config.control_socket).await.is_ok() {
            return Self::open(file).await;
        }
        let scratch = tempfile::tempdir()?;
        config.state_dir = scratch.path().to_owned();
        config.key = KeySource::Made(scratch.path().join("postern.key"));
        let lock = Lock::take(&config.state_dir, COMMAND).map_err(OpenError::from)?;
        let declared = run::store(&config)?
            .declare(&config.origin(), config.declared.clone())
            .await;
        declared.map_err(OpenError::from)?;
        Ok(Self {
            config,
            reach: Reach::Alone { _lock: lock },
            _scratch: Some(scratch),
        })
    }

    /// Reads the configuration, finds the daemon, or takes its place for a while. Without a daemon, what the file declares
    /// is brought into the database first, as the daemon would.
    pub(crate) async fn open(file: &Path) -> Result<Self, Failure> {
        let config = Config::read(file, Secrets::LeftOut)?;
        let give_up = Instant::now() + PATIENCE;
        loop {
            match Client::reach(&config.control_socket).await {
                Ok(client) => {
                    return Ok(Self {
                        config,
                        reach: Reach::Daemon(client),
                        _scratch: None,
                    });
                }
                Err(ClientError::NoDaemon { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            run::key::check(&config)?;
            run::state_dir(&config)?;
            match Lock::take(&config.state_dir, COMMAND) {
                Ok(lock) => {
                    run::give_to_owner(&config)?;
                    return Self::alone(file, config, lock).await;
                }
                Err(LockError::Held { .. }) if Instant::now() < give_up => {
                    sleep(BETWEEN_TRIES).await
                }
                Err(error) => return Err(OpenError::from(error).into()),
            }
        }
    }

    async fn alone(file: &Path, looked: Config, lock: Lock) -> Result<Self, Failure> {
        let reach = Reach::Alone { _lock: lock };
        match Config::read(file, Secrets::Needed) {
            Ok(config) => {
                let store = run::store(&config)?;
                run::key::settle(&config.key, &store).await;
                let origin = config.origin();
                let declared = store.declare(&origin, config.declared.clone());
                declared.await.map_err(OpenError::from)?;
                run::give_to_owner(&config)?;
                Ok(Self {
                    config,
                    reach,
                    _scratch: None,
                })
            }
            // Good but for secrets that only the daemon can read.
            Err(mistakes) => {
                eprintln!(
                    "{mistakes}\npostern: the accounts of the file were not brought into the database"
                );
                Ok(Self {
                    config: looked,
                    reach,
                    _scratch: None,
                })
            }
        }
    }

    /// The daemon, where one runs.
    pub(crate) fn daemon(&self) -> Option<&Client> {
        match &self.reach {
            Reach::Daemon(client) => Some(client),
            Reach::Alone { .. } => None,
        }
    }

    /// The daemon, or 69 and what to do.
    pub(crate) fn need_daemon(&self) -> Result<&Client, Failure> {
        let words =
            "the daemon does not run; start it with `systemctl start postern` or `postern run`";
        self.daemon()
            .ok_or_else(|| Failure::new(Code::Unavailable, words))
    }

    /// accounts.db.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        let store = run::store(&self.config)?;
        run::give_to_owner(&self.config)?;
        Ok(store)
    }

    /// The tokens, in this process. Exchanges only while no daemon runs.
    pub(crate) fn tokens(&self) -> Result<Tokens, Failure> {
        let options = TokensOptions {
            ca_file: self.config.token_ca_file.clone(),
        };
        Ok(Tokens::new(self.store()?, options)?)
    }

    /// spool.db, as a guest; before the daemon's first start it is made.
    pub(crate) fn spool(&self) -> Result<Spool, Failure> {
        let dir = &self.config.state_dir;
        let first = self.daemon().is_none() && !dir.join("spool.db").exists();
        let spool = if first {
            Spool::open(dir)?
        } else {
            Spool::open_beside(dir)?
        };
        run::give_to_owner(&self.config)?;
        Ok(spool)
    }

    /// Tells a running daemon that a token config has changed.
    pub(crate) async fn tell_changed(&self, config: &str) -> Result<(), Failure> {
        if let Some(client) = self.daemon() {
            client
                .ask(&Question::TokensChanged {
                    config: config.to_owned(),
                })
                .await?;
        }
        Ok(())
    }
}

impl Office {
    /// Tells a running daemon that mailboxes or relays have changed; what it does about it, in words.
    pub(crate) async fn tell_accounts_changed(&self) -> Result<Vec<String>, Failure> {
        let Some(client) = self.daemon() else {
            return Ok(Vec::new());
        };
        let words = client.ask(&Question::AccountsChanged).await?;
        Ok(serde_json::from_value(words)?)
    }
}

/// What a daemon answered, as this command knows it.
pub(crate) fn answered<T: DeserializeOwned>(answer: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        let words = format!("the daemon is of another version than this command: {error}");
        Failure::new(Code::Software, words)
    })
}

/// The daemon, for those who may ask it but not read the configuration: the socket is then where the package has it.
pub(crate) async fn doorbell(file: &Path) -> Result<Option<Client>, Failure> {
    let unreadable = std::fs::File::open(file)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    let socket = if unreadable {
        crate::config::CONTROL_SOCKET.into()
    } else {
        Config::read(file, Secrets::LeftOut)?.control_socket
    };
    match Client::reach(&socket).await {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NoDaemon { .. }) if !unreadable => Ok(None),
        Err(error) => Err(error.into()),
    }
}
