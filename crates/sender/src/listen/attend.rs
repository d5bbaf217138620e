//! One connection from its arrival to its end: a place, TLS where it is due, and the session.
use super::Shared;
use super::door::{Arrival, Duplex, Offer};
use super::guests::{Full, Seat};
use super::session::{Client, Session};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, info, warn};
use wire::accept::Certificate;

/// A handshake is two round trips and a signature; who takes longer is not a mail client.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// A stream whose kind no longer matters.
type Stream = Box<dyn Duplex>;

/// Serves a client, or tells it that there is no room.
pub(super) async fn attend(arrival: Arrival, seat: Result<Seat, Full>, shared: Arc<Shared>) {
    let Arrival {
        mut stream,
        peer,
        address,
    } = arrival;
    let mut client = Client::new(peer, address);
    if let Offer::Implicit(certificate) = &shared.door.tls {
        let Some(secured) = secure(stream, certificate, &client, &shared).await else {
            return;
        };
        (stream, client) = (secured, client.under_tls());
    }
    let session = Session::new(stream, client, Arc::clone(&shared));
    let _seat = match seat {
        Ok(seat) => seat,
        Err(full) => return session.turn_away(full).await,
    };
    let Some((stream, client)) = session.run().await else {
        return;
    };
    if let Offer::Starttls(certificate) = &shared.door.tls
        && let Some(stream) = secure(stream, certificate, &client, &shared).await
    {
        let client = client.under_tls();
        let session = Session::new(stream, client, Arc::clone(&shared));
        // Under TLS there is no second STARTTLS.
        session.go_on().await;
    }
}

async fn secure(
    stream: Stream,
    certificate: &Certificate,
    client: &Client,
    shared: &Shared,
) -> Option<Stream> {
    match certificate.refresh() {
        None => {}
        Some(Ok(())) => info!("the certificate of a submission listener was renewed"),
        Some(Err(error)) => {
            warn!(
                "the certificate of a submission listener has changed and cannot be used, so the former one is shown on: {error}"
            );
        }
    }
    let limit = HANDSHAKE.min(shared.limits.command_timeout);
    let handshake = tokio::select! {
        biased;
        () = shared.shutdown.cancelled() => return None,
        handshake = certificate.accept(stream, limit) => handshake,
    };
    match handshake {
        Ok(stream) => Some(Box::new(stream)),
        Err(error) => {
            tell(client, &error);
            None
        }
    }
}

/// Scanners and wrong settings of clients; a postmaster looks for the latter.
fn tell(client: &Client, error: &io::Error) {
    let peer = client.peer();
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            debug!(peer, %error, "a submission client went away before TLS had begun");
        }
        _ => info!(peer, %error, "TLS with a submission client did not begin"),
    }
}
