//! A signed-in connection for a relay's account, with one fresh token if the first is refused.
use super::judge::{self, Trouble, judge_connection, judge_token};
use super::{Parts, Timing};
use crate::host_name;
use crate::smtp_client::{Client, ClientError, Identity, Patience};
use spool::OutClaim;
use spool::schedule::Policy;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use token_store::accounts::Relay;
use token_store::{AccessToken, Credential};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wire::dial::{self, DialError, Stream, Target, Trust};

/// No token version; they count from 0.
const NONE: i64 = -1;

/// A relay's account and everything its tasks share.
pub(crate) struct Account {
    pub(crate) relay: Relay,
    pub(crate) parts: Parts,
    pub(crate) timing: Timing,
    pub(crate) policy: Policy,
    pub(crate) shutdown: CancellationToken,
    hello: String,
    trust: OnceLock<Trust>,
    /// The version of a fresh token that was refused too. Rejecting it again would ask for token after token
    /// while the fault lies elsewhere.
    refused_fresh: AtomicI64,
    /// The server offered CHUNKING and refused a chunk.
    no_chunking: AtomicBool,
}

impl Account {
    pub(crate) fn new(
        relay: Relay,
        parts: Parts,
        timing: Timing,
        shutdown: CancellationToken,
    ) -> Self {
        let policy = timing.policy(relay.keep_trying);
        Self {
            relay,
            parts,
            timing,
            policy,
            shutdown,
            hello: host_name(),
            trust: OnceLock::new(),
            refused_fresh: AtomicI64::new(NONE),
            no_chunking: AtomicBool::new(false),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.relay.name
    }

    /// The envelope sender that the server is given. A report keeps its null sender, or its own failure would be reported.
    pub(crate) fn sender_of<'a>(&'a self, claim: &'a OutClaim) -> &'a str {
        match &self.relay.send_as {
            Some(address) if !claim.sender.is_empty() => address,
            _ => &claim.sender,
        }
    }

    /// The password, or an access token.
    pub(crate) async fn credential(&self) -> Result<Credential, Trouble> {
        let credential = self
            .parts
            .tokens
            .credential(&self.relay.auth, &self.relay.user)
            .await;
        credential.map_err(|e| judge_token(&e))
    }

    /// Connects and signs in.
    pub(crate) async fn connect(&self) -> Result<Client<Stream>, Trouble> {
        let mut renewed = false;
        loop {
            let credential = self.credential().await?;
            let error = match self.try_with(&credential).await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let Credential::Bearer(token) = &credential else {
                return Err(judge_connection(&error));
            };
            if !judge::may_be_the_token(&error)
                || self.refused_fresh.load(Ordering::Relaxed) == token.version
            {
                return Err(judge_connection(&error));
            }
            if renewed {
                self.refused_fresh.store(token.version, Ordering::Relaxed);
                return Err(judge_connection(&error));
            }
            self.renew(token, &error).await?;
            renewed = true;
        }
    }

    async fn renew(&self, token: &AccessToken, error: &ClientError) -> Result<(), Trouble> {
        info!(relay = self.name(), %error, "the token was refused; asking for a fresh one");
        self.parts.tokens.rejected(token).await.map_err(|error| {
            warn!(relay = self.name(), %error, "the refused token could not be marked");
            Trouble::Later {
                why: error.to_string(),
                after: None,
            }
        })
    }

    async fn try_with(&self, credential: &Credential) -> Result<Client<Stream>, ClientError> {
        let mut client = Client::connect(
            &target(&self.relay),
            self.trust()?,
            &self.hello,
            Patience::default(),
        )
        .await?;
        client.sign_in(identity(&self.relay, credential)).await?;
        client.offered.chunking &= !self.no_chunking.load(Ordering::Relaxed);
        Ok(client)
    }

    /// From now on DATA, until the relay begins anew.
    pub(crate) fn give_up_chunking(&self) {
        if !self.no_chunking.swap(true, Ordering::Relaxed) {
            warn!(
                relay = self.name(),
                "the server offers CHUNKING and refused a chunk; DATA is used from now on"
            );
        }
    }

    /// Built once, when it is first needed: a missing CA file may be put right while the relay waits.
    fn trust(&self) -> Result<&Trust, DialError> {
        if let Some(trust) = self.trust.get() {
            return Ok(trust);
        }
        let trust = Trust::new(self.relay.tls_ca_file.as_deref())?;
        Ok(self.trust.get_or_init(|| trust))
    }
}

/// Where a relay's server is.
pub(crate) fn target(relay: &Relay) -> Target {
    let tls = match relay.tls {
        provider_template::Tls::Implicit => dial::Tls::Implicit,
        provider_template::Tls::Starttls => dial::Tls::StartTls,
        provider_template::Tls::None => dial::Tls::None,
    };
    Target {
        host: relay.host.clone(),
        port: relay.port,
        tls,
    }
}

/// How a relay signs in.
pub(crate) fn identity<'a>(relay: &'a Relay, credential: &'a Credential) -> Identity<'a> {
    Identity {
        user: &relay.user,
        host: &relay.host,
        port: relay.port,
        sasl: relay.sasl,
        credential,
        no_initial_response: relay.no_initial_response,
    }
}
