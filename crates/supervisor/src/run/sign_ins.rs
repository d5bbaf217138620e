//! Consents while the daemon runs: sign-ins on other devices are followed, and accounts that waited for any consent go on.

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::handle::Handle;

/// Until shutdown.
pub(super) async fn follow(handle: Handle, shutdown: CancellationToken) {
    let tokens = handle.tokens().clone();
    let mut consents = tokens.consents();
    let tell = async {
        loop {
            match consents.recv().await {
                Ok(config) => handle.tokens_changed(&config),
                // Those accounts find out at the end of their pause.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        () = tokens.follow_devices(shutdown) => {}
        () = tell => {}
    }
}
