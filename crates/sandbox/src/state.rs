//! Everything the provider knows, behind one lock that is never held across an await.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, Faults, Service};
use crate::folders::Mailboxes;
use crate::grants::Grants;
use crate::knobs::{Features, Knobs};
use crate::oauth::{Devices, Signers};

/// What the submission server took: who signed in, the envelope, and the bytes after unstuffing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Who signed in.
    pub user: String,
    /// The envelope sender; empty for a bounce.
    pub sender: String,
    /// The recipients that were accepted, as they were written.
    pub recipients: Vec<String>,
    /// What MAIL said after the address, and then what each accepted RCPT did.
    pub parameters: Vec<String>,
    /// The message, with its last CRLF.
    pub bytes: Vec<u8>,
    /// When it was taken.
    pub at: Instant,
}

/// How often things happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProviderCounts {
    /// Requests at the token endpoint, planned faults included.
    pub token_requests: u64,
    /// Refresh tokens exchanged for an access token.
    pub refreshes: u64,
    /// Refresh tokens presented that had been used before.
    pub reused: u64,
    /// Tokens and passwords refused at IMAP, POP3 or SMTP.
    pub refused: u64,
    /// Sign-ins that worked.
    pub imap_sign_ins: u64,
    /// Sign-ins that worked.
    pub smtp_sign_ins: u64,
    /// Sign-ins that worked.
    pub pop3_sign_ins: u64,
    /// Messages retrieved by POP3.
    pub pop3_retrieved: u64,
    /// Questions whether a device code was entered.
    pub device_questions: u64,
    /// Those that came before their time.
    pub device_questions_too_early: u64,
    /// Signed assertions that were accepted.
    pub assertions: u64,
    /// Tokens that a client took back.
    pub revocations: u64,
    /// Questions at the introspection endpoint.
    pub introspections: u64,
    /// Messages the submission server took.
    pub submitted: u64,
    /// Planned faults that were met.
    pub faults: u64,
    /// The most connections that the submission server had open at a time.
    pub smtp_at_once: u64,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) knobs: Knobs,
    pub(crate) features: Features,
    pub(crate) faults: Faults,
    pub(crate) grants: Grants,
    pub(crate) devices: Devices,
    pub(crate) signers: Signers,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) passwords: BTreeMap<String, String>,
    pub(crate) submitted: Vec<Submitted>,
    /// Connections of the submission server.
    pub(crate) smtp_open: u64,
    pub(crate) counts: ProviderCounts,
    /// The connections of each service that are open now; replaced when they are dropped on order.
    open: [CancellationToken; 4],
    /// Whose maildrop a POP3 session has locked.
    pub(crate) locked: BTreeSet<String>,
}

/// The state, and the signal that a mailbox changed.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Counts the changes of any folder; IDLE sessions watch it.
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    pub(crate) fn new(knobs: Knobs, shutdown: CancellationToken) -> Self {
        let state = State {
            knobs,
            features: Features::default(),
            faults: Faults::default(),
            grants: Grants::default(),
            devices: Devices::default(),
            signers: Signers::default(),
            mailboxes: Mailboxes::default(),
            passwords: BTreeMap::new(),
            submitted: Vec::new(),
            smtp_open: 0,
            counts: ProviderCounts::default(),
            open: std::array::from_fn(|_| shutdown.child_token()),
            locked: BTreeSet::new(),
        };
        Self {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            shutdown,
        }
    }

    /// Reads or changes the state. A closure, so that the lock cannot live across an await.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        // A panic in a test's closure must not hide the test's own message behind a poisoned lock.
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the IDLE sessions that a folder changed.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The fault planned for what the client said, if any.
    pub(crate) fn fault(&self, service: Service, said: impl AsRef<[u8]>) -> Option<Fault> {
        self.with(|state| {
            let fault = state.faults.take(service, said.as_ref(), Instant::now())?;
            state.counts.faults += 1;
            Some(fault)
        })
    }

    /// Ends when the connection must end: shutdown, or its service's connections are dropped.
    pub(crate) fn connection(&self, service: Service) -> CancellationToken {
        self.with(|state| state.open[service as usize].clone())
    }

    /// Drops every open connection of a service; new ones are welcome.
    pub(crate) fn drop_connections(&self, service: Service) {
        let fresh = self.shutdown.child_token();
        self.with(|state| std::mem::replace(&mut state.open[service as usize], fresh))
            .cancel();
    }
}
