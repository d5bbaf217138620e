//! Sockets that the service manager has opened and keeps open while the daemon restarts (sd_listen_fds(3)).
//!
//! A listener of the configuration takes the one that has its address, instead of binding. So a client that comes during a restart
//! waits in the socket's queue and is served afterwards.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{FdFlags, fcntl_setfd};
use sender::{Listen, Listener};

/// What was handed over and is not in use yet.
#[derive(Default)]
pub(crate) struct Handed(Vec<Socket>);

struct Socket {
    name: String,
    address: Listen,
    listener: Listener,
}

/// Why a socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandedError {
    #[error("the sockets that systemd hands over cannot be taken: {0}")]
    Environment(sd_listen_fds::Error),
    #[error("the socket that systemd hands over as {name} cannot be used: {source}")]
    Socket { name: String, source: io::Error },
    #[error(
        "systemd hands over {0}, which no `listen` of the configuration names: nobody would answer there; add it to `submission`, or \
         remove it from the socket unit"
    )]
    Unclaimed(String),
}

impl Handed {
    /// Takes what the environment names. To be called once, and before any program is started that should not inherit it.
    pub(crate) fn take() -> Result<Self, HandedError> {
        let sockets = sd_listen_fds::get().map_err(HandedError::Environment)?;
        let taken = sockets.into_iter().map(|(name, socket)| {
            let name = name.unwrap_or_else(|| "unknown".to_owned());
            let adopted = adopt(socket.into_std());
            adopted
                .map(|(address, listener)| Socket {
                    name: name.clone(),
                    address,
                    listener,
                })
                .map_err(|source| HandedError::Socket { name, source })
        });
        taken.collect::<Result<_, _>>().map(Self)
    }

    /// The socket of an address.
    pub(super) fn claim(&mut self, address: &Listen) -> Option<Listener> {
        let at = self.0.iter().position(|s| s.address == *address)?;
        let Socket { name, listener, .. } = self.0.swap_remove(at);
        tracing::info!("{address} is the socket {name} of the service manager");
        Some(listener)
    }

    /// An error for what nobody has claimed: a client there would wait for ever.
    pub(super) fn finish(self) -> Result<(), HandedError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(HandedError::Unclaimed(self.to_string())),
        }
    }
}

impl fmt::Display for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self
            .0
            .iter()
            .map(|s| format!("{} ({})", s.address, s.name))
            .collect();
        f.write_str(&each.join(", "))
    }
}

fn adopt(socket: OwnedFd) -> io::Result<(Listen, Listener)> {
    // The service manager passes them so that they survive exec.
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    let listener = Listener::adopt(socket)?;
    Ok((listener.address()?, listener))
}
