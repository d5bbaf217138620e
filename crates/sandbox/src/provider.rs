//! The running provider: its listeners and tasks, and what tests and the demo ask of it.
use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fault::{Fault, Faults, Lasts, Service};
use crate::folders::INBOX;
use crate::knobs::{Addresses, Features, Knobs};
use crate::state::{ProviderCounts, Shared, Submitted};
use crate::{imap, oauth, pop3, smtp};

/// The one client registration.
pub(crate) const CLIENT_ID: &str = "sandbox-client";
/// Its secret; no secret at all, the provider is a pretence on loopback.
pub(crate) const CLIENT_SECRET: &str = "sandbox-secret";
/// Connections a server keeps open at once; more wait in the listen queue.
const CONNECTIONS: usize = 512;

/// A running provider; its tasks end with the token given at start. Clone shares.
#[derive(Debug, Clone)]
pub struct Provider {
    shared: Arc<Shared>,
    addresses: Addresses,
    tasks: TaskTracker,
}

impl Provider {
    /// Starts on free loopback ports.
    pub async fn start(knobs: Knobs, shutdown: CancellationToken) -> std::io::Result<Self> {
        Self::start_on(Addresses::default(), knobs, shutdown).await
    }

    /// Starts on given addresses; loopback only, for there is no TLS.
    pub async fn start_on(
        addresses: Addresses,
        knobs: Knobs,
        shutdown: CancellationToken,
    ) -> std::io::Result<Self> {
        let oauth = bind(addresses.oauth).await?;
        let imap = bind(addresses.imap).await?;
        let smtp = bind(addresses.smtp).await?;
        let pop3 = bind(addresses.pop3).await?;
        let provider = Self {
            shared: Arc::new(Shared::new(knobs, shutdown)),
            addresses: Addresses {
                oauth: oauth.local_addr()?,
                imap: imap.local_addr()?,
                smtp: smtp.local_addr()?,
                pop3: pop3.local_addr()?,
            },
            tasks: TaskTracker::new(),
        };
        let base = provider.url();
        provider.serve(oauth, Service::Oauth, move |stream, shared| {
            oauth::serve(stream, shared, base.clone())
        });
        provider.serve(imap, Service::Imap, imap::serve);
        provider.serve(smtp, Service::Smtp, smtp::serve);
        provider.serve(pop3, Service::Pop3, pop3::serve);
        provider.tasks.close();
        Ok(provider)
    }

    /// Waits until every task has ended; they end with the shutdown token.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }

    /// Where OAuth listens.
    pub fn oauth(&self) -> SocketAddr {
        self.addresses.oauth
    }

    /// Where IMAP listens.
    pub fn imap(&self) -> SocketAddr {
        self.addresses.imap
    }

    /// Where SMTP submission listens.
    pub fn smtp(&self) -> SocketAddr {
        self.addresses.smtp
    }

    /// Where POP3 listens.
    pub fn pop3(&self) -> SocketAddr {
        self.addresses.pop3
    }

    /// The issuer: `http://127.0.0.1:PORT`. Endpoints are `/authorize`, `/token`, `/device_authorization` (and `/device`
    /// for people), `/revoke`, `/introspect`, `/userinfo` and `/.well-known/openid-configuration`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addresses.oauth)
    }

    /// A client registration: id and secret accepted at the token endpoint.
    pub fn client(&self) -> (String, String) {
        (CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())
    }

    /// A refresh token for a user, as if that user had consented.
    pub fn consent(&self, user: &str) -> String {
        self.shared.with(|state| {
            state.mailboxes.of(user);
            state.grants.consent(user)
        })
    }

    /// The same, with a refresh token of the caller's choice.
    pub fn consent_as(&self, user: &str, refresh_token: &str) {
        self.shared.with(|state| {
            state.mailboxes.of(user);
            state.grants.consent_as(user, refresh_token);
        });
    }

    /// An access token without any exchange, good for `token_life`.
    pub fn access_token(&self, user: &str) -> String {
        self.shared.with(|state| {
            let life = state.knobs.token_life;
            state.grants.issue(Some(user), life, SystemTime::now())
        })
    }

    /// Every access token handed out so far is refused from now on; refresh tokens stay good.
    pub fn expire_access_tokens(&self) {
        self.shared
            .with(|state| state.grants.expire_access_tokens());
    }

    /// A user takes every consent back: their access and refresh tokens are refused from now on.
    pub fn revoke(&self, user: &str) {
        self.shared.with(|state| state.grants.revoke(user));
    }

    /// The user codes that wait for a person.
    pub fn device_codes(&self) -> Vec<String> {
        self.shared.with(|state| state.devices.waiting())
    }

    /// A person enters a user code and allows it (or refuses, without a user); false when there is no such code.
    pub fn answer_device(&self, user_code: &str, user: Option<&str>) -> bool {
        self.shared.with(|state| {
            user.map(|user| state.mailboxes.of(user));
            state.devices.answer(user_code, user)
        })
    }

    /// The next `times` questions for a device code are answered `slow_down`.
    pub fn slow_down(&self, times: u32) {
        self.shared.with(|state| state.devices.slow_downs = times);
    }

    /// The client may prove itself by assertions of this certificate (PEM) with this public key (PEM).
    pub fn register_certificate(&self, certificate: &str, public_key: &str) {
        self.shared
            .with(|state| state.signers.register_certificate(certificate, public_key));
    }

    /// A service account with this public key (PEM) may act for these users.
    pub fn register_service_account(&self, email: &str, public_key: &str, users: &[&str]) {
        self.shared.with(|state| {
            for user in users {
                state.mailboxes.of(user);
            }
            state.signers.register_account(email, public_key, users);
        });
    }

    /// Whom an access token is for; None when it is good for nothing.
    pub fn user_of(&self, access_token: &str) -> Option<String> {
        self.shared.with(|state| {
            let access = state.grants.access(access_token, SystemTime::now())?;
            access.user.clone()
        })
    }

    /// Gives a user a password for LOGIN and PLAIN, and for the token endpoint.
    pub fn set_password(&self, user: &str, password: &str) {
        self.shared.with(|state| {
            state.mailboxes.of(user);
            state.passwords.insert(user.to_owned(), password.to_owned())
        });
    }

    /// Puts a message into a user's INBOX; IDLE sessions are told.
    pub fn put_mail(&self, user: &str, bytes: Vec<u8>) {
        self.put_mail_in(user, INBOX, bytes);
    }

    /// Puts a message into any folder, which is made if need be.
    pub fn put_mail_in(&self, user: &str, folder: &str, bytes: Vec<u8>) {
        self.shared.with(|state| {
            let mailbox = state.mailboxes.of(user);
            mailbox.create(folder);
            let folder = mailbox.folder_mut(folder).expect("it was just made");
            folder.add(Arc::new(bytes), BTreeSet::new(), SystemTime::now());
        });
        self.shared.changed();
    }

    /// The messages left in a folder, oldest first; none when there is no such folder.
    pub fn folder(&self, user: &str, folder: &str) -> Vec<Vec<u8>> {
        self.shared.with(|state| {
            let folder = state.mailboxes.of(user).folder(folder);
            let messages = folder.map_or(&[][..], |folder| folder.messages());
            messages.iter().map(|m| m.bytes.to_vec()).collect()
        })
    }

    /// UIDs and flags of a folder's messages, oldest first.
    pub fn flags(&self, user: &str, folder: &str) -> Vec<(u32, Vec<String>)> {
        self.shared.with(|state| {
            let folder = state.mailboxes.of(user).folder(folder);
            let messages = folder.map_or(&[][..], |folder| folder.messages());
            let flags = |m: &crate::folders::Message| m.flags.iter().cloned().collect();
            messages.iter().map(|m| (m.uid, flags(m))).collect()
        })
    }

    /// The names of a user's folders.
    pub fn folder_names(&self, user: &str) -> Vec<String> {
        self.shared.with(|state| {
            state
                .mailboxes
                .of(user)
                .names()
                .map(str::to_owned)
                .collect()
        })
    }

    /// Removes all of a folder's messages, as another mail program would.
    pub fn empty_folder(&self, user: &str, folder: &str) {
        self.shared.with(|state| {
            if let Some(folder) = state.mailboxes.of(user).folder_mut(folder) {
                folder.remove(|_| true);
            }
        });
        self.shared.changed();
    }

    /// Gives a folder a new UIDVALIDITY and its messages new UIDs; open IMAP sessions are dropped, as a server would. POP3 names
    /// them anew too.
    pub fn set_uidvalidity(&self, user: &str, folder: &str, uidvalidity: u32) {
        self.shared.with(|state| {
            if let Some(folder) = state.mailboxes.of(user).folder_mut(folder) {
                folder.renumber(uidvalidity);
            }
        });
        self.shared.drop_connections(Service::Imap);
    }

    /// Everything the submission server took: (envelope sender, recipients, bytes after unstuffing).
    pub fn submitted(&self) -> Vec<Submitted> {
        self.shared.with(|state| state.submitted.clone())
    }

    /// The same, and forgets it, so that a provider which runs for days keeps nothing.
    pub fn take_submitted(&self) -> Vec<Submitted> {
        self.shared
            .with(|state| std::mem::take(&mut state.submitted))
    }

    /// How often things happened since the start.
    pub fn counts(&self) -> ProviderCounts {
        self.shared.with(|state| state.counts)
    }

    /// Changes how tokens are handed out, from the next request on.
    pub fn set_knobs(&self, change: impl FnOnce(&mut Knobs)) {
        self.shared.with(|state| change(&mut state.knobs));
    }

    /// Changes what the mail servers offer, from the next command on.
    pub fn set_features(&self, change: impl FnOnce(&mut Features)) {
        self.shared.with(|state| change(&mut state.features));
    }

    /// The next `times` commands of this name meet a fault; see [`Service`] for the names.
    pub fn fault(&self, service: Service, at: &str, times: u32, fault: Fault) {
        self.plan(service, at, Lasts::Times(times), fault);
    }

    /// Every command of this name meets a fault for a while.
    pub fn fault_for(&self, service: Service, at: &str, time: Duration, fault: Fault) {
        self.plan(service, at, Lasts::Until(Instant::now() + time), fault);
    }

    /// Forgets the faults still to come.
    pub fn clear_faults(&self) {
        self.shared.with(|state| state.faults = Faults::default());
    }

    /// Drops every open connection of a service, without a word; new ones are welcome.
    pub fn drop_connections(&self, service: Service) {
        self.shared.drop_connections(service);
    }

    fn plan(&self, service: Service, at: &str, lasts: Lasts, fault: Fault) {
        self.shared
            .with(|state| state.faults.plan(service, at, lasts, fault));
    }

    /// Accepts connections until shutdown, each one a task.
    fn serve<F, Fut>(&self, listener: TcpListener, service: Service, handle: F)
    where
        F: Fn(TcpStream, Arc<Shared>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (shared, tasks) = (self.shared.clone(), self.tasks.clone());
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        self.tasks.spawn(async move {
            let accepting = async {
                loop {
                    let Ok(place) = places.clone().acquire_owned().await else {
                        return;
                    };
                    let Ok((stream, _)) = listener.accept().await else {
                        // Out of files for the moment: the listener itself is fine.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    // One write per answer must not wait for the peer's acknowledgement; failing that, it is only slower.
                    stream.set_nodelay(true).ok();
                    let until = shared.connection(service);
                    let session = handle(stream, shared.clone());
                    tasks.spawn(async move {
                        until.run_until_cancelled(session).await;
                        drop(place);
                    });
                }
            };
            shared.shutdown.run_until_cancelled(accepting).await;
        });
    }
}

/// Binds, and refuses what is not loopback.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        let why = format!(
            "the pretend provider has no TLS and listens on loopback only, not on {address}"
        );
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, why));
    }
    TcpListener::bind(address).await
}
